//! Providers: the verbs Quarterdeck can perform on the outside world.
//!
//! Each provider is one folder: its client, its actions and its discovery. An action is one file
//! that implements [`Action`]; the [`Catalog`] holds them all by name, for runbooks to be checked
//! against and for the engine to perform.
//!
//! This crate must not know the store, runs or runbooks: an action gets its target and its secrets
//! with the call and answers with an output or an [`ActionError`].
//!
//! Start reading at `action.rs`, then `redfish/mod.rs`.

mod action;
mod attempts;
mod catalog;
pub mod redfish;
mod secrets;
mod transport;

pub use action::{
    Action, ActionContext, ActionError, Effect, NoSecrets, Reason, Retry, SecretData, SecretSource,
};
pub use catalog::{Catalog, DynAction};
