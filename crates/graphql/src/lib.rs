//! Reads that join, count, search or follow links, by GraphQL: what the page asks, and what people ask who would
//! otherwise send a hundred requests.
//!
//! Rules of this crate: it reads and never writes; an answer is as of one revision; nothing is shown that its asker
//! may not see, nor counted; what a Secret holds is shown to nobody. It must not know HTTP, roles, or how callers show
//! who they are.
//!
//! Start reading at [`Graph`], then `schema` (what can be asked), `moment` (what a request is answered from) and
//! `search`.

mod around;
mod changes;
mod fleet;
mod graph;
mod history;
mod index;
mod links;
mod map;
mod memo;
mod moment;
mod schema;
mod search;
mod shared;
mod shown;
mod size;
mod steps;
mod tally;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]
mod testing;
mod uses;
mod viewer;
mod where_is;

pub use changes::{Interest, Told};
pub use graph::{Graph, Question};
pub use map::{Look, Unlooked};
pub use schema::impact::AnswerImpact;
pub use viewer::{Act, Scope, Seen, Viewer};
