//! Looks after one instance, from its assignment until nothing of it is left: looks, decides, does, and tells.

use super::{
    Host,
    assignment::{Assignment, InstanceReport},
    backoff::Trouble,
    body::Volumes,
    decide::{Act, Memory, Verdict, Wanted, decide},
    kept::{self, Noted},
    probing::Probes,
    seen::{SANDBOX, Seen},
    status::{Around, status},
    work::{Failed, Outcome, Progress, Work},
};
use jiff::Timestamp;
use quarterdeck_model::kinds::container::PodSpec;
use std::{
    future::Future,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

/// What is asked of the one that looks after an instance.
#[derive(Debug, Clone)]
pub(super) enum Order {
    /// It is to run.
    Run(Arc<Assignment>),
    /// It is to end until then; without an assignment, nobody knows what it was.
    End(Option<Arc<Assignment>>, Timestamp),
}

impl Order {
    pub(super) fn assignment(&self) -> Option<&Arc<Assignment>> {
        match self {
            Self::Run(it) => Some(it),
            Self::End(it, _) => it.as_ref(),
        }
    }
}

/// How often it is told how far a long act is.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Shortest wait after something failed; doubled up to [`PAUSE_MAX`], so that nothing is asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Rounds of acts in a row, with no wait between them. Making an instance of many containers takes far fewer.
const ROUNDS_MAX: u32 = 100;

/// Looks after the instance until nothing is left of it.
pub(super) async fn live(
    host: Arc<Host>,
    uid: String,
    mut orders: watch::Receiver<Order>,
    poked: Arc<Notify>,
) {
    let noted = kept::noted_of(&host.settings, &uid);
    let memory = Memory { verdicts: noted.verdicts.clone(), ..Memory::default() };
    let (probes, verdicts) = Probes::new(Arc::clone(&host.engine));
    let order = orders.borrow_and_update().clone();
    let mut life = Life {
        host,
        uid,
        order,
        memory,
        seen: Seen::default(),
        volumes: Arc::default(),
        noted,
        progress: Progress::default(),
        probes,
        verdicts,
        away: None,
    };
    let (mut failures, mut rounds) = (0_u32, 0_u32);
    loop {
        life.obey(orders.borrow_and_update().clone());
        let resync = life.host.settings.timings.resync;
        let wait = match life.host.engine.look(&life.uid).await {
            Err(error) => {
                life.away(&error.to_string());
                failures = failures.saturating_add(1);
                pause(failures)
            }
            Ok(seen) => {
                life.see(seen);
                let now = Timestamp::now();
                let decision = decide(
                    life.wanted(),
                    &life.seen,
                    &life.memory,
                    now,
                    &life.host.settings.timings,
                );
                life.tell(false);
                let idle = decision.acts.is_empty();
                let mut done = true;
                for act in decision.acts {
                    match life.perform(act, &mut orders).await {
                        Done::Yes => {}
                        Done::Gone => return life.gone(),
                        Done::No => {
                            done = false;
                            break;
                        }
                    }
                }
                failures = if done { 0 } else { failures.saturating_add(1) };
                rounds = if idle { 0 } else { rounds.saturating_add(1) };
                let until =
                    |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
                match (idle, done) {
                    (true, _) => decision.wake.map_or(resync, until).min(resync),
                    (false, true) if rounds < ROUNDS_MAX => continue,
                    (false, true) => PAUSE_MAX,
                    (false, false) => pause(failures),
                }
            }
        };
        // What was heard while it acted is looked at now: `poked` remembers it.
        let wake = Instant::now() + wait;
        loop {
            tokio::select! {
                changed = orders.changed() => {
                    if changed.is_err() {
                        // The agent ends; what runs goes on.
                        return;
                    }
                    break;
                }
                () = poked.notified() => break,
                Some((id, verdict)) = life.verdicts.recv() => {
                    if life.hear(id, verdict) {
                        break;
                    }
                }
                () = tokio::time::sleep_until(wake) => break,
            }
        }
    }
}

fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures.min(8))).min(PAUSE_MAX)
}

enum Done {
    Yes,
    No,
    Gone,
}

struct Life {
    host: Arc<Host>,
    uid: String,
    order: Order,
    memory: Memory,
    seen: Seen,
    volumes: Arc<Volumes>,
    noted: Noted,
    progress: Progress,
    probes: Probes,
    verdicts: mpsc::Receiver<(String, Verdict)>,
    /// Since when the engine does not answer, and what is said of that.
    away: Option<(Instant, String)>,
}

impl Life {
    fn obey(&mut self, order: Order) {
        if self.order.assignment() != order.assignment() {
            // Its Secrets may be other ones now, and what failed for them may do.
            self.memory.prepared = false;
            self.memory.troubles.clear();
        }
        self.order = order;
    }

    fn pod(&self) -> Option<&PodSpec> {
        self.order.assignment()?.spec.template.as_ref()
    }

    fn wanted(&self) -> Wanted<'_> {
        match (&self.order, self.pod()) {
            (Order::Run(_), Some(pod)) => Wanted::Running(pod),
            (Order::End(_, deadline), _) => Wanted::Gone { deadline: *deadline },
            // Only those with a template are assigned.
            (Order::Run(_), None) => Wanted::Gone { deadline: Timestamp::now() },
        }
    }

    fn see(&mut self, seen: Seen) {
        self.away = None;
        self.seen = seen;
        let there = |id: &str| self.seen.containers.iter().any(|it| it.id == id);
        self.memory.verdicts.retain(|id, _| there(id));
        let pod = match &self.order {
            Order::Run(it) => it.spec.template.as_ref(),
            // Who ends is asked nothing.
            Order::End(..) => None,
        };
        self.probes.follow(pod, &self.seen, &self.memory.verdicts);
    }

    /// Whether what a check says is a reason to act.
    fn hear(&mut self, id: String, verdict: Verdict) -> bool {
        let failed = verdict.failed.is_some();
        self.memory.verdicts.insert(id, verdict);
        self.tell(false);
        failed
    }

    fn away(&mut self, why: &str) {
        let since = self.away.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        self.away = Some((since, why.to_owned()));
        self.tell(false);
    }

    /// Does one thing, unless something else is asked for meanwhile.
    async fn perform(&mut self, act: Act, orders: &mut watch::Receiver<Order>) -> Done {
        let begins = !matches!(act, Act::Remove { .. } | Act::Stop { .. });
        let work = Work {
            host: Arc::clone(&self.host),
            assignment: self.order.assignment().cloned(),
            uid: self.uid.clone(),
            volumes: Arc::clone(&self.volumes),
            images: self.memory.images.clone(),
            progress: Arc::clone(&self.progress),
        };
        let result = self.meanwhile(work.perform(act), orders).await;
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let now = Timestamp::now();
        match result {
            None => Done::No,
            Some(Ok(outcome)) => {
                match outcome {
                    Outcome::Prepared(volumes) => {
                        self.volumes = Arc::new(volumes);
                        self.memory.prepared = true;
                        self.memory.troubles.remove(SANDBOX);
                    }
                    Outcome::Pulled(name, id) => {
                        self.memory.troubles.remove(&name);
                        self.memory.images.insert(name, id);
                    }
                    Outcome::Created(name) => {
                        self.memory.images.remove(&name);
                    }
                    Outcome::Started(name) => {
                        self.memory.troubles.remove(&name);
                    }
                    Outcome::Stopped | Outcome::Removed => {}
                    Outcome::Finished => return Done::Gone,
                }
                Done::Yes
            }
            Some(Err(Failed { name, reason, message })) => {
                tracing::warn!(
                    instance = self.uid,
                    container = name,
                    reason,
                    message,
                    "failed; it is tried again"
                );
                let timings = &self.host.settings.timings;
                // An engine that is away is no fault of the container's.
                if reason != "ContainerEngineAway" && begins {
                    let before = self.memory.troubles.get(&name);
                    let trouble = Trouble::next(before, (reason, message), now, timings);
                    self.memory.troubles.insert(name, trouble);
                }
                Done::No
            }
        }
    }

    /// Waits for an act, and tells how far it is; nothing, if something else is asked for.
    async fn meanwhile<T>(
        &mut self,
        act: impl Future<Output = T>,
        orders: &mut watch::Receiver<Order>,
    ) -> Option<T> {
        let mut act = std::pin::pin!(act);
        let mut tell = tokio::time::interval(TELL_EVERY);
        tell.reset();
        loop {
            tokio::select! {
                // What is done is done, though something was asked for at the same time.
                biased;
                done = &mut act => return Some(done),
                _ = orders.changed() => return None,
                Some((id, verdict)) = self.verdicts.recv() => {
                    self.hear(id, verdict);
                }
                _ = tell.tick() => self.tell(false),
            }
        }
    }

    /// Tells what is the case, if that is something else than was told before.
    fn tell(&mut self, gone: bool) {
        let Some(assignment) = self.order.assignment().cloned() else { return };
        let Some(pod) = &assignment.spec.template else { return };
        let Host { settings, reports, .. } = &*self.host;
        let doing = self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let away = self.away.as_ref();
        let away = away.filter(|(since, _)| since.elapsed() >= settings.timings.engine_silence);
        let around = Around {
            now: Timestamp::now(),
            timings: &settings.timings,
            doing: doing.as_ref().map(|(name, text)| (name.as_str(), text.as_str())),
            engine: away.map(|(_, why)| why.as_str()),
            before: &self.noted.status,
        };
        let status = status(pod, self.wanted(), &self.seen, &self.memory, &around);
        let noted = Noted { status, verdicts: self.memory.verdicts.clone() };
        if noted != self.noted && !gone {
            if let Err(error) = kept::note(settings, &self.uid, &noted) {
                tracing::warn!(instance = self.uid, %error, "what is seen of it cannot be kept");
            }
            self.noted = noted;
        }
        let Assignment { namespace, name, uid, .. } = &*assignment;
        let (namespace, name, uid) = (namespace.clone(), name.clone(), uid.clone());
        let status = self.noted.status.clone();
        reports.put(InstanceReport { namespace, name, uid, status, gone });
    }

    fn gone(mut self) {
        self.tell(true);
        if let Err(error) = kept::forget(&self.host.settings, &self.uid) {
            tracing::warn!(instance = self.uid, %error, "what was kept of it cannot be removed");
        }
    }
}
