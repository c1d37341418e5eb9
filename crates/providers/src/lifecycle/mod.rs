//! The life of servers: where one is, and which machine has it, as steps of runbooks. These actions reach nothing
//! outside: what they decide becomes part of the Server's status.

mod detach;
mod moved;
pub(crate) mod phase;

use crate::catalog::Catalog;

/// What these actions are aimed at.
const SERVER: &[&str] = &["Server"];

/// Adds every action to the catalogue.
pub(crate) fn add_actions(catalog: &mut Catalog) {
    catalog.add(phase::ServerPhaseAction).add(detach::ServerDetach).add(moved::ServerMove);
}
