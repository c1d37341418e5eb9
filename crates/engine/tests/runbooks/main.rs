//! Runbooks with the real catalogue of actions: what ships is admitted and does what it says, what
//! is wrong is refused when it is written, and no run begins of what went wrong since.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod life;
mod refused;
mod shipped;
mod starting;
/// The stories in which the language itself is tested.
#[path = "../../../runbook/tests/language/support/mod.rs"]
mod support;
