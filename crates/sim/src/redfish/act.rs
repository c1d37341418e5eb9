//! What a request has done to a machine: each path that takes a change, with what it checks first. A change is made
//! whole or not at all, and only then is its answer lost, where that is what befalls the request.

use super::{
    Answer, Method, Reply, Request, ROOT, etag, manager, message,
    service::{FIRMWARE, Work},
    services::{self, PASSWORD_CHARACTERS},
    system::{self, DEVICES, MODES, RESETS},
    view::{View, segment},
};
use crate::{
    actions::media::DRIVES,
    contact::{Contact, RESET},
    faults::{Fault, hears},
    latency::{BMC_RESTART, ERASE, POWER_OFF, POWER_ON, RESTART, SETTLE, SHUTDOWN, UPDATE},
    state::{Next, Power, State},
};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_providers::redfish::twin::Device;
use serde_json::{Map, Value};
use tokio::time::Instant;

/// Makes a session, for who knows the account.
pub(super) fn log_in(contact: &mut Contact<'_>, request: &Request<'_>) -> Answer {
    let Ok(body) = body(request) else { return message::malformed() };
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let (user, password) = (text("UserName"), text("Password"));
    if !contact.knows(user, password) {
        return message::no_session(
            "The login credentials that were provided are not valid.",
        );
    }
    let token = format!("{:016x}{:016x}", contact.dice.any(), contact.dice.any());
    let now = Instant::now();
    let Some(id) = contact.state(|state| state.rest().service.log_in(token.clone(), now)) else {
        return message::session_limit();
    };
    let id = id.to_string();
    Answer::json(201, services::session(&id))
        .with("X-Auth-Token", token)
        .with("Location", format!("{ROOT}/SessionService/Sessions/{id}"))
}

fn body(request: &Request<'_>) -> Result<Map<String, Value>, Answer> {
    let body = if request.body.is_empty() { b"{}" } else { request.body };
    serde_json::from_slice(body).map_err(|_not_an_object| message::malformed())
}

/// A change that a request asks for, once it is known to be one.
enum Change {
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

/// Does what a request asks for below the root, by anything but a read.
pub(super) async fn act(
    contact: &mut Contact<'_>,
    parts: &[&str],
    request: &Request<'_>,
) -> Reply {
    let change = match read(contact, parts, request) {
        Ok(change) => change,
        Err(refused) => return Reply::Answer(refused),
    };
    let answer = make(contact, change, request).await;
    if contact.have(Fault::ReplyLost) { Reply::Closed } else { Reply::Answer(answer) }
}

/// What the request asks for, or why not.
fn read(contact: &Contact<'_>, parts: &[&str], request: &Request<'_>) -> Result<Change, Answer> {
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
        let digit = named.get(at + 1..).is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()));
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
    let text = |name: &str| fields.get(name).map(|value| (value.as_str().unwrap_or_default(), value));
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
    if given == known { Ok(Change::Order(names)) } else { Err(message::wrong_value("BootOrder", wanted)) }
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

/// Makes a change, after the time it takes until it is answered.
async fn make(contact: &mut Contact<'_>, change: Change, request: &Request<'_>) -> Answer {
    let path = request.path.trim_end_matches('/');
    let name = format!("{} {path}", if request.method == Method::Post { "POST" } else { "PATCH" });
    match change {
        Change::Power(reset) => {
            power(contact, reset).await;
        }
        Change::Boot(next) => {
            contact.act(&name, "", |state| state.rest().next = next).await;
            contact.takes(SETTLE).await;
        }
        Change::Order(order) => {
            let waits = contact.hardware.order_waits();
            contact.act(&name, "", |state| state.rest().set_order(order, waits)).await;
            contact.takes(SETTLE).await;
        }
        Change::Medium(at, image) => {
            let put = |state: &mut State| {
                if let Some(drive) = state.rest().media.get_mut(at) {
                    *drive = image;
                }
            };
            contact.act(&name, "", put).await;
            contact.takes(SETTLE).await;
        }
        Change::Erase(disk) => {
            let time = contact.draw(ERASE);
            let work = Work::Erase(disk);
            let erase = |state: &mut State| {
                if let Some(host) = &mut state.rest().host {
                    (host.installed, host.up) = (None, None);
                }
                let now = Instant::now();
                state.rest().service.begin(work, (now, now + time), None)
            };
            let task = contact.act(&name, "", erase).await;
            return accepted(contact, task, request);
        }
        Change::Update(which, version) => {
            let time = contact.draw(UPDATE);
            let failure = if contact.have(Fault::ImageCorrupt) {
                Some("The image does not match its checksum.".to_owned())
            } else if version.is_empty() {
                Some("The image names no version.".to_owned())
            } else {
                None
            };
            let work = Work::Update(which, version);
            let update = |state: &mut State| {
                let now = Instant::now();
                state.rest().service.begin(work, (now, now + time), failure)
            };
            let task = contact.act(&name, "", update).await;
            return accepted(contact, task, request);
        }
        Change::RestartBmc => {
            let time = contact.draw(BMC_RESTART);
            let restart = |state: &mut State| {
                let now = Instant::now();
                state.wedged_until = None;
                state.rest().service.restart(now, now + time);
            };
            contact.act(&name, "", restart).await;
        }
        Change::ClearLog => {
            contact.act(&name, "", |state| state.rest().service.cleared = true).await;
        }
        Change::Clock(offset) => {
            contact.act(&name, "", |state| state.rest().service.set_clock(offset)).await;
        }
        Change::Password(password) => {
            contact
                .act(&name, "", |state| state.rest().service.change_password(password))
                .await;
        }
        Change::LogOut(id) => {
            let gone = contact.state(|state| state.rest().service.log_out(&id));
            if !gone {
                return message::not_found(request.path);
            }
        }
        Change::ForgetTask(id) => {
            let gone = contact.state(|state| state.rest().service.forget_task(&id));
            if !gone {
                return message::not_found(request.path);
            }
        }
    }
    Answer::empty(204)
}

/// A command for power, which the BMC answers before it has come about.
async fn power(contact: &mut Contact<'_>, reset: &str) {
    let (on, off) = (contact.draw(POWER_ON), contact.draw(POWER_OFF));
    let (shutdown, restart) = (contact.draw(SHUTDOWN), contact.draw(RESTART));
    let hears = hears(&mut contact.dice);
    let start = contact.start();
    let stuck = contact.have(Fault::PowerStuck);
    let turn = |state: &mut State| {
        let now = Instant::now();
        match reset {
            _ if stuck => {}
            "On" => {
                if state.power(now).0 != Power::On {
                    state.turn_on(now + on, start);
                }
            }
            "ForceOff" => state.turn_off(now + off),
            "GracefulShutdown" if hears => state.turn_off(now + shutdown),
            "GracefulRestart" if hears => state.turn_on(now + shutdown + restart, start),
            "ForceRestart" => state.turn_on(now + restart, start),
            "PowerCycle" => state.turn_on(now + off + on, start),
            _ => {}
        }
    };
    contact.act(RESET, "", turn).await;
}

/// The answer to what goes on for a while.
fn accepted(
    contact: &Contact<'_>,
    task: Option<super::service::Task>,
    request: &Request<'_>,
) -> Answer {
    let Some(task) = task else { return message::in_use() };
    let view = View::of(contact, request.now);
    let monitor = format!("{ROOT}/TaskService/TaskMonitors/{}", task.id);
    Answer::json(202, services::task(&view, &task)).with("Location", monitor)
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
