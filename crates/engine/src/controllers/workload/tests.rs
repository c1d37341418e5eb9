//! Plans, played out: whatever comes between, what is taken leaves enough, there are never more than may be, and in the end all
//! is as it was asked, or as it was.

use super::plan::{Leave, Member, Plan, Situation, available, plan};
use proptest::prelude::*;
use quarterdeck_model::{
    Duration, Time,
    kinds::{
        BlueGreen, Canary, CanaryStep, RolloutPause, RolloutStatus, WorkloadRollingUpdate,
        WorkloadSpec, WorkloadStrategy, WorkloadStrategyType,
    },
    share::Share,
};

const DEADLINE: u32 = 120;

#[derive(Debug, Clone)]
enum Step {
    /// So many seconds pass, in which instances become ready, as far as they can.
    Pass(u64),
    Scale(u32),
    /// Another template, which is sick or not.
    Change(bool),
    Break(usize),
    Evict(usize),
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..40_u64).prop_map(Step::Pass),
        1 => (0..8_u32).prop_map(Step::Scale),
        2 => any::<bool>().prop_map(Step::Change),
        1 => (0..8_usize).prop_map(Step::Break),
        1 => (0..8_usize).prop_map(Step::Evict),
        1 => (0..8_usize).prop_map(Step::Lose),
    ]
}

fn strategy() -> impl Strategy<Value = WorkloadStrategy> {
    let update = (0..3_u32, 0..3_u32).prop_filter("one of them", |(surge, down)| surge + down > 0);
    (0..3_u8, update).prop_map(|(kind, (surge, down))| {
        let update = WorkloadRollingUpdate {
            max_surge: Some(Share::Count(surge)),
            max_unavailable: Some(Share::Count(down)),
        };
        let pause = Some(RolloutPause { duration: Some(Duration::from_secs(20)) });
        let step = |percent| CanaryStep {
            instances: Some(Share::Percent(percent)),
            pause,
            ..CanaryStep::default()
        };
        let canary = Canary { steps: vec![step(10), step(50)] };
        let (kind, canary, blue_green) = match kind {
            0 => (WorkloadStrategyType::RollingUpdate, None, None),
            1 => (WorkloadStrategyType::Canary, Some(canary), None),
            _ => (WorkloadStrategyType::BlueGreen, None, Some(BlueGreen::default())),
        };
        WorkloadStrategy { kind, rolling_update: Some(update), canary, blue_green }
    })
}

struct World {
    spec: WorkloadSpec,
    members: Vec<Member>,
    target: i64,
    /// Revisions that never become ready.
    sick: Vec<i64>,
    stable: Option<i64>,
    rollout: Option<RolloutStatus>,
    now: i64,
    made: u64,
}

impl World {
    fn now(&self) -> Time {
        Time::new(jiff::Timestamp::from_second(self.now).unwrap())
    }

    fn up(&self) -> usize {
        self.members.iter().filter(|it| available(&self.spec, it, self.now())).count()
    }

    /// Decides, checks, and carries out: the ledger grants at once.
    fn look(&mut self) -> Plan {
        let plan = plan(&Situation {
            spec: &self.spec,
            members: &self.members,
            target: self.target,
            stable: self.stable,
            rollout: self.rollout.as_ref(),
            resumed: None,
            now: self.now(),
        });
        let replicas = self.spec.replicas as usize;
        let least = replicas.saturating_sub(self.spec.unavailable() as usize);
        let up = self.up();
        let taken = plan
            .take
            .iter()
            .filter(|(at, _)| available(&self.spec, &self.members[*at], self.now()));
        let taken = taken.count();
        assert!(
            taken == 0 || up - taken >= least,
            "{taken} of {up} go, of which {least} must stay: {plan:?}"
        );
        let live = self.members.iter().filter(|it| !it.deleting && !it.lost);
        let (live, moving) = live
            .fold((0, 0), |(live, moving), it| (live + 1, moving + usize::from(it.is_moving())));
        let surge = match self.spec.strategy.kind {
            WorkloadStrategyType::BlueGreen => replicas.max(self.spec.surge() as usize),
            _ => self.spec.surge() as usize,
        };
        let most = replicas + surge + moving;
        assert!(
            plan.create.is_empty() || live + plan.create.len() <= most.max(live),
            "{live} and {} more, of at most {most}",
            plan.create.len()
        );
        for at in plan.remove.iter().chain(plan.take.iter().map(|(at, _)| at)) {
            self.members[*at].deleting = true;
            self.members[*at].leave = Leave::Granted;
        }
        for revision in &plan.create {
            self.made += 1;
            self.members.push(Member {
                name: format!("i-{}", self.made),
                revision: *revision,
                created: Some(self.now()),
                machine: format!("m-{}", self.made % 5),
                ..Member::default()
            });
        }
        (self.stable, self.rollout) = (plan.stable, plan.rollout.clone());
        plan
    }

    /// What hosts do meanwhile.
    fn pass(&mut self, seconds: u64) {
        self.now += i64::try_from(seconds).unwrap();
        let now = self.now();
        self.members.retain(|member| !member.deleting || member.lost);
        for member in &mut self.members {
            if member.ready.is_none() && !member.lost && !self.sick.contains(&member.revision) {
                member.ready = Some(now);
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..400 {
            self.look();
            self.pass(10);
        }
    }
}

fn world(strategy: WorkloadStrategy, replicas: u32) -> World {
    let spec = WorkloadSpec {
        replicas,
        strategy,
        min_ready_seconds: 3,
        progress_deadline_seconds: Some(DEADLINE),
        ..WorkloadSpec::default()
    };
    World {
        spec,
        members: Vec::new(),
        target: 1,
        sick: Vec::new(),
        stable: None,
        rollout: None,
        now: 1_000_000,
        made: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn what_is_taken_leaves_enough_and_all_comes_to_rest(
        strategy in strategy(),
        replicas in 0..8_u32,
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut world = world(strategy, replicas);
        world.settle();
        prop_assert_eq!(world.stable, Some(1));
        for step in steps {
            let some = |world: &World, at: usize| (!world.members.is_empty()).then(|| at % world.members.len());
            match step {
                Step::Pass(seconds) => world.pass(seconds),
                Step::Scale(replicas) => world.spec.replicas = replicas,
                Step::Change(sick) => {
                    world.target += 1;
                    if sick {
                        world.sick.push(world.target);
                    }
                }
                Step::Break(at) => {
                    if let Some(at) = some(&world, at) {
                        world.members[at].ready = None;
                    }
                }
                Step::Evict(at) => {
                    if let Some(at) = some(&world, at) {
                        world.members[at].moving = Some("asked".into());
                    }
                }
                Step::Lose(at) => {
                    if let Some(at) = some(&world, at) {
                        (world.members[at].lost, world.members[at].ready) = (true, None);
                    }
                }
            }
            world.look();
        }
        world.settle();
        let serves = world.stable.unwrap();
        let returned = world.rollout.as_ref().is_some_and(|rollout| rollout.failed.is_some());
        let sick = world.sick.contains(&world.target);
        // Nothing of a revision that never becomes ready can fail where none is wanted.
        prop_assert!(returned || serves == world.target, "{:?}", world.rollout);
        prop_assert!(!returned || sick, "{:?}", world.rollout);
        let live: Vec<&Member> = world.members.iter().filter(|it| !it.deleting).collect();
        if world.sick.contains(&serves) {
            // One that was rolled out while no instance was wanted was never seen to be sick. What is up stays beside it.
            prop_assert!(live.len() >= world.spec.replicas as usize, "{:?}", live);
            return Ok(());
        }
        prop_assert_eq!(live.len(), world.spec.replicas as usize, "{:?}", live);
        prop_assert!(live.iter().all(|it| it.revision == serves && it.moving.is_none()), "{:?}", live);
    }
}

#[test]
fn a_rollout_that_waits_for_the_ledger_has_not_failed() {
    let mut world = world(WorkloadStrategy::default(), 3);
    world.settle();
    world.target = 2;
    world.look();
    world.pass(10);
    for _ in 0..100 {
        let plan = plan(&Situation {
            spec: &world.spec,
            members: &world.members,
            target: 2,
            stable: world.stable,
            rollout: world.rollout.as_ref(),
            resumed: None,
            now: world.now(),
        });
        // The ledger does not let any go.
        for (at, _) in &plan.take {
            world.members[*at].leave = Leave::Waiting;
        }
        world.rollout = plan.rollout;
        world.pass(60);
    }
    assert_eq!(world.rollout.as_ref().unwrap().failed, None);
    assert_eq!(world.up(), 4);
}
