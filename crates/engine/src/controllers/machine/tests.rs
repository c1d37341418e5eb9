use super::*;
use quarterdeck_model::kinds::{
    ImageFormat, ImageSpec, MachinePhase, MachineSpec, RunPhase, RunStatus, ServerPhase,
};

const NOW: &str = "2026-11-01T12:00:00Z";

fn time(text: &str) -> Time {
    Time::new(text.parse().unwrap())
}

/// A machine and what is around it.
struct Around {
    machine: Machine,
    image: Image,
    server: Option<Server>,
    run: Option<Run>,
}

/// A machine that has just been created.
fn new() -> Around {
    let mut machine = Machine::default();
    machine.metadata.name = "web-1".into();
    machine.metadata.namespace = Some("shop".into());
    machine.metadata.uid = "u1".into();
    machine.metadata.generation = Some(1);
    machine.spec = MachineSpec {
        class: "small".into(),
        image: "a".into(),
        placement: None,
        ..MachineSpec::default()
    };
    let spec = ImageSpec {
        url: "https://images.example/a.iso".into(),
        format: ImageFormat::Iso,
        ..ImageSpec::default()
    };
    Around { machine, image: Image { spec, ..Image::default() }, server: None, run: None }
}

impl Around {
    fn server(mut self, phase: ServerPhase) -> Self {
        let mut server = Server::default();
        server.metadata.name = "s1".into();
        server.status.phase = phase;
        server.status.phase_message = Some("A fan is broken.".into());
        self.machine.status.server = Some("s1".into());
        self.server = Some(server);
        self
    }

    /// An image is installed on it.
    fn installed(mut self, image: &str) -> Self {
        self.machine.status.image = Some(image.into());
        self
    }

    /// The run that was decided on is in that phase.
    fn run(mut self, phase: RunPhase) -> Self {
        let mut run = Run::default();
        run.metadata.uid = "r1".into();
        run.metadata.annotations.insert(IMAGE.into(), self.machine.spec.image.clone());
        run.status = RunStatus { phase, message: Some("it broke".into()), ..RunStatus::default() };
        self.run = Some(run);
        self
    }

    fn deleted(mut self) -> Self {
        self.machine.metadata.deletion_timestamp = Some(time(NOW));
        self
    }

    /// Takes one step, whose status holds from now on.
    fn step(&mut self) -> Action {
        let (status, action) = decide(&Situation {
            machine: &self.machine,
            class: Some(&MachineClass::default()),
            image: Some(&self.image),
            server: self.server.as_ref(),
            run: self.run.as_ref(),
            now: time(NOW),
        });
        self.machine.status = status;
        action
    }

    fn phase(&self) -> MachinePhase {
        self.machine.status.phase
    }

    fn says(&self) -> (&str, &str) {
        let ready = condition::find(&self.machine.status.conditions, "Ready").unwrap();
        (&ready.reason, &ready.message)
    }

    fn run_name(&self) -> &str {
        self.machine.status.current_run.as_deref().unwrap_or_default()
    }
}

fn runbook(action: &Action) -> &'static str {
    match action {
        Action::Begin(task) => task.runbook,
        other => panic!("{other:?} begins no run"),
    }
}

#[test]
fn a_run_is_written_down_before_it_is_made() {
    let mut it = new().server(ServerPhase::Ready);
    assert_eq!(it.step(), Action::Nothing, "only its name is decided");
    assert_eq!(it.phase(), MachinePhase::Provisioning);
    let name = it.run_name().to_owned();
    assert!(name.starts_with("quarterdeck-system/web-1-install-"), "{name}");
    let action = it.step();
    let Action::Begin(task) = &action else { panic!("{action:?}") };
    assert_eq!(format!("quarterdeck-system/{}", task.name), name);
    assert_eq!(task.params["image"], "https://images.example/a.iso");
    assert_eq!(task.params["message"], "It is being installed for Machine shop/web-1.");
    assert_eq!(it.step(), action, "until it is there");
    let mut it = it.run(RunPhase::Running);
    assert_eq!(it.step(), Action::Nothing);
    let mut it = it.run(RunPhase::Succeeded).server(ServerPhase::InUse);
    assert_eq!(it.step(), Action::Nothing);
    assert_eq!((it.phase(), it.says().0), (MachinePhase::Running, "Running"));
    assert_eq!((it.machine.status.image.as_deref(), it.run_name()), (Some("a"), ""));
}

#[test]
fn a_server_that_failed_is_let_go_before_it_is_forgotten() {
    let mut it = new().server(ServerPhase::Ready);
    it.step();
    let mut it = it.server(ServerPhase::Quarantined).run(RunPhase::Failed);
    assert_eq!(it.step(), Action::Release);
    assert_ne!(it.run_name(), "", "it is let go again should that not be seen");
    it.server = None;
    assert_eq!(it.step(), Action::Choose);
    assert_eq!(it.machine.status.failed_servers, ["s1"]);
    assert_eq!((it.run_name(), it.machine.status.server.as_ref()), ("", None));
    it.machine.status.failed_servers = vec!["s1".into(), "s2".into(), "s3".into()];
    assert_eq!(it.step(), Action::Nothing);
    assert_eq!((it.phase(), it.says().0), (MachinePhase::Failed, "InstallFailed"));
    assert!(it.says().1.contains("s1, s2, s3"), "{}", it.says().1);
}

#[test]
fn another_image_is_installed_anew_and_a_failure_waits_for_a_person() {
    let mut it = new().server(ServerPhase::InUse).installed("a");
    it.step();
    assert_eq!(it.phase(), MachinePhase::Running);
    it.machine.spec.image = "b".into();
    it.step();
    assert_eq!(it.phase(), MachinePhase::Updating);
    assert_eq!(runbook(&it.step()), "reinstall-server");
    let mut it = it.run(RunPhase::Failed);
    assert_eq!(it.step(), Action::Nothing);
    assert_eq!((it.phase(), it.says().0), (MachinePhase::Failed, "RunFailed"));
    assert!(it.says().1.contains("it broke"), "{}", it.says().1);
    // Somebody has that run go on.
    let mut it = it.run(RunPhase::Running);
    it.step();
    assert_eq!(it.phase(), MachinePhase::Updating);
    // Or wants something else, before anything was written.
    let mut it = it.run(RunPhase::Failed);
    it.machine.spec.image = "a".into();
    it.step();
    it.step();
    assert_eq!(it.phase(), MachinePhase::Running);
}

#[test]
fn what_was_overwritten_in_part_is_installed_again() {
    let mut it = new().server(ServerPhase::InUse).installed("a");
    it.machine.spec.image = "b".into();
    it.step();
    let mut it = it.server(ServerPhase::Quarantined).run(RunPhase::Failed);
    it.step();
    assert_eq!(it.machine.status.image, None, "nobody knows what is on it");
    // The server is returned, and the old image wanted again.
    it.machine.spec.image = "a".into();
    let mut it = it.server(ServerPhase::InUse);
    it.step();
    it.run = None;
    it.step();
    assert_eq!(it.phase(), MachinePhase::Updating);
    assert_eq!(runbook(&it.step()), "reinstall-server");
}

#[test]
fn an_image_that_is_not_there_changes_nothing() {
    let mut it = new().server(ServerPhase::InUse).installed("a");
    it.machine.spec.image = "b".into();
    it.image.spec.format = ImageFormat::Raw;
    assert_eq!(it.step(), Action::Nothing);
    assert_eq!((it.says().0, it.run_name()), ("ImageFormat", ""));
    let before = it.machine.status.clone();
    assert_eq!(it.step(), Action::Nothing);
    assert_eq!(it.machine.status, before, "it is not written again and again");
}

#[test]
fn a_server_that_somebody_quarantined_stays_so_when_its_machine_goes() {
    let mut it = new().server(ServerPhase::Quarantined).installed("a").deleted();
    it.step();
    let Action::Begin(task) = it.step() else { panic!("it is wiped") };
    assert_eq!(task.runbook, "clean-server");
    assert_eq!(task.params["phase"], "Quarantined");
    assert_eq!(task.params["message"], "A fan is broken.");
}

#[test]
fn a_machine_that_is_deleted_is_wiped_unless_nothing_was_written() {
    let mut it = new().deleted();
    assert_eq!(it.step(), Action::Finish);
    let mut it = new().server(ServerPhase::Ready).deleted();
    assert_eq!(it.step(), Action::Release);
    it.server = None;
    assert_eq!(it.step(), Action::Finish);

    let mut it = new().server(ServerPhase::InUse).installed("a").deleted();
    it.step();
    assert_eq!(it.phase(), MachinePhase::Draining);
    assert_eq!(runbook(&it.step()), "clean-server");
    let mut it = it.run(RunPhase::Running).server(ServerPhase::Cleaning);
    it.step();
    assert_eq!(it.phase(), MachinePhase::Deleting);
    let mut it = it.run(RunPhase::Succeeded);
    it.server = None;
    assert_eq!(it.step(), Action::Finish);
}

#[test]
fn a_machine_that_is_deleted_while_it_is_installed_is_wiped_too() {
    let mut it = new().server(ServerPhase::Ready);
    it.step();
    let mut it = it.server(ServerPhase::Provisioning).run(RunPhase::Running).deleted();
    assert_eq!(it.step(), Action::Cancel);
    it.run.as_mut().unwrap().spec.cancel = true;
    assert_eq!(it.step(), Action::Nothing, "it is asked once");
    let mut it = it.server(ServerPhase::Quarantined).run(RunPhase::Cancelled);
    it.step();
    it.run = None;
    assert_eq!(runbook(&it.step()), "clean-server");
}

#[test]
fn a_server_that_could_not_be_wiped_keeps_the_machine_until_it_is_detached() {
    let mut it = new().server(ServerPhase::InUse).installed("a").deleted();
    it.step();
    let mut it = it.server(ServerPhase::Quarantined).run(RunPhase::Failed);
    assert_eq!(it.step(), Action::Nothing);
    assert_eq!(it.says().0, "RunFailed");
    assert!(it.says().1.contains("detach-server"), "{}", it.says().1);
    it.server = None;
    it.step();
    assert_eq!(it.step(), Action::Finish);
}

#[test]
fn a_server_out_of_service_or_lost_is_said() {
    for phase in [ServerPhase::Quarantined, ServerPhase::Repairing, ServerPhase::Retired] {
        let mut it = new().server(phase).installed("a");
        assert_eq!(it.step(), Action::Nothing);
        assert_eq!((it.phase(), it.says().0), (MachinePhase::Failed, "ServerOutOfService"));
        assert!(it.says().1.contains("A fan is broken."), "{}", it.says().1);
    }
    let mut it = new().server(ServerPhase::InUse).installed("a");
    it.server = None;
    assert_eq!(it.step(), Action::Nothing);
    assert_eq!((it.phase(), it.says().0), (MachinePhase::Failed, "ServerLost"));
    // A run of somebody else's is waited for.
    let mut it = new().server(ServerPhase::Cleaning).installed("a");
    assert_eq!(it.step(), Action::Nothing);
    assert_eq!(it.says().0, "Waiting");
}

#[test]
fn nothing_goes_on_at_a_server_that_was_taken_away() {
    let mut it = new().server(ServerPhase::Ready);
    it.step();
    let mut it = it.run(RunPhase::Queued);
    it.server = None;
    assert_eq!(it.step(), Action::Cancel);
    // What wipes it goes on to its end: that lets go of it by itself.
    let mut it = new().server(ServerPhase::InUse).installed("a").deleted();
    it.step();
    let mut it = it.run(RunPhase::Running);
    it.server = None;
    assert_eq!(it.step(), Action::Nothing);
}

#[test]
fn a_failure_is_remembered_though_its_run_is_gone() {
    let mut it = new().server(ServerPhase::Ready);
    it.step();
    let mut it = it.server(ServerPhase::Quarantined).run(RunPhase::Failed);
    assert_eq!(it.step(), Action::Release);
    (it.server, it.run) = (None, None);
    it.machine.status.address = Some("web-1.example".into());
    assert_eq!(it.step(), Action::Choose, "it is no server that was lost");
    assert_eq!(it.machine.status.address, None, "it is nowhere");
}

#[test]
fn a_deleted_run_is_not_begun_again_without_a_word() {
    // Of an install: as if it had been cancelled.
    let mut it = new().server(ServerPhase::Ready);
    it.step();
    let mut it = it.run(RunPhase::Queued);
    it.step();
    it.run = None;
    assert_eq!(it.step(), Action::Release);
    it.server = None;
    assert_eq!(it.step(), Action::Choose);
    assert_eq!(it.machine.status.failed_servers, ["s1"]);
    // One that nobody has seen yet was not made.
    let mut it = new().server(ServerPhase::Ready);
    it.step();
    assert_eq!(runbook(&it.step()), "provision-server");
    assert_eq!(runbook(&it.step()), "provision-server");

    // Of one that is installed anew, a person decides.
    let mut it = new().server(ServerPhase::InUse).installed("a");
    it.step();
    it.machine.spec.image = "b".into();
    it.machine.metadata.generation = Some(2);
    it.step();
    let mut it = it.run(RunPhase::Running);
    it.step();
    it.run = None;
    for _ in 0..2 {
        assert_eq!(it.step(), Action::Nothing);
        assert_eq!((it.phase(), it.says().0), (MachinePhase::Failed, "RunDeleted"));
        assert!(it.says().1.contains("image a is still on it"), "{}", it.says().1);
    }
    for (image, generation, phase) in
        [("a", 3, MachinePhase::Running), ("b", 4, MachinePhase::Updating)]
    {
        it.machine.spec.image = image.into();
        it.machine.metadata.generation = Some(generation);
        it.step();
        assert_eq!(it.phase(), phase);
    }
    assert_eq!(runbook(&it.step()), "reinstall-server");

    // What is to go goes on, and says so.
    let mut it = new().server(ServerPhase::InUse).installed("a").deleted();
    it.step();
    let mut it = it.run(RunPhase::Running);
    it.step();
    it.run = None;
    it.step();
    assert_eq!(it.says().0, "RunDeleted");
    assert_eq!(runbook(&it.step()), "clean-server");
}

#[test]
fn what_failed_is_tried_again_when_the_server_was_returned() {
    let returned = |mut it: Around, since: &str| {
        let status = &mut it.server.as_mut().unwrap().status;
        status.phase = ServerPhase::InUse;
        status.phase_since = Some(time(since));
        it.run.as_mut().unwrap().status.completion_time = Some(time("2026-11-01T11:00:00Z"));
        it
    };
    let mut it = new().server(ServerPhase::InUse).installed("a").deleted();
    it.step();
    let first = it.run_name().to_owned();
    let mut it = it.server(ServerPhase::Quarantined).run(RunPhase::Failed);
    it.step();
    assert_eq!(it.says().0, "RunFailed");
    it.machine.status.phase_since = Some(time("2026-11-01T11:00:00Z"));
    // It was in use all the time: whoever cancelled the run wants it so.
    let mut it = returned(it, "2026-11-01T10:00:00Z");
    it.step();
    assert_eq!(it.says().0, "RunFailed");
    let mut it = returned(it, "2026-11-01T11:30:00Z");
    it.step();
    assert_ne!(it.run_name(), first, "it is another run");
    it.run = None;
    assert_eq!(runbook(&it.step()), "clean-server");

    let mut it = new().server(ServerPhase::InUse).installed("a");
    it.machine.spec.image = "b".into();
    it.step();
    let mut it = it.server(ServerPhase::Quarantined).run(RunPhase::Failed);
    it.step();
    let mut it = returned(it, "2026-11-01T11:30:00Z");
    it.step();
    it.run = None;
    assert_eq!(runbook(&it.step()), "reinstall-server");
}
