//! All current bodies, for the cache's start: one stream of rows, which the takers decode while more
//! come.

use super::{failure, read::HEAD, unsigned};
use crate::{Current, StoreError, Taker};
use futures_util::TryStreamExt as _;
use quarterdeck_model::Revision;
use std::pin::pin;
use tokio::task::{JoinError, JoinSet};
use tokio_postgres::{Client, IsolationLevel, Row, RowStream};

/// As of which revision the table of latest revisions is.
const FOLDED: &str = "SELECT revision FROM quarterdeck.folded";
/// A body is current that is the latest of the table, or came after what the table shows (`$1`), and that no later
/// change replaced. Asked with the number itself, so that the server knows how much comes after it.
const LOAD: &str = "
    WITH recent AS MATERIALIZED (
        SELECT revision, previous, body IS NULL AS removed
        FROM quarterdeck.log WHERE revision > $1
    )
    SELECT revision, log.kind, log.namespace, log.name, body
    FROM (SELECT revision FROM quarterdeck.latest
          UNION ALL SELECT revision FROM recent WHERE NOT removed) AS bodies
    JOIN quarterdeck.log USING (revision)
    WHERE NOT EXISTS (SELECT FROM recent WHERE recent.previous = bodies.revision)";

/// Rows handed to a taker at once: enough that the hand-over costs nothing.
const ROWS_MAX: usize = 256;
/// What is handed over ends with the row that makes their bodies larger than this.
const BYTES_MAX: usize = 1 << 20;

/// Has every current body taken.
pub(super) async fn load(mut client: Client, takers: Vec<Taker>) -> Result<Revision, StoreError> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(failure)?;
    let head = transaction.query_one(HEAD, &[]).await.map_err(failure)?;
    let head = head.try_get(0).map(unsigned).map(Revision).map_err(failure)?;
    let folded = transaction.query_one(FOLDED, &[]).await.and_then(|row| row.try_get::<_, i64>(0));
    let folded = folded.map_err(failure)?;
    let statement = transaction.prepare(LOAD).await.map_err(failure)?;
    let rows = transaction.query_raw(&statement, [folded]).await.map_err(failure)?;
    hand_over(rows, takers).await?;
    Ok(head)
}

async fn hand_over(rows: RowStream, mut idle: Vec<Taker>) -> Result<(), StoreError> {
    let mut rows = pin!(rows);
    let mut busy: JoinSet<Result<Taker, StoreError>> = JoinSet::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    loop {
        let row = rows.try_next().await.map_err(failure)?;
        let more = row.is_some();
        if let Some(row) = row {
            bytes += row.try_get::<_, &[u8]>(4).map_err(failure)?.len();
            batch.push(row);
            if batch.len() < ROWS_MAX && bytes < BYTES_MAX {
                continue;
            }
        }
        let taker = match idle.pop() {
            Some(taker) => Some(taker),
            None => busy.join_next().await.map(taken).transpose()?,
        };
        let (Some(mut taker), batch) = (taker, std::mem::take(&mut batch)) else { break };
        bytes = 0;
        busy.spawn_blocking(move || {
            batch.iter().try_for_each(|row| taker(current(row).map_err(failure)?))?;
            Ok(taker)
        });
        if !more {
            break;
        }
    }
    while let Some(result) = busy.join_next().await {
        drop(taken(result)?);
    }
    Ok(())
}

fn taken(result: Result<Result<Taker, StoreError>, JoinError>) -> Result<Taker, StoreError> {
    result.map_err(|_| StoreError::Unusable("a thread that decodes objects panicked".into()))?
}

fn current(row: &Row) -> Result<Current<'_>, tokio_postgres::Error> {
    Ok(Current {
        kind: row.try_get(1)?,
        namespace: row.try_get(2)?,
        name: row.try_get(3)?,
        revision: Revision(unsigned(row.try_get(0)?)),
        body: row.try_get(4)?,
    })
}
