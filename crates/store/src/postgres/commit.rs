//! The one transaction that writes. Writers of all processes take turns by the lock of one row,
//! held until the commit is durable and seen by others: so commit order is revision order.
//!
//! It takes two round trips: the first takes the turn and reads what the batch is about, the second
//! writes what was decided and commits. (One more where the size of something is limited: `counts`.) Nothing that commits is ever sent before the turn is ours;
//! so when a commit's answer is lost, whoever gets the turn next knows that it is over.

use super::{
    TRY_MAX, connection::Writer, counts::Counts, failure, is_refusal, signed, unsigned, within,
};
use crate::{
    Mutation, Outcome, StoreError,
    decide::{self, Decision, Held, decide},
};
use quarterdeck_model::{Key, Revision};
use std::collections::{BTreeSet, HashMap};

/// Why a batch was not acknowledged.
pub(super) enum Lost {
    /// Nothing was applied.
    Refused(StoreError),
    /// All of it was applied, with these outcomes, or nothing.
    Unknown(StoreError, Vec<Outcome>),
}

/// Who commits, so that the outcome can be looked up.
pub(super) struct Signature<'a> {
    pub(super) writer: &'a str,
    pub(super) batch: i64,
}

/// Keys as three columns.
struct Columns<'a> {
    kinds: Vec<&'a str>,
    namespaces: Vec<&'a str>,
    names: Vec<&'a str>,
}

fn columns<'a>(keys: impl Iterator<Item = &'a Key>) -> Columns<'a> {
    let (mut kinds, mut namespaces, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        kinds.push(&*key.kind);
        namespaces.push(&*key.namespace);
        names.push(&*key.name);
    }
    Columns { kinds, namespaces, names }
}

/// Applies a batch. On an error the connection is not to be used again.
pub(super) async fn commit(
    writer: &Writer,
    batch: &[Mutation],
    signature: &Signature<'_>,
    counts: &mut Counts,
) -> Result<Vec<Outcome>, Lost> {
    let held = within(TRY_MAX, begin(writer, batch, counts)).await.map_err(Lost::Refused)?;
    let decision = decide(batch, held);
    if decision.log.is_empty() {
        let ended = writer.client.batch_execute("ROLLBACK").await;
        return ended.map(|()| decision.outcomes).map_err(|error| Lost::Refused(failure(error)));
    }
    let finishing = within(TRY_MAX, async { Ok(finish(writer, &decision, signature).await) });
    match finishing.await {
        Ok(Ok(())) => Ok(decision.outcomes),
        Ok(Err(error)) if is_refusal(&error) => Err(Lost::Refused(failure(error))),
        Ok(Err(error)) => Err(Lost::Unknown(failure(error), decision.outcomes)),
        Err(silence) => Err(Lost::Unknown(silence, decision.outcomes)),
    }
}

/// Takes the turn and reads what the batch is about.
async fn begin<'a>(
    writer: &Writer,
    batch: &'a [Mutation],
    counts: &mut Counts,
) -> Result<Held<'a>, StoreError> {
    let keys: Vec<&Key> = decide::keys(batch).into_iter().collect();
    let leases = decide::leases(batch);
    let wanted = columns(keys.iter().copied());
    let Writer { client, lock, find, .. } = writer;
    let find_with: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&wanted.kinds, &wanted.namespaces, &wanted.names];
    // Sent together, in this order; each reads what is committed when its turn on the server comes.
    let (begun, head, found, tokens) = tokio::join!(
        biased;
        client.batch_execute("BEGIN"),
        client.query_one(lock, &[]),
        client.query(find, &find_with),
        tokens(writer, &leases),
    );
    let read = || -> Result<Held<'a>, tokio_postgres::Error> {
        begun?;
        let head = Revision(unsigned(head?.try_get(0)?));
        let mut current = HashMap::with_capacity(keys.len());
        for row in found? {
            let place = usize::try_from(unsigned(row.try_get(0)?)).unwrap_or(usize::MAX);
            if let Some(key) = keys.get(place.wrapping_sub(1)) {
                current.insert(*key, Revision(unsigned(row.try_get(1)?)));
            }
        }
        let tokens = tokens?;
        let token = |lease: &&'a str| Some((*lease, *tokens.get(*lease)?));
        let tokens = leases.iter().filter_map(token).collect();
        Ok(Held { head, current, tokens, counts: HashMap::new() })
    };
    let mut held = read().map_err(failure)?;
    let limited = decide::limited(batch);
    held.counts = counts.of(writer, held.head, &limited).await.map_err(failure)?;
    Ok(held)
}

async fn tokens(
    writer: &Writer,
    leases: &BTreeSet<&str>,
) -> Result<HashMap<String, u64>, tokio_postgres::Error> {
    if leases.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<&str> = leases.iter().copied().collect();
    let rows = writer.client.query(&writer.tokens, &[&names]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, unsigned(row.try_get(1)?)))).collect()
}

/// Writes what was decided, and commits.
async fn finish(
    writer: &Writer,
    decision: &Decision<'_>,
    signature: &Signature<'_>,
) -> Result<(), tokio_postgres::Error> {
    let Writer { client, log, put, remove, finish, .. } = writer;
    let revisions: Vec<i64> = decision.log.iter().map(|entry| signed(entry.revision.0)).collect();
    let previous: Vec<Option<i64>> = decision
        .log
        .iter()
        .map(|entry| entry.previous.map(|previous| signed(previous.0)))
        .collect();
    let logged = columns(decision.log.iter().map(|entry| entry.key));
    let bodies: Vec<Option<&[u8]>> =
        decision.log.iter().map(|entry| entry.body.map(|body| body.as_ref())).collect();
    let put_at: Vec<i64> = decision.put.iter().map(|(_, revision)| signed(revision.0)).collect();
    let put_keys = columns(decision.put.iter().map(|(key, _)| *key));
    let gone = columns(decision.removed.iter().copied());
    let log_with: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&revisions, &previous, &logged.kinds, &logged.namespaces, &logged.names, &bodies];
    let put_with: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&put_at, &put_keys.kinds, &put_keys.namespaces, &put_keys.names];
    let remove_with: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&gone.kinds, &gone.namespaces, &gone.names];
    let head = signed(decision.head.0);
    let finish_with: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&head, &signature.writer, &signature.batch];
    let removing = async {
        match gone.kinds.is_empty() {
            true => Ok(0),
            false => client.execute(remove, &remove_with).await,
        }
    };
    // Sent together, in this order. When the server refuses one, it refuses those after it, COMMIT
    // too. A statement that could not even be sent would break this; the limit on a batch's size is
    // far below where that begins.
    let (logged, put, removed, finished, committed) = tokio::join!(
        biased;
        client.execute(log, &log_with),
        client.execute(put, &put_with),
        removing,
        client.execute(finish, &finish_with),
        client.batch_execute("COMMIT"),
    );
    // The first failure is the cause of those after it.
    logged.and(put).and(removed).and(finished)?;
    committed
}

/// Whether the batch of `signature`, whose commit was not answered, was committed.
pub(super) async fn was_committed(
    writer: &Writer,
    signature: &Signature<'_>,
) -> Result<bool, StoreError> {
    let client = &writer.client;
    client.batch_execute("BEGIN").await.map_err(failure)?;
    // The turn is ours only when the lost transaction is over, one way or the other.
    client.query_one(&writer.lock, &[]).await.map_err(failure)?;
    let row = client
        .query_opt(
            "UPDATE quarterdeck.writer SET at = now() WHERE id = $1 RETURNING batch",
            &[&signature.writer],
        )
        .await
        .map_err(failure)?;
    // A commit of our own: it is as durable, and with synchronous standbys as widely, as what was
    // committed before it.
    client.batch_execute("COMMIT").await.map_err(failure)?;
    let last: Option<i64> = row.and_then(|row| row.try_get(0).ok());
    Ok(last == Some(signature.batch))
}
