//! The twins of `media.insert` and `media.eject`. Images are never fetched.

use super::Twin;
use crate::{latency::SETTLE, simulation::Machines, state::Rest, visit::Visit};
use quarterdeck_providers::{
    ActionContext, ActionError, Reason,
    redfish::twin::{
        MediaType, choose_slot,
        media_eject::{self, MediaEject},
        media_insert::{self, MediaInsert},
    },
};

/// The virtual drives of every machine, and the kinds of media that each names.
pub(crate) const DRIVES: [(&str, &[&str]); 2] =
    [("CD", &["CD", "DVD"]), ("RemovableDisk", &["Floppy", "USBStick"])];

impl Twin for MediaInsert {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: media_insert::Input,
    ) -> Result<media_insert::Output, ActionError> {
        let _username_password = input.check(context)?;
        let mut visit = machines.visit(context).await?;
        let at = choose(&visit, input.slot.as_deref(), input.media_type)?;
        let slot = slot(at).to_owned();
        let held = held(&visit, at);
        if held.as_ref() == Some(&input.image) {
            return Ok(media_insert::Output { slot, changed: false });
        }
        if held.is_some() {
            put(&mut visit, at, None).await?;
        }
        put(&mut visit, at, Some(input.image)).await?;
        Ok(media_insert::Output { slot, changed: true })
    }
}

impl Twin for MediaEject {
    async fn simulate(
        machines: &Machines,
        context: &ActionContext,
        input: media_eject::Input,
    ) -> Result<media_eject::Output, ActionError> {
        let mut visit = machines.visit(context).await?;
        let drives = match &input.slot {
            Some(slot) => vec![choose(&visit, Some(slot), MediaType::CD)?],
            None => (0..DRIVES.len()).collect(),
        };
        let mut ejected = Vec::new();
        for at in drives {
            if held(&visit, at).is_some() {
                put(&mut visit, at, None).await?;
                ejected.push(slot(at).to_owned());
            }
        }
        Ok(media_eject::Output { changed: !ejected.is_empty(), ejected })
    }
}

fn choose(
    visit: &Visit<'_>,
    slot: Option<&str>,
    media_type: MediaType,
) -> Result<usize, ActionError> {
    let drives = DRIVES.map(|(id, kinds)| {
        (id.to_owned(), kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>())
    });
    choose_slot(&drives, slot, media_type).map_err(|why| {
        ActionError::permanent(Reason::NotFound, format!("{}: {why}", visit.system()))
    })
}

fn slot(at: usize) -> &'static str {
    DRIVES.get(at).map_or("", |(id, _kinds)| id)
}

fn held(visit: &Visit<'_>, at: usize) -> Option<String> {
    let drive = |rest: &Rest| rest.media.get(at).cloned().flatten();
    visit.state(|state| state.rest.as_deref().and_then(drive))
}

/// Puts an image into a drive, or takes out what is in it.
async fn put(visit: &mut Visit<'_>, at: usize, image: Option<String>) -> Result<(), ActionError> {
    let action = if image.is_some() { "InsertMedia" } else { "EjectMedia" };
    let drive = format!("/redfish/v1/Systems/1/VirtualMedia/{}", slot(at));
    let request = format!("POST {drive}/Actions/VirtualMedia.{action}");
    let change = |rest: &mut Rest| {
        if let Some(drive) = rest.media.get_mut(at) {
            *drive = image;
        }
    };
    visit.command(&request, |state| change(state.rest())).await?;
    visit.takes(SETTLE).await;
    Ok(())
}
