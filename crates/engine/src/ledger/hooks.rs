//! Hooks: services that want to be asked before a permit takes instances of theirs.
//!
//! A hook is asked when all else allows the disruption, beside the decisions: the run is refused meanwhile, and decided
//! on anew when there is an answer. So no hook holds up a decision about another service, and what a hook agreed to is
//! never more than a budget allows. Of each service one run is asked about at a time, and what was answered is kept
//! until it expires, or the service's owner corrects the hook. A dry run asks nobody. After a restart a hook is asked again, with the same uid.

use super::review::{self, Said};
use crate::{
    events::{self, Happening},
    objects::Objects,
    secrets::StoreSecrets,
};
use quarterdeck_ledger::{Blocker, Concern, Refusal};
use quarterdeck_model::{
    Key, Kind as _, Time,
    kinds::{DisruptionHook, HookAnswer, OnSilence, PermitSpec, Run, SecretReference},
};
use quarterdeck_providers::{
    SecretData, SecretSource as _,
    http::{Slot, Webhook, Webhooks},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};

/// Longest that one request may take; after a pause another is made, until the deadline of the hook.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the first request that failed; doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a run that a hook agreed to may wait for its permit before the hook is asked again.
const AGREED_FOR: Duration = Duration::from_secs(300);
/// How soon a hook that was silent is asked again about the same run.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// How long a hook that said never is not asked about the same run.
const NEVER_FOR: Duration = Duration::from_secs(86_400);
/// Most answers kept: beyond, those that expired are forgotten, and then all, and hooks are asked again.
const ANSWERS_MAX: usize = 100_000;

/// What hooks have said, and are being asked.
pub(super) struct Hooks {
    objects: Objects,
    webhooks: Arc<Webhooks>,
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
    /// Those that are being asked; they end with this.
    tasks: JoinSet<()>,
}

/// Who asks for a permit, on behalf of a run.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// It has the name of the run.
    pub(super) permit: &'a Key,
    /// Identity of the run.
    pub(super) uid: &'a Arc<str>,
    pub(super) spec: &'a PermitSpec,
}

#[derive(Default)]
struct State {
    /// By the identity of the run and the name of the service.
    answers: HashMap<(Arc<str>, Arc<str>), Answer>,
    /// By the name of the service.
    turns: HashMap<Arc<str>, Turn>,
    /// Services whose turn is over, and the permit it was about.
    answered: Vec<(Arc<str>, Key)>,
    /// Tells turns apart.
    number: u64,
}

struct Answer {
    /// Who was asked.
    hook: DisruptionHook,
    /// About the loss of so many instances.
    lost: u32,
    agrees: bool,
    /// What it said, as a sentence without the service.
    message: String,
    time: Time,
    /// When it is to be asked again.
    until: Time,
}

/// The run that a service is being asked about.
struct Turn {
    number: u64,
    /// Who is asked.
    hook: DisruptionHook,
    run: Arc<str>,
    permit: Key,
    since: Time,
    /// Until when an answer counts; none while it stands in line behind other services' hooks.
    until: Option<Time>,
    task: AbortHandle,
}

impl Turn {
    fn says(&self, run: &Arc<str>) -> String {
        let about = if self.run == *run { "" } else { " about another run first" };
        let since = self.since;
        match self.until {
            Some(until) => format!(
                "wants to be asked: its hook is being asked{about} since {since} until {until}"
            ),
            None => format!(
                "wants to be asked: its hook stands in line{about} since {since}, as many hooks are being asked"
            ),
        }
    }
}

impl Hooks {
    pub(super) fn new(objects: Objects, webhooks: Arc<Webhooks>) -> Self {
        Self {
            objects,
            webhooks,
            state: Arc::default(),
            news: Arc::default(),
            tasks: JoinSet::new(),
        }
    }

    /// Returns when a hook has answered, or will not.
    pub(super) async fn answered(&self) {
        self.news.notified().await;
    }

    /// Services that are not being asked any more since this was called last, with the permit they were asked about.
    pub(super) fn take_answered(&self) -> Vec<(Arc<str>, Key)> {
        std::mem::take(&mut lock(&self.state).answered)
    }

    /// The owner of a service has changed its hook: nobody waits for the answer of the one there was.
    pub(super) fn changed(&self, service: &Arc<str>) {
        lock(&self.state).end_turn(service);
    }

    /// What those whom it concerns have said to what a run wants, when all of them agree. Whoever has not been asked
    /// is asked now, all at once.
    ///
    /// # Errors
    /// Who does not agree, or has not answered yet.
    pub(super) fn agree(
        &mut self,
        concerns: &[Concern],
        asker: &Asker<'_>,
    ) -> Result<Vec<HookAnswer>, Refusal> {
        let now = self.objects.now();
        let (mut agreed, mut open) = (Vec::new(), Vec::new());
        for concern in concerns {
            let state = lock(&self.state);
            let key = (asker.uid.clone(), concern.service.clone());
            let known = state.answers.get(&key).filter(|it| it.is_about(concern) && now < it.until);
            match known {
                Some(answer) if answer.agrees => agreed.push(HookAnswer {
                    service: concern.service.to_string(),
                    message: answer.message.clone(),
                    time: Some(answer.time),
                }),
                Some(answer) => return Err(refusal(concern, &answer.message, Some(answer.until))),
                None => open.push(concern),
            }
        }
        let mut waits = None;
        for concern in open {
            let refusal = match asker.spec.dry_run {
                true => refusal(concern, "wants to be asked first, by its disruptionHook", None),
                false => self.ask(concern, asker, now),
            };
            waits = waits.or(Some(refusal));
        }
        waits.map_or(Ok(agreed), Err)
    }

    /// Has a hook asked, unless it is.
    fn ask(&mut self, concern: &Concern, asker: &Asker<'_>, now: Time) -> Refusal {
        while self.tasks.try_join_next().is_some() {}
        let mut state = lock(&self.state);
        let service = &concern.service;
        if let Some(turn) = state.turns.get(service).filter(|turn| turn.hook == concern.hook) {
            return refusal(concern, &turn.says(asker.uid), None);
        }
        state.end_turn(service);
        state.number += 1;
        let number = state.number;
        let asking = Asking {
            state: self.state.clone(),
            news: self.news.clone(),
            service: service.clone(),
            number,
            objects: self.objects.clone(),
            webhooks: self.webhooks.clone(),
        };
        let slot = self.webhooks.free_slot();
        let until = slot.as_ref().map(|_| end_of(now, concern.hook.deadline().as_std()));
        let question = Question::of(concern, asker);
        // It comes to know its turn when this is done.
        let task = self.tasks.spawn(async move {
            let answer = asking.answer(&question, slot).await;
            question.tell(&asking.objects, &answer).await;
            let key = (question.run.clone(), question.service.clone());
            asking.keep(key, answer);
        });
        let turn = Turn {
            number,
            hook: concern.hook.clone(),
            run: asker.uid.clone(),
            permit: asker.permit.clone(),
            since: Time::seconds(now.timestamp()),
            until,
            task,
        };
        let says = turn.says(asker.uid);
        state.turns.insert(service.clone(), turn);
        refusal(concern, &says, None)
    }
}

/// `payments/api says never: a sale; its owner is payments (#payments)`.
fn refusal(concern: &Concern, says: &str, until: Option<Time>) -> Refusal {
    let Concern { service, contact, .. } = concern;
    let message = format!("{service} {says}{contact}");
    Refusal { blocker: Blocker::Hook(service.clone()), message, until }
}

impl State {
    /// Has a service asked no more about the run that it is being asked about.
    fn end_turn(&mut self, service: &Arc<str>) {
        if let Some(turn) = self.turns.remove(service) {
            turn.task.abort();
            self.answered.push((service.clone(), turn.permit));
        }
    }

    fn keep(&mut self, key: (Arc<str>, Arc<str>), answer: Answer) {
        if self.answers.len() >= ANSWERS_MAX {
            let now = answer.time;
            self.answers.retain(|_, answer| now < answer.until);
            if self.answers.len() >= ANSWERS_MAX {
                self.answers.clear();
            }
        }
        self.answers.insert(key, answer);
    }
}

impl Answer {
    /// Whether it is the answer to this: whom it was, and no less than what is to be lost.
    fn is_about(&self, concern: &Concern) -> bool {
        self.hook == concern.hook && concern.lost <= self.lost
    }
}

/// Has a hook asked, and ends the turn of its service, however that ends.
struct Asking {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
    service: Arc<str>,
    /// Its turn.
    number: u64,
    objects: Objects,
    webhooks: Arc<Webhooks>,
}

impl Asking {
    /// Asks until there is an answer, or the hook was asked for as long as its deadline says. The time in which it
    /// stands in line behind others does not count.
    async fn answer(&self, question: &Question, mut slot: Option<Slot>) -> Answer {
        let mut left = question.hook.deadline().as_std();
        let mut pause = PAUSE;
        let said = loop {
            let slot = match slot.take() {
                Some(slot) => slot,
                None => self.stand_in_line(left).await,
            };
            let began = Instant::now();
            let timeout = left.min(REQUEST_TIMEOUT);
            let why = match question.request(&self.objects, &self.webhooks, &slot, timeout).await {
                Ok(said) => break Ok(said),
                Err(why) => why,
            };
            drop(slot);
            left = left.saturating_sub(began.elapsed());
            if left <= pause {
                // There is no time for another.
                sleep(left).await;
                break Err(why);
            }
            sleep(pause).await;
            left = left.saturating_sub(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        };
        question.answered(said, self.objects.now())
    }

    /// Waits until there is room to ask, with so much time left for it.
    async fn stand_in_line(&self, left: Duration) -> Slot {
        let slot = match self.webhooks.free_slot() {
            Some(slot) => slot,
            None => self.webhooks.slot().await,
        };
        let until = end_of(self.objects.now(), left);
        if let Some(turn) = self.turn(&mut lock(&self.state)) {
            turn.until = Some(until);
        }
        slot
    }

    /// Its turn, as long as that is not over.
    fn turn<'s>(&self, state: &'s mut State) -> Option<&'s mut Turn> {
        state.turns.get_mut(&self.service).filter(|turn| turn.number == self.number)
    }

    fn keep(&self, key: (Arc<str>, Arc<str>), answer: Answer) {
        let mut state = lock(&self.state);
        if self.turn(&mut state).is_some() {
            state.keep(key, answer);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if self.turn(&mut state).is_some() {
            state.end_turn(&self.service);
            self.news.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one insertion or removal, so a poisoned lock guards good maps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn later(time: Time, length: Duration) -> Time {
    time.timestamp().checked_add(length).map_or(time, Time::new)
}

/// When so much time is over, in whole seconds.
fn end_of(now: Time, left: Duration) -> Time {
    Time::seconds(later(now, left).timestamp())
}

/// What a hook is asked.
struct Question {
    service: Arc<str>,
    hook: DisruptionHook,
    lost: u32,
    /// Identity of the run.
    run: Arc<str>,
    /// The run.
    about: Key,
    /// The same however often it is asked.
    uid: String,
    body: Value,
}

impl Question {
    fn of(concern: &Concern, asker: &Asker<'_>) -> Self {
        let uid = format!("{}-{}", asker.uid, concern.service.replace('/', "."));
        let Key { namespace, name, .. } = asker.permit;
        Self {
            service: concern.service.clone(),
            hook: concern.hook.clone(),
            lost: concern.lost,
            run: asker.uid.clone(),
            about: Key::new(Run::info(), namespace, name),
            body: review::request(&uid, concern, asker),
            uid,
        }
    }

    /// What is kept of what it said.
    fn answered(&self, said: Result<Said, String>, now: Time) -> Answer {
        let (agrees, message, until) = self.understand(said, now);
        Answer { hook: self.hook.clone(), lost: self.lost, agrees, message, time: now, until }
    }

    /// Whether it agrees, what it says, and until when that counts.
    fn understand(&self, said: Result<Said, String>, now: Time) -> (bool, String, Time) {
        let because =
            |reason: Option<String>| reason.map_or_else(String::new, |it| format!(": {it}"));
        match said {
            Ok(Said::Now { reason }) => {
                (true, format!("says now{}", because(reason)), later(now, AGREED_FOR))
            }
            Ok(Said::After { time, reason }) => {
                (false, format!("says not before {time}{}", because(reason)), time)
            }
            Ok(Said::Never { reason }) => {
                let never =
                    format!("says never{}; cancel the run, or talk to them", because(reason));
                (false, never, later(now, NEVER_FOR))
            }
            Err(why) => {
                let deadline = self.hook.deadline();
                let silent = format!(
                    "says nothing: its hook gave no answer within {deadline} (last: {why})"
                );
                match self.hook.on_silence {
                    OnSilence::Allow => {
                        (true, format!("{silent}, and onSilence allows it"), later(now, AGREED_FOR))
                    }
                    OnSilence::Refuse => (
                        false,
                        format!("{silent}, and onSilence refuses it"),
                        later(now, SILENT_FOR),
                    ),
                }
            }
        }
    }

    /// One request.
    async fn request(
        &self,
        objects: &Objects,
        webhooks: &Webhooks,
        slot: &Slot,
        timeout: Duration,
    ) -> Result<Said, String> {
        let secrets = StoreSecrets(objects.store().clone());
        let read = |reference: &Option<SecretReference>| -> Result<SecretData, String> {
            let Some(SecretReference { namespace, name }) = reference else {
                return Ok(SecretData::new());
            };
            let found = secrets.get(namespace, name);
            found.ok_or_else(|| format!("Secret {namespace}/{name} does not exist; create it"))
        };
        let (secret, ca) = (read(&self.hook.secret_ref)?, read(&self.hook.ca_secret_ref)?);
        let key = |secret: &SecretData, name: &str| secret.get(name).cloned();
        let (token, signing_key) = (key(&secret, "token"), key(&secret, "signingKey"));
        if self.hook.secret_ref.is_some() && token.is_none() && signing_key.is_none() {
            return Err("its Secret has neither the key token nor signingKey; add one".into());
        }
        let ca_pem = key(&ca, "ca.crt");
        if self.hook.ca_secret_ref.is_some() && ca_pem.is_none() {
            return Err("its caSecretRef names a Secret without the key ca.crt; add it".into());
        }
        let webhook = Webhook {
            url: &self.hook.url,
            id: &self.uid,
            body: &self.body,
            token: token.as_deref(),
            signing_key: signing_key.as_deref(),
            ca_pem: ca_pem.as_deref(),
            now: objects.now().timestamp(),
            timeout,
        };
        let review = webhooks.post(&webhook, slot).await.map_err(|error| error.to_string())?;
        review::read(&review, &self.uid, objects.now())
    }

    /// Says in the run's story what was answered.
    async fn tell(&self, objects: &Objects, answer: &Answer) {
        let found = objects.get(&self.about).filter(|run| *run.uid() == *self.run);
        let Some(run) = found else { return };
        let happening = Happening {
            component: "ledger",
            reason: if answer.agrees { "DisruptionAgreed" } else { "DisruptionDeclined" },
            message: &format!("{} {}", self.service, answer.message),
            warning: !answer.agrees,
            number: run.revision.0,
            place: 0,
        };
        let told = match objects.tell(&events::about(&run, &happening, answer.time)) {
            Ok(event) => objects.commit(vec![event]).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::warn!(run = %self.about, %error, "could not tell what a hook answered");
        }
    }
}
