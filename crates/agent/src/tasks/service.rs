//! Brings a service of systemd to a state, by `systemctl`: observed first, so that what is so already is left.
//! Source: systemctl(1), `show --property`.

use super::{Failure, Outcome, exec};
use crate::host::Host;
use quarterdeck_model::kinds::{AgentTaskStatus, ExecTask, ServiceState, ServiceTask};
use std::time::{Duration, Instant};

/// How a unit is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    load: String,
    active: String,
    file: String,
}

pub(super) async fn service(
    host: &Host,
    task: &ServiceTask,
    (resumed, left): (bool, Duration),
) -> Outcome {
    check(&task.unit)?;
    if !host.path("/run/systemd/system").exists() {
        return Err(Failure::new("NotSupported", "systemd does not run on this host"));
    }
    if resumed && matches!(task.state, ServiceState::Restarted | ServiceState::Reloaded) {
        return Err(super::unknown());
    }
    let deadline = Instant::now() + left;
    let ask = async |arguments: Vec<&str>| {
        let left = deadline.saturating_duration_since(Instant::now());
        let argv = ["systemctl", "--no-ask-password"].into_iter().chain(arguments);
        let command = ExecTask { argv: argv.map(str::to_owned).collect(), ..ExecTask::default() };
        let ran = exec::run(host, &command, left, &|_, _| {}).await?;
        if ran.status.success() {
            return Ok(ran.stdout);
        }
        Err(Failure::new("ServiceFailed", format!("systemctl: {}", ran.stderr.trim())))
    };
    let unit = read(
        &ask(vec!["show", "--property=LoadState,ActiveState,UnitFileState", "--", &task.unit])
            .await?,
    );
    let steps = steps(task, &unit)?;
    for step in &steps {
        ask(vec![step, "--", &task.unit]).await?;
    }
    Ok(AgentTaskStatus { changed: Some(!steps.is_empty()), ..AgentTaskStatus::default() })
}

/// Names that systemd.unit(5) allows, and nothing that systemctl would take for a flag or a pattern.
fn check(unit: &str) -> Result<(), Failure> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let good =
        !unit.is_empty() && unit.len() <= 255 && unit.bytes().all(letter) && !unit.starts_with('-');
    if good {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "unit is {unit:?}; it must be the name of a unit, such as nginx.service"
    )))
}

fn read(shown: &str) -> Unit {
    let field = |name: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    Unit { load: field("LoadState"), active: field("ActiveState"), file: field("UnitFileState") }
}

/// What is to be done to a unit that is so. Pure.
fn steps(task: &ServiceTask, unit: &Unit) -> Result<Vec<&'static str>, Failure> {
    if unit.load != "loaded" {
        let why = format!("unit {} is {} on the host; install it first", task.unit, unit.load);
        return Err(Failure::new("NotFound", why));
    }
    let runs = ["active", "reloading", "activating"].contains(&&*unit.active);
    let mut steps = Vec::new();
    match (task.enabled, unit.file.as_str()) {
        (Some(true), "enabled") | (Some(false), "disabled") | (None, _) => {}
        (Some(_), "static" | "generated" | "transient" | "alias" | "indirect") => {
            let why = format!(
                "unit {} is {}: whether it starts with the system is not for it to say",
                task.unit, unit.file
            );
            return Err(Failure::invalid(why));
        }
        (Some(true), _) => steps.push("enable"),
        (Some(false), _) => steps.push("disable"),
    }
    steps.extend(match task.state {
        ServiceState::Started if !runs => Some("start"),
        ServiceState::Stopped if unit.active != "inactive" => Some("stop"),
        ServiceState::Restarted => Some("restart"),
        ServiceState::Reloaded => Some("reload-or-restart"),
        ServiceState::Unchanged | ServiceState::Started | ServiceState::Stopped => None,
    });
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_already_is_left() {
        // Written by hand, in the form of systemctl(1), show --property.
        let runs = read("LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n");
        let rests = read("LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n");
        let broken = read("LoadState=loaded\nActiveState=failed\nUnitFileState=enabled\n");
        let fixed = read("LoadState=loaded\nActiveState=active\nUnitFileState=static\n");
        let missing = read("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n");
        let task = |state, enabled| ServiceTask { unit: "a.service".into(), state, enabled };
        use ServiceState::{Reloaded, Restarted, Started, Stopped, Unchanged};
        for (unit, state, enabled, expected) in [
            (&runs, Started, Some(true), vec![]),
            (&runs, Stopped, Some(false), vec!["disable", "stop"]),
            (&runs, Restarted, None, vec!["restart"]),
            (&runs, Reloaded, None, vec!["reload-or-restart"]),
            (&rests, Started, Some(true), vec!["enable", "start"]),
            (&rests, Stopped, Some(false), vec![]),
            (&broken, Started, None, vec!["start"]),
            (&broken, Stopped, None, vec!["stop"]),
            (&rests, Unchanged, None, vec![]),
        ] {
            assert_eq!(steps(&task(state, enabled), unit).unwrap(), expected, "{unit:?} {state:?}");
        }
        assert_eq!(steps(&task(Started, None), &missing).unwrap_err().reason, "NotFound");
        assert_eq!(steps(&task(Started, Some(true)), &fixed).unwrap_err().reason, "InvalidInput");
    }

    #[tokio::test]
    async fn names_that_are_none_and_hosts_without_systemd_are_told() {
        for wrong in ["", "-a", "a b", "a;b", "*", "a/b"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert_eq!(check("getty@tty1.service"), Ok(()));
        let folder = tempfile::tempdir().unwrap();
        let task = ServiceTask { unit: "a.service".into(), ..ServiceTask::default() };
        let failure =
            service(&Host::new(folder.path()), &task, (false, Duration::from_secs(5))).await;
        assert_eq!(failure.unwrap_err().reason, "NotSupported");
    }
}
