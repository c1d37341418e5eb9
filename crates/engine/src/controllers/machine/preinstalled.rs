//! A machine whose operating system was there before: nothing is installed on it and nothing wiped. It runs once its agent has
//! joined. The Server that it is on, if that is known, is its own, so that nobody else gets that. Pure.

use super::decide::{Action, enter, not_ready, set};
use quarterdeck_model::{
    ConditionStatus, Time, condition,
    kinds::{Machine, MachinePhase, MachineStatus, Server, ServerPhase, machine_agent::REACHABLE},
};

/// What a preinstalled machine's status should be, and what to do next for it. `server` is what it names, and whether that is
/// its own.
pub(super) fn decide(
    machine: &Machine,
    server: Option<(&Server, bool)>,
    now: Time,
) -> (MachineStatus, Action) {
    let mut status = machine.status.clone();
    status.observed_generation = machine.metadata.generation;
    let own = server.filter(|(_, own)| *own);
    status.server = own.map(|(server, _)| server.metadata.name.clone());
    if machine.metadata.deletion_timestamp.is_some() {
        let action = if own.is_some() { Action::Release } else { Action::Finish };
        return (status, action);
    }
    let action = match take(machine, server) {
        Ok(action) => action,
        Err((reason, message)) => {
            enter(&mut status, MachinePhase::Pending, now);
            not_ready(&mut status, reason, message, now);
            return (status, Action::Nothing);
        }
    };
    let meta = &machine.metadata;
    let joined = status.agent.as_ref().is_some_and(|agent| agent.joined.is_some());
    if !joined {
        enter(&mut status, MachinePhase::Pending, now);
        let message = format!(
            "Its agent has not joined; start it there with a token from: quarterdeck machine join-token {} -n {}",
            meta.name,
            meta.namespace.as_deref().unwrap_or_default()
        );
        not_ready(&mut status, "AgentNotJoined", message, now);
        return (status, action);
    }
    enter(&mut status, MachinePhase::Running, now);
    let reachable = condition::find(&status.conditions, REACHABLE);
    match reachable.filter(|it| it.status == ConditionStatus::False).cloned() {
        Some(silent) => not_ready(&mut status, &silent.reason, silent.message, now),
        None => {
            set(&mut status, ConditionStatus::True, "Running", "Its agent has joined.".into(), now)
        }
    }
    (status, action)
}

/// Whether the server that it names has to be taken, and why it cannot be.
fn take(
    machine: &Machine,
    server: Option<(&Server, bool)>,
) -> Result<Action, (&'static str, String)> {
    let named = machine.spec.placement.as_ref().and_then(|placement| placement.server.as_ref());
    let Some(name) = named else { return Ok(Action::Nothing) };
    match server {
        None => {
            let message = format!(
                "spec.placement.server names Server {name}, which does not exist; create it."
            );
            Err(("ServerNotFound", message))
        }
        Some((_, true)) => Ok(Action::Nothing),
        Some((server, false)) => match &server.status.machine_ref {
            Some(other) => {
                let message = format!(
                    "Server {name} is that of Machine {}/{}; name another.",
                    other.namespace, other.name
                );
                Err(("ServerTaken", message))
            }
            None if !may_be_taken(server.status.phase) => {
                let message = format!(
                    "Server {name} is {}; only one that is Registered, Inspecting or Ready is taken. Name another, or wait.",
                    server.status.phase
                );
                Err(("ServerNotFree", message))
            }
            None => Ok(Action::Choose),
        },
    }
}

/// Whether nothing is on a server, or under way there, that whoever takes it would come between.
fn may_be_taken(phase: ServerPhase) -> bool {
    use ServerPhase::{
        Cleaning, InUse, Inspecting, Provisioning, Quarantined, Ready, Registered, Repairing,
        Retired,
    };
    match phase {
        Registered | Inspecting | Ready => true,
        Provisioning | InUse | Cleaning | Quarantined | Repairing | Retired => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn machine(spec: Value, status: Value) -> Machine {
        let mut spec = spec;
        spec["preinstalled"] = json!(true);
        let metadata = json!({"name": "m", "namespace": "a", "uid": "u"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status}))
            .unwrap()
    }

    fn server(status: Value) -> Server {
        let spec = json!({"bmc": {"address": "192.0.2.1"}});
        serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec, "status": status}))
            .unwrap()
    }

    #[test]
    fn it_runs_when_its_agent_has_joined_and_takes_the_server_that_it_names() {
        let now = Time::new("2026-03-01T12:00:00Z".parse().unwrap());
        let joined = json!({"agent": {"joined": "2026-03-01T11:00:00Z"}});
        let silent = json!({"type": "Reachable", "status": "False", "reason": "AgentSilent",
            "message": "m", "lastTransitionTime": "2026-03-01T11:00:00Z"});
        let mut away = joined.clone();
        away["conditions"] = json!([silent]);
        let on_s = json!({"placement": {"server": "s"}});
        let free = server(json!({"phase": "Ready"}));
        let taken = server(json!({"machineRef": {"namespace": "b", "name": "o", "uid": "x"}}));
        let anywhere = || json!({});
        for (spec, status, server, (reason, action, phase)) in [
            (
                anywhere(),
                json!({}),
                None,
                ("AgentNotJoined", Action::Nothing, MachinePhase::Pending),
            ),
            (anywhere(), joined.clone(), None, ("Running", Action::Nothing, MachinePhase::Running)),
            (anywhere(), away, None, ("AgentSilent", Action::Nothing, MachinePhase::Running)),
            (
                on_s.clone(),
                joined.clone(),
                None,
                ("ServerNotFound", Action::Nothing, MachinePhase::Pending),
            ),
            (
                on_s.clone(),
                joined.clone(),
                Some((&free, false)),
                ("Running", Action::Choose, MachinePhase::Running),
            ),
            (
                on_s.clone(),
                joined.clone(),
                Some((&taken, false)),
                ("ServerTaken", Action::Nothing, MachinePhase::Pending),
            ),
            (
                on_s.clone(),
                joined.clone(),
                Some((&free, true)),
                ("Running", Action::Nothing, MachinePhase::Running),
            ),
        ] {
            let (status, did) = decide(&machine(spec, status), server, now);
            let ready = condition::find(&status.conditions, "Ready").unwrap();
            assert_eq!((&*ready.reason, did, status.phase), (reason, action, phase));
        }
        for phase in ServerPhase::ALL {
            let server = server(json!({"phase": phase}));
            let (status, did) =
                decide(&machine(on_s.clone(), joined.clone()), Some((&server, false)), now);
            let taken = ["Registered", "Inspecting", "Ready"].contains(&&*phase.to_string());
            assert_eq!(did == Action::Choose, taken, "{phase}");
            let ready = condition::find(&status.conditions, "Ready").unwrap();
            assert_eq!(ready.reason == "ServerNotFree", !taken, "{phase}");
        }
        let mut gone = machine(on_s, joined);
        gone.metadata.deletion_timestamp = Some(now);
        assert_eq!(decide(&gone, Some((&free, true)), now).1, Action::Release);
        assert_eq!(decide(&gone, Some((&free, false)), now).1, Action::Finish);
    }
}
