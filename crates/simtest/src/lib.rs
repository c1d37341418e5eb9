//! What tests of the whole plane stand on: a durable store in memory, used by any number of simulated
//! processes, that fails when it is told to.
//!
//! Rules of this crate: it must know nothing of the engine, of runs or of what a body means, and never
//! decide by itself that something fails. It is a dev-dependency only and is never published.
//!
//! The test itself is `tests/whole_plane`; `docs/decisions/0020-deterministic-test.md` says how it is built.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's own store has no better answer to a defect of its own than to fail"
)]

mod disk;

pub use disk::{Disk, Fault, Process};
