//! The instances of this host, as containers of its engine: Docker, or Podman's service that speaks Docker's API.
//!
//! What is wanted is the assignment; what is seen is asked of the engine; [`decide`] says what to do next, and [`life`]
//! does it, one task for each instance. Nothing here needs the plane: what is assigned is kept on the host, so that with
//! the plane away, and after a restart of the agent, all keeps running and what dies is started again.
//!
//! It must not know how assignments come or reports go. It touches only containers that carry this host's label, and
//! images that it pulled itself. No secret reaches an argument, a log, an error or a disk.
//! Whoever sets up logging keeps the target `bollard` above `debug`: it repeats there what the engine answers, variables
//! of containers included.

mod assignment;
mod backoff;
mod body;
mod checks;
mod credentials;
mod decide;
mod engine;
mod error;
mod files;
mod images;
mod keeper;
mod kept;
mod labels;
mod life;
mod pause;
mod probing;
mod reports;
mod seen;
mod session;
mod settings;
mod status;
mod talk;
mod usage;
mod work;

pub use assignment::{Assignment, InstanceReport, Secrets};
pub use error::ContainersError;
pub(crate) use files::{in_memory, private};
pub use quarterdeck_model::agent::session::{ExecOptions, LogOptions};
pub use settings::{HostPath, ImageRules, Settings, Timings};
pub use talk::{ExecControl, ExecOutput, ExecSession};

use bytes::Bytes;
use engine::Engine;
use futures_util::{Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use keeper::Keeper;
use kept::Kept;
use life::Order;
use quarterdeck_model::{
    agent::ContainerUsage,
    kinds::{InstancePhase, InstanceStatus},
};
use reports::Reports;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    task::{AbortHandle, JoinHandle},
};

/// Pulls at a time: more would only share the same wire.
const PULLS_MAX: usize = 3;
/// How long it is waited after the engine's events were lost.
const EVENTS_AGAIN: Duration = Duration::from_millis(500);

/// What all that look after an instance share.
pub(crate) struct Host {
    settings: Settings,
    engine: Arc<Engine>,
    reports: Reports,
    images: Keeper,
    pulls: Semaphore,
    lives: Mutex<BTreeMap<String, Life>>,
    /// Whether the plane has said since the start what is to run here.
    told: AtomicBool,
    /// Heard once that was said.
    assigned: Notify,
    engine_state: watch::Sender<EngineState>,
}

/// One instance that is looked after.
struct Life {
    order: watch::Sender<Order>,
    poke: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Whether the engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    /// It was not asked yet.
    Unknown,
    /// It answers.
    Answers,
    /// It does not, and why.
    Away(String),
}

/// The containers of this host.
pub struct Containers {
    host: Arc<Host>,
    usage: watch::Receiver<Vec<ContainerUsage>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        for life in self.host.lives().values() {
            life.task.abort();
        }
    }
}

impl std::fmt::Debug for Containers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Containers").field("host", &self.host.settings.host).finish_non_exhaustive()
    }
}

impl Containers {
    /// Goes on with what was assigned last. Must be called within a Tokio runtime. The engine need not be there yet.
    ///
    /// # Errors
    /// When a folder cannot be used, or the one for secrets is on a disk.
    pub fn open(settings: Settings) -> Result<Self, ContainersError> {
        kept::open(&settings)?;
        let kept = kept::all(&settings)?;
        let host = Arc::new(Host {
            engine: Arc::new(Engine::new(&settings.engine, &settings.host)),
            reports: Reports::new(),
            images: Keeper::open(settings.data.join("images.json")),
            pulls: Semaphore::new(PULLS_MAX),
            lives: Mutex::default(),
            told: AtomicBool::new(false),
            assigned: Notify::new(),
            engine_state: watch::Sender::new(EngineState::Unknown),
            settings,
        });
        for Kept { assignment, deadline } in kept {
            let uid = assignment.uid.clone();
            let order = match deadline {
                Some(deadline) => Order::End(Some(assignment), deadline),
                None => Order::Run(assignment),
            };
            host.order(&uid, order);
        }
        let listening = Arc::clone(&host);
        let keeping = Arc::clone(&host);
        let (tell, usage) = watch::channel(Vec::new());
        let tasks = vec![
            tokio::spawn(async move { listen(&listening).await }).abort_handle(),
            tokio::spawn(async move { keeper::keep(&keeping).await }).abort_handle(),
            tokio::spawn(usage::look(Arc::clone(&host), tell)).abort_handle(),
        ];
        Ok(Self { host, usage, tasks })
    }

    /// Says all that is to run on this host. What is not among it ends.
    ///
    /// # Errors
    /// When it cannot be kept; then what was wanted before still is.
    pub fn assign(&self, all: Vec<Assignment>) -> Result<(), ContainersError> {
        let host = &self.host;
        let now = Timestamp::now();
        let all = all.into_iter().filter(|it| it.spec.template.is_some());
        let all: BTreeMap<String, Assignment> = all.map(|it| (it.uid.clone(), it)).collect();
        for (uid, assignment) in &all {
            let known = host.lives().get(uid).map(|life| life.order.borrow().clone());
            let Some(grace) = assignment.deleting_grace else {
                if matches!(&known, Some(Order::Run(before)) if **before == *assignment) {
                    continue;
                }
                let assignment = Arc::new(assignment.clone());
                let kept = Kept { assignment: Arc::clone(&assignment), deadline: None };
                kept::keep(&host.settings, &kept)?;
                host.order(uid, Order::Run(assignment));
                continue;
            };
            let deadline = after(now, grace.as_std());
            // It is never given more time than it was told at first.
            let deadline = match &known {
                Some(Order::End(_, before)) => deadline.min(*before),
                _ => deadline,
            };
            if matches!(&known, Some(Order::End(_, before)) if *before == deadline) {
                continue;
            }
            let assignment = Arc::new(assignment.clone());
            let kept = Kept { assignment: Arc::clone(&assignment), deadline: Some(deadline) };
            kept::keep(&host.settings, &kept)?;
            host.order(uid, Order::End(Some(assignment), deadline));
        }
        let others: Vec<(String, Order)> = {
            let lives = host.lives();
            let others = lives.iter().filter(|(uid, _)| !all.contains_key(*uid));
            others.map(|(uid, life)| (uid.clone(), life.order.borrow().clone())).collect()
        };
        for (uid, order) in others {
            if let Order::Run(assignment) = order {
                let grace = assignment.spec.template.as_ref();
                let grace = grace.map_or(0, |it| it.termination_grace_period_seconds);
                let deadline = after(now, Duration::from_secs(grace.into()));
                let kept = Kept { assignment: Arc::clone(&assignment), deadline: Some(deadline) };
                kept::keep(&host.settings, &kept)?;
                host.order(&uid, Order::End(Some(assignment), deadline));
            }
        }
        host.settle(&all.into_keys().collect());
        host.told.store(true, Ordering::Release);
        host.assigned.notify_one();
        Ok(())
    }

    /// What is seen of all instances now, and then what changes. Each caller hears all.
    #[must_use]
    pub fn reports(&self) -> mpsc::Receiver<InstanceReport> {
        self.host.reports.listen()
    }

    /// Whether the engine answers, now and then.
    #[must_use]
    pub fn engine(&self) -> watch::Receiver<EngineState> {
        self.host.engine_state.subscribe()
    }

    /// What containers take, each time that was looked at; the last time is news to whoever asks.
    #[must_use]
    pub fn usage(&self) -> watch::Receiver<Vec<ContainerUsage>> {
        let mut usage = self.usage.clone();
        usage.mark_changed();
        usage
    }

    /// The log of a container.
    ///
    /// # Errors
    /// When there is none, or the engine does not answer.
    pub async fn logs(
        &self,
        uid: &str,
        container: &str,
        options: LogOptions,
    ) -> Result<impl Stream<Item = Result<Bytes, ContainersError>> + Send + use<>, ContainersError>
    {
        talk::logs(&self.host, uid, container, options).await
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// When the container does not run, or the command cannot be.
    pub async fn exec(
        &self,
        uid: &str,
        container: &str,
        options: ExecOptions,
    ) -> Result<ExecSession, ContainersError> {
        talk::exec(&self.host, uid, container, options).await
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

impl Host {
    fn lives(&self) -> MutexGuard<'_, BTreeMap<String, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Images that what is assigned is of.
    fn image_names(&self) -> BTreeSet<String> {
        let lives = self.lives();
        let lives = lives.values().filter(|life| !life.task.is_finished());
        let orders = lives.map(|life| life.order.borrow().clone());
        let pods = orders.filter_map(|order| order.assignment()?.spec.template.clone());
        pods.flat_map(|pod| pod.containers).map(|it| it.image).collect()
    }

    /// Has an instance looked after.
    fn order(self: &Arc<Self>, uid: &str, order: Order) {
        let mut lives = self.lives();
        if let Some(life) = lives.get(uid).filter(|life| !life.task.is_finished()) {
            life.order.send_replace(order);
            return;
        }
        let (sender, receiver) = watch::channel(order);
        let poke = Arc::new(Notify::new());
        let life = life::live(Arc::clone(self), uid.to_owned(), receiver, Arc::clone(&poke));
        let task = tokio::spawn(life);
        lives.insert(uid.to_owned(), Life { order: sender, poke, task });
    }

    /// Forgets what is gone, and says so again of what is asked for still.
    fn settle(&self, asked: &BTreeSet<String>) {
        let mut lives = self.lives();
        let finished: Vec<String> = lives
            .iter()
            .filter(|(_, life)| life.task.is_finished())
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in finished {
            let Some(life) = lives.get(&uid) else { continue };
            let order = life.order.borrow().clone();
            match (asked.contains(&uid), order.assignment()) {
                (true, Some(it)) => self.reports.put_again(InstanceReport {
                    namespace: it.namespace.clone(),
                    name: it.name.clone(),
                    uid: uid.clone(),
                    status: InstanceStatus {
                        phase: InstancePhase::Stopping,
                        ..InstanceStatus::default()
                    },
                    gone: true,
                }),
                _ => {
                    self.reports.forget(&uid);
                    lives.remove(&uid);
                }
            }
        }
    }

    fn poke(&self, uid: Option<&str>) {
        let lives = self.lives();
        match uid {
            Some(uid) => drop(lives.get(uid).map(|life| life.poke.notify_one())),
            None => lives.values().for_each(|life| life.poke.notify_one()),
        }
    }

    /// Ends what carries this host's label, and nobody asked for.
    async fn end_orphans(self: &Arc<Self>) -> Result<(), ContainersError> {
        if !self.told.load(Ordering::Acquire) {
            return Ok(());
        }
        for (uid, (namespace, name)) in self.engine.instances().await? {
            let known = self.lives().contains_key(&uid);
            if !known {
                tracing::warn!(namespace, name, uid, "containers that nobody asked for are ended");
                let deadline = after(Timestamp::now(), self.settings.timings.orphan_grace);
                self.order(&uid, Order::End(None, deadline));
            }
        }
        let mut lives = self.lives();
        lives.retain(|_, life| {
            let orphan = matches!(&*life.order.borrow(), Order::End(None, _));
            !(orphan && life.task.is_finished())
        });
        Ok(())
    }
}

/// Hears what happens to containers, and has it looked at.
async fn listen(host: &Arc<Host>) {
    loop {
        if let Err(error) = hear(host).await {
            let said = error.to_string();
            let news = host.engine_state.send_if_modified(|state| {
                let away = EngineState::Away(said.clone());
                let news = *state != away;
                *state = away;
                news
            });
            if news {
                tracing::warn!(%error, "it is tried again");
            }
        }
        tokio::time::sleep(EVENTS_AGAIN).await;
    }
}

async fn hear(host: &Arc<Host>) -> Result<(), ContainersError> {
    let mut events = std::pin::pin!(host.engine.events().await?);
    host.engine.instances().await?;
    host.engine_state.send_if_modified(|state| {
        let news = *state != EngineState::Answers;
        *state = EngineState::Answers;
        news
    });
    // What happened while nobody heard is seen by looking.
    host.poke(None);
    let mut resync = tokio::time::interval(host.settings.timings.resync);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => host.poke(event?.as_deref()),
                None => {
                    let (socket, why) = (host.settings.engine.clone(), "it closed the stream of events".to_owned());
                    return Err(ContainersError::EngineAway { socket, why });
                }
            },
            _ = resync.tick() => host.end_orphans().await?,
            () = host.assigned.notified() => host.end_orphans().await?,
        }
    }
}
