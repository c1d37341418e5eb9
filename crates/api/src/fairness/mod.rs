//! What each caller may take of the plane, so that nobody starves who asks for little.
//!
//! - [`line`] shares the processors between callers, [`seats`] the requests that are worked on.
//! - [`connections`] counts what a caller keeps open, [`taken`] ends what its client does not take.
//!
//! Nothing here knows what a request asks for, only who asks.

mod connections;
mod line;
mod seats;
mod taken;

pub use connections::Most;
pub use seats::Places;

pub(crate) use connections::{Connections, Open, Refused};
pub(crate) use line::{Line, Standing, let_others};
pub(crate) use seats::{Full, Seat, Seated, Seats};
pub(crate) use taken::{Streams, Taken, lasts};

use crate::identity::Caller;
use quarterdeck_model::agent::AGENTS_GROUP;
use std::time::Duration;

/// What a replica gives, in all and to one caller.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections whose caller is not known yet, by the address they come from: a load balancer may
    /// be one address for all.
    pub handshakes: Most,
    /// Open connections: each costs some tens of kilobytes, and file descriptors are limited too.
    pub connections: Most,
    /// Connections of agents, one a machine, which are counted apart: people find room whatever agents do.
    pub agents: Most,
    /// Open watches: they cost little while nothing happens, and each event is written to all of them.
    pub watches: Most,
    /// Requests that are worked on: each may have a body, and they fit the memory of a server. Open
    /// watches do not count.
    pub requests: Places,
    /// How long a request waits for its place before it is told to come back later.
    pub wait: Duration,
    /// A client that has not finished its handshake by then is not a client.
    pub handshake: Duration,
    /// A client that takes nothing of what is sent to it for so long is gone, or wants to keep memory.
    pub stalled: Duration,
}

impl Default for Limits {
    /// One caller has room for a watch from every machine of a large site, and leaves some to others.
    fn default() -> Self {
        Self {
            handshakes: Most { caller: 2_000, all: 6_000, kept: 0 },
            connections: Most { caller: 12_000, all: 18_000, kept: 5_000 },
            agents: Most { caller: 4, all: 150_000, kept: 0 },
            watches: Most { caller: 12_000, all: 50_000, kept: 10_000 },
            requests: Places { all: 1_000, kept: 100, caller: 400, waiting: 1_000 },
            wait: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            stalled: Duration::from_secs(60),
        }
    }
}

/// Whose requests come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Administrators of the plane, who must get through when nobody else does.
    System,
    /// Agents on machines.
    Agents,
    /// Everybody else.
    Usual,
}

impl Level {
    /// The level of what a caller asks for.
    pub(crate) fn of(caller: &Caller) -> Self {
        if caller.is_master() {
            Self::System
        } else if caller.groups.iter().any(|group| group == AGENTS_GROUP) {
            Self::Agents
        } else {
            Self::Usual
        }
    }
}
