//! What a runbook may ask of the outside: the signature of an action.
//!
//! Only the signature lives here, so that runbooks can be type-checked without knowing any
//! provider. Performing an action is the providers' work.

use serde_json::Value;

/// The contract of one action, such as `power.set`.
#[derive(Debug, Clone)]
pub struct ActionSignature {
    /// Dotted name, unique in the fleet: `power.set`.
    pub name: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// Kinds an action can be aimed at; empty when it needs no target.
    pub target_kinds: &'static [&'static str],
    /// JSON schema of the input (`with`).
    pub input: Value,
    /// JSON schema of the output (`steps.<name>.output`).
    pub output: Value,
    /// The action changes the world, so a run that uses it must hold its target.
    pub effects: bool,
    /// The action can interrupt what runs on the target, so it needs the ledger's permit.
    pub disruptive: bool,
}
