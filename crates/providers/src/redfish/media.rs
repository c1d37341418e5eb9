//! Virtual media: the drives a BMC presents to the machine, and what is in them.
//!
//! Every step is decided from what the drive shows, so that a repeated call goes on from there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::limits::DRIVES_MAX;
use super::power::Poll;
use super::resource::{Doc, Path, Resource};
use super::system::System;
use crate::action::{ActionError, Effect, Reason};

/// What kind of medium a drive takes (DSP0268, VirtualMedia.MediaTypes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum MediaType {
    /// A CD image.
    #[default]
    CD,
    /// A DVD image.
    DVD,
    /// A floppy disk image.
    Floppy,
    /// An image of a USB stick.
    USBStick,
}

impl MediaType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::CD => "CD",
            Self::DVD => "DVD",
            Self::Floppy => "Floppy",
            Self::USBStick => "USBStick",
        }
    }

    /// Drives often name only one of the optical kinds and take both.
    fn fits(self, named: &[String]) -> bool {
        let optical = matches!(self, Self::CD | Self::DVD);
        named.is_empty()
            || named.iter().any(|name| {
                name == self.as_str() || (optical && ["CD", "DVD"].contains(&name.as_str()))
            })
    }
}

/// One drive, as last read.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) resource: Resource,
}

impl Drive {
    fn doc(&self) -> Doc<'_> {
        self.resource.doc()
    }

    /// The drive's id among those of the machine.
    pub(super) fn slot(&self) -> String {
        self.doc().text("/Id").unwrap_or_else(|| self.resource.path.last_segment().to_owned())
    }

    /// Where its medium comes from. Read raw: an address that is cut would not compare.
    fn image(&self) -> Option<&str> {
        let image = self.doc().0.pointer("/Image").and_then(Value::as_str);
        image.filter(|image| !image.is_empty())
    }

    /// Whether a medium is in it. Some BMCs leave `Inserted` out.
    pub(super) fn is_inserted(&self) -> bool {
        let connected = self.doc().text("/ConnectedVia").as_deref() != Some("NotConnected");
        self.doc().flag("/Inserted").unwrap_or(connected && self.image().is_some())
    }

    /// Whether the medium is `image`. A BMC that hides the address shows the name of the file.
    pub(super) fn holds(&self, image: &str) -> bool {
        let named = || {
            let file = image.split(['?', '#']).next().unwrap_or_default().rsplit('/').next();
            self.doc().text("/ImageName").as_deref() == file.filter(|file| !file.is_empty())
                && self.doc().text("/ImageName").is_some()
        };
        self.is_inserted() && self.image().map_or_else(named, |shown| shown == image)
    }

    /// A person's console put the medium in; it is theirs.
    pub(super) fn is_from_console(&self) -> bool {
        self.doc().text("/ConnectedVia").as_deref() == Some("Applet")
    }

    fn action(&self, name: &str) -> Option<Doc<'_>> {
        self.doc().0.get("Actions")?.get(format!("#VirtualMedia.{name}")).map(Doc)
    }
}

/// The drives of a system: its own, or those of its managers, where they were before
/// ComputerSystem 1.12.
pub(super) async fn drives(system: &System) -> Result<Vec<Drive>, ActionError> {
    let mut owners = vec![system.doc().link("/VirtualMedia")];
    if owners.iter().all(Option::is_none) {
        for manager in system.managers() {
            let manager = system.bmc.get_optional(&manager, &system.budget).await?;
            owners.push(manager.and_then(|manager| manager.doc().link("/VirtualMedia")));
        }
    }
    let mut drives = Vec::new();
    for collection in owners.into_iter().flatten() {
        let (bmc, budget) = (&system.bmc, &system.budget);
        match bmc.members(&collection, DRIVES_MAX, &system.quirks, budget).await {
            Ok(members) => drives.extend(members.into_iter().map(|resource| Drive { resource })),
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotSupported) => {}
            Err(error) => return Err(error),
        }
    }
    if drives.is_empty() {
        return Err(system.unsupported("it offers no virtual media; a license may be missing"));
    }
    Ok(drives)
}

/// The drive for a medium: the one named, else the first that takes its kind.
pub(super) fn choose(
    drives: Vec<Drive>,
    slot: Option<&str>,
    media_type: MediaType,
) -> Result<Drive, String> {
    let known: Vec<(String, Vec<String>)> =
        drives.iter().map(|drive| (drive.slot(), drive.doc().texts("/MediaTypes"))).collect();
    let chosen = choose_slot(&known, slot, media_type)?;
    drives.into_iter().nth(chosen).ok_or_else(|| "it has no virtual drive".to_owned())
}

/// Which of the drives that is, known by their ids and the kinds of media they name.
///
/// # Errors
/// When none fits, with those there are.
pub fn choose_slot(
    drives: &[(String, Vec<String>)],
    slot: Option<&str>,
    media_type: MediaType,
) -> Result<usize, String> {
    let fits = |(id, kinds): &(String, Vec<String>)| match slot {
        Some(slot) => id == slot,
        None => media_type.fits(kinds),
    };
    drives.iter().position(fits).ok_or_else(|| {
        let wanted = slot.map_or_else(
            || format!("takes a {}", media_type.as_str()),
            |slot| format!("is called {slot:?}"),
        );
        let known: Vec<&str> = drives.iter().map(|(id, _kinds)| id.as_str()).collect();
        format!("no virtual drive {wanted}; it has {}", known.join(", "))
    })
}

/// What is sent with an image.
pub(super) struct Medium<'a> {
    pub(super) image: &'a str,
    pub(super) write_protected: bool,
    pub(super) username_password: Option<(String, String)>,
}

impl Medium<'_> {
    /// Only what differs from the defaults, and what the drive lists: many firmwares refuse
    /// parameters that they do not know.
    fn body(&self, action: Doc<'_>) -> Value {
        let mut body = serde_json::Map::new();
        body.insert("Image".to_owned(), self.image.into());
        if !self.write_protected {
            body.insert("WriteProtected".to_owned(), false.into());
        }
        if let Some((username, password)) = &self.username_password {
            body.insert("UserName".to_owned(), username.as_str().into());
            body.insert("Password".to_owned(), password.as_str().into());
        }
        let scheme = self.image.split("://").next().unwrap_or_default().to_ascii_uppercase();
        for (name, value) in
            [("TransferProtocolType", scheme.as_str()), ("TransferMethod", "Stream")]
        {
            let listed = action.texts(&format!("/{name}@Redfish.AllowableValues"));
            if listed.iter().any(|listed| listed == value) {
                body.insert(name.to_owned(), value.into());
            }
        }
        Value::Object(body)
    }
}

/// Puts a medium in and waits until the drive shows it.
pub(super) async fn insert(
    system: &System,
    drive: &mut Drive,
    medium: &Medium<'_>,
) -> Result<(), ActionError> {
    let body = medium.body(drive.action("InsertMedia").unwrap_or(drive.doc()));
    send(system, drive, "InsertMedia", &body).await?;
    // A BMC may change how it writes the address, so any medium in a drive that was empty is it.
    wait(system, drive, true).await
}

/// Takes the medium out and waits until the drive shows none.
pub(super) async fn eject(system: &System, drive: &mut Drive) -> Result<(), ActionError> {
    send(system, drive, "EjectMedia", &json!({})).await?;
    wait(system, drive, false).await
}

/// Calls the action, or changes the resource where there is none (before VirtualMedia 1.2).
async fn send(system: &System, drive: &Drive, name: &str, body: &Value) -> Result<(), ActionError> {
    let target = drive.action(name).and_then(|action| action.text("/target"));
    let sent = match target.and_then(|text| Path::parse(&text)) {
        Some(target) => system.bmc.post(&target, body, &system.budget).await,
        None => {
            let mut change = body.clone();
            if let Some(change) = change.as_object_mut() {
                change.entry("Image").or_insert(Value::Null);
                change.insert("Inserted".to_owned(), (name == "InsertMedia").into());
            }
            let (bmc, quirks) = (&system.bmc, &system.quirks);
            bmc.patch(&drive.resource, &change, quirks, &system.budget).await
        }
    };
    match sent {
        Err(error) if error.effect == Effect::Unknown => {
            tracing::info!(system = %system.name(), %error, "looking whether it took effect");
            Ok(())
        }
        sent => sent,
    }
}

/// Up to the deadline: some BMCs fetch the image before they show it.
async fn wait(system: &System, drive: &mut Drive, inserted: bool) -> Result<(), ActionError> {
    let mut poll = Poll::default();
    loop {
        let read = system.bmc.get(&drive.resource.path, &system.budget).await;
        drive.resource = read.map_err(ActionError::effect_unknown)?;
        if drive.is_inserted() == inserted {
            return Ok(());
        }
        let not_yet = if inserted {
            "shows no medium yet; check that the BMC itself can reach the image"
        } else {
            "still shows a medium"
        };
        poll.pause(system, || format!("the virtual drive {} {not_yet}", drive.slot())).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(json: Value) -> Drive {
        let path = Path::parse("/redfish/v1/Managers/1/VirtualMedia/1").unwrap();
        Drive { resource: Resource { path, etag: None, json } }
    }

    #[test]
    fn what_is_in_a_drive() {
        let url = "https://images/a.iso?signature=1";
        for (what, json, inserted, holds) in [
            ("empty", json!({"Inserted": false, "Image": ""}), false, false),
            ("left in the address", json!({"Inserted": false, "Image": url}), false, false),
            ("it", json!({"Inserted": true, "Image": url}), true, true),
            ("another", json!({"Inserted": true, "Image": "https://images/b.iso"}), true, false),
            ("its name", json!({"Inserted": true, "ImageName": "a.iso"}), true, true),
            ("no name", json!({"Inserted": true}), true, false),
            ("no flag", json!({"Image": url, "ConnectedVia": "URI"}), true, true),
            ("not connected", json!({"Image": url, "ConnectedVia": "NotConnected"}), false, false),
        ] {
            let drive = drive(json);
            assert_eq!((drive.is_inserted(), drive.holds(url)), (inserted, holds), "{what}");
        }
    }

    #[test]
    fn the_first_fitting_drive_is_chosen() {
        let drives = || {
            vec![
                drive(json!({"Id": "F", "MediaTypes": ["Floppy", "USBStick"]})),
                drive(json!({"Id": "C1", "MediaTypes": ["DVD"]})),
                drive(json!({"Id": "C2", "MediaTypes": ["CD", "DVD"]})),
            ]
        };
        let slot = |slot, media| choose(drives(), slot, media).map(|drive| drive.slot());
        assert_eq!(slot(None, MediaType::CD).unwrap(), "C1");
        assert_eq!(slot(None, MediaType::USBStick).unwrap(), "F");
        assert_eq!(slot(Some("C2"), MediaType::CD).unwrap(), "C2");
        assert!(slot(Some("X"), MediaType::CD).unwrap_err().contains("F, C1, C2"));
    }

    #[test]
    fn only_listed_parameters_are_sent() {
        let medium = Medium {
            image: "https://images/a.iso",
            write_protected: true,
            username_password: None,
        };
        assert_eq!(medium.body(Doc(&json!({}))), json!({"Image": "https://images/a.iso"}));
        let listing = json!({
            "TransferProtocolType@Redfish.AllowableValues": ["NFS", "HTTPS"],
            "TransferMethod@Redfish.AllowableValues": ["Upload"],
        });
        let body = medium.body(Doc(&listing));
        assert_eq!(body, json!({"Image": "https://images/a.iso", "TransferProtocolType": "HTTPS"}));
    }
}
