//! Labels by which the agent knows its containers again, after its own death and among those of others.

/// Identity of the host.
pub(super) const HOST: &str = "dev.quarterdeck.host";
/// Identity of the instance.
pub(super) const UID: &str = "dev.quarterdeck.uid";
/// Namespace of the instance.
pub(super) const NAMESPACE: &str = "dev.quarterdeck.namespace";
/// Name of the instance.
pub(super) const NAME: &str = "dev.quarterdeck.name";
/// Which of its containers; empty for the one that holds the network.
pub(super) const CONTAINER: &str = "dev.quarterdeck.container";
/// Counts how often that container was made.
pub(super) const ATTEMPT: &str = "dev.quarterdeck.attempt";
/// Restarts in a row.
pub(super) const STREAK: &str = "dev.quarterdeck.streak";
/// Of what was asked for.
pub(super) const HASH: &str = "dev.quarterdeck.hash";
/// The container whose network it has.
pub(super) const SANDBOX: &str = "dev.quarterdeck.sandbox";
