//! Batches under way: a few at a time, each in a transaction on a connection of its own, decided in the
//! order they come. While one becomes durable, the next are read and written.
//!
//! A batch is decided on what those before it leave once they are committed, and moves the head from
//! where they leave it: so it is committed after them or not at all. When one fails, those after it fail
//! too and are decided anew. Nothing may be answered that rests on a batch which is not committed.

use super::{
    Patience, RESOLVE_PATIENCE, TRY_MAX,
    commit::{self, Ground, Lost, Seen, Signature, overtaken},
    connection::{self, Writer},
    counts::Counts,
    fold::fold,
    recent::{CHANGES_MAX, Recent},
    turn::Turns,
    url::Target,
    within,
};
use crate::{
    Mutation, Outcome, StoreError,
    decide::{self, Decision, Held, Logged, decide},
};
use quarterdeck_model::{Key, Revision};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Mutex as Door, mpsc, oneshot};

/// Batches under way at once: one that becomes durable, one that waits to, and two that are written
/// meanwhile.
pub(super) const AT_ONCE: usize = 4;
/// Pause after changes could not be brought into the table of latest revisions.
const FOLD_PAUSE: Duration = Duration::from_secs(1);

/// All that commits to one database.
pub(super) struct Pipeline {
    target: Target,
    /// Batches are decided by one at a time.
    entrance: Door<Entrance>,
    under_way: Arc<Mutex<UnderWay>>,
    /// Changes after which they are brought into the table of latest revisions.
    fold_after: u64,
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
    /// Says when the last of them has the head and is about to commit.
    last: Option<oneshot::Receiver<()>>,
    /// What is committed and not in the table of latest revisions. None when it is to be read anew: what was
    /// read from a server before another took over says nothing of that one.
    recent: Option<Recent>,
    /// Grows whenever that is read anew.
    readings: u64,
    /// Changes are being brought into the table.
    folding: bool,
}

/// What a batch leaves.
struct Decided {
    head: Revision,
    keys: HashMap<Key, Written>,
}

/// The last that a batch did to a key.
#[derive(Clone, Copy)]
struct Written {
    revision: Revision,
    removed: bool,
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
    committed: bool,
    /// Dropped last: whoever has all lanes knows that nothing is under way.
    taken: Taken,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut under_way = locked(self.under_way);
        under_way.count = under_way.count.saturating_sub(1);
        if !self.committed {
            under_way.broken = true;
            return;
        }
        // And so are those before it.
        while let Some(batch) = under_way.batches.pop_front_if(|batch| batch.head <= self.head) {
            if let Some(recent) = &mut under_way.recent {
                batch.committed(recent);
            }
        }
    }
}

/// No change under the lock can stop half-way.
fn locked(under_way: &Mutex<UnderWay>) -> MutexGuard<'_, UnderWay> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UnderWay {
    /// The revision of `key`'s body, or that it has none, once all batches are committed; nothing when the table
    /// of latest revisions is to be asked.
    fn of(&self, key: &Key) -> Option<Option<Revision>> {
        let batches = self.batches.iter().rev();
        let written = batches.filter_map(|batch| batch.keys.get(key)).next();
        match written {
            Some(Written { revision, removed }) => Some((!removed).then_some(*revision)),
            None => self.recent.as_ref()?.get(key),
        }
    }

    /// What is known of `keys`, and those of which nothing is. None when it is to be read anew what is recent: then
    /// the table does not tell either.
    fn known<'b>(&self, keys: &BTreeSet<&'b Key>) -> Option<Known<'b>> {
        self.recent.as_ref()?;
        let mut known = Known { current: HashMap::with_capacity(keys.len()), others: Vec::new() };
        for key in keys {
            match self.of(key) {
                Some(Some(revision)) => {
                    known.current.insert(*key, revision);
                }
                Some(None) => {}
                None => known.others.push(*key),
            }
        }
        Some(known)
    }
}

/// What is known of keys without asking.
struct Known<'b> {
    /// The revisions of those that have a body.
    current: HashMap<&'b Key, Revision>,
    /// Those of which nothing is known.
    others: Vec<&'b Key>,
}

impl Decided {
    fn of(decision: &Decision<'_>) -> Self {
        let written = |entry: &Logged<'_>| {
            let Logged { revision, key, body, .. } = entry;
            (Key::clone(key), Written { revision: *revision, removed: body.is_none() })
        };
        // The last one of a key counts.
        Self { head: decision.head, keys: decision.log.iter().map(written).collect() }
    }

    fn committed(self, recent: &mut Recent) {
        for (key, Written { revision, removed }) in self.keys {
            recent.add(key, revision, removed);
        }
    }
}

impl Lane {
    /// Its connection, or a new one. What was read on the one before does not count: a server that
    /// took over may lack the newest commits, and come to the same revisions with others.
    async fn connect(
        &mut self,
        target: &Target,
        under_way: &Mutex<UnderWay>,
    ) -> Result<(Writer, Counts), StoreError> {
        match self.connection.take().filter(|(writer, _)| !writer.client.is_closed()) {
            Some(connection) => Ok(connection),
            None => {
                let writer = within(TRY_MAX, Writer::connect(target)).await?;
                locked(under_way).recent = None;
                Ok((writer, Counts::default()))
            }
        }
    }

    /// Finds out whether the newest batch tried was committed, however long the server is away within
    /// reason; if it was not, it never will be.
    async fn resolve(
        &mut self,
        target: &Target,
        under_way: &Mutex<UnderWay>,
    ) -> Result<bool, StoreError> {
        let mut patience = Patience::of(RESOLVE_PATIENCE);
        loop {
            match self.was_committed(target, under_way).await {
                Ok(committed) => return Ok(committed),
                Err(error) => patience.next_try(error).await?,
            }
        }
    }

    async fn was_committed(
        &mut self,
        target: &Target,
        under_way: &Mutex<UnderWay>,
    ) -> Result<bool, StoreError> {
        let (writer, counts) = self.connect(target, under_way).await?;
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
        Self { target, entrance, under_way: Arc::default(), fold_after: CHANGES_MAX, home }
    }

    /// Brings changes into the table of latest revisions after so many.
    pub(super) fn fold_after(&mut self, changes: u64) {
        self.fold_after = changes;
    }

    /// Tries to commit once. That the store is unavailable means that nothing was applied.
    pub(super) async fn attempt(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        // Dropped last, however this ends.
        let _leaving = Leaving(self);
        let mut entrance = self.entrance.lock().await;
        let ready = self.decide(&mut entrance, batch).await?;
        let outcomes = if ready.decision.log.is_empty() {
            let stands = self.all_home(&mut entrance.lanes).await && ready.stands().await?;
            if let Some(turns) = &mut entrance.turns
                && !stands
            {
                turns.give_up();
            }
            drop(entrance);
            if stands { Ok(ready.give_up()) } else { Err(overtaken()) }
        } else {
            let Ready { taken, writer, counts, from, fences, decision } = ready;
            let (flight, before, after) = self.set_out(taken, &decision);
            drop(entrance);
            let ground = Ground { head: from, before, fences };
            flight.finish(&self.target, (writer, counts), ground, decision, after).await
        };
        self.fold_when_due();
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
        let (writer, mut counts) = taken.lane.connect(&self.target, &self.under_way).await?;
        let mut turn = match turns.take().filter(Turns::usable) {
            Some(turn) => turn,
            None => within(TRY_MAX, Turns::connect(&self.target)).await?,
        };
        let mut ours = turn.held() && !within(TRY_MAX, turn.is_wanted()).await?;
        let limited = decide::limited(batch);
        let due = {
            let under_way = locked(&self.under_way);
            ours &= under_way.recent.is_some() && !under_way.broken;
            under_way.recent.as_ref().and_then(|recent| recent.overdue(self.fold_after))
        };
        if let Some(goal) = due {
            fold_upto(&self.target, &self.under_way, goal).await?;
        }
        // Sizes are counted in what is committed.
        if !ours || !limited.is_empty() {
            ours &= self.all_home(lanes).await;
        }
        let (keys, leases) = (decide::keys(batch), decide::leases(batch));
        if !ours {
            turn.give_up();
        }
        let looking = async {
            // Known before the table is asked: what is brought in meanwhile is seen there.
            let known = locked(&self.under_way).known(&keys);
            self.look(&writer, known.ok_or_else(overtaken)?, &leases).await
        };
        let Seen { current, tokens } = if ours {
            within(TRY_MAX, looking).await?
        } else {
            // At once: mostly nobody else has the turn, and nothing changes until it is ours.
            let both = async { Ok(tokio::join!(turn.take(), looking)) };
            let (head, seen) = within(TRY_MAX, both).await?;
            let head = head?;
            if self.knows(head) {
                seen?
            } else {
                within(TRY_MAX, self.follow(&writer, head)).await?;
                let known = locked(&self.under_way).known(&keys);
                let known = known.ok_or_else(overtaken)?;
                within(TRY_MAX, self.look(&writer, known, &leases)).await?
            }
        };
        let head = locked(&self.under_way).head;
        let sizes = within(TRY_MAX, counts.of(&writer, head, &limited)).await?;
        let fences = batch.iter().filter_map(|mutation| mutation.fence.as_ref());
        let fences = fences.filter(|fence| tokens.get(&*fence.lease) == Some(&fence.token));
        let fences = fences.map(|fence| (&*fence.lease, fence.token)).collect();
        let decision = decide(batch, Held { head, current, tokens, counts: sizes });
        *turns = Some(turn);
        Ok(Ready { taken, writer, counts, from: head, fences, decision })
    }

    /// What the keys of a batch are at, and the tokens of its leases.
    async fn look<'b>(
        &self,
        writer: &Writer,
        Known { mut current, others }: Known<'b>,
        leases: &BTreeSet<&'b str>,
    ) -> Result<Seen<'b>, StoreError> {
        let seen = commit::look(writer, &others, leases).await?;
        current.extend(seen.current);
        Ok(Seen { current, ..seen })
    }

    /// Whether all up to `head` is known, at which nothing is under way; then the next batch is decided on it.
    fn knows(&self, head: Revision) -> bool {
        let mut under_way = locked(&self.under_way);
        under_way.head = head;
        under_way.recent.as_ref().is_some_and(|recent| recent.head() == head)
    }

    /// Reads what others wrote up to `head`. Nothing is under way, and the turn is ours.
    async fn follow(&self, writer: &Writer, head: Revision) -> Result<(), StoreError> {
        let known = {
            let mut under_way = locked(&self.under_way);
            under_way.readings += 1;
            // What is ahead of the server was another's.
            under_way.recent.take().filter(|recent| recent.head() <= head)
        };
        let recent = commit::follow(writer, known).await?;
        if recent.head() != head {
            // Somebody writes without a turn.
            return Err(overtaken());
        }
        locked(&self.under_way).recent = Some(recent);
        Ok(())
    }

    /// Has changes brought into the table of latest revisions, beside what else goes on.
    fn fold_when_due(&self) {
        let goal = {
            let mut under_way = locked(&self.under_way);
            match under_way.recent.as_ref().and_then(|recent| recent.due(self.fold_after)) {
                Some(goal) if !std::mem::replace(&mut under_way.folding, true) => goal,
                _ => return,
            }
        };
        let (target, under_way) = (self.target.clone(), self.under_way.clone());
        tokio::spawn(async move {
            if let Err(error) = fold_upto(&target, &under_way, goal).await {
                tracing::warn!(
                    %error,
                    "could not bring changes into the table of latest revisions; trying again soon"
                );
                tokio::time::sleep(FOLD_PAUSE).await;
            }
            locked(&under_way).folding = false;
        });
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

    /// Notes that a batch is under way; answers also when the one before is about to commit, and how to say
    /// that of this one.
    fn set_out(
        &self,
        taken: Taken,
        decision: &Decision<'_>,
    ) -> (Flight<'_>, impl Future<Output = bool> + use<>, oneshot::Sender<()>) {
        let head = decision.head;
        let (after, last) = oneshot::channel();
        let mut under_way = locked(&self.under_way);
        let before = under_way.last.replace(last);
        under_way.count += 1;
        under_way.head = head;
        under_way.batches.push_back(Decided::of(decision));
        let before = async move {
            match before {
                Some(before) => before.await.is_ok(),
                None => true,
            }
        };
        (Flight { under_way: &self.under_way, head, committed: false, taken }, before, after)
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

/// An attempt that ends.
struct Leaving<'p>(&'p Pipeline);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Ready<'_> {
    /// Whether what was decided holds without anything written: nobody wrote since.
    async fn stands(&self) -> Result<bool, StoreError> {
        Ok(within(TRY_MAX, commit::head(&self.writer)).await? == self.from)
    }

    /// Ends what has nothing to write.
    fn give_up(self) -> Vec<Outcome> {
        let Self { mut taken, writer, counts, decision, .. } = self;
        taken.lane.connection = Some((writer, counts));
        decision.outcomes
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
        after: oneshot::Sender<()>,
    ) -> Result<Vec<Outcome>, StoreError> {
        // There may be none after this one.
        let has_head = || {
            let _ = after.send(());
        };
        let lane = &mut self.taken.lane;
        // Before anything is sent, and past the number that a lost one is passed over with: no number is
        // ever used twice, whatever becomes of this one.
        lane.batch += commit::BATCH_STEP;
        let signature = Signature { writer: &lane.id, batch: lane.batch };
        match commit::finish(&writer, ground, &decision, &signature, has_head).await {
            Ok(()) => lane.connection = Some((writer, counts)),
            Err(Lost::Refused(error)) => return Err(error),
            Err(Lost::Unknown(error)) => {
                drop(writer);
                tracing::warn!(%error, "a commit was not answered; looking for its outcome");
                match lane.resolve(target, self.under_way).await {
                    Ok(true) => {}
                    Ok(false) => return Err(error),
                    Err(error) => return Err(StoreError::OutcomeUnknown(error.to_string())),
                }
            }
        }
        self.committed = true;
        Ok(decision.outcomes)
    }
}

/// Brings changes up to `goal`, which is committed, into the table of latest revisions.
async fn fold_upto(
    target: &Target,
    under_way: &Mutex<UnderWay>,
    goal: Revision,
) -> Result<(), StoreError> {
    let reading = locked(under_way).readings;
    // What was brought in by then stays so, when a server falls silent in between.
    let folded = within(TRY_MAX, async {
        let mut client = connection::folder(target).await?;
        fold(&mut client, goal).await
    });
    let folded = folded.await?;
    let mut under_way = locked(under_way);
    // What was read since may be another server's.
    if under_way.readings == reading
        && let Some(recent) = &mut under_way.recent
    {
        recent.brought_in(folded);
    }
    Ok(())
}
