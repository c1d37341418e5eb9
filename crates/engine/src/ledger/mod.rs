//! The ledger of the replica that acts: one task keeps the book and decides, so that nothing comes between a
//! decision and its note. Before each decision the book is brought to what has been acknowledged.
//!
//! A permit is an object, written before anybody is told of it and removed when its run has ended. What a permit
//! may take is counted from the decision on: should its write fail, the count is taken back.
//!
//! - [`facts`] brings objects into the book; [`statuses`] says in each service what the book counts.

mod facts;
mod statuses;

use crate::objects::{EngineError, Objects};
use facts::Facts;
use quarterdeck_ledger::{Blocker, Grant, Holder, Refusal, Request, Target};
use quarterdeck_model::{
    Key, Kind as _, ObjectMeta, OwnerReference, Time,
    kinds::{Permit, PermitSpec, PermitStatus, Run, RunTarget},
};
use quarterdeck_store::{Outcome, Precondition, StoreError};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};

/// Keeps a permit until its run has ended, whoever deletes it.
const FINALIZER: &str = "quarterdeck.dev/permit";
/// Most questions that are decided before the permits among them are written.
const AT_ONCE: usize = 256;
/// How many of those who wait are told when something gives way. They ask again, and the others a little later by
/// themselves: asking costs each of them something, and mostly there is room for a few.
const TOLD_AT_ONCE: usize = 16;
/// How often the book is looked at when nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// Asks the ledger.
#[derive(Clone)]
pub(crate) struct Ledger {
    questions: mpsc::UnboundedSender<Question>,
}

/// A run that wants to disrupt its target.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) run: Key,
    pub(crate) uid: Arc<str>,
    pub(crate) target: RunTarget,
    pub(crate) runbook: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// For a permit.
    Permit,
    /// What the answer would be.
    Look,
    /// To count a disruption that may have begun: it is permitted, whatever else is down.
    Note,
}

struct Question {
    what: What,
    asker: Asker,
    answer: oneshot::Sender<Answer>,
}

/// Kept by all that acts on a permit. It is not taken back while any of these is there: the end of a run is
/// known to the ledger, by way of the store, before its driver has heard of it and has stopped what it does.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse(#[expect(dead_code, reason = "it is there to be counted")] Arc<()>);

/// What the ledger says.
pub(crate) enum Answer {
    /// The target may be disrupted until the run ends.
    Permitted(InUse),
    /// Not now.
    Refused {
        /// Who blocks and why.
        why: String,
        /// Told when asking again can help. Nobody is told for certain.
        again: oneshot::Receiver<()>,
        /// When that helps at the latest, if it is known.
        until: Option<Time>,
    },
}

impl Ledger {
    /// Asks; the answer comes when what led to it is durable. It never comes when the term ends.
    pub(crate) fn ask(&self, what: What, asker: Asker) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        // Each run asks one question at a time, so that there are never more than runs.
        let _ = self.questions.send(Question { what, asker, answer });
        answered
    }
}

/// A ledger, and the task that keeps it; it runs until its future is dropped.
pub(crate) fn start(objects: Objects) -> (Ledger, impl Future<Output = ()> + Send) {
    let (questions, asked) = mpsc::unbounded_channel();
    (Ledger { questions }, keep(objects, asked))
}

async fn keep(objects: Objects, mut asked: mpsc::UnboundedReceiver<Question>) {
    let store = objects.store().clone();
    let statuses = statuses::start(objects.clone());
    let facts = Facts::new(store.clone());
    let mut keeper = Keeper { objects, facts, waiting: HashMap::new(), in_use: HashMap::new() };
    let mut questions = Vec::new();
    loop {
        let next = keeper.facts.at().next();
        tokio::select! {
            biased;
            count = asked.recv_many(&mut questions, AT_ONCE) => if count == 0 { return },
            // Either way it is time to look.
            _ = store.wait_for(next, TICK) => {}
        }
        let questions = std::mem::take(&mut questions);
        let done = async {
            if !questions.is_empty() {
                // What any replica has acknowledged by now counts. Whoever is not answered asks again.
                store.fresh().await?;
            }
            keeper.catch_up();
            keeper.answer(questions).await?;
            keeper.release().await
        };
        match done.await {
            Ok(()) => {}
            Err(EngineError::Store(StoreError::OutcomeUnknown(why))) => {
                error!(why, "it is not known which permits were written; the term begins anew");
                return;
            }
            // The term is ending, and this task with it.
            Err(EngineError::Fenced) => return,
            Err(error) => {
                warn!(%error, "the ledger waits for the store");
                tokio::time::sleep(TICK).await;
            }
        }
        keeper.tell();
        statuses.changed(keeper.facts.take_changed());
    }
}

struct Keeper {
    objects: Objects,
    facts: Facts,
    /// Who waits for what to give way, the longest first.
    waiting: HashMap<Blocker, VecDeque<oneshot::Sender<()>>>,
    /// Permits that something acts on, by the identity of their run.
    in_use: HashMap<Arc<str>, Weak<()>>,
}

impl Keeper {
    /// Brings the book to what is in the cache.
    fn catch_up(&mut self) {
        if self.facts.catch_up(self.objects.now()) {
            // Numbers mean something else now.
            self.waiting.clear();
        }
    }

    /// Answers questions in order, and writes the permits among the answers.
    async fn answer(&mut self, questions: Vec<Question>) -> Result<(), EngineError> {
        let (mut permits, mut given) = (Vec::new(), Vec::new());
        for Question { what, asker, answer } in questions {
            if !self.facts.goes_on(&asker.run, &asker.uid) {
                // Nobody would take its permit back.
                continue;
            }
            if self.facts.book.permitted(&asker.uid) {
                let _ = answer.send(Answer::Permitted(self.used_by(&asker.uid)));
                continue;
            }
            let now = self.objects.now();
            let target = Target { kind: &asker.target.kind, name: &asker.target.name };
            let namespace = &asker.run.namespace;
            let request = Request { target, namespace, runbook: &asker.runbook, now };
            let decided = self.facts.book.ask(&request);
            let grant = match (decided, what) {
                (Ok(_), What::Look) => {
                    let _ = answer.send(Answer::Permitted(InUse::default()));
                    continue;
                }
                (Ok(grant), _) => grant,
                (Err(refusal), What::Note) => {
                    let run = &asker.run;
                    warn!(%run, why = refusal.message, "noted a disruption that had begun without leave");
                    self.facts.book.loss(target)
                }
                (Err(refusal), _) => {
                    self.refuse(refusal, answer);
                    continue;
                }
            };
            let name = format!("{}/{}", asker.run.namespace, asker.run.name);
            let holder = Holder { uid: asker.uid.clone(), name };
            let written = self.objects.put(&permit(&asker, grant, now), Precondition::Absent);
            match written {
                Ok(written) => permits.push(written),
                Err(error) => {
                    warn!(%error, "a permit cannot be written");
                    continue;
                }
            }
            self.facts.book.permit(holder, target, now);
            given.push((asker, answer));
        }
        if permits.is_empty() {
            return Ok(());
        }
        let outcomes = match self.objects.commit(permits).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // Nothing was written, or the term ends.
                for (asker, _) in &given {
                    self.facts.book.release(&asker.uid);
                }
                self.facts.look_at_permits_again();
                return Err(error);
            }
        };
        for ((asker, answer), outcome) in given.into_iter().zip(outcomes) {
            if matches!(outcome, Outcome::Committed(_)) {
                let _ = answer.send(Answer::Permitted(self.used_by(&asker.uid)));
                continue;
            }
            self.facts.book.release(&asker.uid);
            let why = "the permit of an earlier run of the same name is being taken back".into();
            let (_, again) = oneshot::channel();
            let _ = answer.send(Answer::Refused { why, again, until: None });
        }
        Ok(())
    }

    /// What a run keeps while it acts on its permit.
    fn used_by(&mut self, uid: &Arc<str>) -> InUse {
        let in_use = self.in_use.get(uid).and_then(Weak::upgrade).unwrap_or_default();
        self.in_use.insert(uid.clone(), Arc::downgrade(&in_use));
        InUse(in_use)
    }

    /// Whether something still acts on a permit. It stops in a moment, and the permit is looked at again.
    fn is_in_use(&self, permit: &Key) -> bool {
        let in_use = self.facts.holder(permit).and_then(|uid| self.in_use.get(uid));
        in_use.is_some_and(|in_use| in_use.strong_count() > 0)
    }

    fn refuse(&mut self, refusal: Refusal, answer: oneshot::Sender<Answer>) {
        let Refusal { blocker, message: why, until } = refusal;
        let (told, again) = oneshot::channel();
        if answer.send(Answer::Refused { why, again, until }).is_ok() {
            self.waiting.entry(blocker).or_default().push_back(told);
        }
    }

    /// Takes back the permits of runs that have ended.
    async fn release(&mut self) -> Result<(), EngineError> {
        let (mut keys, mut deletes) = (Vec::new(), Vec::new());
        for key in self.facts.ended() {
            if self.is_in_use(&key) {
                continue;
            }
            if let Some(uid) = self.facts.holder(&key) {
                self.in_use.remove(uid);
            }
            // Its finalizer keeps it for nobody else.
            match self.objects.get(&key) {
                Some(permit) => {
                    deletes
                        .push(self.objects.delete(key.clone(), Precondition::At(permit.revision)));
                    keys.push(key);
                }
                None => self.facts.taken_back(&key),
            }
            if keys.len() == AT_ONCE {
                break;
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let outcomes = self.objects.commit(deletes).await?;
        for (key, outcome) in keys.iter().zip(outcomes) {
            // One that changed meanwhile is looked at again.
            if matches!(outcome, Outcome::Committed(_)) {
                debug!(permit = %key, "taken back");
                self.facts.taken_back(key);
            }
        }
        Ok(())
    }

    /// Tells some of those who wait for what gave way.
    fn tell(&mut self) {
        let gave_way: HashSet<Blocker> = self.facts.book.take_gave_way();
        for blocker in gave_way {
            let Some(queue) = self.waiting.get_mut(&blocker) else { continue };
            let mut told = 0;
            while told < TOLD_AT_ONCE
                && let Some(waits) = queue.pop_front()
            {
                // Whoever asked again meanwhile no longer listens.
                told += usize::from(waits.send(()).is_ok());
            }
            if queue.is_empty() {
                self.waiting.remove(&blocker);
            }
        }
        // Those who gave up, or asked again by themselves, are not kept.
        self.waiting.retain(|_, queue| {
            while queue.front().is_some_and(oneshot::Sender::is_closed) {
                queue.pop_front();
            }
            !queue.is_empty()
        });
    }
}

fn permit(asker: &Asker, grant: Grant, now: Time) -> Permit {
    let Grant { servers, instances, services } = grant;
    Permit {
        metadata: ObjectMeta {
            name: asker.run.name.to_string(),
            namespace: Some(asker.run.namespace.to_string()),
            uid: uuid::Uuid::new_v4().to_string(),
            generation: Some(1),
            creation_timestamp: Some(Time::seconds(now.timestamp())),
            finalizers: vec![FINALIZER.into()],
            owner_references: vec![OwnerReference {
                api_version: Run::info().api_version(),
                kind: Run::KIND.into(),
                name: asker.run.name.to_string(),
                uid: asker.uid.to_string(),
                controller: Some(true),
                block_owner_deletion: None,
            }],
            ..ObjectMeta::default()
        },
        spec: PermitSpec {
            run_uid: asker.uid.to_string(),
            target: asker.target.clone(),
            granted: Some(now),
            servers,
            instances,
            services,
        },
        status: PermitStatus {},
    }
}
