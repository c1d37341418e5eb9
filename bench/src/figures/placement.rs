//! Placement, as a pure function: how many instances a second find a machine in an empty fleet, with spread over racks and
//! never two of a workload on one server; what one costs in a fleet two hundred times as large; and how many machines are
//! needed beside looking at every one for the tightest.

use crate::{
    Failure,
    report::{Aim, Quantity, Row},
    samples::Samples,
};
use quarterdeck_ledger::placement::{Fleet, Host, Resources, Taken, Wish};
use quarterdeck_model::kinds::{
    TopologyLevel, WorkloadAffinity, WorkloadPlacement, WorkloadSpread,
};
use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

const MACHINES: usize = 110_000;
const INSTANCES: usize = 1_000_000;
const WORKLOADS: usize = 9_000;
const MACHINES_PER_RACK: usize = 40;
const RACKS_PER_SITE: usize = 250;
/// Placements a second that are wanted.
const RATE: f64 = 50_000.0;
const SMALL: usize = 5_000;
const LARGE: usize = 1_000_000;
const SAMPLES: usize = 20_000;
/// Machines on which it is seen how tightly is packed: looking at each of them for each instance takes time.
const PACKED: usize = 2_000;
const PACKED_INSTANCES: usize = 12_000;
const FREE: Resources = Resources { cpu: 64_000, memory: 256 << 30 };

fn name(machine: usize) -> String {
    format!("m-{machine}")
}

fn fleet(machines: usize) -> Fleet {
    let mut fleet = Fleet::default();
    for machine in 0..machines {
        let rack = machine / MACHINES_PER_RACK;
        let mut places: [Option<String>; TopologyLevel::ALL.len()] = Default::default();
        for (level, place) in [
            (TopologyLevel::Server, name(machine)),
            (TopologyLevel::Rack, format!("r-{rack}")),
            (TopologyLevel::Site, format!("site-{}", rack / RACKS_PER_SITE)),
        ] {
            if let Some(at) = places.get_mut(level.number()) {
                *at = Some(place);
            }
        }
        let host = Host { ready: true, allocatable: FREE, places, ..Host::default() };
        fleet.set_machine(&name(machine), host);
    }
    fleet
}

fn rules() -> WorkloadPlacement {
    WorkloadPlacement {
        spread: vec![WorkloadSpread { topology: TopologyLevel::Rack, max_skew: Some(1) }],
        anti_affinity: vec![WorkloadAffinity { workload: None, topology: TopologyLevel::Server }],
        ..WorkloadPlacement::default()
    }
}

/// What instances take: a few sizes, as workloads have.
fn requests(number: usize) -> Resources {
    const SIZES: [(u64, u64); 5] = [(500, 1), (1_000, 4), (2_000, 6), (4_000, 16), (8_000, 24)];
    let (cpu, memory) = SIZES.get(number % SIZES.len()).copied().unwrap_or_default();
    Resources { cpu, memory: memory << 30 }
}

fn place(fleet: &mut Fleet, workload: &str, instance: usize, requests: Resources) -> bool {
    let wish = Wish { workload, requests, ..Wish::default() };
    let Ok(placed) = fleet.place(&wish, instance as u64) else { return false };
    let workload = Some(workload);
    let taken = Taken { machine: &placed.machine, workload, requests, ..Taken::default() };
    fleet.set_instance(&format!("i-{instance}"), &taken);
    true
}

/// Places all; answers how long it took, and how many found no machine.
fn all() -> (Duration, usize) {
    let mut fleet = fleet(MACHINES);
    let names: Vec<String> = (0..WORKLOADS).map(|number| format!("w-{number}")).collect();
    for name in &names {
        fleet.set_workload(name, &rules());
    }
    let each = INSTANCES.div_ceil(WORKLOADS);
    let (mut unplaced, mut number) = (0, 0);
    let begin = Instant::now();
    for (at, name) in names.iter().enumerate() {
        for _ in 0..each.min(INSTANCES - number) {
            unplaced += usize::from(!place(&mut fleet, name, number, requests(at)));
            number += 1;
        }
    }
    (begin.elapsed(), unplaced)
}

/// What one placement takes, with its note, in a fleet that has something on it.
fn one(machines: usize) -> Samples {
    let mut fleet = fleet(machines);
    let mut samples = Samples::default();
    for number in 0..SAMPLES {
        let workload = format!("w-{}", number % 200);
        fleet.set_workload(&workload, &rules());
        let begin = Instant::now();
        black_box(place(&mut fleet, &workload, number, requests(number % 200)));
        // The first of all reads the whole fleet, once.
        if number >= 200 {
            samples.push(begin.elapsed());
        }
    }
    samples
}

/// Sizes of instances in no order, all of which fit.
fn sizes() -> impl Iterator<Item = Resources> {
    (0..PACKED_INSTANCES).map(|number| requests((number * 7_919) % 10_007))
}

/// Machines that have something on them once all are placed, each on the tightest of a few.
fn ours() -> usize {
    let mut fleet = fleet(PACKED);
    fleet.set_workload("w", &WorkloadPlacement::default());
    for (number, requests) in sizes().enumerate() {
        place(&mut fleet, "w", number, requests);
    }
    let used = |machine: &usize| fleet.free(&name(*machine)).is_some_and(|free| free != FREE);
    (0..PACKED).filter(used).count()
}

/// The same, each on the tightest of all: of those with the least left in cores and memory together.
fn full_scan() -> usize {
    let mut free: BTreeMap<usize, Resources> = (0..PACKED).map(|it| (it, FREE)).collect();
    for requests in sizes() {
        let weight = |free: &Resources| free.cpu + free.memory / ((4 << 30) / 1_000);
        let fitting = free.iter_mut().filter(|(_, free)| free.fits(requests));
        if let Some((_, free)) = fitting.min_by_key(|(machine, free)| (weight(free), **machine)) {
            free.cpu -= requests.cpu;
            free.memory -= requests.memory;
        }
    }
    free.values().filter(|free| **free != FREE).count()
}

pub(crate) fn run() -> Result<Vec<Row>, Failure> {
    let (took, unplaced) = all();
    let (small, large) = (one(SMALL), one(LARGE));
    let (ours, theirs) = (ours(), full_scan());
    let rate = INSTANCES as f64 / took.as_secs_f64();
    Ok(vec![
        Row {
            what: format!(
                "placing {INSTANCES} instances of {WORKLOADS} workloads on {MACHINES} empty machines, spread over racks by 1 \
                 and never two of one on a server, in memory ({unplaced} without a machine)"
            ),
            ours: Quantity::per_second(rate),
            peer: "the aim itself".into(),
            theirs: Quantity::per_second(RATE),
            aim: Aim::AtLeast(1.0),
        },
        Row {
            what: format!(
                "one such placement in a fleet of {LARGE} machines, median (99th percentile {:.1} µs)",
                large.p99() * 1e6
            ),
            ours: Quantity::seconds(large.median()),
            peer: format!("in one of {SMALL} (99th percentile {:.1} µs)", small.p99() * 1e6),
            theirs: Quantity::seconds(small.median()),
            aim: Aim::AtMost(5.0),
        },
        Row {
            what: format!(
                "machines that {PACKED_INSTANCES} instances of five sizes fill, each on the tightest of a few"
            ),
            ours: Quantity::count(ours as f64),
            peer: "each on the tightest of all".into(),
            theirs: Quantity::count(theirs as f64),
            aim: Aim::AtMost(1.02),
        },
    ])
}
