//! What is told, as a table: what is seen of one container, and the phase, the state and the sentence that follow.

use super::*;
use crate::containers::backoff::Trouble;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn told(
    pod: &Value,
    seen: Vec<SeenContainer>,
    memory: &Memory,
    engine: Option<&str>,
) -> InstanceStatus {
    let pod: PodSpec = serde_json::from_value(pod.clone()).unwrap();
    let (timings, before) = (Timings::default(), InstanceStatus::default());
    let around = Around { now: at(100), timings: &timings, doing: None, engine, before: &before };
    status(&pod, Wanted::Running(&pod), &Seen::sorted(seen), memory, &around)
}

fn container(state: SeenState, attempt: u32) -> SeenContainer {
    let (id, name) = (format!("id{attempt}"), "c".to_owned());
    SeenContainer { id, name, attempt, streak: attempt, state, ..SeenContainer::default() }
}

fn ended(exit_code: i32, out_of_memory: bool) -> SeenState {
    let (started, finished) = (at(90), at(99));
    SeenState::Ended(Ended { exit_code, out_of_memory, started, finished, ..Ended::default() })
}

#[test]
fn what_is_seen_and_what_is_told() {
    let running = SeenState::Running { since: at(90) };
    let plain = json!({"containers": [{"name": "c", "image": "a"}]});
    let probed = json!({"containers": [{"name": "c", "image": "a", "readinessProbe": {"tcpSocket": {"port": 1}}}]});
    let never = json!({"containers": [{"name": "c", "image": "a"}], "restartPolicy": "Never"});
    let begun = Memory::default();
    let mut pulling = Memory::default();
    let (reason, message) = ("ErrImagePull", "no such image".to_owned());
    pulling.troubles.insert("c".into(), Trouble { reason, message, failures: 2, again: at(110) });
    let mut unready = Memory::default();
    let said = Some("its readiness probe failed: no answer".to_owned());
    unready
        .verdicts
        .insert("id0".into(), Verdict { started: true, unready: said, ..Verdict::default() });
    use InstancePhase::{Failed, NotReady, Ready, Starting};
    for (pod, seen, memory, phase, message) in [
        (&plain, vec![], &begun, Starting, "c: ContainerCreating"),
        (&plain, vec![], &pulling, Starting, "c: no such image"),
        (&plain, vec![container(running.clone(), 0)], &begun, Ready, ""),
        (
            &probed,
            vec![container(running.clone(), 0)],
            &begun,
            NotReady,
            "c: its readiness probe has not passed yet",
        ),
        (
            &probed,
            vec![container(running.clone(), 0)],
            &unready,
            NotReady,
            "c: its readiness probe failed: no answer",
        ),
        (
            &plain,
            vec![container(ended(1, false), 1)],
            &begun,
            NotReady,
            "c: it ended with 1; it is started again at 1970-01-12T13:48:29Z",
        ),
        (
            &plain,
            vec![container(ended(137, true), 1)],
            &begun,
            NotReady,
            "c: the kernel killed it, since it took more memory than its limit; it is started again at 1970-01-12T13:48:29Z",
        ),
        (&never, vec![container(ended(3, false), 0)], &begun, Failed, "c ended with 3 (Error)"),
        (
            &never,
            vec![container(ended(0, false), 0)],
            &begun,
            Failed,
            "it did what it was for, and is not started again",
        ),
    ] {
        let told = told(pod, seen, memory, None);
        assert_eq!((told.phase, told.message.unwrap_or_default().as_str()), (phase, message));
        let ready = told.conditions.iter().find(|it| it.kind == "Ready").unwrap();
        assert_eq!(ready.status == ConditionStatus::True, phase == Ready);
    }
}

#[test]
fn a_restart_is_counted_and_the_end_before_it_is_told() {
    let plain = json!({"containers": [{"name": "c", "image": "a"}]});
    let seen =
        vec![container(ended(137, true), 1), container(SeenState::Running { since: at(100) }, 2)];
    let told = told(&plain, seen, &Memory::default(), None);
    let it = &told.containers[0];
    assert_eq!((it.restart_count, it.ready, it.container_id.as_str()), (2, true, "docker://id2"));
    assert_eq!(it.last_state.terminated.as_ref().unwrap().reason, "OOMKilled");
    assert_eq!(told.phase, InstancePhase::Ready);
}

#[test]
fn what_an_engine_that_is_away_runs_is_not_taken_for_ready() {
    let plain = json!({"containers": [{"name": "c", "image": "a"}]});
    let seen = vec![container(SeenState::Running { since: at(90) }, 0)];
    let told = told(&plain, seen, &Memory::default(), Some("it does not answer"));
    assert_eq!(
        (told.phase, told.message.as_deref()),
        (InstancePhase::NotReady, Some("it does not answer"))
    );
}
