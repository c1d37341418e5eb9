//! Providers: the verbs Quarterdeck can perform on the outside world.
//!
//! Each provider is one folder: its client, its actions and its discovery. An action is one file
//! that implements [`Action`]; the [`Catalog`] holds them all by name, for runbooks to be checked
//! against and for the engine to perform.
//!
//! What a caller does: make [`Providers`] once, give `catalog().signatures()` to whoever admits
//! runbooks, call [`Catalog::perform`] with an [`ActionContext`] for each step, and
//! [`Providers::close`] before the process ends. The Server controller reads the output of
//! `inventory.refresh` as a [`redfish::InventoryReport`], whose `inventory` and `power_state` are
//! those of the Server's status.
//!
//! This crate must not know the store, runs or runbooks: an action gets its target and its secrets
//! with the call and answers with an output or an [`ActionError`].
//!
//! Start reading at `action.rs`, then `redfish/mod.rs`.

mod action;
pub mod agent;
mod attempts;
mod catalog;
pub mod config;
pub mod host;
pub mod http;
mod lifecycle;
pub mod redfish;
mod secrets;
mod transport;

pub use action::{
    Action, ActionContext, ActionError, Declared, Effect, NoSecrets, Reason, Retry, SecretChange,
    SecretData, SecretSource,
};
pub use catalog::{Catalog, DynAction, Performed};

/// Every provider of this build, and the catalogue of what they can do. Cloning shares them.
#[derive(Clone)]
pub struct Providers {
    catalog: Catalog,
    redfish: redfish::Redfish,
}

impl Providers {
    /// All providers, with what is reached beside BMCs kept to `reach`.
    #[must_use]
    pub fn new(reach: http::Reach) -> Self {
        let redfish = redfish::Redfish::with_reach(reach);
        let mut catalog = Catalog::new();
        redfish.add_actions(&mut catalog);
        http::add_actions(reach, &mut catalog);
        host::add_actions(reach, &mut catalog);
        lifecycle::add_actions(&mut catalog);
        agent::add_actions(&mut catalog);
        config::add_actions(&mut catalog);
        Self { catalog, redfish }
    }

    /// The same with actions added, or standing in for those of their names.
    #[must_use]
    pub fn with_actions(mut self, add: impl FnOnce(&mut Catalog)) -> Self {
        add(&mut self.catalog);
        self
    }

    /// The actions by name.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Ends what is open on the outside, such as BMC sessions. For a graceful stop.
    pub async fn close(&self) {
        self.redfish.close().await;
    }
}
