//! The language of runbooks, from what is admitted to what a run does: through the public interface
//! only, as the engine uses it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod check;
mod expressions;
mod policies;
mod properties;
mod stories;
mod support;
