//! What a request does to a machine: a change is made whole or not at all, and only then is its answer lost, where that
//! is what befalls the request.

use super::{
    Answer, Method, ROOT, Reply, Request,
    ask::{Change, body, read},
    message,
    service::{Task, Work},
    services,
    view::View,
};
use crate::{
    contact::{Contact, RESET},
    faults::{Fault, hears},
    latency::{BMC_RESTART, ERASE, POWER_OFF, POWER_ON, RESTART, SETTLE, SHUTDOWN, UPDATE},
    state::{Host, Power, State},
};
use serde_json::Value;
use tokio::time::Instant;

/// Makes a session, for who knows the account.
pub(super) fn log_in(contact: &mut Contact<'_>, request: &Request<'_>) -> Answer {
    let Ok(body) = body(request) else { return message::malformed() };
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let (user, password) = (text("UserName"), text("Password"));
    if !contact.knows(user, password) {
        return message::no_session("The login credentials that were provided are not valid.");
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

/// Does what a request asks for below the root, by anything but a read.
pub(super) async fn act(contact: &mut Contact<'_>, parts: &[&str], request: &Request<'_>) -> Reply {
    let change = match read(contact, parts, request) {
        Ok(change) => change,
        Err(refused) => return Reply::Answer(refused),
    };
    let answer = make(contact, change, request).await;
    if contact.have(Fault::ReplyLost) { Reply::Closed } else { Reply::Answer(answer) }
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
                state.rest().host = Some(Host::default());
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
            contact.act(&name, "", |state| state.rest().service.change_password(password)).await;
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
            "On" if state.power(now).0 != Power::On => state.turn_on(now + on, start),
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
fn accepted(contact: &Contact<'_>, task: Option<Task>, request: &Request<'_>) -> Answer {
    let Some(task) = task else { return message::in_use() };
    let view = View::of(contact, request.now);
    let monitor = format!("{ROOT}/TaskService/TaskMonitors/{}", task.id);
    Answer::json(202, services::task(&view, &task)).with("Location", monitor)
}
