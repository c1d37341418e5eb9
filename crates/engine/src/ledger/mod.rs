//! The ledger: one task in the whole fleet keeps the book and decides, so that nothing comes between a decision and
//! its note. Before each decision the book is brought to what has been acknowledged by any replica.
//!
//! A run asks by writing a permit, in whatever replica it is driven; the ledger grants it, or says in it who blocks.
//! What a permit may take is counted from the decision on: should its write fail, the count is taken back. It ends
//! when the permit is removed, which is done by whoever drives the run.
//!
//! - [`facts`] brings objects into the book; [`line`] is who waits, and for what to give way; [`statuses`] says in each
//!   service what the book counts.
//! - [`approvals`] reads what people have said of a run; [`hooks`] asks services, and [`review`] is what they are asked.

mod approvals;
mod facts;
mod hooks;
mod line;
mod review;
mod statuses;

use crate::objects::{EngineError, Objects};
use approvals::Approvals;
use facts::Ask;
pub(crate) use facts::Facts;
use hooks::{Asker, Hooks};
use line::Line;
use quarterdeck_ledger::{Blocker, Grant, Holder, Refusal, Request, Target};
use quarterdeck_model::{
    Key, Time,
    kinds::{Permit, PermitPhase, PermitStatus},
};
use quarterdeck_providers::http::Webhooks;
use quarterdeck_store::{Mutation, Outcome, Precondition, StoreError};
use std::{sync::Arc, time::Duration};
use tracing::{error, warn};

/// Most questions that are decided before the answers to them are written.
const AT_ONCE: usize = 256;
/// How often the book is looked at when nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// Keeps the ledger; ends only by a defect, or when nobody knows what was written.
pub(crate) async fn keep(objects: Objects, webhooks: Arc<Webhooks>) {
    let store = objects.store().clone();
    let statuses = statuses::start(objects.clone());
    let facts = Facts::new(store.clone());
    let hooks = Hooks::new(objects.clone(), webhooks);
    let mut keeper = Keeper { objects, facts, hooks, line: Line::default() };
    loop {
        let next = keeper.facts.at().next();
        if !keeper.line.is_due() {
            // In any case it is time to look.
            tokio::select! {
                _ = store.wait_for(next, TICK) => {}
                () = keeper.hooks.answered() => {}
            }
        }
        match keeper.look().await {
            Ok(()) => {}
            Err(EngineError::Store(StoreError::OutcomeUnknown(why))) => {
                error!(why, "it is not known which permits were granted; the ledger begins anew");
                return;
            }
            // The lease is lost, and this task ends with it.
            Err(EngineError::Fenced) => return,
            Err(error) => {
                warn!(%error, "the ledger waits for the store");
                tokio::time::sleep(TICK).await;
            }
        }
        statuses.changed(keeper.facts.take_changed());
    }
}

struct Keeper {
    objects: Objects,
    facts: Facts,
    hooks: Hooks,
    line: Line,
}

/// What is decided on a question, and written in its permit.
struct Decided {
    key: Key,
    granted: bool,
}

impl Keeper {
    /// Brings the book along, and answers whoever asks, or waits for what gave way.
    async fn look(&mut self) -> Result<(), EngineError> {
        self.catch_up();
        if !self.line.is_due() {
            return Ok(());
        }
        // What any replica has acknowledged by now counts.
        self.objects.store().fresh().await?;
        self.catch_up();
        let next = self.line.next(AT_ONCE);
        self.answer(next).await
    }

    /// Brings the book to what is in the cache.
    fn catch_up(&mut self) {
        if self.facts.catch_up(self.objects.now()) {
            // Numbers mean something else now, and everybody is asked about anew.
            self.line = Line::default();
        }
        for key in self.facts.take_asked() {
            self.line.ask(key);
        }
        for blocker in self.facts.book.take_gave_way() {
            if let Blocker::Hook(service) = &blocker {
                self.hooks.changed(service);
            }
            self.line.gave_way(&blocker);
        }
        for (service, permit) in self.hooks.take_answered() {
            // Whom it was about, wherever that is in the line, and some of those who wait for their turn.
            if let Some(ask) = self.facts.ask(&permit) {
                self.line.ask((ask.permit.spec.asked, permit));
            }
            self.line.gave_way(&Blocker::Hook(service));
        }
    }

    /// Decides on questions in order, and writes the answers.
    async fn answer(&mut self, questions: Vec<Key>) -> Result<(), EngineError> {
        let (mut written, mut decided) = (Vec::new(), Vec::new());
        for key in questions {
            let Some(ask) = self.facts.ask(&key).cloned() else {
                self.line.forget(&key);
                continue;
            };
            let now = self.objects.now();
            if !self.facts.goes_on(&key, &ask.uid) {
                // Whoever drove its run takes it back, unless that goes on again before.
                self.line.wait(&key, None, now, None);
                continue;
            }
            let (status, waits_for) = self.decide(&key, &ask, now);
            let granted = status.phase == PermitPhase::Granted;
            if let Some(write) = self.say(&ask, status)? {
                written.push(write);
                decided.push(Decided { key: key.clone(), granted });
            }
            match waits_for {
                Some(Refusal { blocker, until, .. }) if !ask.permit.spec.dry_run => {
                    self.line.wait(&key, Some(blocker), now, until);
                }
                _ => self.line.forget(&key),
            }
        }
        if written.is_empty() {
            return Ok(());
        }
        let outcomes = match self.objects.commit(written).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // Nothing was written, or the ledger begins anew.
                self.facts.read_again();
                return Err(error);
            }
        };
        for (Decided { key, granted }, outcome) in decided.into_iter().zip(outcomes) {
            if matches!(outcome, Outcome::Committed(_)) {
                continue;
            }
            // It changed meanwhile, and is looked at as it is now.
            if granted {
                self.facts.not_granted(&key);
            }
            let since = self.facts.ask(&key).and_then(|ask| ask.permit.spec.asked);
            self.line.ask((since, key));
        }
        Ok(())
    }

    /// What the ledger says to a question; what it grants is in the book from then on.
    fn decide(&mut self, key: &Key, ask: &Ask, now: Time) -> (PermitStatus, Option<Refusal>) {
        let spec = &ask.permit.spec;
        let namespace = &*key.namespace;
        let on = self.facts.on_server(&spec.target, namespace);
        let target = Target::from(&*on);
        let approvals = Approvals::of(&self.objects.store().world(), key);
        let request = Request {
            target,
            namespace,
            runbook: &spec.runbook,
            approvals: &approvals.given,
            requester: approvals.requester.as_deref(),
            own_change: spec.own_change,
            now,
        };
        let mut hooks = Vec::new();
        let agreed = self.facts.book.ask(&request).and_then(|grant| {
            if !spec.begun {
                let asker = Asker { permit: key, uid: &ask.uid, spec };
                hooks = self.hooks.agree(&grant.hooks, &asker)?;
            }
            Ok(grant)
        });
        let grant = match agreed {
            Ok(grant) => grant,
            Err(refusal) if spec.begun => {
                warn!(permit = %key, why = refusal.message, "noted a disruption that had begun without leave");
                self.facts.book.loss(target)
            }
            Err(refusal) => {
                let message = Some(refusal.message.clone());
                let phase = PermitPhase::Waiting;
                return (PermitStatus { phase, message, ..PermitStatus::default() }, Some(refusal));
            }
        };
        let Grant { servers, instances, services, approved_by, hooks: _ } = grant;
        let (mut phase, mut granted) = (PermitPhase::WouldBeGranted, None);
        if !spec.dry_run {
            let name = format!("{namespace}/{}", key.name);
            self.facts.book.permit(Holder { uid: ask.uid.clone(), name }, target, now);
            (phase, granted) = (PermitPhase::Granted, Some(now));
        }
        let status = PermitStatus {
            phase,
            message: None,
            granted,
            servers,
            instances,
            services,
            approved_by,
            hooks,
        };
        (status, None)
    }

    /// What writes the answer, unless it is said already.
    fn say(&self, ask: &Ask, status: PermitStatus) -> Result<Option<Mutation>, EngineError> {
        if ask.permit.status == status {
            return Ok(None);
        }
        let permit = Permit { status, ..ask.permit.clone() };
        Ok(Some(self.objects.put(&permit, Precondition::At(ask.revision))?))
    }
}
