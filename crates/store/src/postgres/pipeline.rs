//! Batches under way: a few at a time, each in a transaction on a connection of its own, decided in the
//! order they come. While one becomes durable, the next are read and written.
//!
//! A batch is decided on what those before it leave once they are committed, and moves the head from
//! where they leave it: so it is committed after them or not at all. When one fails, those after it fail
//! too and are decided anew. Nothing may be answered that rests on a batch which is not committed.

use super::{
    Patience, RESOLVE_PATIENCE, TRY_MAX,
    commit::{self, Ground, Lost, Seen, Signature, overtaken},
    connection::Writer,
    counts::Counts,
    turn::Turns,
    url::Target,
    within,
};
use crate::{
    Mutation, Outcome, StoreError,
    decide::{self, Decision, Held, decide},
};
use quarterdeck_model::{Key, Revision};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Mutex as Door, mpsc, oneshot};

/// Batches under way at once: one that becomes durable, one that waits to, and one that is written
/// meanwhile.
pub(super) const AT_ONCE: usize = 3;

/// All that commits to one database.
pub(super) struct Pipeline {
    target: Target,
    /// Batches are decided by one at a time.
    entrance: Door<Entrance>,
    under_way: Mutex<UnderWay>,
    /// Where lanes are brought back to.
    home: mpsc::Sender<Lane>,
}

struct Entrance {
    /// None before the first batch, and after a failure.
    turns: Option<Turns>,
    /// Lanes that are free.
    lanes: mpsc::Receiver<Lane>,
}

/// What was decided and is not known to be committed.
#[derive(Default)]
struct UnderWay {
    count: usize,
    /// The newest revision once all of it is committed.
    head: Revision,
    /// In order of revision.
    batches: VecDeque<Decided>,
    /// One of them failed, and so do those after it.
    broken: bool,
    /// Says when the last of them is committed.
    last: Option<oneshot::Receiver<()>>,
}

/// What a batch leaves.
struct Decided {
    head: Revision,
    /// The revision of each key it wrote; none of those it removed.
    keys: HashMap<Key, Option<Revision>>,
}

/// A connection for one transaction at a time.
#[derive(Default)]
struct Lane {
    /// Names it in the table of writers.
    id: String,
    /// Number of the newest batch tried.
    batch: i64,
    /// Taken out while a transaction is under way: one that is given up takes it along.
    connection: Option<(Writer, Counts)>,
}

/// A lane in use; it is free again when this is dropped.
struct Taken {
    lane: Lane,
    home: mpsc::Sender<Lane>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // There is room for all lanes; when there is nobody to take it, the plane stops.
        let _ = self.home.try_send(std::mem::take(&mut self.lane));
    }
}

/// A batch under way on a lane. It breaks those after it unless it is committed.
struct Flight<'p> {
    under_way: &'p Mutex<UnderWay>,
    head: Revision,
    /// To say that this one is. None once it is said.
    after: Option<oneshot::Sender<()>>,
    /// Dropped last: whoever has all lanes knows that nothing is under way.
    taken: Taken,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut under_way = locked(self.under_way);
        under_way.count = under_way.count.saturating_sub(1);
        if self.after.is_none() {
            // And so are those before it.
            let head = self.head;
            under_way.batches.retain(|batch| batch.head > head);
        } else {
            under_way.broken = true;
        }
    }
}

/// No change under the lock can stop half-way.
fn locked(under_way: &Mutex<UnderWay>) -> MutexGuard<'_, UnderWay> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UnderWay {
    /// What batches leave of `key`; none when none of them touches it.
    fn of(&self, key: &Key) -> Option<Option<Revision>> {
        self.batches.iter().rev().find_map(|batch| batch.keys.get(key).copied())
    }
}

impl Decided {
    fn of(decision: &Decision<'_>) -> Self {
        let put = decision.put.iter().map(|(key, at)| (Key::clone(key), Some(*at)));
        let removed = decision.removed.iter().map(|key| (Key::clone(key), None));
        Self { head: decision.head, keys: put.chain(removed).collect() }
    }
}

impl Lane {
    /// Its connection, or a new one. What was counted on the one before does not count: a server that
    /// took over may lack the newest commits, and come to the same revisions with others.
    async fn connect(&mut self, target: &Target) -> Result<(Writer, Counts), StoreError> {
        match self.connection.take().filter(|(writer, _)| !writer.client.is_closed()) {
            Some(connection) => Ok(connection),
            None => Ok((within(TRY_MAX, Writer::connect(target)).await?, Counts::default())),
        }
    }

    /// Finds out whether the newest batch tried was committed, however long the server is away within
    /// reason; if it was not, it never will be.
    async fn resolve(&mut self, target: &Target) -> Result<bool, StoreError> {
        let mut patience = Patience::of(RESOLVE_PATIENCE);
        loop {
            match self.was_committed(target).await {
                Ok(committed) => return Ok(committed),
                Err(error) => patience.next_try(error).await?,
            }
        }
    }

    async fn was_committed(&mut self, target: &Target) -> Result<bool, StoreError> {
        let (writer, counts) = self.connect(target).await?;
        let signature = Signature { writer: &self.id, batch: self.batch };
        let committed = within(TRY_MAX, commit::was_committed(&writer, &signature)).await?;
        self.connection = Some((writer, counts));
        Ok(committed)
    }
}

/// A batch that is decided, and what it is written with.
struct Ready<'b> {
    taken: Taken,
    writer: Writer,
    counts: Counts,
    /// The head that it moves.
    from: Revision,
    /// Batches before it that are not committed touch the same keys.
    shared: bool,
    /// The leases, and their tokens, under which it writes.
    fences: BTreeMap<&'b str, u64>,
    decision: Decision<'b>,
}

impl Pipeline {
    /// Commits by the name `id`, which no other process has.
    pub(super) fn new(target: Target, id: &str) -> Self {
        let (home, lanes) = mpsc::channel(AT_ONCE);
        for number in 0..AT_ONCE {
            // There is room for all.
            let _ = home.try_send(Lane { id: format!("{id}/{number}"), ..Lane::default() });
        }
        let entrance = Door::new(Entrance { turns: None, lanes });
        Self { target, entrance, under_way: Mutex::default(), home }
    }

    /// Tries to commit once. That the store is unavailable means that nothing was applied.
    pub(super) async fn attempt(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        let mut entrance = self.entrance.lock().await;
        let ready = self.decide(&mut entrance, batch).await?;
        let outcomes = if ready.decision.log.is_empty() {
            let stands = self.all_home(&mut entrance.lanes).await;
            if let Some(turns) = &mut entrance.turns
                && !stands
            {
                turns.give_up();
            }
            drop(entrance);
            let outcomes = ready.give_up().await;
            if stands { outcomes } else { Err(overtaken()) }
        } else {
            let Ready { taken, writer, counts, from, shared, fences, decision } = ready;
            let (flight, committed) = self.set_out(taken, &decision);
            drop(entrance);
            let ground = Ground { head: from, committed, shared, fences };
            flight.finish(&self.target, (writer, counts), ground, decision).await
        };
        self.leave();
        outcomes
    }

    /// Decides on a batch, once the turn to write is ours. When this ends in any other way, the turn ends with
    /// its connection.
    async fn decide<'b>(
        &self,
        entrance: &mut Entrance,
        batch: &'b [Mutation],
    ) -> Result<Ready<'b>, StoreError> {
        let Entrance { turns, lanes } = entrance;
        let lane = lanes.recv().await.ok_or_else(overtaken)?;
        let mut taken = Taken { lane, home: self.home.clone() };
        let (writer, mut counts) = taken.lane.connect(&self.target).await?;
        let mut turn = match turns.take().filter(Turns::usable) {
            Some(turn) => turn,
            None => within(TRY_MAX, Turns::connect(&self.target)).await?,
        };
        let mut ours = turn.held() && !within(TRY_MAX, turn.is_wanted()).await?;
        let limited = decide::limited(batch);
        // Sizes are counted in what is committed.
        if !ours || !limited.is_empty() || locked(&self.under_way).broken {
            ours &= self.all_home(lanes).await;
        }
        let (keys, leases) = (decide::keys(batch), decide::leases(batch));
        // Before the database is asked: what is committed by then is seen there.
        let left: Vec<_> = {
            let under_way = locked(&self.under_way);
            keys.iter().filter_map(|key| Some((*key, under_way.of(key)?))).collect()
        };
        let Seen { head: seen, mut current, tokens } = if ours {
            within(TRY_MAX, commit::begin(&writer, &keys, &leases)).await?
        } else {
            turn.give_up();
            let seen = within(TRY_MAX, take_turn(&mut turn, &writer, &keys, &leases)).await?;
            // Nothing is under way.
            locked(&self.under_way).head = seen.head;
            seen
        };
        let head = locked(&self.under_way).head;
        if seen > head {
            // Somebody writes without a turn.
            return Err(overtaken());
        }
        let shared = !left.is_empty();
        for (key, at) in left {
            match at {
                Some(at) => current.insert(key, at),
                None => current.remove(key),
            };
        }
        let sizes = within(TRY_MAX, counts.of(&writer, head, &limited)).await?;
        let fences = batch.iter().filter_map(|mutation| mutation.fence.as_ref());
        let fences = fences.filter(|fence| tokens.get(&*fence.lease) == Some(&fence.token));
        let fences = fences.map(|fence| (&*fence.lease, fence.token)).collect();
        let decision = decide(batch, Held { head, current, tokens, counts: sizes });
        *turns = Some(turn);
        Ok(Ready { taken, writer, counts, from: head, shared, fences, decision })
    }

    /// Waits until no other lane is in use. False when a batch failed since the last time: then the turn is
    /// to be taken anew.
    async fn all_home(&self, lanes: &mut mpsc::Receiver<Lane>) -> bool {
        let mut others = Vec::with_capacity(AT_ONCE);
        while others.len() + 1 < AT_ONCE {
            let Some(lane) = lanes.recv().await else { break };
            others.push(Taken { lane, home: self.home.clone() });
        }
        let mut under_way = locked(&self.under_way);
        under_way.batches.clear();
        under_way.last = None;
        !std::mem::take(&mut under_way.broken)
    }

    /// Notes that a batch is under way; answers also when the one before is committed.
    fn set_out(
        &self,
        taken: Taken,
        decision: &Decision<'_>,
    ) -> (Flight<'_>, impl Future<Output = bool> + use<>) {
        let head = decision.head;
        let (after, last) = oneshot::channel();
        let mut under_way = locked(&self.under_way);
        let before = under_way.last.replace(last);
        under_way.count += 1;
        under_way.head = head;
        under_way.batches.push_back(Decided::of(decision));
        let committed = async move {
            match before {
                Some(before) => before.await.is_ok(),
                None => true,
            }
        };
        (Flight { under_way: &self.under_way, head, after: Some(after), taken }, committed)
    }

    /// Gives up the turn when there is nobody left who needs it. Whoever is inside does this later.
    fn leave(&self) {
        if locked(&self.under_way).count == 0
            && let Ok(mut entrance) = self.entrance.try_lock()
            && locked(&self.under_way).count == 0
            && let Some(turns) = &mut entrance.turns
        {
            turns.give_up();
        }
    }
}

impl Ready<'_> {
    /// Ends a transaction that has nothing to write.
    async fn give_up(self) -> Result<Vec<Outcome>, StoreError> {
        let Self { mut taken, writer, counts, decision, .. } = self;
        within(TRY_MAX, commit::roll_back(&writer)).await?;
        taken.lane.connection = Some((writer, counts));
        Ok(decision.outcomes)
    }
}

impl Flight<'_> {
    /// Writes what was decided, and commits.
    async fn finish(
        mut self,
        target: &Target,
        (writer, counts): (Writer, Counts),
        ground: Ground<'_, impl Future<Output = bool>>,
        decision: Decision<'_>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let lane = &mut self.taken.lane;
        // Before anything is sent, and past the number that a lost one is passed over with: no number is
        // ever used twice, whatever becomes of this one.
        lane.batch += commit::BATCH_STEP;
        let signature = Signature { writer: &lane.id, batch: lane.batch };
        match commit::finish(&writer, ground, &decision, &signature).await {
            Ok(()) => lane.connection = Some((writer, counts)),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Unknown(error)) => {
                drop(writer);
                tracing::warn!(%error, "a commit was not answered; looking for its outcome");
                match lane.resolve(target).await {
                    Ok(true) => {}
                    Ok(false) => return Err(error),
                    Err(error) => return Err(StoreError::OutcomeUnknown(error.to_string())),
                }
            }
        }
        if let Some(after) = self.after.take() {
            // There may be none after this one.
            let _ = after.send(());
        }
        Ok(decision.outcomes)
    }
}

/// Takes the turn, and looks at what a batch is about.
async fn take_turn<'b>(
    turns: &mut Turns,
    writer: &Writer,
    keys: &BTreeSet<&'b Key>,
    leases: &BTreeSet<&'b str>,
) -> Result<Seen<'b>, StoreError> {
    // At once: mostly nobody else has the turn, and nothing changes until it is ours.
    let (head, seen) = tokio::join!(turns.take(), commit::begin(writer, keys, leases));
    let (head, seen) = (head?, seen?);
    if seen.head == head { Ok(seen) } else { commit::look(writer, keys, leases).await }
}
