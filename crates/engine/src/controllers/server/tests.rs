use super::*;
use quarterdeck_model::kinds::{Bmc, Location, RunStatus, ServerSpec, StepStatus};

const NOW: &str = "2026-11-01T12:00:00Z";

fn time(text: &str) -> Time {
    Time::new(text.parse().unwrap())
}

fn new_server() -> Server {
    Server {
        metadata: ObjectMeta {
            name: "s1".into(),
            uid: "u1".into(),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: ServerSpec {
            bmc: Bmc { address: "bmc1".into(), ..Bmc::default() },
            ..ServerSpec::default()
        },
        ..Server::default()
    }
}

fn inspection(number: u32, phase: RunPhase, ended: Option<&str>) -> Run {
    let mut run = inspection_run(&new_server(), "inspect-s1", "1/0/0", number, time(NOW));
    run.status = RunStatus { phase, completion_time: ended.map(time), ..RunStatus::default() };
    run
}

fn failed_step(phase: StepPhase) -> StepStatus {
    StepStatus {
        name: "inventory".into(),
        phase,
        reason: Some("Unreachable".into()),
        message: Some("bmc1 does not answer; check the address".into()),
        ..StepStatus::default()
    }
}

fn situation<'a>(server: &'a Server, inspection: Option<&'a Run>) -> Situation<'a> {
    Situation {
        server,
        basis: "1/0/0".into(),
        inspection,
        can_inspect: true,
        rack_found: false,
        now: time(NOW),
    }
}

fn ready(status: &ServerStatus) -> (ConditionStatus, &str) {
    let ready = condition::find(&status.conditions, "Ready").unwrap();
    (ready.status, &ready.reason)
}

#[test]
fn a_new_server_is_inspected() {
    let server = new_server();
    let (status, action, again) = decide(&situation(&server, None));
    assert_eq!((action, again), (Action::Inspect { number: 1 }, None));
    assert_eq!(status.phase, ServerPhase::Inspecting);
    assert_eq!(status.phase_since, Some(time(NOW)));
    assert_eq!(ready(&status), (ConditionStatus::False, "Inspecting"));
}

#[test]
fn without_the_runbook_it_says_so() {
    let server = new_server();
    let (status, action, _) = decide(&Situation { can_inspect: false, ..situation(&server, None) });
    assert_eq!(action, Action::Nothing);
    assert_eq!(status.phase, ServerPhase::Registered);
    assert_eq!(ready(&status), (ConditionStatus::False, "RunbookNotFound"));
}

#[test]
fn an_inspection_that_succeeds_makes_it_ready() {
    let mut server = new_server();
    server.status.phase = ServerPhase::Inspecting;
    let run = inspection(1, RunPhase::Succeeded, Some("2026-11-01T11:59:00Z"));
    let (status, action, again) = decide(&situation(&server, Some(&run)));
    assert_eq!(action, Action::Nothing);
    assert_eq!(status.phase, ServerPhase::Ready);
    assert_eq!(ready(&status), (ConditionStatus::True, "Inspected"));
    assert!(again.unwrap() > Duration::from_secs(3000), "it is looked at again, later");
    let old = inspection(1, RunPhase::Succeeded, Some("2026-11-01T09:00:00Z"));
    let (_, action, _) = decide(&situation(&server, Some(&old)));
    assert_eq!(action, Action::Inspect { number: 1 });
}

#[test]
fn an_inspection_that_fails_says_why_and_comes_back_later_and_later() {
    let mut server = new_server();
    server.status.phase = ServerPhase::Inspecting;
    let mut pauses = Vec::new();
    for number in 1..10 {
        let mut run = inspection(number, RunPhase::Failed, Some(NOW));
        run.status.steps.push(failed_step(StepPhase::Failed));
        let (status, action, again) = decide(&situation(&server, Some(&run)));
        assert_eq!(action, Action::Nothing);
        assert_eq!(status.phase, ServerPhase::Inspecting);
        assert_eq!(ready(&status), (ConditionStatus::False, "Unreachable"));
        let message = &condition::find(&status.conditions, "Ready").unwrap().message;
        assert_eq!(message, "bmc1 does not answer; check the address");
        pauses.push(again.unwrap());
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[8] < Duration::from_secs(900), "{pauses:?}");
    let mut long_ago = inspection(3, RunPhase::Failed, Some("2026-11-01T11:00:00Z"));
    long_ago.status.steps.push(failed_step(StepPhase::Failed));
    let (_, action, _) = decide(&situation(&server, Some(&long_ago)));
    assert_eq!(action, Action::Inspect { number: 4 });
}

#[test]
fn a_step_that_will_be_tried_again_says_why_already() {
    let server = new_server();
    let mut run = inspection(1, RunPhase::Running, None);
    run.status.steps.push(failed_step(StepPhase::Running));
    let (status, action, _) = decide(&situation(&server, Some(&run)));
    assert_eq!(action, Action::Nothing);
    assert_eq!(status.phase, ServerPhase::Inspecting);
    assert_eq!(ready(&status), (ConditionStatus::False, "Unreachable"));
}

#[test]
fn a_corrected_spec_or_secret_is_looked_at_at_once() {
    let server = new_server();
    let failed = inspection(7, RunPhase::Failed, Some(NOW));
    let changed = |run| Situation { basis: "1/9/0".into(), ..situation(&server, Some(run)) };
    let (_, action, _) = decide(&changed(&failed));
    assert_eq!(action, Action::Inspect { number: 1 });
    let running = inspection(7, RunPhase::Running, None);
    let (_, action, _) = decide(&changed(&running));
    assert_eq!(action, Action::Cancel);
}

#[test]
fn a_server_that_was_ready_stays_in_its_phase_when_it_cannot_be_reached() {
    let mut server = new_server();
    server.status.phase = ServerPhase::InUse;
    let mut run = inspection(1, RunPhase::Failed, Some(NOW));
    run.status.steps.push(failed_step(StepPhase::Failed));
    let (status, _, _) = decide(&situation(&server, Some(&run)));
    assert_eq!(status.phase, ServerPhase::InUse);
    assert_eq!(ready(&status), (ConditionStatus::False, "Unreachable"));
}

#[test]
fn a_link_to_a_missing_rack_is_shown() {
    let mut server = new_server();
    server.spec.location = Some(Location { rack: "r1".into(), unit: Some(1) });
    let (status, _, _) = decide(&situation(&server, None));
    let link = condition::find(&status.conditions, "LinksFound").unwrap();
    assert_eq!((link.status, link.reason.as_str()), (ConditionStatus::False, "RackNotFound"));
    let (status, _, _) = decide(&Situation { rack_found: true, ..situation(&server, None) });
    let link = condition::find(&status.conditions, "LinksFound").unwrap();
    assert_eq!(link.status, ConditionStatus::True);
}
