//! Compaction in PostgreSQL, in steps that commit by themselves. It never takes the writers' turn.

use super::{failure, fold::fold, signed, unsigned};
use crate::StoreError;
use quarterdeck_model::Revision;
use tokio_postgres::Client;

/// Revisions looked at in one step: some tens of milliseconds of work.
const STEP: u64 = 5_000;

/// Does one step; true when all is done.
pub(super) async fn step(client: &mut Client, before: Revision) -> Result<bool, StoreError> {
    // What tells that a key was removed must not go before the table of latest revisions knows it.
    let folded = fold(client, before).await?;
    let run = async {
        let transaction = client.transaction().await?;
        let row = transaction
            .query_one("SELECT revision FROM quarterdeck.horizon FOR UPDATE", &[])
            .await?;
        let done = unsigned(row.try_get(0)?);
        let goal = before.min(folded).0;
        if goal <= done {
            return Ok(true);
        }
        let upto = goal.min(done.saturating_add(STEP));
        let range: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&signed(done), &signed(upto)];
        // What was replaced at or before `upto` is seen by no read at or after it.
        transaction
            .execute(
                "DELETE FROM quarterdeck.log WHERE revision IN
                   (SELECT previous FROM quarterdeck.log
                    WHERE revision > $1 AND revision <= $2 AND previous IS NOT NULL)",
                &range,
            )
            .await?;
        transaction
            .execute(
                "DELETE FROM quarterdeck.log
                 WHERE revision > $1 AND revision <= $2 AND body IS NULL",
                &range,
            )
            .await?;
        transaction
            .execute("UPDATE quarterdeck.horizon SET revision = $1", &[&signed(upto)])
            .await?;
        transaction.commit().await?;
        Ok(upto == goal)
    };
    run.await.map_err(failure)
}
