//! Firmware: what is installed, telling a BMC to fetch another version, and seeing that it is the one that runs.
//! Source: DSP0268, UpdateService: `Actions/#UpdateService.SimpleUpdate`; SoftwareInventory; Task, `Payload`.
//!
//! What is installed decides, so that a repeated call goes on from there. An update that was begun before is found
//! among the tasks of the service and followed, never begun again beside itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::kinds::FirmwareActivation;
use serde_json::{Value, json};

use super::errors;
use super::inventory;
use super::limits::MEMBERS_MAX;
use super::power::Poll;
use super::resource::{Doc, Path, Resource};
use super::system::System;
use super::task::{self, Progress};
use crate::action::{ActionError, Reason};

/// Name of the system's own firmware.
const BIOS: &str = "BIOS";
/// How long after its task a new version may take to show before the BMC is reset for it.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
/// How long a BMC that was told to reset may answer as if nothing were.
const RESET_BEGINS: Duration = Duration::from_secs(10);
/// Clocks are read in whole seconds, one each side.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(2);
/// Most names told in an error.
const NAMES_MAX: usize = 12;

/// What is wanted.
pub(super) struct Wanted<'a> {
    pub(super) component: &'a str,
    pub(super) version: &'a str,
    pub(super) image: &'a str,
    pub(super) username_password: Option<(String, String)>,
    pub(super) activation: FirmwareActivation,
    /// When the first call began, if this one is not that.
    pub(super) begun_before: Option<Timestamp>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Updated {
    /// The version before.
    pub(super) before: Option<String>,
    /// The version that runs.
    pub(super) version: Option<String>,
    /// Something was sent, by this call or one before.
    pub(super) changed: bool,
    /// It runs once the server was powered off and on.
    pub(super) pending: bool,
}

/// Firmware of one name, as last read: two cards of one make have two entries.
struct Component {
    name: String,
    /// Empty when only the system itself shows it.
    parts: Vec<Resource>,
}

impl Component {
    /// The firmware of that name, or with that id.
    async fn find(system: &System, name: &str) -> Result<Self, ActionError> {
        let all = inventory::firmware(system).await?;
        let named =
            |resource: &&Resource| inventory::installed(resource).is_some_and(|it| it.name == name);
        let mut parts: Vec<Resource> = all.iter().filter(named).cloned().collect();
        if parts.is_empty() {
            let by_id = |it: &&Resource| it.doc().text("/Id").as_deref() == Some(name);
            parts = all.iter().filter(by_id).cloned().collect();
        }
        let shown = name == BIOS && system.doc().text("/BiosVersion").is_some();
        if parts.is_empty() && !shown {
            let mut names: Vec<String> =
                all.iter().filter_map(inventory::installed).map(|it| it.name).collect();
            names.truncate(NAMES_MAX);
            return Err(errors::no_such_firmware(&system.name(), name, &names));
        }
        Ok(Self { name: name.to_owned(), parts })
    }

    /// A version that is not the wanted one, or the one that all have.
    fn version(&self, system: &System, wanted: &str) -> Option<String> {
        if self.parts.is_empty() {
            return system.doc().text("/BiosVersion");
        }
        let mut versions = self.parts.iter().map(|part| part.doc().text("/Version"));
        let first = versions.next().flatten();
        std::iter::once(first.clone())
            .chain(versions)
            .find(|it| it.as_deref() != Some(wanted))
            .unwrap_or(first)
    }

    /// What has another version, as an update names it.
    fn targets(&self, system: &System, wanted: &str) -> Vec<Path> {
        if self.parts.is_empty() {
            return vec![system.resource.path.clone()];
        }
        let other = |it: &&Resource| it.doc().text("/Version").as_deref() != Some(wanted);
        self.parts.iter().filter(other).map(|it| it.path.clone()).collect()
    }

    async fn refresh(&mut self, system: &mut System) -> Result<(), ActionError> {
        if self.parts.is_empty() {
            return system.refresh().await;
        }
        for part in &mut self.parts {
            *part = system.bmc.get(&part.path, &system.budget).await?;
        }
        Ok(())
    }
}

/// Brings one component to a version. `verify` looks at the image, when the BMC is to be told to fetch it.
pub(super) async fn update(
    system: &mut System,
    wanted: &Wanted<'_>,
    verify: impl AsyncFnOnce() -> Result<(), ActionError>,
) -> Result<Updated, ActionError> {
    let mut component = Component::find(system, wanted.component).await?;
    let before = component.version(system, wanted.version);
    let is = |version: &Option<String>| version.as_deref() == Some(wanted.version);
    if is(&before) {
        let version = before.clone();
        return Ok(Updated { before, version, changed: false, pending: false });
    }
    let service = Service::find(system).await?;
    let task = match service.begun(system, wanted).await? {
        Some(begun) => begun,
        None => {
            verify().await?;
            service.begin(system, &component, wanted).await?
        }
    };
    if let Some(task) = task {
        follow(system, &task, wanted).await?;
    }
    let pending = |before, version| Updated { before, version, changed: true, pending: true };
    match wanted.activation {
        FirmwareActivation::HostReset => {
            component.refresh(system).await.map_err(ActionError::effect_unknown)?;
            let version = component.version(system, wanted.version);
            if !is(&version) {
                return Ok(pending(before, version));
            }
        }
        FirmwareActivation::Immediate => {
            shown(system, &mut component, wanted.version, None).await?
        }
        FirmwareActivation::BMCReset => {
            let soon = shown(system, &mut component, wanted.version, Some(SHOWN_WITHIN)).await;
            if soon.is_err() {
                reset_manager(system).await?;
                shown(system, &mut component, wanted.version, None).await?;
            }
        }
    }
    let version = Some(wanted.version.to_owned());
    Ok(Updated { before, version, changed: true, pending: false })
}

/// Waits until a component runs a version.
pub(super) async fn wait(
    system: &mut System,
    name: &str,
    version: &str,
) -> Result<(), ActionError> {
    let mut component = Component::find(system, name).await?;
    shown(system, &mut component, version, None).await
}

/// Waits until the BMC shows the version, for as long as the call may take or at most for `within`. A BMC that
/// restarts answers nothing, or nonsense, for a while.
async fn shown(
    system: &mut System,
    component: &mut Component,
    wanted: &str,
    within: Option<Duration>,
) -> Result<(), ActionError> {
    let mut poll = within.map_or_else(Poll::default, Poll::at_most);
    loop {
        let name = component.name.clone();
        let why = match component.refresh(system).await {
            Ok(()) => match component.version(system, wanted) {
                Some(version) if version == wanted => return Ok(()),
                seen => errors::not_that_firmware(&name, wanted, seen.as_deref()),
            },
            Err(error) if passes(&error) => error.message,
            Err(error) => return Err(error.effect_unknown()),
        };
        poll.pause(system, || why).await?;
    }
}

/// What a BMC that restarts may answer.
fn passes(error: &ActionError) -> bool {
    error.is_retryable() || error.reason == Reason::NotFound
}

/// Waits until a task has done its part.
async fn follow(system: &System, task: &Path, wanted: &Wanted<'_>) -> Result<(), ActionError> {
    let mut poll = Poll::default();
    loop {
        let waits_for = match task::look(system, task).await {
            // A BMC that restarted has forgotten it: what is installed tells.
            Ok(None | Some(Progress::Done)) => return Ok(()),
            Ok(Some(Progress::Held(state))) => {
                if wanted.activation == FirmwareActivation::HostReset {
                    return Ok(());
                }
                format!("its task is {state}")
            }
            Ok(Some(Progress::Runs)) => "its task goes on".to_owned(),
            Ok(Some(Progress::Failed(why))) => {
                let message = format!(
                    "{}: firmware {} was not updated to {}: {why}; look at the BMC's log and at the image",
                    system.name(),
                    wanted.component,
                    wanted.version
                );
                return Err(ActionError::retryable(Reason::BmcError, message).effect_unknown());
            }
            Err(error) if passes(&error) => error.message,
            Err(error) => return Err(error.effect_unknown()),
        };
        let component = wanted.component;
        poll.pause(system, || format!("firmware {component} is being updated: {waits_for}"))
            .await?;
    }
}

/// The service that updates firmware.
struct Service {
    update: Path,
    resource: Resource,
    tasks: Option<Path>,
}

impl Service {
    async fn find(system: &System) -> Result<Self, ActionError> {
        let root = system.bmc.root(&system.budget).await?.doc();
        let (service, tasks) = (root.link("/UpdateService"), root.link("/Tasks"));
        let service = match service {
            Some(path) => system.bmc.get_optional(&path, &system.budget).await?,
            None => None,
        };
        let service = service.ok_or_else(|| system.unsupported("it has no update service"))?;
        let action = service.doc().text("/Actions/#UpdateService.SimpleUpdate/target");
        let update = action.and_then(|action| Path::parse(&action)).ok_or_else(|| {
            system.unsupported("its update service does not fetch images (SimpleUpdate)")
        })?;
        let tasks = match tasks {
            Some(path) => system.bmc.get_optional(&path, &system.budget).await?,
            None => None,
        };
        let tasks = tasks.and_then(|tasks| tasks.doc().link("/Tasks"));
        Ok(Self { update, resource: service, tasks })
    }

    fn action(&self) -> Doc<'_> {
        let actions = self.resource.doc().0.pointer("/Actions/#UpdateService.SimpleUpdate");
        Doc(actions.unwrap_or(&Value::Null))
    }

    /// The update that is under way already, or that a call before this one has ended: `Some(None)`.
    async fn begun(
        &self,
        system: &System,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Option<Path>>, ActionError> {
        let Some(tasks) = &self.tasks else { return Ok(None) };
        let read = system.bmc.members(tasks, MEMBERS_MAX, &system.quirks, &system.budget).await;
        let tasks = match read {
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotSupported) => {
                return Ok(None);
            }
            read => read?,
        };
        let since = match wanted.begun_before {
            Some(first) => Some(self.by_its_clock(system, first).await?),
            None => None,
        };
        for task in &tasks {
            let progress = Progress::of(task);
            let ours = match self.payload(task) {
                Some(image) => image == wanted.image,
                // It does not say what it is about: one that began since the first call is taken for its.
                None => since.is_some_and(|since| began(task).is_some_and(|at| at >= since)),
            };
            match progress {
                Progress::Runs | Progress::Held(_) if ours => {
                    return Ok(Some(Some(task.path.clone())));
                }
                Progress::Done
                    if ours
                        && since.is_some_and(|since| began(task).is_some_and(|at| at >= since)) =>
                {
                    return Ok(Some(None));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// A moment of ours as the BMC's clock shows it.
    async fn by_its_clock(
        &self,
        system: &System,
        moment: Timestamp,
    ) -> Result<Timestamp, ActionError> {
        let now = Timestamp::now();
        let ahead =
            system.bmc_time().await?.map_or(SignedDuration::ZERO, |its| its.duration_since(now));
        let shifted = moment.saturating_add(ahead).unwrap_or(moment);
        Ok(shifted.saturating_sub(CLOCK_TOLERANCE).unwrap_or(shifted))
    }

    /// The image that a task was asked to update from. None when it does not say, or is of something else.
    fn payload(&self, task: &Resource) -> Option<String> {
        let doc = task.doc();
        let target = doc.text("/Payload/TargetUri")?;
        // Another task than an update is nobody's of ours.
        if Path::parse(&target)? != self.update {
            return Some(String::new());
        }
        let body = doc.0.pointer("/Payload/JsonBody")?.as_str()?;
        let body: Value = serde_json::from_str(body).ok()?;
        Some(body.get("ImageURI")?.as_str()?.to_owned())
    }

    /// Tells the BMC to fetch the image. Answers the task that it is, if it is not done yet.
    async fn begin(
        &self,
        system: &System,
        component: &Component,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Path>, ActionError> {
        let refused = |part: &&Resource| part.doc().flag("/Updateable") == Some(false);
        if component.parts.iter().any(|part| refused(&part)) {
            let why = format!("it says that firmware {} cannot be updated", component.name);
            return Err(system.unsupported(why));
        }
        let protocol = wanted.image.split("://").next().unwrap_or_default().to_ascii_uppercase();
        let allowed = self.action().texts("/TransferProtocol@Redfish.AllowableValues");
        if !allowed.is_empty() && !allowed.contains(&protocol) {
            let allowed = allowed.join(", ");
            return Err(
                system.unsupported(format!("it fetches images by {allowed}, not {protocol}"))
            );
        }
        let targets = component.targets(system, wanted.version);
        let targets: Vec<&str> = targets.iter().map(Path::as_str).collect();
        let mut body = json!({
            "ImageURI": wanted.image, "TransferProtocol": protocol, "Targets": targets,
        });
        let mut more = Vec::new();
        if let Some((username, password)) = &wanted.username_password {
            more.push(("Username", username.as_str()));
            more.push(("Password", password.as_str()));
        }
        let times = self.action().texts("/@Redfish.OperationApplyTimeSupport/SupportedValues");
        let when = match wanted.activation {
            FirmwareActivation::HostReset => "OnReset",
            FirmwareActivation::Immediate | FirmwareActivation::BMCReset => "Immediate",
        };
        if times.iter().any(|time| time == when) {
            more.push(("@Redfish.OperationApplyTime", when));
        }
        if let Some(fields) = body.as_object_mut() {
            fields.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value.into())));
        }
        system.bmc.post_task(&self.update, &body, &system.budget).await
    }
}

/// When a task began, by the BMC's clock.
fn began(task: &Resource) -> Option<Timestamp> {
    task.doc().text("/StartTime")?.parse().ok()
}

/// Resets the system's BMC, which what runs on the system does not feel.
async fn reset_manager(system: &System) -> Result<(), ActionError> {
    let Some(path) = system.managers().into_iter().next() else {
        return Err(system.unsupported("it names no manager that could be reset"));
    };
    let manager = system.bmc.get(&path, &system.budget).await?;
    let doc = manager.doc();
    let action = doc.text("/Actions/#Manager.Reset/target").and_then(|it| Path::parse(&it));
    let action = action.ok_or_else(|| system.unsupported("its manager cannot be reset"))?;
    let allowed = doc.texts("/Actions/#Manager.Reset/ResetType@Redfish.AllowableValues");
    let graceful = allowed.iter().any(|it| it == "GracefulRestart");
    let how = if graceful || allowed.is_empty() { "GracefulRestart" } else { "ForceRestart" };
    let sent = system.bmc.post(&action, &json!({"ResetType": how}), &system.budget).await;
    match sent {
        // Its answer may be lost as it goes down.
        Err(error) if !error.is_retryable() => Err(error),
        _ => {
            tokio::time::sleep(RESET_BEGINS.min(system.budget.remaining() / 4)).await;
            Ok(())
        }
    }
}
