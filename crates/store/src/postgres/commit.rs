//! The transaction that writes one batch. Its order among all others is that of the head, the one row
//! that each moves from where it was decided on: so commit order is revision order, and a transaction
//! whose head is not where it was does nothing at all.
//!
//! It takes two round trips: the first reads what the batch is about, the second writes what was decided
//! and commits. (More where the size of something is limited: `counts`.)
//!
//! When a commit's answer is lost, whoever asks for it makes sure that what was not committed by then
//! never will be.

use super::{TRY_MAX, connection::Writer, failure, is_refusal, signed, unsigned, within};
use crate::{StoreError, decide::Decision};
use quarterdeck_model::{Key, Revision};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_postgres::error::SqlState;

/// Why a batch was not acknowledged.
pub(super) enum Lost {
    /// Nothing was applied.
    Refused(StoreError),
    /// All of it was applied, or nothing.
    Unknown(StoreError),
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

/// What the database holds of that which a batch is about.
pub(super) struct Seen<'b> {
    pub(super) head: Revision,
    pub(super) current: HashMap<&'b Key, Revision>,
    pub(super) tokens: HashMap<&'b str, u64>,
}

/// Begins a transaction and looks. On an error the connection is not to be used again.
pub(super) async fn begin<'b>(
    writer: &Writer,
    keys: &BTreeSet<&'b Key>,
    leases: &BTreeSet<&'b str>,
) -> Result<Seen<'b>, StoreError> {
    // Sent together, in this order.
    let (begun, seen) = tokio::join!(
        biased;
        writer.client.batch_execute("BEGIN"),
        look(writer, keys, leases),
    );
    begun.map_err(failure)?;
    seen
}

/// Reads what a batch is about, and the head as it was at the same moment.
pub(super) async fn look<'b>(
    writer: &Writer,
    keys: &BTreeSet<&'b Key>,
    leases: &BTreeSet<&'b str>,
) -> Result<Seen<'b>, StoreError> {
    let keys: Vec<&Key> = keys.iter().copied().collect();
    let wanted = columns(keys.iter().copied());
    let find_with: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&wanted.kinds, &wanted.namespaces, &wanted.names];
    let (found, tokens) = tokio::join!(
        biased;
        writer.client.query(&writer.find, &find_with),
        tokens(writer, leases),
    );
    let read = || -> Result<Seen<'b>, tokio_postgres::Error> {
        let mut head = Revision::ZERO;
        let mut current = HashMap::with_capacity(keys.len());
        for row in found? {
            let (place, revision) = (row.try_get(0)?, Revision(unsigned(row.try_get(1)?)));
            match usize::try_from(unsigned(place)).unwrap_or(usize::MAX).checked_sub(1) {
                None => head = revision,
                Some(place) => {
                    if let Some(key) = keys.get(place) {
                        current.insert(*key, revision);
                    }
                }
            }
        }
        let tokens = tokens?;
        let token = |lease: &&'b str| Some((*lease, *tokens.get(*lease)?));
        Ok(Seen { head, current, tokens: leases.iter().filter_map(token).collect() })
    };
    read().map_err(failure)
}

/// Ends a transaction that writes nothing.
pub(super) async fn roll_back(writer: &Writer) -> Result<(), StoreError> {
    writer.client.batch_execute("ROLLBACK").await.map_err(failure)
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

/// What a decision rests on.
pub(super) struct Ground<'a, B> {
    /// The head when it was decided.
    pub(super) head: Revision,
    /// Says when that head is committed, or that it never will be.
    pub(super) committed: B,
    /// What is not committed by now touches the same keys. Whoever comes to their rows first has them until
    /// it commits: so these wait.
    pub(super) shared: bool,
    /// Leases and the tokens under which they must be held still. They are locked as late as can be:
    /// whoever renews one waits for that.
    pub(super) fences: BTreeMap<&'a str, u64>,
}

/// Writes what was decided, and commits, once what it rests on is committed; when that never will be, this
/// does nothing. On an error the connection is not to be used again.
pub(super) async fn finish(
    writer: &Writer,
    ground: Ground<'_, impl Future<Output = bool>>,
    decision: &Decision<'_>,
    signature: &Signature<'_>,
) -> Result<(), Lost> {
    let writing = async { Ok(write(writer, ground, decision, signature).await) };
    match within(TRY_MAX, writing).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(Lost::Refused(overtaken())),
        Ok(Err(error)) if came_later(&error) => Err(Lost::Refused(overtaken())),
        Ok(Err(error)) if is_refusal(&error) => Err(Lost::Refused(failure(error))),
        Ok(Err(error)) => Err(Lost::Unknown(failure(error))),
        Err(silence) => Err(Lost::Unknown(silence)),
    }
}

async fn write(
    writer: &Writer,
    ground: Ground<'_, impl Future<Output = bool>>,
    decision: &Decision<'_>,
    signature: &Signature<'_>,
) -> Result<bool, tokio_postgres::Error> {
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
    let (from, head) = (signed(ground.head.0), signed(decision.head.0));
    let finish_with: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&from, &head, &signature.writer, &signature.batch];
    let showing = async {
        let removing = async {
            match gone.kinds.is_empty() {
                true => Ok(0),
                false => client.execute(remove, &remove_with).await,
            }
        };
        let (put, removed) = tokio::join!(biased; client.execute(put, &put_with), removing);
        put.and(removed)
    };
    let leases: Vec<&str> = ground.fences.keys().copied().collect();
    let tokens: Vec<i64> = ground.fences.values().map(|token| signed(*token)).collect();
    let fenced_with: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&leases, &tokens];
    let committing = async {
        let fencing = async {
            match leases.is_empty() {
                true => Ok(0),
                false => client.execute(&writer.fence, &fenced_with).await,
            }
        };
        let (fenced, finished, committed) = tokio::join!(
            biased;
            fencing,
            client.execute(finish, &finish_with),
            client.batch_execute("COMMIT"),
        );
        fenced.and(finished).and(committed).map(|()| true)
    };
    let (shared, before) = (ground.shared, ground.committed);
    // Each is sent as soon as it may be, in this order, and the answers are waited for together. When the
    // server refuses one, it refuses those after it, COMMIT too. A statement that could not even be sent
    // would break this; the limit on a batch's size is far below where that begins.
    let rest = async {
        if shared {
            if !before.await {
                return Ok(false);
            }
            let (shown, committed) = tokio::join!(biased; showing, committing);
            shown.and(committed)
        } else {
            let committing = async { if before.await { committing.await } else { Ok(false) } };
            let (shown, committed) = tokio::join!(biased; showing, committing);
            shown.and(committed)
        }
    };
    let (logged, rest) = tokio::join!(biased; client.execute(log, &log_with), rest);
    // The first failure is the cause of those after it.
    logged.and(rest)
}

/// Whether the server refused because others wrote first: the head or a lease is no longer what it was (see
/// the statements in `connection`), or they are about to write the same revisions.
fn came_later(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [
            SqlState::NOT_NULL_VIOLATION,
            SqlState::DIVISION_BY_ZERO,
            SqlState::UNIQUE_VIOLATION,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(code)
    })
}

/// That what this write rests on was not committed, or is no longer so.
pub(super) fn overtaken() -> StoreError {
    StoreError::Unavailable(
        "other writes came first, or one that this one rested on failed; nothing was written, try again"
            .into(),
    )
}

/// Whether the batch of `signature`, whose commit was not answered, was committed. If not, it never will
/// be: its number is passed over, so that it cannot be noted any more.
///
/// This waits until the lost transaction is over if it has noted its number, and is a commit of its own:
/// as durable, and with synchronous standbys as widely, as what was committed before it.
pub(super) async fn was_committed(
    writer: &Writer,
    signature: &Signature<'_>,
) -> Result<bool, StoreError> {
    let Signature { writer: id, batch } = signature;
    // Between this number and the next.
    let passed_over = batch.saturating_add(1);
    let with: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [id, batch, &passed_over];
    let row = writer.client.query_one(&writer.resolve, &with).await.map_err(failure)?;
    let last: i64 = row.try_get(0).map_err(failure)?;
    Ok(last == *batch)
}

/// By how much each batch's number is above the one before.
pub(super) const BATCH_STEP: i64 = 2;
