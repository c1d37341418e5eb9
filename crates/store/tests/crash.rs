//! What was acknowledged is there, once, in order, whatever was killed at whatever moment; and
//! what a disk that is full or read-only does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests: what cannot go on fails the test"
)]

mod crash {
    pub(crate) mod disks;
    pub(crate) mod kills;
    pub(crate) mod ledger;
    pub(crate) mod random;
    pub(crate) mod writer;
}
mod support;
