//! The cache through the store's public interface: what it answers, against a model that keeps every
//! version of everything; what watchers get; what is left behind; several stores over one log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cache/fan_out.rs"]
mod fan_out;
#[path = "cache/log.rs"]
mod log;
#[path = "cache/model.rs"]
mod model;
#[path = "cache/several.rs"]
mod several;
#[path = "cache/world.rs"]
mod world;
