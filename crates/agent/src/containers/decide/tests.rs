//! Stories of one instance against an engine that is a list of containers; and properties over all that may happen to it.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn pod(containers: usize, policy: &str) -> PodSpec {
    let containers: Vec<_> =
        (0..containers).map(|at| json!({"name": format!("c{at}"), "image": "a:1"})).collect();
    serde_json::from_value(json!({"containers": containers, "restartPolicy": policy})).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// An engine that does what it is told at once.
struct Engine {
    seen: Seen,
    memory: Memory,
    now: Timestamp,
    made: u32,
    /// What was done, as words.
    log: Vec<String>,
    finished: bool,
}

impl Engine {
    fn new() -> Self {
        let (seen, memory) = (Seen::default(), Memory::default());
        Self { seen, memory, now: at(0), made: 0, log: Vec::new(), finished: false }
    }

    fn find(&mut self, id: &str) -> &mut SeenContainer {
        self.seen.containers.iter_mut().find(|it| it.id == id).expect("it acts on what there is")
    }

    fn perform(&mut self, pod: &PodSpec, act: Act) {
        let now = self.now;
        match act {
            Act::Prepare => self.memory.prepared = true,
            Act::Pull { name, .. } => {
                self.log.push(format!("pull {name}"));
                self.memory.images.insert(name, "sha256:x".into());
            }
            Act::Create { name, attempt, streak, sandbox } => {
                self.log.push(format!("create {name} {attempt}"));
                assert!(self.seen.of(&name).all(|it| !it.is_running()), "two of {name}");
                assert!(self.seen.of(&name).all(|it| it.attempt < attempt || name.is_empty()));
                self.memory.images.remove(&name);
                self.made += 1;
                let hash = pod.containers.iter().find(|it| it.name == name).map(hash);
                self.seen.containers.push(SeenContainer {
                    id: format!("id{}", self.made),
                    hash: hash.unwrap_or_default(),
                    name,
                    attempt,
                    streak,
                    sandbox,
                    ..SeenContainer::default()
                });
            }
            Act::Start { id, name } => {
                self.log.push(format!("start {name}"));
                self.find(&id).state = SeenState::Running { since: now };
            }
            Act::Stop { containers, .. } => {
                for (name, id) in containers {
                    self.log.push(format!("stop {name}"));
                    self.die(&id, 143);
                }
            }
            Act::Remove { id } => {
                assert!(!self.find(&id).is_running(), "removes what runs");
                self.seen.containers.retain(|it| it.id != id);
            }
            Act::Finish => self.finished = true,
        }
        self.seen = Seen::sorted(std::mem::take(&mut self.seen.containers));
    }

    fn die(&mut self, id: &str, exit_code: i32) {
        let finished = self.now;
        let it = self.find(id);
        if let SeenState::Running { since } = it.state {
            let ended = Ended { exit_code, started: since, finished, ..Ended::default() };
            it.state = SeenState::Ended(ended);
        }
    }

    /// Does all there is to do now; the wake-up that is left.
    fn settle(&mut self, pod: &PodSpec, wanted: Wanted<'_>) -> Option<Timestamp> {
        for _ in 0..100 {
            let timings = Timings::default();
            let decision = decide(wanted, &self.seen, &self.memory, self.now, &timings);
            if decision.acts.is_empty() || self.finished {
                return decision.wake;
            }
            decision.acts.into_iter().for_each(|act| self.perform(pod, act));
        }
        panic!("it does not settle: {:?}", self.log);
    }

    fn running(&self) -> Vec<&str> {
        self.seen
            .containers
            .iter()
            .filter(|it| it.is_running())
            .map(|it| it.name.as_str())
            .collect()
    }
}

#[test]
fn one_container_needs_no_sandbox_and_is_left_alone_once_it_runs() {
    let pod = pod(1, "Always");
    let mut engine = Engine::new();
    assert_eq!(engine.settle(&pod, Wanted::Running(&pod)), None);
    assert_eq!(engine.log, ["pull c0", "create c0 0", "start c0"]);
    engine.log.clear();
    engine.now = at(5_000);
    assert_eq!(engine.settle(&pod, Wanted::Running(&pod)), None);
    assert!(engine.log.is_empty(), "{:?}", engine.log);
}

#[test]
fn several_share_the_network_of_a_sandbox_and_begin_anew_with_it() {
    let pod = pod(2, "Always");
    let mut engine = Engine::new();
    engine.settle(&pod, Wanted::Running(&pod));
    assert_eq!(engine.running(), ["", "c0", "c1"]);
    let sandbox = engine.seen.newest("").unwrap().id.clone();
    engine.die(&sandbox, 137);
    engine.settle(&pod, Wanted::Running(&pod));
    assert_eq!(engine.running(), ["", "c0", "c1"]);
    let sandbox = &engine.seen.newest("").unwrap().id;
    for name in ["c0", "c1"] {
        assert_eq!(engine.seen.newest(name).unwrap().sandbox.as_ref(), Some(sandbox));
    }
}

#[test]
fn what_dies_is_started_again_ever_later_and_the_last_one_before_is_kept() {
    let pod = pod(1, "Always");
    let mut engine = Engine::new();
    engine.settle(&pod, Wanted::Running(&pod));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let id = engine.seen.newest("c0").unwrap().id.clone();
        engine.die(&id, 1);
        let wake = engine.settle(&pod, Wanted::Running(&pod));
        waits.push(wake.map_or(0, |wake| wake.duration_since(engine.now).as_secs()));
        engine.now = wake.unwrap_or(engine.now);
        engine.settle(&pod, Wanted::Running(&pod));
        assert_eq!(engine.running(), ["c0"]);
        assert_eq!(engine.seen.containers.len(), 2, "it and the one before");
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    // Having run for long makes up for it.
    engine.now = engine.now.saturating_add(SignedDuration::from_secs(600)).unwrap();
    let id = engine.seen.newest("c0").unwrap().id.clone();
    engine.die(&id, 1);
    assert_eq!(engine.settle(&pod, Wanted::Running(&pod)), None);
    assert_eq!(engine.running(), ["c0"]);
}

#[test]
fn policies_say_who_is_started_again() {
    for (policy, exit_code, again) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ] {
        let pod = pod(1, policy);
        let mut engine = Engine::new();
        engine.settle(&pod, Wanted::Running(&pod));
        engine.die("id1", exit_code);
        engine.settle(&pod, Wanted::Running(&pod));
        assert_eq!(!engine.running().is_empty(), again, "{policy} {exit_code}");
    }
}

#[test]
fn one_that_fails_its_check_is_stopped_and_started_again() {
    let pod = pod(1, "Always");
    let mut engine = Engine::new();
    engine.settle(&pod, Wanted::Running(&pod));
    let failed = Verdict { failed: Some("no answer".into()), ..Verdict::default() };
    engine.memory.verdicts.insert("id1".into(), failed);
    engine.settle(&pod, Wanted::Running(&pod));
    assert_eq!(engine.log[3..], ["stop c0", "pull c0", "create c0 1", "start c0"]);
}

#[test]
fn the_sandbox_ends_last() {
    let pod = pod(2, "Always");
    let mut engine = Engine::new();
    engine.settle(&pod, Wanted::Running(&pod));
    engine.log.clear();
    engine.settle(&pod, Wanted::Gone { deadline: at(30) });
    assert_eq!(engine.log, ["stop c0", "stop c1", "stop "]);
    assert!(engine.finished && engine.seen.containers.is_empty());
}

#[test]
fn trouble_is_waited_for() {
    let pod = pod(1, "Always");
    let mut engine = Engine::new();
    engine.memory.prepared = true;
    let (reason, message) = ("ErrImagePull", String::new());
    let trouble = Trouble { reason, message, failures: 1, again: at(10) };
    engine.memory.troubles.insert("c0".into(), trouble);
    assert_eq!(engine.settle(&pod, Wanted::Running(&pod)), Some(at(10)));
    assert!(engine.log.is_empty());
    engine.now = at(10);
    engine.settle(&pod, Wanted::Running(&pod));
    assert_eq!(engine.running(), ["c0"]);
}

/// What may happen between two looks.
#[derive(Debug, Clone)]
enum Happens {
    Time(i64),
    Dies(prop::sample::Index, i32),
    Vanishes(prop::sample::Index),
    FailsCheck(prop::sample::Index),
    Forgets,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        (0_i64..700).prop_map(Happens::Time),
        (any::<prop::sample::Index>(), 0..3_i32)
            .prop_map(|(which, code)| Happens::Dies(which, code)),
        any::<prop::sample::Index>().prop_map(Happens::Vanishes),
        any::<prop::sample::Index>().prop_map(Happens::FailsCheck),
        Just(Happens::Forgets),
    ]
}

proptest! {
    #[test]
    fn it_converges_from_wherever_it_is(
        size in 1_usize..4,
        events in prop::collection::vec((happens(), 0_usize..4), 0..20),
    ) {
        let pod = pod(size, "Always");
        let timings = Timings::default();
        let mut engine = Engine::new();
        for (event, performed) in events {
            // The agent dies after some of what it was to do.
            let decision =
                decide(Wanted::Running(&pod), &engine.seen, &engine.memory, engine.now, &timings);
            for act in decision.acts.into_iter().take(performed) {
                if let Act::Stop { containers, .. } = &act {
                    for (name, id) in containers {
                        let it = engine.seen.containers.iter().find(|it| it.id == *id).unwrap();
                        let network = name.is_empty()
                            || size == 1
                            || engine.seen.newest(SANDBOX).is_some_and(|at| Some(&at.id) == it.sandbox.as_ref() && at.is_running());
                        let failed = engine.memory.verdicts.get(id).is_some_and(|it| it.failed.is_some());
                        prop_assert!(failed || !network, "stops {it:?}, which is well");
                    }
                }
                if let Act::Create { name, streak, .. } = &act
                    && let Some(before) = engine.seen.newest(name)
                    && let SeenState::Ended(ended) = &before.state
                {
                    prop_assert!(*streak >= 1);
                    prop_assert!(engine.now >= restart_at(before.streak, ended, &timings), "too early");
                }
                engine.perform(&pod, act);
            }
            let count = engine.seen.containers.len();
            let pick = |which: &prop::sample::Index, engine: &Engine| {
                (count > 0).then(|| engine.seen.containers[which.index(count)].id.clone())
            };
            match event {
                Happens::Time(seconds) => {
                    engine.now = engine.now.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
                }
                Happens::Dies(which, code) => {
                    if let Some(id) = pick(&which, &engine) {
                        engine.die(&id, code);
                    }
                }
                Happens::Vanishes(which) => {
                    if let Some(id) = pick(&which, &engine) {
                        engine.seen.containers.retain(|it| it.id != id);
                    }
                }
                Happens::FailsCheck(which) => {
                    if let Some(id) = pick(&which, &engine) {
                        let failed = Verdict { failed: Some("x".into()), ..Verdict::default() };
                        engine.memory.verdicts.insert(id, failed);
                    }
                }
                Happens::Forgets => engine.memory = Memory::default(),
            }
        }
        // However long a wait is, after it all runs, and nothing is left to do.
        for _ in 0..10 {
            match engine.settle(&pod, Wanted::Running(&pod)) {
                Some(wake) => engine.now = wake,
                None => break,
            }
        }
        prop_assert_eq!(engine.running().len(), if size == 1 { 1 } else { size + 1 });
        engine.settle(&pod, Wanted::Gone { deadline: engine.now });
        prop_assert!(engine.finished && engine.seen.containers.is_empty());
    }
}
