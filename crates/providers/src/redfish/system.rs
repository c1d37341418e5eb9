//! Finding the one ComputerSystem an action is aimed at, and making sure it is that one.

use std::sync::Arc;

use jiff::Timestamp;

use super::bounded::Budget;
use super::client::Bmc;
use super::errors;
use super::limits::SYSTEMS_OPENED_MAX;
use super::quirks::Quirks;
use super::resource::{Doc, Path, Resource};
use super::target::Target;
use crate::action::{ActionError, Reason};

/// Links to systems looked through for a system id: one emulator process serves up to 10,000.
const SYSTEM_LINKS_MAX: usize = 20_000;

/// Most names of systems told in an error.
const NAMES_TOLD_MAX: usize = 8;

/// The system a call is aimed at, as last read.
pub(super) struct System {
    pub(super) bmc: Arc<Bmc>,
    pub(super) budget: Budget,
    pub(super) resource: Resource,
    pub(super) quirks: Quirks,
}

impl System {
    /// Finds the system by id, by serial number, or because it is the only one.
    pub(super) async fn find(
        bmc: Arc<Bmc>,
        target: &Target,
        budget: Budget,
    ) -> Result<Self, ActionError> {
        // Logging in first: a BMC that refuses us should say so, not show an empty root.
        bmc.login(&budget).await?;
        let resource = choose(&bmc, target, &budget).await?;
        if let Some(wanted) = &target.serial {
            check_serial(&bmc, resource.doc(), wanted)?;
        }
        let quirks = Quirks::of(bmc.root(&budget).await?.doc(), Some(resource.doc()));
        Ok(Self { bmc, budget, resource, quirks })
    }

    pub(super) fn doc(&self) -> Doc<'_> {
        self.resource.doc()
    }

    /// Reads the system again.
    pub(super) async fn refresh(&mut self) -> Result<(), ActionError> {
        self.resource = self.bmc.get(&self.resource.path, &self.budget).await?;
        Ok(())
    }

    /// The managers of this system.
    pub(super) fn managers(&self) -> Vec<Path> {
        self.doc().links("/Links/ManagedBy")
    }

    /// The BMC's own clock, where it tells.
    pub(super) async fn bmc_time(&self) -> Result<Option<Timestamp>, ActionError> {
        let Some(manager) = self.managers().into_iter().next() else { return Ok(None) };
        let manager = self.bmc.get_optional(&manager, &self.budget).await?;
        Ok(manager.and_then(|manager| manager.doc().text("/DateTime")?.parse().ok()))
    }

    /// How messages name it.
    pub(super) fn name(&self) -> String {
        let authority = self.bmc.endpoint.authority.as_str();
        errors::system_name(authority, self.resource.path.last_segment())
    }

    /// An error about this system.
    pub(super) fn unsupported(&self, what: impl std::fmt::Display) -> ActionError {
        ActionError::permanent(Reason::NotSupported, format!("{}: {what}", self.name()))
    }
}

async fn choose(bmc: &Bmc, target: &Target, budget: &Budget) -> Result<Resource, ActionError> {
    let root = bmc.root(budget).await?;
    // The link is required (DSP0268, ServiceRoot), but some firmwares leave it out while the
    // collection is served at its standard place.
    let standard = || Path::parse("/redfish/v1/Systems");
    let collection =
        root.doc().link("/Systems").or_else(standard).ok_or_else(|| {
            ActionError::permanent(Reason::NotSupported, "the BMC has no systems")
        })?;
    if let Some(path) = target.system_id.as_ref().and_then(|id| collection.child(id))
        && let Some(found) = bmc.get_optional(&path, budget).await?
    {
        return Ok(found);
    }
    let links = bmc.member_links(&collection, SYSTEM_LINKS_MAX, budget).await?;
    let authority = &bmc.endpoint.authority;
    if let Some(id) = &target.system_id {
        let Some(path) = links.iter().find(|path| path.last_segment() == id) else {
            return Err(ActionError::permanent(
                Reason::SystemNotFound,
                format!(
                    "BMC {authority} has no system {id:?}, it has {}; correct spec.bmc.systemId",
                    names(&links)
                ),
            ));
        };
        return bmc.get(path, budget).await;
    }
    match (links.as_slice(), &target.serial) {
        ([], _) => Err(ActionError::retryable(
            Reason::SystemNotFound,
            format!("BMC {authority} shows no system; it may still be starting"),
        )),
        ([only], _) => bmc.get(only, budget).await,
        (several, Some(serial)) => {
            for path in several.iter().take(SYSTEMS_OPENED_MAX) {
                let Some(system) = bmc.get_optional(path, budget).await? else { continue };
                if identities(system.doc()).iter().any(|identity| same(identity, serial)) {
                    return Ok(system);
                }
            }
            Err(ActionError::permanent(
                Reason::SerialMismatch,
                format!(
                    "none of the systems of BMC {authority} ({}) reports the serial {serial:?}; \
                     correct spec.serial, or set spec.bmc.systemId",
                    names(several)
                ),
            ))
        }
        (several, None) => Err(ActionError::permanent(
            Reason::InvalidInput,
            format!(
                "BMC {authority} has several systems ({}); set spec.bmc.systemId or spec.serial",
                names(several)
            ),
        )),
    }
}

fn names(links: &[Path]) -> String {
    let told: Vec<&str> = links.iter().take(NAMES_TOLD_MAX).map(Path::last_segment).collect();
    let more = links.len() - told.len();
    match (told.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => told.join(", "),
        (false, more) => format!("{} and {more} more", told.join(", ")),
    }
}

/// What a system can be told apart by. Dell's service tag is the SKU; a virtual machine has only
/// its UUID.
fn identities(system: Doc<'_>) -> Vec<String> {
    ["/SerialNumber", "/SKU", "/UUID"].iter().filter_map(|name| system.text(name)).collect()
}

/// Whether a serial number that is reported is the one declared.
#[must_use]
pub fn same(reported: &str, declared: &str) -> bool {
    reported.trim().eq_ignore_ascii_case(declared.trim())
}

/// A machine that cannot be shown to be the declared one is not touched.
fn check_serial(bmc: &Bmc, system: Doc<'_>, declared: &str) -> Result<(), ActionError> {
    let reported = identities(system);
    if reported.iter().any(|identity| same(identity, declared)) {
        return Ok(());
    }
    let authority = &bmc.endpoint.authority;
    let found = system.text("/SerialNumber").or_else(|| reported.into_iter().next());
    if let Some(found) = found {
        return Err(errors::another_machine(authority.as_str(), &found, declared));
    }
    let message = format!(
        "BMC {authority} does not report what machine it is in, so {declared:?} cannot be \
         verified; correct spec.bmc, or leave spec.serial empty to do without"
    );
    Err(ActionError::permanent(Reason::SerialMismatch, message))
}
