//! The operating system on a machine, as anybody on the network sees it. Nothing here logs in anywhere.

pub mod wait;

use crate::{catalog::Catalog, http::Reach};

/// Adds every action to the catalogue; addresses outside of `reach` are never dialled.
pub fn add_actions(reach: Reach, catalog: &mut Catalog) {
    catalog.add(wait::HostWait::new(reach));
}
