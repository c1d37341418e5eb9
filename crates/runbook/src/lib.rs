//! Runbooks: expressions, templates, what is checked when a runbook is admitted, and the
//! interpreter that decides what a run does next. And policies of admission, which are expressions too.
//!
//! This crate is pure. It must not know the store, providers, clocks, threads or randomness: the
//! time and what happened are passed in, what to do is given back. The engine performs and records.

mod check;
mod condition;
mod definition;
mod expression;
mod interpreter;
mod params;
pub mod policy;
mod template;

pub use check::{Definitions, check, check_frozen};
pub use condition::Condition;
pub use definition::{
    ACTION_TIMEOUT, BACKOFF, BACKOFF_MAX, CALL_DEPTH_MAX, Definition, RUN_TIMEOUT, WAIT_TIMEOUT,
};
pub use expression::{
    Budget, EXPRESSION_BYTES_MAX, Expression, ExpressionError, Scope, Session, Uses,
};
pub use interpreter::{
    Admission, Decision, Failure, ITEMS_MAX, Input, JOURNAL_BYTES_MAX, JOURNAL_STEPS_MAX, Note,
    OUTPUT_BYTES_MAX, Perform, View, in_flight, step,
};
pub use params::{check_params, with_defaults};
pub use template::Template;
