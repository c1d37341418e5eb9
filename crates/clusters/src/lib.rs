//! Kubernetes clusters as places where workloads run: who may be asked ([`Credentials`]), what is seen there, kept in memory
//! ([`Place`]), and what is applied there ([`deployment`]). What its nodes and pods mean to the plane is said in [`node`] and
//! [`pod`], which are pure, as [`deployment`] is.
//!
//! Must know nothing of the store or of controllers. It decides nothing: whoever calls has asked the ledger. Whatever a
//! cluster answers is untrusted: it is bounded, and nothing of it is executed.

pub mod deployment;
mod error;
mod kubeconfig;
pub mod node;
mod place;
pub mod pod;
mod seen;

pub use error::ClusterError;
pub use kubeconfig::Credentials;
pub use place::{How, Place};
pub use seen::{Heard, News};

/// As whom the plane applies: the field manager of what it declares in a cluster.
pub const MANAGER: &str = "quarterdeck";
