//! What a pool decides, case by case, and over random lives of its machines.

use super::{
    plan::{AT_ONCE, Member, PATIENCE, Plan, Situation, available, plan},
    say, *,
};
use proptest::prelude::*;
use quarterdeck_model::kinds::{
    MachinePoolPhase, MachinePoolSpec, PoolDeletePolicy, PoolRollingUpdate, PoolStrategyType,
    PoolUnhealthy,
};
use quarterdeck_model::share::Share;

fn at(second: i64) -> Time {
    Time::seconds(jiff::Timestamp::from_second(1_800_000_000 + second).unwrap())
}

fn spec(replicas: u32) -> MachinePoolSpec {
    MachinePoolSpec { replicas, ..MachinePoolSpec::default() }
}

fn updating(replicas: u32, surge: u32, unavailable: u32) -> MachinePoolSpec {
    let mut spec = spec(replicas);
    spec.strategy.rolling_update = Some(PoolRollingUpdate {
        max_surge: Some(Share::Count(surge)),
        max_unavailable: Some(Share::Count(unavailable)),
    });
    spec
}

/// A machine that is as it should be, in a place.
fn good(name: &str, domain: &str) -> Member {
    Member {
        name: name.into(),
        created: Some(at(0)),
        ready: Some(at(0)),
        updated: true,
        in_place: true,
        domain: Some(domain.into()),
        ..Member::default()
    }
}

fn old(name: &str, domain: &str) -> Member {
    Member { updated: false, ..good(name, domain) }
}

/// A machine that is being made.
fn coming(name: &str, domain: &str) -> Member {
    Member { ready: None, ..good(name, domain) }
}

fn failed(name: &str, since: i64) -> Member {
    Member { unhealthy: Some(at(since)), ..coming(name, "a") }
}

fn free(rooms: &[(&str, usize)]) -> BTreeMap<String, usize> {
    rooms.iter().map(|(place, free)| ((*place).to_owned(), *free)).collect()
}

fn decide(spec: &MachinePoolSpec, members: &[Member], rooms: &[(&str, usize)]) -> Plan {
    let free = free(rooms);
    plan(&Situation { spec, members, free: &free, blocked: false, quota: None, now: at(1_000) })
}

fn places(plan: &Plan) -> Vec<&str> {
    plan.create.iter().map(|place| place.as_deref().unwrap_or("anywhere")).collect()
}

#[test]
fn new_machines_go_where_the_fewest_are_and_a_server_is_free() {
    let mut even = spec(6);
    let some = [good("w", "a"), good("x", "a"), good("y", "b")];
    for (max_skew, rooms, wanted) in [
        (None, &[("a", 9), ("b", 9), ("c", 9)][..], &["c", "b", "c"][..]),
        (None, &[("a", 9), ("b", 0), ("c", 1)][..], &["c", "a", "a"][..]),
        (None, &[("a", 1)][..], &["a", "anywhere", "anywhere"][..]),
        (None, &[][..], &["anywhere"; 3][..]),
        // No more uneven than was said, even when it has to wait.
        (Some(1), &[("a", 9), ("b", 0)][..], &["b", "a", "b"][..]),
        (Some(2), &[("a", 9), ("b", 0)][..], &["a", "b", "a"][..]),
    ] {
        even.spread.max_skew = max_skew;
        assert_eq!(places(&decide(&even, &some, rooms)), wanted, "{max_skew:?} {rooms:?}");
    }
}

#[test]
fn one_that_finds_no_server_is_put_elsewhere_after_a_while_if_there_is_room() {
    let looking = |since| Member { looking: Some(at(since)), ..coming("x", "a") };
    let patient = i64::try_from(PATIENCE.as_secs()).unwrap();
    let (young, long) = (looking(1_001 - patient), looking(1_000 - patient));
    let soon = decide(&spec(1), &[young], &[("b", 1)]);
    assert_eq!((soon.delete.len(), soon.again), (0, Some(Duration::from_secs(1))));
    // What is free where it looked in vain is not for it.
    let moved = decide(&spec(1), std::slice::from_ref(&long), &[("a", 3), ("b", 1)]);
    assert_eq!((moved.delete.as_slice(), places(&moved)), (&[0][..], vec!["b"]));
    let stays = decide(&spec(1), std::slice::from_ref(&long), &[("a", 3)]);
    assert_eq!((stays.delete.len(), stays.create.len()), (0, 0));
    assert!(stays.again.is_some());
    // Those that are missing come first.
    let missed = decide(&spec(2), std::slice::from_ref(&long), &[("b", 1)]);
    assert_eq!((missed.delete.len(), places(&missed)), (0, vec!["b"]));
    let blocked = Situation {
        spec: &spec(2),
        members: &[long],
        free: &free(&[("b", 5)]),
        blocked: true,
        quota: None,
        now: at(1_000),
    };
    assert_eq!(plan(&blocked), Plan::default());
}

#[test]
fn those_that_are_missed_least_go_first() {
    let newer = Member { created: Some(at(5)), ..good("newer", "c") };
    let not_ready = coming("coming", "c");
    let fullest = good("fullest", "a");
    let marked = Member { first: true, ..good("marked", "b") };
    let outdated = old("outdated", "c");
    let base = vec![fullest.clone(), good("also", "a"), good("third", "b")];
    for (more, wanted) in [
        (vec![newer.clone()], "also"),
        (vec![newer.clone(), good("x", "a"), newer.clone(), newer.clone()], "newer"),
        (vec![not_ready.clone(), newer.clone()], "coming"),
        (vec![marked.clone(), not_ready.clone()], "marked"),
        (vec![outdated.clone()], "outdated"),
    ] {
        let mut all = base.clone();
        all.extend(more);
        let mut wants = spec(u32::try_from(all.len() - 1).unwrap());
        wants.strategy.kind = PoolStrategyType::OnDelete;
        wants.strategy.rolling_update =
            Some(PoolRollingUpdate { max_surge: None, max_unavailable: Some(Share::Count(1)) });
        let plan = decide(&wants, &all, &[]);
        let names: Vec<&str> = plan.delete.iter().map(|at| all[*at].name.as_str()).collect();
        assert_eq!(names, [wanted]);
    }
    let mut oldest = spec(1);
    oldest.delete_policy = PoolDeletePolicy::Oldest;
    assert_eq!(decide(&oldest, &[newer.clone(), good("z", "b")], &[]).delete, [1]);
    assert_eq!(decide(&spec(1), &[newer, good("z", "b")], &[]).delete, [0]);
    // One that is marked does not go while the others are too few.
    let none_may_miss = decide(&spec(2), &[marked, not_ready, fullest], &[]);
    assert_eq!(none_may_miss.delete, [1]);
}

#[test]
fn what_stays_unhealthy_is_replaced_unless_it_is_many() {
    let mut wants = spec(5);
    let mut members = vec![good("a", "a"), good("b", "b"), good("c", "c"), failed("d", 900)];
    members.push(failed("e", 300));
    assert_eq!(decide(&wants, &members, &[]), Plan::default(), "nobody asked for it");
    let unhealthy = |share| {
        let after = quarterdeck_model::Duration::from_secs(600);
        Some(PoolUnhealthy { after, max_unhealthy: share })
    };
    wants.unhealthy = unhealthy(None);
    let plan = decide(&wants, &members, &[("a", 9)]);
    assert_eq!((plan.delete.as_slice(), places(&plan)), (&[4][..], vec!["a"]));
    assert_eq!(plan.again, Some(Duration::from_secs(500)), "the other one is next");
    wants.unhealthy = unhealthy(Some(Share::Count(1)));
    let plan = decide(&wants, &members, &[("a", 9)]);
    assert!(plan.too_many_unhealthy && plan.delete.is_empty() && plan.create.is_empty());
}

#[test]
fn a_common_cause_does_not_go_through_a_pool_in_rounds() {
    let mut wants = spec(6);
    wants.unhealthy = Some(PoolUnhealthy {
        after: quarterdeck_model::Duration::from_secs(300),
        max_unhealthy: Some(Share::Count(2)),
    });
    // Two were replaced for being unwell, and are still being wiped; now the next two are.
    let leaving = |name: &str| Member { deleting: true, ..coming(name, "a") };
    let well = ["w", "x", "y", "z"].map(|name| good(name, "a"));
    let mut members: Vec<Member> = well.into();
    members.extend([failed("c", 0), failed("d", 0)]);
    assert_eq!(decide(&wants, &members, &[("a", 9)]).delete.len(), 2, "so many may be");
    members.extend([leaving("a"), leaving("b")]);
    let plan = decide(&wants, &members, &[("a", 9)]);
    assert!(plan.too_many_unhealthy && plan.delete.is_empty(), "{plan:?}");
    // Those of an older template go for another reason.
    for member in members.iter_mut().filter(|member| member.deleting) {
        member.updated = false;
    }
    assert!(!decide(&wants, &members, &[("a", 9)]).too_many_unhealthy);
}

#[test]
fn an_update_makes_new_ones_first_and_keeps_as_many_as_was_said() {
    let three = [old("a", "a"), old("b", "b"), old("c", "c")];
    let rooms = &[("d", 9)][..];
    let with = |more: &[Member]| [&three[..], more].concat();
    for (wants, members, created, deleted) in [
        (updating(3, 1, 0), three.to_vec(), 1, 0),
        (updating(3, 1, 0), with(&[coming("n", "d")]), 0, 0),
        (updating(3, 1, 0), with(&[good("n", "d")]), 1, 1),
        (updating(3, 0, 1), three.to_vec(), 1, 1),
        (updating(3, 0, 1), vec![old("a", "a"), old("b", "b"), coming("n", "d")], 0, 0),
        (updating(3, 2, 1), three.to_vec(), 3, 1),
        // One that is on its way out holds the next back.
        (
            updating(3, 1, 0),
            with(&[good("n", "d"), Member { deleting: true, ..old("o", "a") }]),
            0,
            0,
        ),
        (
            updating(3, 1, 0),
            with(&[good("n", "d"), Member { deleting: true, ..good("o", "a") }]),
            1,
            1,
        ),
        // One that never came up makes way at once when the template is set back.
        (
            updating(3, 1, 0),
            vec![
                good("a", "a"),
                good("b", "b"),
                good("c", "c"),
                Member { updated: false, ..coming("n", "d") },
            ],
            0,
            1,
        ),
        (updating(3, 1, 0), vec![good("a", "a"), good("b", "b"), good("c", "c")], 0, 0),
    ] {
        let plan = decide(&wants, &members, rooms);
        assert_eq!((plan.create.len(), plan.delete.len()), (created, deleted), "{members:#?}");
    }
    let mut left_alone = updating(3, 1, 0);
    left_alone.strategy.kind = PoolStrategyType::OnDelete;
    assert_eq!(decide(&left_alone, &three, rooms), Plan::default());
    let paused = MachinePoolSpec { paused: true, ..updating(9, 1, 1) };
    assert_eq!(decide(&paused, &three, rooms), Plan::default());
}

#[test]
fn in_place_a_few_are_changed_and_what_cannot_be_is_replaced() {
    let mut wants = updating(4, 0, 2);
    wants.strategy.kind = PoolStrategyType::InPlace;
    let all: Vec<Member> = ["a", "b", "c", "d"].map(|name| old(name, name)).into();
    assert_eq!(decide(&wants, &all, &[]).change, [0, 1]);
    let mut one = all.clone();
    (one[0].updated, one[0].ready) = (true, None);
    assert_eq!(decide(&wants, &one, &[]).change, [1], "one is in work");
    one[1].ready = None;
    assert_eq!(decide(&wants, &one, &[]).change, [1], "what is not available goes first");
    let other: Vec<Member> =
        all.iter().map(|it| Member { in_place: false, ..it.clone() }).collect();
    let plan = decide(&wants, &other, &[("e", 9)]);
    assert_eq!((plan.change.len(), plan.delete.len(), plan.create.len()), (0, 2, 2));
}

#[test]
fn what_is_ready_for_too_short_does_not_count_yet() {
    let mut wants = updating(1, 1, 0);
    wants.min_ready_seconds = 30;
    let young = Member { ready: Some(at(980)), ..good("n", "b") };
    let plan = decide(&wants, &[old("a", "a"), young], &[]);
    assert_eq!((plan.delete.len(), plan.again), (0, Some(Duration::from_secs(10))));
}

#[test]
fn the_status_says_what_is_waited_for() {
    let says = |members: &[Member], wants: MachinePoolSpec, missing: Option<Missing>| {
        let pool = MachinePool { spec: wants, ..MachinePool::default() };
        let (none, blocked) = (BTreeMap::new(), missing.is_some());
        let situation = Situation {
            spec: &pool.spec,
            members,
            free: &none,
            blocked,
            quota: None,
            now: at(1_000),
        };
        let status = say::status(&pool, &situation, missing.as_ref(), &plan(&situation));
        let said = |kind: &str| {
            let said = condition::find(&status.conditions, kind).unwrap();
            format!("{:?} {}: {}", said.status, said.reason, said.message)
        };
        (status.phase, said("Available"), said("Progressing"), said("Healthy"))
    };
    let why = |reason: &str, message: &str, member: Member| Member {
        reason: reason.into(),
        message: message.into(),
        ..member
    };
    let (phase, available, progressing, healthy) =
        says(&[good("a", "a"), good("b", "b")], spec(2), None);
    assert_eq!(phase, MachinePoolPhase::Stable);
    assert_eq!(
        available,
        "True EnoughAvailable: 2 of 2 machines are available; at least 2 should be."
    );
    assert_eq!(progressing, "True AsWanted: All machines are as wanted.");
    assert_eq!(healthy, "True AllHealthy: No machine has failed.");

    let none = "No server of class small is free; it gets the next one.";
    let waits = why("NoServer", none, coming("w-x", "a"));
    let (phase, available, progressing, _) =
        says(&[good("a", "a"), waits.clone(), waits], spec(3), None);
    assert_eq!(phase, MachinePoolPhase::Scaling);
    assert!(available.starts_with("False TooFewAvailable: 1 of 3 machines are"), "{available}");
    assert_eq!(
        progressing,
        format!("False NoServer: 2 machines are not ready, such as w-x: {none}")
    );

    let blocks = "It waits: payments/api allows 1 of 10 down.";
    let going = Member { deleting: true, ..why("Draining", blocks, old("w-y", "a")) };
    let (phase, _, progressing, _) = says(&[going, old("a", "a")], spec(1), None);
    assert_eq!(phase, MachinePoolPhase::Updating);
    assert_eq!(
        progressing,
        format!(
            "True Updating: 0 of 1 machine is as the template says. 1 machine is on the way out, such as w-y: {blocks}"
        )
    );

    let mut many = spec(2);
    many.unhealthy = Some(PoolUnhealthy {
        after: quarterdeck_model::Duration::from_secs(1),
        max_unhealthy: Some(Share::Count(1)),
    });
    let sick = [why("ServerLost", "Its server was taken.", failed("w-z", 0)), failed("w-q", 0)];
    let (phase, _, _, healthy) = says(&sick, many, None);
    assert_eq!(phase, MachinePoolPhase::Degraded);
    assert!(
        healthy.starts_with("False TooManyUnhealthy: 2 machines are not well, more than the 1"),
        "{healthy}"
    );
    assert!(healthy.ends_with("such as w-z: Its server was taken."), "{healthy}");

    let missing = Missing { reason: "ClassNotFound", message: "It does not exist.".into() };
    let (phase, _, progressing, _) = says(&[], spec(2), Some(missing));
    assert_eq!(phase, MachinePoolPhase::Degraded);
    assert_eq!(progressing, "False ClassNotFound: It does not exist.");
}

#[test]
fn names_are_the_same_for_the_same_number_and_those_of_hosts() {
    let name = numbered("web", "uid", 0, LETTERS);
    assert_eq!(name, numbered("web", "uid", 0, LETTERS));
    assert_ne!(name, numbered("web", "uid", 1, LETTERS));
    assert_ne!(name, numbered("web", "other", 0, LETTERS));
    let longest = numbered(&"a".repeat(57), "uid", u64::MAX, LETTERS);
    quarterdeck_model::validate::dns_label(&longest).unwrap();
    assert_eq!(longest.len(), 63);
}

/// What befalls the machines of a pool between two looks.
#[derive(Debug, Clone)]
enum Happens {
    Ready(usize),
    Fails(usize),
    Gone(usize),
    Deleted(usize),
    Template,
    Scale(u32),
    Time(i64),
    Free(usize, usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..12_usize).prop_map(Happens::Ready),
        2 => (0..12_usize).prop_map(Happens::Fails),
        3 => (0..12_usize).prop_map(Happens::Gone),
        1 => (0..12_usize).prop_map(Happens::Deleted),
        1 => Just(Happens::Template),
        1 => (0..7_u32).prop_map(Happens::Scale),
        2 => (1..200_i64).prop_map(Happens::Time),
        2 => (0..3_usize, 0..4_usize).prop_map(|(place, free)| Happens::Free(place, free)),
    ]
}

/// A pool and its machines, without anything else.
struct Life {
    spec: MachinePoolSpec,
    members: Vec<Member>,
    free: BTreeMap<String, usize>,
    created: usize,
    now: i64,
}

impl Life {
    fn pick(&mut self, at: usize) -> Option<&mut Member> {
        let count = self.members.len();
        (count > 0).then(|| &mut self.members[at % count])
    }

    fn befall(&mut self, what: &Happens) {
        let now = at(self.now);
        match what {
            Happens::Ready(which) => {
                if let Some(member) = self.pick(*which).filter(|member| !member.deleting) {
                    (member.ready, member.unhealthy, member.looking) = (Some(now), None, None);
                }
            }
            Happens::Fails(which) => {
                if let Some(member) = self.pick(*which) {
                    (member.ready, member.unhealthy, member.looking) = (None, Some(now), None);
                }
            }
            Happens::Gone(which) => {
                let count = self.members.len().max(1);
                if self.members.get(*which % count).is_some_and(|member| member.deleting) {
                    self.members.remove(*which % count);
                }
            }
            Happens::Deleted(which) => {
                if let Some(member) = self.pick(*which) {
                    member.deleting = true;
                }
            }
            Happens::Template => self.members.iter_mut().for_each(|member| member.updated = false),
            Happens::Scale(replicas) => self.spec.replicas = *replicas,
            Happens::Time(seconds) => self.now += seconds,
            Happens::Free(place, free) => {
                let place = ["a", "b", "c"][*place].to_owned();
                self.free.insert(place, *free);
            }
        }
    }

    fn live(&self) -> usize {
        self.members.iter().filter(|member| !member.deleting).count()
    }

    fn available(&self) -> usize {
        let counts = |it: &&Member| !it.deleting && available(&self.spec, it, at(self.now));
        self.members.iter().filter(counts).count()
    }

    /// Looks once, and does what is planned. What must hold of any plan is seen to.
    fn look(&mut self) -> Plan {
        let situation = Situation {
            spec: &self.spec,
            members: &self.members,
            free: &self.free,
            blocked: false,
            quota: None,
            now: at(self.now),
        };
        let plan = plan(&situation);
        assert_eq!(plan, super::plan::plan(&situation), "the same again");
        assert!(plan.create.len() <= AT_ONCE && plan.delete.len() + plan.change.len() <= AT_ONCE);
        let (live, could) = (self.live(), self.available());
        let mut touched = [plan.delete.clone(), plan.change.clone()].concat();
        touched.sort_unstable();
        touched.dedup();
        assert_eq!(touched.len(), plan.delete.len() + plan.change.len(), "each at most once");
        for which in &plan.delete {
            assert!(!self.members[*which].deleting);
            self.members[*which].deleting = true;
        }
        for which in &plan.change {
            let member = &mut self.members[*which];
            assert!(member.in_place && !member.updated && !member.deleting);
            (member.updated, member.ready, member.unhealthy) = (true, None, None);
        }
        for place in &plan.create {
            self.created += 1;
            if let Some(place) = place {
                *self.free.entry(place.clone()).or_default() -= 1;
            }
            self.members.push(Member {
                created: Some(at(self.now)),
                domain: place.clone(),
                ..coming(&format!("m{}", self.created), "")
            });
        }
        let spec = &self.spec;
        let most = usize::try_from(spec.replicas + spec.surge()).unwrap();
        assert!(plan.create.is_empty() || self.live() <= most, "{} of {most}", self.live());
        assert!(self.live() <= live.max(most));
        let least = usize::try_from(spec.replicas.saturating_sub(spec.unavailable())).unwrap();
        assert!(self.available() >= could.min(least), "{could} before, {least} at least");
        plan
    }

    /// All goes well from now on.
    fn settle(&mut self) {
        for _ in 0..200 {
            let plan = self.look();
            self.now += 700;
            let quiet = plan.create.is_empty() && plan.delete.is_empty() && plan.change.is_empty();
            let whole = self.members.iter().all(|it| it.ready.is_some() && !it.deleting);
            if quiet && whole {
                return;
            }
            self.members.retain(|member| !member.deleting);
            let now = at(self.now);
            // One that has failed is mended by being replaced or changed, or not at all.
            for member in self.members.iter_mut().filter(|it| it.unhealthy.is_none()) {
                member.ready = member.ready.or(Some(now));
                member.looking = None;
            }
        }
        panic!("it does not come to rest: {:#?}", self.members);
    }
}

proptest! {
    #[test]
    fn a_pool_keeps_its_promises_and_comes_to_rest(
        replicas in 0..7_u32,
        surge in 0..3_u32,
        unavailable in 0..3_u32,
        kind in prop_oneof![
            Just(PoolStrategyType::RollingUpdate),
            Just(PoolStrategyType::InPlace),
            Just(PoolStrategyType::OnDelete),
        ],
        happens in prop::collection::vec(happens(), 0..60),
    ) {
        let unavailable = match kind {
            PoolStrategyType::InPlace => unavailable.max(1),
            _ if surge == 0 => unavailable.max(1),
            _ => unavailable,
        };
        let mut spec = updating(replicas, surge, unavailable);
        spec.strategy.kind = kind;
        spec.unhealthy = Some(PoolUnhealthy {
            after: quarterdeck_model::Duration::from_secs(600),
            max_unhealthy: Some(Share::Percent(100)),
        });
        let free = free(&[("a", 4), ("b", 4), ("c", 4)]);
        let mut life = Life { spec, members: Vec::new(), free, created: 0, now: 0 };
        for what in &happens {
            life.befall(what);
            life.look();
        }
        life.free = self::free(&[("a", 99), ("b", 99), ("c", 99)]);
        life.settle();
        prop_assert_eq!(life.live(), usize::try_from(life.spec.replicas).unwrap());
        let all_new = life.members.iter().all(|member| member.updated);
        prop_assert!(all_new || kind == PoolStrategyType::OnDelete);
        // Nothing changes when nothing changed.
        let plan = life.look();
        prop_assert!(plan.create.is_empty() && plan.delete.is_empty() && plan.change.is_empty());
    }
}

#[test]
fn no_more_machines_are_made_than_a_quota_allows_and_that_is_said() {
    let quota = |most, used| Limit { quota: "q".into(), most, used };
    let members = [good("a", "x"), good("b", "y")];
    let mut pool = MachinePool { spec: spec(5), ..MachinePool::default() };
    let none = BTreeMap::new();
    let look = |pool: &MachinePool, quota: &Limit| {
        let situation = Situation {
            spec: &pool.spec,
            members: &members,
            free: &none,
            blocked: false,
            quota: Some(quota),
            now: at(1_000),
        };
        let plan = plan(&situation);
        let status = say::status(pool, &situation, None, &plan);
        let said = condition::find(&status.conditions, "Progressing").unwrap().clone();
        (plan.create.len(), plan.over_quota, said.reason, said.message)
    };
    let (create, over, reason, message) = look(&pool, &quota(4, 3));
    assert_eq!((create, over, reason.as_str()), (1, 2, "QuotaExceeded"));
    assert_eq!(
        message,
        "ResourceQuota q allows 4 machines in this namespace, and 3 are there: 2 machines are wanted besides, and not \
         made. Raise the quota, or delete other machines."
    );
    let (create, over, reason, _) = look(&pool, &quota(2, 7));
    assert_eq!((create, over, reason.as_str()), (0, 3, "QuotaExceeded"));
    let (create, over, reason, _) = look(&pool, &quota(9, 2));
    assert_eq!((create, over, reason.as_str()), (3, 0, "Scaling"));
    // What goes needs no quota.
    pool.spec = spec(1);
    assert_eq!(look(&pool, &quota(1, 2)).2, "Scaling");
}

#[tokio::test]
async fn nothing_is_done_for_a_pool_that_changed_since_it_was_seen() {
    use quarterdeck_model::{KindRef, object};
    use quarterdeck_store::{Sqlite, Store, Write};
    use serde_json::{Value, json};

    let folder = tempfile::tempdir().unwrap();
    let store =
        Arc::new(Store::open(Arc::new(Sqlite::open(folder.path()).unwrap())).await.unwrap());
    let objects = Objects::for_test(store.clone(), Arc::new(jiff::Timestamp::now)).await;
    let write = async |kind: KindRef, name: &str, value: Value| {
        let key = Key::new(kind, "shop", name);
        let write = Write::Put(object::encode(kind, &value).into());
        let mutation = Mutation { key, write, precondition: Precondition::None, fence: None };
        store.commit(vec![mutation]).await.unwrap()
    };
    let pool = |replicas: u32| {
        let template = json!({"spec": {"class": "c", "image": "i"}});
        let meta = json!({"name": "web", "namespace": "shop", "uid": "p"});
        json!({"metadata": meta, "spec": {"replicas": replicas, "template": template}})
    };
    let owner = json!({"apiVersion": "v", "kind": "MachinePool", "name": "web", "uid": "p"});
    for name in ["web-1", "web-2"] {
        let meta =
            json!({"name": name, "namespace": "shop", "uid": name, "ownerReferences": [owner]});
        let machine = json!({"metadata": meta, "spec": {"class": "c", "image": "i"}});
        write(Machine::info(), name, machine).await;
    }
    write(MachinePool::info(), "web", pool(1)).await;
    let seen = store.world().get(MachinePool::info(), "shop", "web").unwrap();
    let read: MachinePool = decode(&seen).unwrap();
    let own = Own::of(&store.world(), &read).unwrap();
    let plan = Plan { delete: vec![0], change: vec![1], create: vec![None], ..Plan::default() };
    let carried = carried_out(&objects, (seen.revision, &read), None, &own, &plan).unwrap();
    // Somebody wants more of it by now.
    write(MachinePool::info(), "web", pool(9)).await;
    let outcomes = objects.commit(carried).await.unwrap();
    assert!(outcomes.iter().all(|it| matches!(it, Outcome::Conflict(_))), "{outcomes:?}");
    let seen = store.world().get(MachinePool::info(), "shop", "web").unwrap();
    let carried = carried_out(&objects, (seen.revision, &read), None, &own, &plan).unwrap();
    let outcomes = objects.commit(carried).await.unwrap();
    assert!(outcomes.iter().all(|it| matches!(it, Outcome::Committed(_))), "{outcomes:?}");
}
