//! What the plane asks of the agent: each task is begun once and has one result, whatever dies in between. The journal
//! ([`journal`]) has a task before it is begun and its result before that is told; what was under way when the agent died is looked at
//! again where that shows whether it was done, and told as unknown where it does not.

mod exec;
mod file;
mod journal;
mod output;
mod packages;
mod patch;
mod reboot;
mod service;
mod tool;
mod users;

use crate::{AgentError, Settings, folder::Folder, host::Host};
use jiff::Timestamp;
use journal::{Entry, Journal};
use quarterdeck_model::{
    Time,
    agent::{Secrets, Task, TaskReport},
    kinds::{AgentTaskPhase, AgentTaskStatus},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tracing::{info, warn};

/// A task without a deadline of its own.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What became of a task: what is to be told, or why it failed.
type Outcome = Result<AgentTaskStatus, Failure>;

/// Why a task failed.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    reason: &'static str,
    message: String,
}

impl Failure {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidInput", message)
    }
}

/// Tasks of this host.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<Shared>);

struct Shared {
    host: Arc<Host>,
    reboot_command: Vec<String>,
    places: tool::Places,
    journal: Journal,
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Those that were under way when the agent died, until the plane says how long they have.
    resumed: Mutex<BTreeSet<String>>,
    changed: watch::Sender<u64>,
}

impl Tasks {
    /// Those of the journal. What was under way is gone on with when the plane says how long it has: the time that has passed since is not
    /// known to a host whose clock may have been set.
    pub(crate) fn open(
        folder: &Folder,
        host: Arc<Host>,
        settings: &Settings,
    ) -> Result<Self, AgentError> {
        let kept = Journal::open(&folder.folder("tasks")?)?;
        let secrets = settings.containers.secrets.join("tools");
        let places = tool::Places { files: folder.folder("tools")?, secrets };
        Ok(Self::of(kept, host, settings.reboot_command.clone(), places))
    }

    fn of(
        (journal, entries): (Journal, Vec<Entry>),
        host: Arc<Host>,
        reboot_command: Vec<String>,
        places: tool::Places,
    ) -> Self {
        let (changed, _) = watch::channel(0);
        let under_way = entries.iter().filter(|entry| !entry.status.ended());
        // What was given to those is not used again: a tool is not begun twice.
        under_way.clone().for_each(|entry| drop(places.of(&entry.task)));
        let resumed = Mutex::new(under_way.map(|entry| entry.task.name.clone()).collect());
        let entries = entries.into_iter().map(|it| (it.task.name.clone(), it)).collect();
        let entries = Mutex::new(entries);
        let shared = Shared { host, reboot_command, places, journal, entries, resumed, changed };
        Self(Arc::new(shared))
    }

    /// Changes whenever there is something to tell.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// How far each is.
    pub(crate) fn reports(&self) -> Vec<TaskReport> {
        let entries = self.0.entries();
        entries
            .values()
            .map(|Entry { task, status }| TaskReport {
                name: task.name.clone(),
                uid: task.uid.clone(),
                status: status.clone(),
            })
            .collect()
    }

    /// These are to be done: what is new is begun, and what has ended, was `told` so, and is not among them is forgotten, as the
    /// plane has its result. One whose end was not told may be missing only because the plane looked too early, or because a
    /// frame does not hold all: it would be begun a second time when it comes again.
    pub(crate) fn assign(&self, wanted: Vec<Task>, told: &HashMap<String, AgentTaskStatus>) {
        let forgotten: Vec<String> = {
            let mut entries = self.0.entries();
            let known = |entry: &Entry| {
                wanted
                    .iter()
                    .any(|task| (&task.name, &task.uid) == (&entry.task.name, &entry.task.uid))
            };
            let old = |entry: &&Entry| {
                let told = told.get(&entry.task.name) == Some(&entry.status);
                entry.status.ended() && told && !known(entry)
            };
            let old: Vec<String> =
                entries.values().filter(old).map(|entry| entry.task.name.clone()).collect();
            entries.retain(|name, _| !old.contains(name));
            old
        };
        for name in &forgotten {
            if let Err(error) = self.0.journal.remove(name) {
                warn!(task = name, %error, "a task that was told could not be removed; it is told again after a restart");
            }
        }
        let mut resumed = std::mem::take(&mut *self.0.resumed());
        for task in wanted {
            if resumed.remove(&task.name) {
                self.begin(task, true);
                continue;
            }
            if self.0.entries().contains_key(&task.name) {
                continue;
            }
            let phase = AgentTaskPhase::Running;
            let status = AgentTaskStatus { phase, started_at: Some(now()), ..Default::default() };
            // Secrets are written nowhere; what was under way when the agent died is not begun again with them.
            let mut entry =
                Entry { task: Task { secrets: Secrets::new(), ..task.clone() }, status };
            // Before it is begun. What cannot be kept, as on a full disk, is not: the others go on.
            let kept = self.0.journal.write(&entry);
            if let Err(error) = &kept {
                warn!(task = task.name, %error, "a task could not be kept, and is not begun");
                // It may be there and only not be known to last; without it nothing is gone on with.
                let _ = self.0.journal.remove(&task.name);
                entry.status = AgentTaskStatus {
                    phase: AgentTaskPhase::Failed,
                    reason: Some("NotStarted".into()),
                    message: Some(format!(
                        "it was not begun, as the agent could not write it down in its data folder: {error}; make room there, then retry the step"
                    )),
                    finished_at: Some(now()),
                    ..entry.status
                };
            }
            self.0.entries().insert(task.name.clone(), entry);
            self.0.tell();
            if kept.is_ok() {
                self.begin(task, false);
            }
        }
        // The plane has given up on these.
        let entries = self.0.entries();
        let given_up = resumed.iter().filter_map(|name| entries.get(name));
        let given_up: Vec<Task> =
            given_up.map(|entry| Task { left_millis: Some(0), ..entry.task.clone() }).collect();
        drop(entries);
        given_up.into_iter().for_each(|task| self.begin(task, true));
    }

    /// Whether it knows a task of that name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.entries().contains_key(name)
    }

    fn begin(&self, task: Task, resumed: bool) {
        let shared = self.0.clone();
        tokio::spawn(async move { shared.perform(task, resumed).await });
    }
}

impl Shared {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Each change is one insertion or removal.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resumed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Each change is one value.
        self.resumed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    async fn perform(self: Arc<Self>, task: Task, resumed: bool) {
        let (name, uid) = (task.name.clone(), task.uid.clone());
        info!(task = name, resumed, "a task begins");
        let outcome = self.done(&task, resumed).await;
        let Some(mut entry) = self.entries().get(&name).cloned().filter(|it| it.task.uid == uid)
        else {
            return;
        };
        let started_at = entry.status.started_at;
        entry.status = match outcome {
            Ok(status) => AgentTaskStatus { phase: AgentTaskPhase::Succeeded, ..status },
            Err(Failure { reason, message }) => AgentTaskStatus {
                phase: AgentTaskPhase::Failed,
                reason: Some(reason.into()),
                message: Some(message),
                // What it printed until then.
                ..entry.status
            },
        };
        (entry.status.started_at, entry.status.finished_at) = (started_at, Some(now()));
        info!(task = name, phase = ?entry.status.phase, message = entry.status.message, "a task has ended");
        // Its result before that is told. Without it, the task is told as unknown after the agent's death.
        if let Err(error) = self.journal.write(&entry) {
            warn!(task = name, %error, "the result of a task could not be kept");
        }
        self.entries().insert(name, entry);
        self.tell();
    }

    async fn done(&self, task: &Task, resumed: bool) -> Outcome {
        let (spec, left) = (&task.spec, left(task));
        if let Some(reboot) = &spec.reboot
            && let Some(done) = reboot::done(&self.host, reboot)
        {
            return Ok(done);
        }
        if left.is_zero() && resumed {
            return Err(unknown());
        }
        if left.is_zero() {
            return Err(Failure::new("Timeout", "its deadline had passed before it was begun"));
        }
        if let Some(reboot) = &spec.reboot {
            return reboot::reboot(&self.host, reboot, &self.reboot_command, left).await;
        }
        if let Some(exec) = &spec.exec {
            if resumed {
                return Err(unknown());
            }
            let progress = |stdout: String, stderr: String| self.progress(task, stdout, stderr);
            return exec::exec(&self.host, exec, left, &progress).await;
        }
        if let Some(file) = &spec.file {
            return file::file(&self.host, file);
        }
        if let Some(service) = &spec.service {
            return service::service(&self.host, service, (resumed, left)).await;
        }
        if let Some(patch) = &spec.patch {
            let progress = |stdout: String, stderr: String| self.progress(task, stdout, stderr);
            return patch::patch(&self.host, patch, left, &progress).await;
        }
        if let Some(packages) = &spec.packages {
            return packages::packages(&self.host, packages).await;
        }
        if let Some(tool) = &spec.tool {
            let folders = self.places.of(task);
            if resumed {
                return Err(unknown());
            }
            let progress = |stdout: String, stderr: String| self.progress(task, stdout, stderr);
            return tool::tool(&self.host, (tool, &task.secrets), &folders, (left, &progress))
                .await;
        }
        Err(Failure::new(
            "NotSupported",
            "this release of the agent does not know that task; update it",
        ))
    }

    /// What a task has printed until now. It is told, and not kept: only results are.
    fn progress(&self, task: &Task, stdout: String, stderr: String) {
        if let Some(entry) = self.entries().get_mut(&task.name)
            && entry.task.uid == task.uid
        {
            (entry.status.stdout, entry.status.stderr) = (said(stdout), said(stderr));
        }
        self.tell();
    }
}

/// How long a task has: as the plane says it; by the host's own clock only where an older one does not.
fn left(task: &Task) -> Duration {
    match (task.left_millis, task.spec.deadline) {
        (Some(millis), _) => Duration::from_millis(millis),
        (None, None) => LONGEST,
        (None, Some(deadline)) => {
            let left = deadline.timestamp().duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        }
    }
}

fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn unknown() -> Failure {
    Failure::new(
        "OutcomeUnknown",
        "the agent was restarted while it was at it, and cannot tell whether it was done; look at the host, then retry the step",
    )
}

fn now() -> Time {
    Time::new(Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::kinds::{AgentTaskSpec, FileTask};
    use tokio::time::timeout;

    fn task(name: &str, path: &str) -> Task {
        let file = FileTask { path: path.into(), content: "x".into(), ..FileTask::default() };
        let spec = AgentTaskSpec { file: Some(file), ..AgentTaskSpec::default() };
        Task { name: name.into(), uid: "u".into(), spec, ..Task::default() }
    }

    fn tasks(folder: &std::path::Path) -> Tasks {
        std::fs::create_dir_all(folder.join("tasks")).unwrap();
        let kept = Journal::open(&folder.join("tasks")).unwrap();
        let (files, secrets) = (folder.join("tools"), folder.join("secrets"));
        let places = tool::Places { files, secrets };
        Tasks::of(kept, Arc::new(Host::new(folder)), Vec::new(), places)
    }

    async fn ended(tasks: &Tasks, name: &str) -> AgentTaskStatus {
        let mut changes = tasks.changes();
        let look = async {
            loop {
                let found = tasks.reports().into_iter().find(|it| it.name == name);
                if let Some(report) = found.filter(|it| it.status.ended()) {
                    return report.status;
                }
                changes.changed().await.unwrap();
            }
        };
        timeout(Duration::from_secs(30), look).await.unwrap()
    }

    #[tokio::test]
    async fn a_task_is_forgotten_only_when_its_end_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = tasks(folder.path());
        let mut told = HashMap::new();
        tasks.assign(vec![task("a", "/a")], &told);
        let status = ended(&tasks, "a").await;
        assert_eq!(status.phase, AgentTaskPhase::Succeeded);
        tasks.assign(Vec::new(), &told);
        let before = AgentTaskStatus { phase: AgentTaskPhase::Running, ..status.clone() };
        told.insert("a".into(), before);
        tasks.assign(Vec::new(), &told);
        assert!(tasks.knows("a"), "its end was not told");
        told.insert("a".into(), status);
        tasks.assign(vec![task("a", "/a")], &told);
        assert!(tasks.knows("a"), "the plane has not noted it");
        tasks.assign(Vec::new(), &told);
        assert!(!tasks.knows("a"));
    }

    #[tokio::test]
    async fn a_deadline_is_the_planes_whatever_the_hosts_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = tasks(folder.path());
        let at = |text: &str| Some(Time::new(text.parse().unwrap()));
        let (mut ahead, mut behind) = (task("ahead", "/a"), task("behind", "/b"));
        (ahead.spec.deadline, ahead.left_millis) = (at("2001-01-01T00:00:00Z"), Some(30_000));
        (behind.spec.deadline, behind.left_millis) = (at("2200-01-01T00:00:00Z"), Some(0));
        tasks.assign(vec![ahead, behind], &HashMap::new());
        assert_eq!(ended(&tasks, "ahead").await.phase, AgentTaskPhase::Succeeded);
        assert_eq!(ended(&tasks, "behind").await.reason.as_deref(), Some("Timeout"));
        assert!(!folder.path().join("b").exists());
    }

    #[tokio::test]
    async fn what_was_under_way_goes_on_when_the_plane_says_how_long_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = tasks(folder.path());
        let names = ["on", "over"];
        for name in names {
            let (task, status) = (task(name, &format!("/{name}")), AgentTaskStatus::default());
            tasks.0.entries().insert(name.into(), Entry { task, status });
            tasks.0.resumed().insert(name.into());
        }
        assert!(tasks.reports().iter().all(|report| !report.status.ended()));
        let on = Task { left_millis: Some(30_000), ..task("on", "/on") };
        tasks.assign(vec![on], &HashMap::new());
        assert_eq!(ended(&tasks, "on").await.phase, AgentTaskPhase::Succeeded);
        let over = ended(&tasks, "over").await;
        assert_eq!(over.reason.as_deref(), Some("OutcomeUnknown"), "the plane has given up on it");
        assert!(!folder.path().join("over").exists());
    }

    #[tokio::test]
    async fn nothing_that_a_tool_was_given_outlives_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let before = tasks(folder.path());
        let (task, status) = (task("t", "/t"), AgentTaskStatus::default());
        before.0.journal.write(&Entry { task, status }).unwrap();
        drop(before);
        let given = ["tools/t", "secrets/t"].map(|path| folder.path().join(path));
        for path in &given {
            std::fs::create_dir_all(path).unwrap();
            std::fs::write(path.join("key"), "hidden").unwrap();
        }
        let after = tasks(folder.path());
        assert!(after.knows("t"));
        assert!(given.iter().all(|path| !path.exists()));
    }

    #[tokio::test]
    async fn a_task_that_cannot_be_kept_fails_alone_and_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = tasks(folder.path());
        let none = HashMap::new();
        tasks.assign(vec![task("a", "/a")], &none);
        ended(&tasks, "a").await;
        std::fs::remove_dir_all(folder.path().join("tasks")).unwrap();
        tasks.assign(vec![task("b", "/b")], &none);
        let status = ended(&tasks, "b").await;
        assert_eq!(status.phase, AgentTaskPhase::Failed);
        assert_eq!(status.reason.as_deref(), Some("NotStarted"));
        assert!(!folder.path().join("b").exists());
    }
}
