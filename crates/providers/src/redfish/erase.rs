//! Erasing the disks of a system, and seeing that they are done.
//! Source: DSP0268, Drive: `Actions/#Drive.SecureErase`, `Operations`.

use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

use super::inventory;
use super::power::Poll;
use super::resource::{Doc, Path, Resource};
use super::system::System;
use super::task::{self, Progress};
use crate::action::{ActionError, Reason};

/// How long after its command a disk that shows nothing under way counts as done: erasing a key takes no time, and a
/// BMC may take some to show that a disk is busy.
const QUIET: Duration = Duration::from_secs(10);

/// Most names told in an error.
const NAMES_MAX: usize = 8;

/// A disk, as last read.
struct Disk {
    resource: Resource,
    /// It was seen being erased.
    begun: bool,
    /// What the service does it by, when it does it later.
    task: Option<Path>,
}

impl Disk {
    fn new(resource: Resource) -> Self {
        let mut disk = Self { resource, begun: false, task: None };
        disk.begun = disk.is_busy();
        disk
    }

    fn doc(&self) -> Doc<'_> {
        self.resource.doc()
    }

    fn name(&self) -> String {
        self.doc().text("/Id").unwrap_or_else(|| self.resource.path.last_segment().to_owned())
    }

    /// Where the command goes, if it can be erased. The name of the action holds a `#` and no `/`.
    fn command(&self) -> Option<Path> {
        Path::parse(&self.doc().text("/Actions/#Drive.SecureErase/target")?)
    }

    fn is_busy(&self) -> bool {
        self.doc().list("/Operations").next().is_some()
    }
}

/// Erases every disk and waits until none is busy. Answers their names.
pub(super) async fn all(system: &System) -> Result<Vec<String>, ActionError> {
    let disks = inventory::drives(system).await?;
    let mut disks: Vec<Disk> = disks.into_iter().map(Disk::new).collect();
    if disks.is_empty() {
        return Err(system.unsupported(
            "it shows no disk that could be erased; wipe the machine by other means and return it by hand",
        ));
    }
    let cannot: Vec<&Disk> =
        disks.iter().filter(|disk| !disk.is_busy() && disk.command().is_none()).collect();
    if !cannot.is_empty() {
        let names = names(&cannot);
        return Err(system.unsupported(format!(
            "it cannot erase {names}; wipe the machine by other means and return it by hand"
        )));
    }
    for disk in disks.iter_mut().filter(|disk| !disk.is_busy()) {
        let Some(command) = disk.command() else { continue };
        disk.task = system.bmc.post_task(&command, &json!({}), &system.budget).await?;
    }
    wait(system, &mut disks, Instant::now() + QUIET).await?;
    Ok(disks.iter().map(Disk::name).collect())
}

async fn wait(system: &System, disks: &mut [Disk], quiet: Instant) -> Result<(), ActionError> {
    let mut poll = Poll::default();
    loop {
        for disk in disks.iter_mut() {
            if let Some(task) = disk.task.take() {
                if !ended(system, &disk.name(), &task).await? {
                    disk.task = Some(task);
                    continue;
                }
                disk.begun = true;
            }
            let read = system.bmc.get(&disk.resource.path, &system.budget).await;
            disk.resource = read.map_err(ActionError::effect_unknown)?;
            disk.begun |= disk.is_busy();
        }
        let may_begin = Instant::now() < quiet;
        let left = |disk: &&Disk| disk.task.is_some() || disk.is_busy() || may_begin && !disk.begun;
        let left: Vec<&Disk> = disks.iter().filter(left).collect();
        if left.is_empty() {
            return whole(system, disks);
        }
        let names = names(&left);
        poll.pause(system, || format!("disks are still being erased ({names})")).await?;
    }
}

/// Whether a task has ended well; a task that has not is the disk's failure.
async fn ended(system: &System, disk: &str, task: &Path) -> Result<bool, ActionError> {
    let why = match task::look(system, task).await.map_err(ActionError::effect_unknown)? {
        Some(Progress::Done) => return Ok(true),
        Some(Progress::Runs) => return Ok(false),
        Some(Progress::Held(state)) if state == "Pending" => return Ok(false),
        Some(Progress::Held(state)) => format!("task {} is {state}", task.last_segment()),
        Some(Progress::Failed(why)) => why,
        None => format!("task {} is gone", task.last_segment()),
    };
    let message =
        format!("{}: disk {disk} was not erased: {why}; look at the BMC's log", system.name());
    Err(ActionError::permanent(Reason::BmcError, message))
}

/// What is broken afterwards may hold what it held before.
fn whole(system: &System, disks: &[Disk]) -> Result<(), ActionError> {
    let critical = |disk: &&Disk| disk.doc().text("/Status/Health").as_deref() == Some("Critical");
    let broken: Vec<&Disk> = disks.iter().filter(critical).collect();
    if broken.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{}: {} report Critical after they were erased; they may hold data still: take them out",
        system.name(),
        names(&broken)
    );
    Err(ActionError::permanent(Reason::BmcError, message))
}

fn names(disks: &[&Disk]) -> String {
    let told: Vec<String> = disks.iter().take(NAMES_MAX).map(|disk| disk.name()).collect();
    match disks.len() - told.len() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}
