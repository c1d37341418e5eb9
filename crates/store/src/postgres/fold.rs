//! Brings what the log says into the table of latest revisions, many changes at a time. It holds up
//! nobody: writers only append to the log, and a reader sees the table and how far it goes at one moment.

use super::{failure, signed, unsigned};
use crate::StoreError;
use quarterdeck_model::Revision;
use tokio_postgres::Client;

/// Revisions brought in by one transaction: bounds the memory it takes and how long it lasts.
const STEP: u64 = 262_144;

/// Whoever brings in changes has this row until it commits.
const FOLDED: &str = "SELECT revision FROM quarterdeck.folded FOR UPDATE";
const FOLD: &str = r#"
    WITH last AS MATERIALIZED (
        SELECT DISTINCT ON (kind, namespace, name)
            kind, namespace, name, revision, body IS NULL AS removed
        FROM quarterdeck.log WHERE revision > $1 AND revision <= $2
        ORDER BY kind, namespace, name, revision DESC
    ), removed AS (
        DELETE FROM quarterdeck.latest USING last
        WHERE removed AND (latest.kind, latest.namespace, latest.name)
            = (last.kind, last.namespace, last.name)
    ), put AS (
        INSERT INTO quarterdeck.latest (revision, kind, namespace, name)
        SELECT revision, kind, namespace, name FROM last WHERE NOT removed
        ORDER BY kind, namespace, name
        ON CONFLICT (kind, namespace, name) DO UPDATE SET revision = excluded.revision
    )
    UPDATE quarterdeck.folded SET revision = $2"#;

/// Brings in all changes up to `goal`, which is committed; answers up to where they are in, which is that or
/// further.
pub(super) async fn fold(client: &mut Client, goal: Revision) -> Result<Revision, StoreError> {
    loop {
        let folded = step(client, goal).await.map_err(failure)?;
        if folded >= goal {
            return Ok(folded);
        }
    }
}

async fn step(client: &mut Client, goal: Revision) -> Result<Revision, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let folded = unsigned(transaction.query_one(FOLDED, &[]).await?.try_get(0)?);
    if folded >= goal.0 {
        return Ok(Revision(folded));
    }
    let upto = goal.0.min(folded.saturating_add(STEP));
    transaction.execute(FOLD, &[&signed(folded), &signed(upto)]).await?;
    transaction.commit().await?;
    Ok(Revision(upto))
}
