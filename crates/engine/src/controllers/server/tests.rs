use super::{
    decide::{REACHABLE, spread},
    *,
};
use quarterdeck_model::{
    Condition,
    inventory::{Inventory, Unread},
    kinds::{
        Bmc, BmcTlsVerify, Location, RunPhase, RunStatus, ServerPhase, ServerProfileSpec,
        ServerSpec, StepPhase, StepStatus,
    },
};

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
        room: &|| Room::Free,
        rack_found: false,
        profile: None,
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
    let hour = Duration::from_secs(3600);
    assert_eq!((action, again), (Action::Inspect { number: 1 }, Some(hour)));
    assert_eq!(status.phase_deadline, Some(time("2026-11-01T13:00:00Z")));
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
    assert_eq!((action, again), (Action::Nothing, None));
    assert_eq!((status.phase, status.phase_deadline), (ServerPhase::Ready, None));
    assert_eq!(ready(&status), (ConditionStatus::True, "Inspected"));
    let mut ready_server = server.clone();
    ready_server.status = status.clone();
    let later =
        Situation { now: time("2026-11-09T12:00:00Z"), ..situation(&ready_server, Some(&run)) };
    assert_eq!(decide(&later), (status, Action::Nothing, None), "it stays so without a write");
}

#[test]
fn a_server_that_is_lost_later_is_not_ready_until_it_is_back() {
    let mut server = new_server();
    server.status.phase = ServerPhase::Ready;
    let lost = |at| {
        let message = "no answer";
        Condition::new(REACHABLE, ConditionStatus::False, "Unreachable", message, time(at))
    };
    server.status.conditions = vec![lost("2026-11-01T11:59:30Z")];
    let before = inspection(1, RunPhase::Succeeded, Some("2026-11-01T11:00:00Z"));
    let (status, _, _) = decide(&situation(&server, Some(&before)));
    assert_eq!(status.phase, ServerPhase::Ready);
    assert_eq!(ready(&status), (ConditionStatus::False, "Unreachable"));
    let after = inspection(1, RunPhase::Succeeded, Some("2026-11-01T11:59:50Z"));
    let (status, _, _) = decide(&situation(&server, Some(&after)));
    assert_eq!(ready(&status), (ConditionStatus::True, "Inspected"));
    assert!(condition::find(&status.conditions, REACHABLE).is_none());
}

#[test]
fn a_server_that_is_not_inspected_in_time_is_overdue() {
    let mut server = new_server();
    server.status.phase = ServerPhase::Inspecting;
    server.status.phase_since = Some(time("2026-11-01T10:59:00Z"));
    let mut run = inspection(5, RunPhase::Failed, Some(NOW));
    run.status.steps.push(failed_step(StepPhase::Failed));
    let (status, _, again) = decide(&situation(&server, Some(&run)));
    let overdue = condition::find(&status.conditions, "Overdue").unwrap();
    assert_eq!(overdue.status, ConditionStatus::True);
    assert_eq!(ready(&status).1, "Unreachable", "which says why");
    assert!(again.is_some(), "it is still tried");
    server.status = status;
    let run = inspection(6, RunPhase::Succeeded, Some(NOW));
    let (status, _, _) = decide(&situation(&server, Some(&run)));
    assert!(condition::find(&status.conditions, "Overdue").is_none());
}

#[test]
fn without_room_it_waits_its_turn() {
    let server = new_server();
    let crowded = Situation { room: &|| Room::None, ..situation(&server, None) };
    let (status, ..) = decide(&crowded);
    assert!(condition::find(&status.conditions, "Ready").is_none(), "it waits a moment, mostly");
    let crowded = Situation { room: &|| Room::StillNone, ..situation(&server, None) };
    let (status, action, again) = decide(&crowded);
    assert_eq!(action, Action::Nothing);
    assert_eq!((status.phase, ready(&status).1), (ServerPhase::Registered, "Queued"));
    assert!((120..=240).contains(&again.unwrap().as_secs()));
    let mut waiting = new_server();
    waiting.status = status;
    let (status, action, _) = decide(&situation(&waiting, None));
    assert_eq!(action, Action::Inspect { number: 1 });
    assert_eq!(ready(&status).1, "Inspecting");
}

#[test]
fn a_server_that_is_being_deleted_is_left_alone() {
    let mut server = new_server();
    server.metadata.deletion_timestamp = Some(time(NOW));
    assert_eq!(decide(&situation(&server, None)).1, Action::Nothing);
}

#[test]
fn a_bmc_that_is_not_verified_is_said_to_be_so() {
    let mut server = new_server();
    let trusted = |server: &Server| {
        let (status, _, _) = decide(&situation(server, None));
        condition::find(&status.conditions, "BMCTrusted").map(|found| found.reason.clone())
    };
    assert_eq!(trusted(&server), None);
    server.spec.bmc.tls.verify = BmcTlsVerify::Skip;
    assert_eq!(trusted(&server).as_deref(), Some("NotVerified"));
    server.spec.bmc.address = "http://bmc1".into();
    assert_eq!(trusted(&server).as_deref(), Some("NotEncrypted"));
}

#[test]
fn parts_that_could_not_be_read_are_named() {
    let mut server = new_server();
    let unread = |part: &str| Unread { part: part.into(), message: "it says 500".into() };
    server.status.inventory = Some(Inventory {
        unread: vec![unread("drives"), unread("memory")],
        ..Inventory::default()
    });
    let (status, _, _) = decide(&situation(&server, None));
    let complete = condition::find(&status.conditions, "InventoryComplete").unwrap();
    assert!(complete.message.contains("drives, memory"), "{}", complete.message);
    server.status = ServerStatus { inventory: Some(Inventory::default()), ..status };
    let (status, _, _) = decide(&situation(&server, None));
    assert!(condition::find(&status.conditions, "InventoryComplete").is_none());
}

#[test]
fn servers_of_one_rack_are_spread() {
    let mut at: Vec<i64> =
        (1..=42).map(|unit| spread(&format!("ams1-a01-u{unit:02}"), 3600)).collect();
    at.sort_unstable();
    assert!(at.iter().all(|second| (0..3600).contains(second)));
    let widest = at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(widest < 900 && at[41] - at[0] > 1800, "{at:?}");
    assert_eq!(spread("any", 0), 0);
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
    server.spec.location = Some(Location { rack: "r1".into(), unit: Some(1), height: None });
    let (status, _, _) = decide(&situation(&server, None));
    let link = condition::find(&status.conditions, "LinksFound").unwrap();
    assert_eq!((link.status, link.reason.as_str()), (ConditionStatus::False, "RackNotFound"));
    let (status, _, _) = decide(&Situation { rack_found: true, ..situation(&server, None) });
    let link = condition::find(&status.conditions, "LinksFound").unwrap();
    assert_eq!(link.status, ConditionStatus::True);
}

#[test]
fn a_server_that_differs_from_its_profile_is_not_ready_and_says_in_what() {
    let mut server = new_server();
    server.spec.profile = Some("small".into());
    server.status.phase = ServerPhase::Inspecting;
    server.status.inventory = Some(Inventory::default());
    let run = inspection(1, RunPhase::Succeeded, Some("2026-11-01T11:59:00Z"));
    let (status, _, _) = decide(&situation(&server, Some(&run)));
    assert_eq!(status.phase, ServerPhase::Inspecting);
    assert_eq!(ready(&status), (ConditionStatus::False, "ProfileNotFound"));

    let mut profile = ServerProfile {
        spec: ServerProfileSpec { memory_modules: Some(2), ..ServerProfileSpec::default() },
        ..ServerProfile::default()
    };
    let differs = Situation { profile: Some(&profile), ..situation(&server, Some(&run)) };
    let (status, _, _) = decide(&differs);
    assert_eq!(status.phase, ServerPhase::Inspecting, "it has not come so far");
    assert_eq!(ready(&status), (ConditionStatus::False, "ProfileNotMet"));
    let message = &condition::find(&status.conditions, "Ready").unwrap().message;
    assert_eq!(message, "It differs from profile small: 0 of 2 memory modules are there.");

    profile.spec.memory_modules = None;
    profile.spec.firmware = serde_json::from_str(r#"[{"name": "BMC", "version": "2"}]"#).unwrap();
    let fits = Situation { profile: Some(&profile), ..situation(&server, Some(&run)) };
    let (status, _, _) = decide(&fits);
    assert_eq!(status.phase, ServerPhase::Ready, "it can be used with other firmware");
    assert_eq!(ready(&status), (ConditionStatus::True, "Inspected"));
    let firmware = condition::find(&status.conditions, "FirmwareCurrent").unwrap();
    assert_eq!(firmware.reason, "FirmwareDiffers");
}

#[test]
fn a_server_out_of_service_is_left_alone_and_says_why() {
    let mut server = new_server();
    for phase in [ServerPhase::Quarantined, ServerPhase::Repairing, ServerPhase::Retired] {
        server.status.phase = phase;
        server.status.phase_message = Some("A fan is broken.".into());
        let (status, action, _) = decide(&situation(&server, None));
        assert_eq!(action, Action::Nothing);
        assert_eq!(ready(&status), (ConditionStatus::False, phase.as_str()));
        let ready = condition::find(&status.conditions, "Ready").unwrap();
        assert_eq!(ready.message, "A fan is broken.");
    }
    server.status.phase = ServerPhase::Ready;
    let run = inspection(1, RunPhase::Succeeded, Some("2026-11-01T11:00:00Z"));
    let (status, _, _) = decide(&situation(&server, Some(&run)));
    assert_eq!(ready(&status), (ConditionStatus::True, "Inspected"), "it is back");
}

#[test]
fn a_phase_that_lasts_too_long_says_what_ends_it() {
    let mut server = new_server();
    let run = inspection(1, RunPhase::Succeeded, Some("2026-11-01T11:00:00Z"));
    let overdue = |status: &ServerStatus| {
        condition::find(&status.conditions, "Overdue").map(|it| it.message.clone())
    };
    server.status.phase = ServerPhase::Provisioning;
    server.status.phase_deadline = Some(time("2026-11-01T13:00:00Z"));
    let (status, _, again) = decide(&situation(&server, Some(&run)));
    assert_eq!((overdue(&status), again), (None, Some(Duration::from_secs(3600))));
    for (phase, exit) in [
        (ServerPhase::Provisioning, "quarantine-server"),
        (ServerPhase::Cleaning, "quarantine-server"),
        (ServerPhase::Quarantined, "return-server"),
        (ServerPhase::Repairing, "retire-server"),
    ] {
        server.status.phase = phase;
        server.status.phase_deadline = Some(time("2026-11-01T11:00:00Z"));
        let (status, _, _) = decide(&situation(&server, Some(&run)));
        assert!(overdue(&status).unwrap().contains(exit), "{phase}");
    }
    server.status.phase = ServerPhase::InUse;
    let (status, _, again) = decide(&situation(&server, Some(&run)));
    assert_eq!((overdue(&status), status.phase_deadline, again), (None, None, None));
}
