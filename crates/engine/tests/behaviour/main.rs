//! The engine through its public interface: an [`quarterdeck_engine::Engine`] over a real store, with
//! actions whose every effect is recorded and a clock that only moves when nothing else can.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod admission;
mod asking;
mod campaigns;
mod controllers;
mod crash;
mod depending;
mod following;
mod hooks;
mod hosts;
mod kubernetes;
mod ledger;
mod links;
mod mended;
mod outside;
mod ownership;
mod places;
mod prometheus;
mod queues;
mod refreshing;
mod remedies;
mod scans;
mod scenario;
mod schedules;
mod stopping;
mod trouble;
mod workloads;
