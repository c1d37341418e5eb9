//! The HTTP surface: the Kubernetes resource model over the store's objects.
//!
//! Rules of this crate: the wire's shapes live here and nowhere else; reading is from the cache,
//! writing is one conditional commit; it must not know runs, providers or any kind's meaning.
//!
//! Start reading at [`server`] (who calls) and its `dispatch` (which endpoint answers), then `path` (what can be asked), `write` and `read`.

mod admission;
mod agents;
mod answer;
mod apply;
mod audit;
mod authorize;
#[cfg(not(feature = "bench"))]
mod bench;
#[cfg(feature = "bench")]
pub mod bench;
mod body;
mod change;
mod compress;
mod core_view;
mod definitions;
mod delete;
mod discovery;
mod fairness;
#[cfg(test)]
mod fuzz;
mod graphql;
mod identity;
mod install;
mod metrics;
mod modify;
mod negotiate;
mod openapi;
mod page;
mod patch;
mod path;
pub mod pki;
mod policies;
mod protobuf;
mod quota;
mod read;
mod review;
mod rules;
mod scale;
mod server;
mod session;
mod status;
mod stream;
mod table;
mod watch;
mod write;
mod written;
mod yaml;

pub use agents::Agents;
pub use audit::{Audit, AuditError, LogFile, OwnWrite, Policy};
pub use fairness::{Limits, Most, Places};
pub use identity::{Algorithm, Authentication, Caller, Issuer, OidcSettings, SigningKeys};
pub use install::Installed;
pub use quarterdeck_graphql::AnswerImpact;
pub use rules::{DeletionRule, PreviewRule, Rule, Rules};
pub use server::Api;
pub use status::ApiError;

/// The threads that the API is served on.
///
/// They look at the network after a few tasks, where tokio's own looks after 61: a request that comes
/// while many others are worked on must be seen before it can have its turn.
pub fn runtime() -> tokio::runtime::Builder {
    const TASKS: u32 = 8;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().event_interval(TASKS);
    builder
}
