//! Brings what the log says into the table of latest revisions, many changes at a time. It holds up
//! nobody: writers only append to the log, and a reader sees the table and how far it goes at one moment.

use super::{failure, signed, unsigned};
use crate::StoreError;
use quarterdeck_model::Revision;
use tokio_postgres::Client;

/// Revisions brought in by one transaction: bounds the memory it takes and how long it lasts.
const STEP: u64 = 262_144;

/// Whoever brings in changes has the row of `folded` until it commits. The head may grow meanwhile.
const FOLDED: &str = "
    SELECT folded.revision, head.revision FROM quarterdeck.folded, quarterdeck.head
    FOR UPDATE OF folded";
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

/// Brings in all changes up to `goal`, or as far as there are any: a server that took over may lack the newest.
/// Answers up to where they are in.
pub(super) async fn fold(client: &mut Client, goal: Revision) -> Result<Revision, StoreError> {
    loop {
        let (folded, last) = step(client, goal).await.map_err(failure)?;
        if folded >= last {
            return Ok(folded);
        }
    }
}

/// Up to where they are in, and are to be.
async fn step(
    client: &mut Client,
    goal: Revision,
) -> Result<(Revision, Revision), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let row = transaction.query_one(FOLDED, &[]).await?;
    let (folded, head) = (unsigned(row.try_get(0)?), unsigned(row.try_get(1)?));
    let last = goal.0.min(head);
    if folded >= last {
        return Ok((Revision(folded), Revision(last)));
    }
    let upto = last.min(folded.saturating_add(STEP));
    transaction.execute(FOLD, &[&signed(folded), &signed(upto)]).await?;
    transaction.commit().await?;
    Ok((Revision(upto), Revision(last)))
}
