//! Runbooks: expressions, templates, what is checked when a runbook is admitted, and the
//! interpreter that decides what a run does next.
//!
//! This crate is pure. It must not know the store, providers, clocks, threads or randomness: the
//! time and what happened are passed in, what to do is given back. The engine performs and records.

mod expression;
mod template;

pub use expression::{EXPRESSION_BYTES_MAX, Expression, ExpressionError, Scope, Uses};
pub use template::Template;
