//! The verbs of `quarterdeck` that kubectl has none for: `run`, `campaign`, `server`, `machine`, `top`, `why`, `timeline`. They
//! are clients of the API and nothing else: what they do, kubectl could do. Must not know the parts that serve.
//!
//! `verbs/` has one file a verb, with its effects; `view/` is what is shown, and `enrol/` what files say of servers, both
//! pure; `plane.rs` is the one place that
//! talks to the plane.

mod completion;
mod confirm;
mod connect;
mod enrol;
mod error;
mod follow;
mod held;
mod named;
mod near;
mod outcome;
mod output;
mod plane;
mod plugin;
mod safe;
mod terminal;
mod verbs;
mod view;

pub use completion::answer_shell;
pub use error::Error;
pub use outcome::Outcome;
pub use plugin::{called_as_plugin, completes_plugin, next_words};
pub use safe::safe;
pub use verbs::{Verb, run};
