//! The whole plane under one seed: two replicas on one disk in memory, over a simulated fleet, on one thread,
//! with a clock that moves only when nothing else can. People and faults do what the seed draws; what must
//! hold is checked after every commit and at every effect on a machine, and in the end all must settle.
//!
//! `docs/decisions/0020-deterministic-test.md` says how it is built, CONTRIBUTING.md how to read a failure.
//!
//! Start reading at [`seed`]; then `operations` and `faults` (what happens), `witness` and `settle` (what must
//! hold).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what is wrong by failing, and a seed how it went"
)]

mod clock;
mod company;
mod dice;
mod facts;
mod faults;
mod figure;
mod machines;
mod operations;
mod plane;
mod procedures;
mod promises;
mod rack;
mod randomness;
mod regressions;
mod seed;
mod seeds;
mod settle;
mod story;
mod trace;
mod watched;
mod witness;

/// That of the plane as it ships, and a good part of the time of a seed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
