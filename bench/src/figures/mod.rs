//! One file per figure. A figure measures ours and its peer in turn, in one process and one run.

mod agent;
pub(crate) mod agents;
mod applies;
mod containers;
mod costs;
mod creates;
mod filtered_page;
mod fleet;
pub(crate) mod flood;
mod impact;
mod ledger;
mod list_pages;
pub(crate) mod million;
pub(crate) mod pages;
mod placement;
mod placement_durable;
mod reads_postgres;
mod redfish;
mod replicas;
mod runs;
mod search;
pub(crate) mod watchers;
mod writes;
mod writes_postgres;

use crate::{Failure, report::Row};
use std::{path::Path, pin::Pin};

/// What a figure is doing; it may take minutes.
pub(crate) type Measuring<'f> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Failure>> + 'f>>;

/// One figure.
pub(crate) struct Figure {
    /// What `ONLY=` calls it.
    pub(crate) name: &'static str,
    /// What it measures, for people.
    pub(crate) about: &'static str,
    /// Measures; its files go under the folder, which is gone afterwards.
    pub(crate) run: for<'f> fn(&'f Path) -> Measuring<'f>,
}

/// All figures, in the order of the table.
pub(crate) const ALL: &[Figure] = &[
    Figure {
        name: "writes",
        about: "durable writes on SQLite beside etcd, and one writer beside fdatasync",
        run: |folder| Box::pin(writes::run(folder)),
    },
    Figure {
        name: "writes-postgres",
        about: "durable writes on PostgreSQL beside single-row upserts",
        run: |folder| Box::pin(writes_postgres::run(folder)),
    },
    Figure {
        name: "reads-postgres",
        about: "consistent reads on PostgreSQL beside asking for its newest revision",
        run: |folder| Box::pin(reads_postgres::run(folder)),
    },
    Figure {
        name: "list",
        about: "list 110,000 objects through HTTPS in pages of 500",
        run: |folder| Box::pin(list_pages::run(folder)),
    },
    Figure {
        name: "filtered",
        about: "filtered page of 110,000 objects while 1,000 writes/s run",
        run: |folder| Box::pin(filtered_page::run(folder)),
    },
    Figure {
        name: "creates",
        about: "creates through HTTPS with all that a plane has, and how soon a watcher sees them",
        run: |folder| Box::pin(creates::run(folder)),
    },
    Figure {
        name: "applies",
        about: "server-side apply beside a merge patch",
        run: |folder| Box::pin(applies::run(folder)),
    },
    Figure {
        name: "costs",
        about: "creates through HTTPS, and without authorisation, audit log or validation",
        run: |folder| Box::pin(costs::run(folder)),
    },
    Figure {
        name: "flood",
        about: "small reads of one caller while another floods the plane",
        run: |folder| Box::pin(flood::run(folder)),
    },
    Figure {
        name: "watchers",
        about: "one event to 10,000 watchers",
        run: |folder| Box::pin(watchers::run(folder)),
    },
    Figure {
        name: "pages",
        about: "500 open pages while a campaign moves, beside none",
        run: |folder| Box::pin(pages::run(folder)),
    },
    Figure {
        name: "agents",
        about: "100,000 connected agents: memory, how soon a change reaches one, and all of them begun anew; AGENTS=10000 for fewer",
        run: |folder| Box::pin(agents::run(folder)),
    },
    Figure {
        name: "heartbeats",
        about: "heartbeats of agents on one core beside single-row updates of PostgreSQL",
        run: |folder| Box::pin(agents::heartbeats(folder)),
    },
    Figure {
        name: "containers",
        about: "from a declared workload to its running container, beside docker run",
        run: |folder| Box::pin(containers::run(folder)),
    },
    Figure {
        name: "agent",
        about: "what an agent with ten containers takes of its host, beside Docker's own daemon",
        run: |folder| Box::pin(agent::run(folder)),
    },
    Figure {
        name: "million",
        about: "memory and cold start with 1,000,000 objects",
        run: |folder| Box::pin(million::run(folder)),
    },
    Figure {
        name: "runs",
        about: "durable run steps, 512 runs at once, and one run alone",
        run: |folder| Box::pin(runs::run(folder)),
    },
    Figure {
        name: "fleet",
        about: "110,000 simulated servers from first contact to ready, and a campaign over 40,000 of them",
        run: |folder| Box::pin(fleet::run(folder)),
    },
    Figure {
        name: "replicas",
        about: "two replicas on PostgreSQL beside one, with work that waits for machines",
        run: |folder| Box::pin(replicas::run(folder)),
    },
    Figure {
        name: "redfish",
        about: "inventories and power cycles of 1,000 simulated BMCs over HTTPS beside their twins",
        run: |_| Box::pin(redfish::run()),
    },
    Figure {
        name: "latency",
        about: "servers from first contact to ready, with BMCs that take their time",
        run: |folder| Box::pin(fleet::latency::run(folder)),
    },
    Figure {
        name: "provision",
        about: "installing servers, beside Ironic",
        run: |folder| Box::pin(fleet::provision::run(folder)),
    },
    Figure {
        name: "ledger",
        about: "one decision of the ledger at full size",
        run: |_| Box::pin(async { ledger::run() }),
    },
    Figure {
        name: "search",
        about: "search with facets over 1,000,000 instances, and the graph of a service",
        run: |folder| Box::pin(search::run(folder)),
    },
    Figure {
        name: "placement",
        about: "1,000,000 instances placed on 110,000 machines, one on 1,000,000, and packing",
        run: |_| Box::pin(async { placement::run() }),
    },
    Figure {
        name: "placement-durable",
        about: "100,000 instances placed on 110,000 machines by the engine, each durable",
        run: |folder| Box::pin(placement_durable::run(folder)),
    },
    Figure {
        name: "impact",
        about: "what breaks when a rack or a site goes, at full size",
        run: |_| Box::pin(async { impact::run() }),
    },
];
