//! The transaction that writes one batch. Its order among all others is that of the head, the one row
//! that each moves from where it was decided on: so commit order is revision order, and a transaction
//! whose head is not where it was does nothing at all.
//!
//! What a batch is about is read before it begins, or known (`recent`); whether that is still so, the head
//! says. So a transaction takes one round trip, and one before it for keys that did not change lately. (More
//! where the size of something is limited: `counts`.) It only adds to the log.
//!
//! When a commit's answer is lost, whoever asks for it makes sure that what was not committed by then
//! never will be.

use super::{
    TRY_MAX, connection::Writer, failure, is_refusal, recent::Recent, signed, unsigned, within,
};
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

/// What the database shows of that which a batch is about.
pub(super) struct Seen<'b> {
    /// As the table of latest revisions shows it.
    pub(super) current: HashMap<&'b Key, Revision>,
    pub(super) tokens: HashMap<&'b str, u64>,
}

/// Reads what a batch is about, as far as it is asked for.
pub(super) async fn look<'b>(
    writer: &Writer,
    keys: &[&'b Key],
    leases: &BTreeSet<&'b str>,
) -> Result<Seen<'b>, StoreError> {
    // Sent together.
    let (current, tokens) = tokio::join!(latest(writer, keys), tokens(writer, leases));
    let (current, tokens) = current.and_then(|current| Ok((current, tokens?))).map_err(failure)?;
    let token = |lease: &&'b str| Some((*lease, *tokens.get(*lease)?));
    Ok(Seen { current, tokens: leases.iter().filter_map(token).collect() })
}

async fn latest<'b>(
    writer: &Writer,
    keys: &[&'b Key],
) -> Result<HashMap<&'b Key, Revision>, tokio_postgres::Error> {
    let mut current = HashMap::with_capacity(keys.len());
    if keys.is_empty() {
        return Ok(current);
    }
    let wanted = columns(keys.iter().copied());
    let with: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&wanted.kinds, &wanted.namespaces, &wanted.names];
    for row in writer.client.query(&writer.find, &with).await? {
        let (place, revision) = (unsigned(row.try_get(0)?), Revision(unsigned(row.try_get(1)?)));
        let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        if let Some(key) = place.and_then(|place| keys.get(place)) {
            current.insert(*key, revision);
        }
    }
    Ok(current)
}

/// The newest revision.
pub(super) async fn head(writer: &Writer) -> Result<Revision, StoreError> {
    let row = writer.client.query_one(&writer.head, &[]).await.map_err(failure)?;
    row.try_get(0).map(unsigned).map(Revision).map_err(failure)
}

/// What is recent, with what others wrote since; or all of it, where nothing is known or the log was
/// brought into the table, and perhaps compacted, past what is.
pub(super) async fn follow(writer: &Writer, known: Option<Recent>) -> Result<Recent, StoreError> {
    let since = known.as_ref().map_or(0, |known| signed(known.head().0));
    let read = async {
        let rows = writer.client.query(&writer.follow, &[&since]).await?;
        let folded = match rows.first() {
            Some(row) => Revision(unsigned(row.try_get(0)?)),
            None => Revision::ZERO,
        };
        let mut recent =
            known.filter(|known| known.head() >= folded).unwrap_or_else(|| Recent::new(folded));
        for row in &rows {
            let Some(revision) = row.try_get::<_, Option<i64>>(1)? else { continue };
            let text = |column| row.try_get::<_, &str>(column).map(Into::into);
            let key = Key { kind: text(3)?, namespace: text(4)?, name: text(5)? };
            recent.add(key, Revision(unsigned(revision)), row.try_get(2)?);
        }
        recent.brought_in(folded);
        Ok(recent)
    };
    read.await.map_err(failure)
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
    /// Says when the batch that leaves it has the head and is about to commit: the next who asks for it has it once
    /// that is done. Or that it never will.
    pub(super) before: B,
    /// Leases and the tokens under which they must be held still. They are locked as late as can be:
    /// whoever renews one waits for that.
    pub(super) fences: BTreeMap<&'a str, u64>,
}

/// Writes what was decided, and commits, once what it rests on is about to; where that is not committed, this
/// does nothing. Calls `has_head` once nobody else
/// can commit before it. On an error the connection is not to be used again.
pub(super) async fn finish(
    writer: &Writer,
    ground: Ground<'_, impl Future<Output = bool>>,
    decision: &Decision<'_>,
    signature: &Signature<'_>,
    has_head: impl FnOnce(),
) -> Result<(), Lost> {
    let writing = async { Ok(write(writer, ground, decision, signature, has_head).await) };
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
    has_head: impl FnOnce(),
) -> Result<bool, tokio_postgres::Error> {
    let Writer { client, log, finish, .. } = writer;
    let revisions: Vec<i64> = decision.log.iter().map(|entry| signed(entry.revision.0)).collect();
    let previous: Vec<Option<i64>> = decision
        .log
        .iter()
        .map(|entry| entry.previous.map(|previous| signed(previous.0)))
        .collect();
    let logged = columns(decision.log.iter().map(|entry| entry.key));
    let bodies: Vec<Option<&[u8]>> =
        decision.log.iter().map(|entry| entry.body.map(|body| body.as_ref())).collect();
    let log_with: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&revisions, &previous, &logged.kinds, &logged.namespaces, &logged.names, &bodies];
    let (from, head) = (signed(ground.head.0), signed(decision.head.0));
    let finish_with: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&from, &head, &signature.writer, &signature.batch];
    let leases: Vec<&str> = ground.fences.keys().copied().collect();
    let tokens: Vec<i64> = ground.fences.values().map(|token| signed(*token)).collect();
    let fenced_with: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&leases, &tokens];
    let committing = async {
        let holding = async {
            let held = client.execute(&writer.hold, &[]).await;
            if held.is_ok() {
                has_head();
            }
            held
        };
        // After the head is ours: transactions that overlap would otherwise share the lock without end.
        let fencing = async {
            match leases.is_empty() {
                true => Ok(0),
                false => client.execute(&writer.fence, &fenced_with).await,
            }
        };
        let (held, fenced, moved, committed) = tokio::join!(
            biased;
            holding,
            fencing,
            client.execute(finish, &finish_with),
            client.batch_execute("COMMIT"),
        );
        held.and(fenced).and(moved).and(committed).map(|()| true)
    };
    let before = ground.before;
    // Each is sent as soon as it may be, in this order, and the answers are waited for together. When the
    // server refuses one, it refuses those after it, COMMIT too. A statement that could not even be sent
    // would break this; the limit on a batch's size is far below where that begins.
    let (begun, logged, committed) = tokio::join!(
        biased;
        client.batch_execute("BEGIN"),
        client.execute(log, &log_with),
        async { if before.await { committing.await } else { Ok(false) } },
    );
    // The first failure is the cause of those after it.
    begun.and(logged).and(committed)
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
