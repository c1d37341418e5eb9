//! Restarts the operating system. Done is what can be seen: another start of it than the one that was to end.

use super::{Failure, Outcome, exec};
use crate::host::Host;
use quarterdeck_model::kinds::{AgentTaskStatus, ExecTask, RebootTask};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the command that restarts may take to return.
const COMMAND: Duration = Duration::from_secs(30);
/// How long the system may take to end once it was told. Then it is told again.
const GOES_DOWN: Duration = Duration::from_secs(300);
/// How often it is looked whether it is another start: in a container the agent may outlive it.
const LOOK: Duration = Duration::from_secs(1);

/// What it came to, if it is done: there is another start of the system.
pub(super) fn done(host: &Host, task: &RebootTask) -> Option<AgentTaskStatus> {
    let boot_id = host.boot_id();
    let another = boot_id != task.boot_id;
    let boot_id = Some(boot_id);
    another.then(|| AgentTaskStatus { changed: Some(true), boot_id, ..Default::default() })
}

/// An agent that is begun anew in the same start of the system tells it again: nobody knows whether it was told.
pub(super) async fn reboot(
    host: &Host,
    task: &RebootTask,
    command: &[String],
    left: Duration,
) -> Outcome {
    let deadline = Instant::now() + left;
    loop {
        if let Some(done) = done(host, task) {
            return Ok(done);
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            let why =
                "the host was told to restart and did not by the deadline; look at its console";
            return Err(Failure::new("Timeout", why));
        }
        let exec = ExecTask { argv: command.to_vec(), ..ExecTask::default() };
        let ran = exec::run(host, &exec, COMMAND.min(rest), &|_, _| {}).await?;
        if !ran.status.success() {
            let why = format!("the host could not be restarted: {}", ran.stderr.trim());
            return Err(Failure::new("RebootFailed", why));
        }
        let again = deadline.min(Instant::now() + GOES_DOWN);
        while Instant::now() < again && host.boot_id() == task.boot_id {
            sleep(LOOK.min(again.saturating_duration_since(Instant::now()))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn it_is_done_when_another_start_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let random = folder.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&random).unwrap();
        let boot = random.join("boot_id");
        fs::write(&boot, "one\n").unwrap();
        let host = Host::new(folder.path());
        let task = RebootTask { boot_id: "one".into() };
        let script = format!("echo two > {}", boot.display());
        let command = ["/bin/sh".to_owned(), "-c".to_owned(), script];
        let fails = ["/bin/false".to_owned()];
        let left = Duration::from_millis(300);
        let failure = reboot(&host, &task, &fails, left).await.unwrap_err();
        assert_eq!(failure.reason, "RebootFailed");
        let nothing = ["/bin/true".to_owned()];
        let failure = reboot(&host, &task, &nothing, left).await.unwrap_err();
        assert_eq!(failure.reason, "Timeout");
        let done = reboot(&host, &task, &command, left).await.unwrap();
        assert_eq!(done.boot_id.as_deref(), Some("two"));
        // Begun again after it: nothing is told.
        assert!(reboot(&host, &task, &fails, left).await.is_ok());
    }
}
