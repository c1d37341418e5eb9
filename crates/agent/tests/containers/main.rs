//! Containers of a host, on a real engine that each test starts for itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adoption;
mod ends;
mod engine_away;
mod images;
mod life;
mod podman;
mod probes;
mod restarts;
mod secrets;
mod support;
mod talk;
