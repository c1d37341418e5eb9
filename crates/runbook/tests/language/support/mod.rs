//! What the tests share: a small catalogue of actions, and a world in which a run is interpreted.

// Each test binary that shares this uses a part of it.
#![allow(dead_code, unused_imports)]

mod actions;
mod story;
mod world;

pub(crate) use actions::{Known, runbook};
pub(crate) use story::Story;
pub(crate) use world::{Event, World, failure, output};
