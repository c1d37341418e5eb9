//! What a request asks to have changed: each path that takes a change, and what it checks of it. Pure.

use super::{
    Answer, Method, ROOT, Request, etag, manager, message,
    service::{FIRMWARE, Work},
    services::PASSWORD_CHARACTERS,
    system::{self, DEVICES, MODES, RESETS},
    view::{View, segment},
};
use crate::{actions::media::DRIVES, contact::Contact, state::Next};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_providers::redfish::twin::Device;
use serde_json::{Map, Value};

/// A change that a request asks for, once it is known to be one.
pub(super) enum Change {
    Power(&'static str),
    Boot(Option<Next>),
    Order(Vec<String>),
    Medium(usize, Option<String>),
    Erase(String),
    Update(usize, String),
    ClearLog,
    RestartBmc,
    Clock(SignedDuration),
    Password(String),
    LogOut(String),
    ForgetTask(String),
}

/// The body, which is an object; none is an empty one.
pub(super) fn body(request: &Request<'_>) -> Result<Map<String, Value>, Answer> {
    let body = if request.body.is_empty() { b"{}" } else { request.body };
    serde_json::from_slice(body).map_err(|_not_an_object| message::malformed())
}

/// What the request asks for, or why not.
pub(super) fn read(
    contact: &Contact<'_>,
    parts: &[&str],
    request: &Request<'_>,
) -> Result<Change, Answer> {
    let view = View::of(contact, request.now);
    match (request.method, parts) {
        (Method::Post, _) => post(&view, parts, request),
        (Method::Patch, _) => {
            let Some(resource) = view.resource(parts) else {
                return Err(message::not_found(request.path));
            };
            let wanted = request.if_match.filter(|etag| *etag != "*");
            if wanted.is_some_and(|wanted| wanted.trim_start_matches("W/") != etag(&resource)) {
                return Err(message::precondition_failed());
            }
            patch(&view, parts, request)
        }
        (Method::Delete, ["SessionService", "Sessions", id]) => {
            Ok(Change::LogOut((*id).to_owned()))
        }
        (Method::Delete, ["TaskService", "Tasks", id]) => Ok(Change::ForgetTask((*id).to_owned())),
        _ => Err(match view.resource(parts) {
            Some(_) => message::not_allowed("GET"),
            None => message::not_found(request.path),
        }),
    }
}

fn post(view: &View<'_>, parts: &[&str], request: &Request<'_>) -> Result<Change, Answer> {
    let body = body(request)?;
    match parts {
        ["Systems", "1", "Actions", "ComputerSystem.Reset"] => {
            one_of(&body, "ComputerSystem.Reset", "ResetType", &RESETS).map(Change::Power)
        }
        ["Managers", "BMC", "Actions", "Manager.Reset"] => {
            // Without a type it restarts (DSP0268, Manager.Reset).
            let named = body.contains_key("ResetType");
            if named {
                one_of(&body, "Manager.Reset", "ResetType", &manager::RESETS)?;
            }
            Ok(Change::RestartBmc)
        }
        ["Systems", "1", "VirtualMedia", drive, "Actions", action] => {
            let at = DRIVES.iter().position(|(id, _)| id == drive);
            let at = at.ok_or_else(|| message::not_found(request.path))?;
            let held = view.rest.media.get(at).is_some_and(Option::is_some);
            match *action {
                "VirtualMedia.EjectMedia" => Ok(Change::Medium(at, None)),
                "VirtualMedia.InsertMedia" if held => Err(message::in_use()),
                "VirtualMedia.InsertMedia" => {
                    let image = text(&body, "VirtualMedia.InsertMedia", "Image")?;
                    Ok(Change::Medium(at, Some(image)))
                }
                _ => Err(message::not_found(request.path)),
            }
        }
        ["Systems", "1", "Storage", "1", "Drives", drive, "Actions", "Drive.SecureErase"] => {
            let mut disks = view.inventory.drives.iter();
            let disk = disks.find(|it| segment(&it.id) == *drive);
            let disk = disk.ok_or_else(|| message::not_found(request.path))?;
            if system::is_erasing(view, &disk.id) {
                return Err(message::in_use());
            }
            Ok(Change::Erase(disk.id.clone()))
        }
        ["Systems", "1", "LogServices", "SEL", "Actions", "LogService.ClearLog"] => {
            Ok(Change::ClearLog)
        }
        ["UpdateService", "Actions", "UpdateService.SimpleUpdate"] => update(view, &body),
        _ => Err(match view.resource(parts) {
            Some(_) => message::not_allowed("GET"),
            None => message::not_found(request.path),
        }),
    }
}

/// A firmware update: what of, by the targets or the image's name, and to which version, by the image's name, since
/// images are never fetched.
fn update(view: &View<'_>, body: &Map<String, Value>) -> Result<Change, Answer> {
    const ACTION: &str = "UpdateService.SimpleUpdate";
    let image = text(body, ACTION, "ImageURI")?;
    let file = image.split(['?', '#']).next().unwrap_or_default().rsplit('/').next();
    let file = file.unwrap_or_default();
    let which = match body.get("Targets") {
        None => FIRMWARE.iter().position(|name| file.to_ascii_uppercase().contains(name)),
        Some(targets) => {
            let one = targets.as_array().filter(|all| all.len() == 1).and_then(|all| all.first());
            let path = one.and_then(Value::as_str).unwrap_or_default();
            let below = format!("{ROOT}/UpdateService/FirmwareInventory/");
            let name = path.strip_prefix(&below);
            let found = FIRMWARE.iter().position(|it| Some(*it) == name);
            Some(found.ok_or_else(|| message::wrong_value("Targets", targets))?)
        }
    };
    let which = which.ok_or_else(|| message::missing(ACTION, "Targets"))?;
    let busy = |work: &Work| matches!(work, Work::Update(..));
    if view.rest.service.running(view.now, busy).is_some() {
        return Err(message::in_use());
    }
    Ok(Change::Update(which, version(file).unwrap_or_default()))
}

/// The version in the name of an image: `bios-2.8.0.bin` is 2.8.0.
fn version(file: &str) -> Option<String> {
    let begins = |part: &&str| part.starts_with(|it: char| it.is_ascii_digit());
    let named = file.split(['-', '_']).rev().find(begins)?;
    let ends = named.char_indices().find(|(at, it)| {
        let digit = named
            .get(at + 1..)
            .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()));
        !(it.is_ascii_digit() || *it == '.' && digit)
    });
    named.get(..ends.map_or(named.len(), |(at, _)| at)).map(str::to_owned)
}

fn patch(view: &View<'_>, parts: &[&str], request: &Request<'_>) -> Result<Change, Answer> {
    let body = body(request)?;
    let only = |allowed: &str| match body.keys().find(|name| *name != allowed) {
        Some(other) => Err(message::not_writable(other)),
        None => body.get(allowed).ok_or_else(|| message::missing("PATCH", allowed)),
    };
    match parts {
        ["Systems", "1"] => boot(view, only("Boot")?),
        ["Systems", "1", "Settings"] => {
            order(view, only("Boot")?.get("BootOrder").unwrap_or(&Value::Null))
        }
        ["Managers", "BMC"] => {
            let wanted = only("DateTime")?;
            let time = wanted.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            let time = time.ok_or_else(|| message::wrong_value("DateTime", wanted))?;
            Ok(Change::Clock(time.duration_since(request.now)))
        }
        ["AccountService", "Accounts", "1"] => {
            let wanted = only("Password")?;
            let (least, most) = PASSWORD_CHARACTERS;
            let fits = |text: &&str| (least..=most).contains(&text.chars().count());
            let password = wanted.as_str().filter(fits);
            let hidden = || message::wrong_value("Password", &Value::from("******"));
            Ok(Change::Password(password.ok_or_else(hidden)?.to_owned()))
        }
        _ => Err(message::not_allowed("GET")),
    }
}

/// The choice for the next start, or the order.
fn boot(view: &View<'_>, wanted: &Value) -> Result<Change, Answer> {
    const NAMES: [&str; 5] = [
        "BootSourceOverrideEnabled",
        "BootSourceOverrideTarget",
        "BootSourceOverrideMode",
        "HttpBootUri",
        "BootOrder",
    ];
    let fields = wanted.as_object().ok_or_else(|| message::wrong_value("Boot", wanted))?;
    if let Some(other) = fields.keys().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(message::not_writable(other));
    }
    if let Some(wanted) = fields.get("BootOrder") {
        if view.contact.hardware.order_waits() || fields.len() > 1 {
            return Err(message::not_writable("BootOrder"));
        }
        return order(view, wanted);
    }
    let [enabled, target, mode, _, _] = NAMES;
    let before = view.rest.next.clone();
    let text =
        |name: &str| fields.get(name).map(|value| (value.as_str().unwrap_or_default(), value));
    let enabled = match text(enabled) {
        None => None,
        Some(("Once", _)) => Some(true),
        Some(("Disabled", _)) => Some(false),
        Some((_, value)) => return Err(message::wrong_value(enabled, value)),
    };
    let device = match text(target) {
        None => before.as_ref().map(|next| next.device),
        Some((name, value)) => {
            let found = DEVICES.into_iter().find(|device| device.target() == name);
            Some(found.ok_or_else(|| message::wrong_value(target, value))?)
        }
    };
    let mode = match text(mode) {
        None => before.as_ref().and_then(|next| next.mode),
        Some((name, value)) => {
            let found = MODES.iter().find(|(it, _)| *it == name).map(|(_, mode)| *mode);
            Some(found.ok_or_else(|| message::wrong_value(mode, value))?)
        }
    };
    let http_boot_uri = fields.get("HttpBootUri").and_then(Value::as_str).map(str::to_owned);
    let device = device.filter(|device| *device != Device::Default && enabled != Some(false));
    Ok(Change::Boot(device.map(|device| Next { device, mode, http_boot_uri })))
}

/// An order has every option, each once.
fn order(view: &View<'_>, wanted: &Value) -> Result<Change, Answer> {
    let names = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<String> = names.map(str::to_owned).collect();
    let (mut given, mut known) = (names.clone(), system::order(view));
    given.sort();
    known.sort();
    if given == known {
        Ok(Change::Order(names))
    } else {
        Err(message::wrong_value("BootOrder", wanted))
    }
}

fn text(body: &Map<String, Value>, action: &str, name: &str) -> Result<String, Answer> {
    let text = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| message::missing(action, name))
}

fn one_of(
    body: &Map<String, Value>,
    action: &str,
    name: &str,
    allowed: &[&'static str],
) -> Result<&'static str, Answer> {
    let given = body.get(name).ok_or_else(|| message::missing(action, name))?;
    let found = allowed.iter().find(|allowed| given.as_str() == Some(**allowed));
    found.copied().ok_or_else(|| message::wrong_value(name, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_tells_its_version_by_its_name() {
        for (file, wanted) in [
            ("bios-2.8.0.bin", Some("2.8.0")),
            ("BMC_5.11.tar.gz", Some("5.11")),
            ("firmware-24.09-signed.img", Some("24.09")),
            ("x-7", Some("7")),
            ("bios.bin", None),
            ("", None),
        ] {
            assert_eq!(version(file).as_deref(), wanted, "{file}");
        }
    }
}
