//! The disruption ledger: who may disrupt what, and why not.
//!
//! A [`Book`] holds what a decision needs of the fleet: which instances of which services run on which
//! servers, which of them are down, where servers stand, and what is permitted already. It is told each change,
//! and answers a [`Request`] at a cost that grows with what runs on the target, not with the fleet.
//!
//! The one promise: a permit is given only when no service has more instances down than its budget says, counting
//! what failed by itself, what other permits may take, and what this one would; and no place more servers. Whom a
//! service or a place wants to be asked has been: persons here, hooks by whoever keeps the book ([`Concern`]).
//!
//! Pure: no clock, no store, no threads. It must not know runs, runbooks or how a change is learned of; whoever
//! keeps a book must ask, and note what was permitted, without anything in between.
//!
//! Start reading at [`Book::ask`] in `decide.rs`; `book.rs` and `place.rs` are how the counts are kept. [`next_wave`] says which
//! targets of a campaign begin next, and [`plan`] how all of it would go. [`placement`] is where instances come to be.

mod approve;
mod book;
mod decide;
mod freezes;
mod impact;
mod place;
pub mod placement;
pub mod plan;
mod refusal;
mod services;
mod table;
mod waves;

pub use book::{Book, Holder, Target};
pub use decide::{Concern, Grant, Request};
pub use impact::{Impact, ServiceImpact, Verdict};
pub use place::PlaceName;
pub use refusal::{Blocker, Refusal};
pub use waves::{Counts, Halt, Item, Limits, Stage, Wave, next_wave};
