//! Containers of a host, on a real engine that each test starts for itself.

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
