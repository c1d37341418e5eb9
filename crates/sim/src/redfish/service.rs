//! What a BMC keeps for those who speak with it: sessions, a changed password, tasks, firmware that waits for a
//! restart. Each list has a bound, as real ones do.

use jiff::SignedDuration;
use quarterdeck_model::inventory::Inventory;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Sessions at once: BMCs hold a handful, iDRACs eight.
const SESSIONS_MAX: usize = 8;
/// A session that nobody uses ends, in seconds of the clock here.
pub(super) const SESSION_SECONDS: u64 = 1_800;
/// Tasks that are remembered: more than a machine has disks.
const TASKS_MAX: usize = 64;

/// Firmware that can be updated over HTTP.
pub(super) const FIRMWARE: [&str; 2] = ["BIOS", BMC];
/// The only one that is in force once the BMC has restarted; others wait for the system to do so.
const BMC: &str = "BMC";

/// What the BMC of one machine keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    password: Option<String>,
    sessions: Vec<Session>,
    tasks: Vec<Task>,
    /// Sessions and tasks there have been.
    made: u32,
    /// When the system was reset or turned on last.
    pub(super) last_reset: Option<Instant>,
    /// It restarts, and is back then.
    back: Option<Instant>,
    /// Versions that were installed here, and those that wait for a restart.
    firmware: BTreeMap<String, String>,
    staged: BTreeMap<String, String>,
    /// What the next start makes the boot order.
    pub(crate) next_order: Vec<String>,
    /// How far somebody set its clock from the true time.
    clock: Option<SignedDuration>,
    /// Its log was cleared.
    pub(super) cleared: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: u32,
    token: String,
    used: Instant,
}

/// Something that takes its time.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: u32,
    pub(super) began: Instant,
    pub(super) ends: Instant,
    pub(super) work: Work,
    /// Why it fails, if it does.
    pub(super) failure: Option<String>,
    /// What it brings about has been, or never will be.
    done: bool,
}

impl Task {
    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

/// What a task does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// Erases the disk of that id.
    Erase(String),
    /// Writes firmware: which, and the version.
    Update(usize, String),
}

impl Service {
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    pub(crate) fn change_password(&mut self, password: String) {
        self.password = Some(password);
    }

    /// Makes a session with that token: its id, or none when there are too many.
    pub(super) fn log_in(&mut self, token: String, now: Instant) -> Option<u32> {
        self.end_idle(now);
        if self.sessions.len() >= SESSIONS_MAX {
            return None;
        }
        let id = self.next_id();
        self.sessions.push(Session { id, token, used: now });
        Some(id)
    }

    /// Whether that is the token of a session, which is used now.
    pub(super) fn is_session(&mut self, token: &str, now: Instant) -> bool {
        self.end_idle(now);
        let session = self.sessions.iter_mut().find(|session| session.token == token);
        session.map(|session| session.used = now).is_some()
    }

    pub(super) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Ends a session: whether there was one.
    pub(super) fn log_out(&mut self, id: &str) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|session| session.id.to_string() != id);
        self.sessions.len() < before
    }

    fn end_idle(&mut self, now: Instant) {
        let idle = Duration::from_secs(SESSION_SECONDS);
        self.sessions.retain(|session| now.duration_since(session.used) < idle);
    }

    fn next_id(&mut self) -> u32 {
        self.made = self.made.wrapping_add(1);
        self.made
    }

    /// Begins something. None when so much goes on that nothing can be forgotten for it.
    pub(super) fn begin(
        &mut self,
        work: Work,
        (began, ends): (Instant, Instant),
        failure: Option<String>,
    ) -> Option<Task> {
        self.settle(began);
        if self.tasks.len() >= TASKS_MAX {
            let old = self.tasks.iter().position(|task| task.done)?;
            self.tasks.remove(old);
        }
        let task = Task { id: self.next_id(), began, ends, work, failure, done: false };
        self.tasks.push(task.clone());
        Some(task)
    }

    pub(super) fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    pub(super) fn forget_task(&mut self, id: &str) -> bool {
        let before = self.tasks.len();
        self.tasks.retain(|task| task.id.to_string() != id);
        self.tasks.len() < before
    }

    /// What runs at that work, if anything does.
    pub(super) fn running(&self, now: Instant, of: impl Fn(&Work) -> bool) -> Option<&Task> {
        self.tasks.iter().find(|task| task.ends > now && of(&task.work))
    }

    /// What tasks have brought about by now.
    pub(super) fn settle(&mut self, now: Instant) {
        for task in self.tasks.iter_mut().filter(|task| !task.done && task.ends <= now) {
            task.done = true;
            if let (Work::Update(which, version), None) = (&task.work, &task.failure)
                && let Some(name) = FIRMWARE.get(*which)
            {
                self.staged.insert((*name).to_owned(), version.clone());
            }
        }
    }

    /// The system starts, and with it the BIOS that waits for that.
    pub(crate) fn host_starts(&mut self, at: Instant) {
        self.last_reset = Some(at);
        self.settle(at);
        self.install(|name| name != BMC);
    }

    /// Takes out the boot order that waits for a start.
    pub(crate) fn take_order(&mut self) -> Option<Vec<String>> {
        Some(std::mem::take(&mut self.next_order)).filter(|order| !order.is_empty())
    }

    /// The BMC restarts, and is back then.
    pub(super) fn restart(&mut self, now: Instant, back: Instant) {
        self.settle(now);
        self.install(|name| name == BMC);
        self.sessions.clear();
        self.back = Some(back);
    }

    /// Whether it is away because it restarts.
    pub(crate) fn restarts(&self, now: Instant) -> bool {
        self.back.is_some_and(|back| back > now)
    }

    /// All of the machine is without power: what it was doing is not done, and sessions are gone.
    pub(crate) fn lose_power(&mut self) {
        self.sessions.clear();
        for task in self.tasks.iter_mut().filter(|task| !task.done) {
            task.done = true;
            task.failure.get_or_insert_with(|| "The power was lost.".to_owned());
        }
        (self.clock, self.back) = (None, None);
    }

    fn install(&mut self, which: impl Fn(&str) -> bool) {
        let waits = std::mem::take(&mut self.staged);
        let (now, later): (BTreeMap<_, _>, _) =
            waits.into_iter().partition(|(name, _)| which(name));
        self.firmware.extend(now);
        self.staged = later;
    }

    /// Writes firmware that is in force at once, or with the next start of the system.
    pub(crate) fn write_firmware(&mut self, name: String, version: String, waits: bool) {
        let of = if waits { &mut self.staged } else { &mut self.firmware };
        of.insert(name, version);
    }

    /// Whether that version waits for a start.
    pub(crate) fn is_staged(&self, name: &str, version: &str) -> bool {
        self.staged.get(name).is_some_and(|staged| staged == version)
    }

    /// Puts the versions that were installed here in place of those a machine was delivered with.
    pub(crate) fn show_firmware(&self, inventory: &mut Inventory) {
        for (name, version) in &self.firmware {
            for firmware in inventory.firmware.iter_mut().filter(|it| it.name == *name) {
                firmware.version = Some(version.clone());
            }
            if name == "BIOS" {
                inventory.bios_version = Some(version.clone());
            }
        }
    }

    pub(super) fn clock(&self) -> Option<SignedDuration> {
        self.clock
    }

    pub(super) fn set_clock(&mut self, offset: SignedDuration) {
        self.clock = Some(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sessions_are_few_and_end() {
        let now = Instant::now();
        let mut service = Service::default();
        for number in 0..SESSIONS_MAX {
            assert!(service.log_in(format!("t{number}"), now).is_some());
        }
        assert_eq!(service.log_in("one more".into(), now), None);
        assert!(service.is_session("t0", now + SECOND) && !service.is_session("t", now));
        let later = now + Duration::from_secs(SESSION_SECONDS);
        assert!(service.is_session("t0", later), "it was used");
        assert!(!service.is_session("t1", later), "it was not");
        let id = service.log_in("again".into(), later).unwrap();
        assert!(service.log_out(&id.to_string()) && !service.log_out(&id.to_string()));
    }

    #[test]
    fn firmware_waits_for_its_restart() {
        let now = Instant::now();
        let mut service = Service::default();
        let update = |which, version: &str| Work::Update(which, version.into());
        service.begin(update(0, "2.0"), (now, now + SECOND), None).unwrap();
        service.begin(update(1, "9.0"), (now, now + SECOND), Some("broken".into())).unwrap();
        service.host_starts(now);
        assert!(service.firmware.is_empty(), "it is not written yet");
        service.host_starts(now + SECOND);
        assert_eq!(service.firmware["BIOS"], "2.0");
        service.restart(now + SECOND, now + 2 * SECOND);
        assert!(!service.firmware.contains_key(BMC), "the image was broken");
        assert!(service.restarts(now + SECOND) && !service.restarts(now + 2 * SECOND));
    }

    #[test]
    fn tasks_are_remembered_within_bounds() {
        let now = Instant::now();
        let mut service = Service::default();
        for disk in 0..TASKS_MAX {
            let ends = now + SECOND;
            service.begin(Work::Erase(disk.to_string()), (now, ends), None).unwrap();
        }
        let more = || Work::Erase("more".into());
        assert!(service.begin(more(), (now, now + SECOND), None).is_none());
        assert!(service.begin(more(), (now + SECOND, now + SECOND), None).is_some());
        assert_eq!(service.tasks().len(), TASKS_MAX);
    }
}
