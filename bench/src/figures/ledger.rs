//! One decision of the ledger at full size: a million instances of 9,000 services on 110,000 servers, some of
//! them down. The limit is absolute, and beside it stands what it costs to look each instance on the target up
//! in a hash table.

use crate::{
    Failure,
    report::{Aim, Quantity, Row},
    samples::Samples,
};
use quarterdeck_ledger::{Book, Holder, Request, Target};
use quarterdeck_model::{
    Time,
    kinds::{DisruptionBudget, RackSpec, ServiceSpec},
    share::Share,
};
use std::{collections::HashMap, hint::black_box, time::Instant};

const SERVERS: usize = 110_000;
const SERVICES: usize = 9_000;
const INSTANCES: usize = 1_000_000;
const SERVERS_PER_RACK: usize = 40;
const DECISIONS: usize = 200_000;
/// One instance in so many is down by itself.
const DOWN: usize = 200;
/// Permits held at any time.
const HELD: usize = 6_000;
const P99: f64 = 0.001;

/// A step through all servers that never comes twice to one before all were seen.
fn server(turn: usize) -> usize {
    (turn * 7_919) % SERVERS
}

fn book() -> Book {
    let mut book = Book::default();
    for rack in 0..SERVERS.div_ceil(SERVERS_PER_RACK) {
        let spec = RackSpec {
            site: format!("site-{}", rack % 12),
            max_disrupted_servers: Some(8),
            ..RackSpec::default()
        };
        book.set_rack(&format!("r-{rack}"), &spec);
    }
    for number in 0..SERVERS {
        let rack = format!("r-{}", number / SERVERS_PER_RACK);
        book.set_server(&format!("s-{number}"), Some(&rack));
    }
    for number in 0..SERVICES {
        let budget =
            DisruptionBudget { max_unavailable: Some(Share::Percent(5)), min_available: None };
        let spec = ServiceSpec { disruption_budget: Some(budget), ..ServiceSpec::default() };
        book.set_service(&format!("team/service-{number}"), spec);
    }
    for number in 0..INSTANCES {
        let (service, host) = (number % SERVICES, (number * 31) % SERVERS);
        book.set_instance(
            &format!("team/service-{service}-{number}"),
            &format!("team/service-{service}"),
            &format!("s-{host}"),
            !number.is_multiple_of(DOWN),
            None,
        );
    }
    book.take_gave_way();
    book
}

pub(crate) fn run() -> Result<Vec<Row>, Failure> {
    let mut book = book();
    let now = Time::new(jiff::Timestamp::UNIX_EPOCH);
    let (mut asking, mut noting) = (Samples::default(), Samples::default());
    let (mut given, mut held) = (0_usize, std::collections::VecDeque::new());
    for turn in 0..DECISIONS {
        let name = format!("s-{}", server(turn));
        let target = Target::Server(&name);
        let request = Request {
            target,
            namespace: "ops",
            runbook: "patch",
            approvals: &[],
            requester: None,
            own_change: false,
            now,
        };
        let begin = Instant::now();
        let answer = black_box(book.ask(&request));
        asking.push(begin.elapsed());
        if answer.is_ok() {
            given += 1;
            let uid: std::sync::Arc<str> = format!("run-{turn}").into();
            held.push_back(uid.clone());
            let begin = Instant::now();
            book.permit(Holder { uid, name: format!("ops/{turn}") }, target, now);
            if held.len() > HELD
                && let Some(oldest) = held.pop_front()
            {
                book.release(&oldest);
            }
            noting.push(begin.elapsed());
        }
        book.take_gave_way();
    }
    // What is said of each instance, by its name, as a plain table has it.
    let table: HashMap<String, u64> =
        (0..INSTANCES as u64).map(|number| (format!("team/i-{number}"), number)).collect();
    let each = INSTANCES / SERVERS;
    let mut looking = Samples::default();
    for turn in 0..DECISIONS {
        let keys: Vec<String> = (0..each)
            .map(|instance| format!("team/i-{}", (turn * 104_729 + instance * 7_919) % INSTANCES))
            .collect();
        let begin = Instant::now();
        for key in &keys {
            black_box(table.get(key));
        }
        looking.push(begin.elapsed());
    }
    Ok(vec![Row {
        what: format!(
            "one decision of the ledger on a server, {INSTANCES} instances of {SERVICES} services on {SERVERS} servers, \
             {HELD} permits held, {given} of {DECISIONS} permitted: 99th percentile (median {:.1} µs; to note a permit \
             and take one back {:.1} µs)",
            asking.median() * 1e6,
            noting.median() * 1e6,
        ),
        ours: Quantity::seconds(asking.p99()),
        peer: format!(
            "the aim itself; a hash lookup for each of the {each} instances on the target takes {:.1} µs",
            looking.median() * 1e6
        ),
        theirs: Quantity::seconds(P99),
        aim: Aim::AtMost(1.0),
    }])
}
