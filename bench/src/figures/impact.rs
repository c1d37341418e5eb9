//! What breaks when a rack or a whole site goes: 110,000 servers, a million instances, 9,000 services that use each other.
//! Beside it one pass over the instances concerned, by server, as any answer must make it.

use crate::{
    Failure,
    report::{Aim, Quantity, Row},
    samples::Samples,
};
use quarterdeck_ledger::{Book, PlaceName, Target};
use quarterdeck_model::{
    kinds::{Dependency, DisruptionBudget, RackSpec, ServiceDependency, ServiceSpec},
    share::Share,
};
use std::{hint::black_box, time::Instant};

const SERVERS: usize = 110_000;
const SERVICES: usize = 9_000;
const INSTANCES: usize = 1_000_000;
const SERVERS_PER_RACK: usize = 40;
const ROUNDS: usize = 21;
const RACK: f64 = 0.001;

fn book() -> Book {
    let mut book = Book::default();
    for rack in 0..SERVERS.div_ceil(SERVERS_PER_RACK) {
        // The whole fleet is one site: the largest question there is.
        let spec = RackSpec { site: "site".into(), ..RackSpec::default() };
        book.set_rack(&format!("r-{rack}"), &spec);
    }
    for number in 0..SERVERS {
        let rack = format!("r-{}", number / SERVERS_PER_RACK);
        book.set_server(&format!("s-{number}"), Some(&rack));
    }
    for number in 0..SERVICES {
        let budget =
            DisruptionBudget { max_unavailable: Some(Share::Percent(5)), min_available: None };
        let uses = (1..=3).filter_map(|by| number.checked_sub(by * 97));
        let depends_on = uses.enumerate().map(|(at, other)| ServiceDependency {
            name: format!("service-{other}"),
            namespace: None,
            kind: if at == 0 { Dependency::Hard } else { Dependency::Soft },
        });
        let spec = ServiceSpec {
            disruption_budget: Some(budget),
            depends_on: depends_on.collect(),
            ..ServiceSpec::default()
        };
        book.set_service(&format!("team/service-{number}"), spec);
    }
    for number in 0..INSTANCES {
        let (service, host) = (number % SERVICES, (number * 31) % SERVERS);
        book.set_instance(
            &format!("team/service-{service}-{number}"),
            &format!("team/service-{service}"),
            &format!("s-{host}"),
            true,
            None,
        );
    }
    book
}

/// What a pass needs of an instance: its service, and whether it is up.
#[derive(Clone)]
struct Plain {
    service: u32,
    up: bool,
    // As large as what a book keeps of one, so that a pass reads as much memory.
    _rest: [u64; 9],
}

/// Instances in no order of memory, and those of each server, as a fleet that has lived has them.
fn plain() -> (Vec<Plain>, Vec<Vec<u32>>) {
    let instances = (0..INSTANCES).map(|number| Plain {
        service: u32::try_from(number % SERVICES).unwrap_or_default(),
        up: true,
        _rest: [0; 9],
    });
    let mut on = vec![Vec::new(); SERVERS];
    for number in 0..INSTANCES {
        if let Some(on) = on.get_mut((number * 31) % SERVERS) {
            on.push(u32::try_from(number).unwrap_or_default());
        }
    }
    (instances.collect(), on)
}

fn pass(instances: &[Plain], servers: &[Vec<u32>]) -> Vec<u32> {
    let mut lost = vec![0_u32; SERVICES];
    for instance in servers.iter().flatten() {
        let Some(instance) = instances.get(*instance as usize) else { continue };
        if let Some(lost) = lost.get_mut(instance.service as usize) {
            *lost += u32::from(instance.up);
        }
    }
    lost
}

pub(crate) fn run() -> Result<Vec<Row>, Failure> {
    let book = book();
    let (instances, servers) = plain();
    let (mut site, mut rack, mut passes) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut hit = 0;
    for round in 0..ROUNDS {
        let begin = Instant::now();
        hit = black_box(book.impact(&[Target::Place(PlaceName::Site("site"))])).services.len();
        site.push(begin.elapsed());
        let begin = Instant::now();
        black_box(pass(&instances, &servers));
        passes.push(begin.elapsed());
        let name = format!("r-{}", round * 131);
        let begin = Instant::now();
        black_box(book.impact(&[Target::Place(PlaceName::Rack(&name))]));
        rack.push(begin.elapsed());
    }
    Ok(vec![
        Row {
            what: format!(
                "what breaks when all of {SERVERS} servers go, with {INSTANCES} instances of {SERVICES} services ({hit} are \
                 hit, each with a sentence)"
            ),
            ours: Quantity::seconds(site.median()),
            peer: "one pass over those instances, server by server".into(),
            theirs: Quantity::seconds(passes.median()),
            aim: Aim::AtMost(3.0),
        },
        Row {
            what: "what breaks when one rack goes".into(),
            ours: Quantity::seconds(rack.median()),
            peer: "the aim itself".into(),
            theirs: Quantity::seconds(RACK),
            aim: Aim::AtMost(1.0),
        },
    ])
}
