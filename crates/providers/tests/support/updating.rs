//! A BMC whose firmware can be updated, beside all else that a well-behaved one does: UpdateService with SimpleUpdate,
//! SoftwareInventory, tasks with their payload (DSP0268), and a manager that forgets its sessions when it is reset.

use super::fake_bmc::{Act, FakeBmc, Received, State, json_answer, status, well_behaved};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const SERVICE: &str = "/redfish/v1/UpdateService";
const UPDATE: &str = "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate";
const INVENTORY: &str = "/redfish/v1/UpdateService/FirmwareInventory";
const TASKS: &str = "/redfish/v1/TaskService/Tasks";
const RESET: &str = "/redfish/v1/Managers/bmc/Actions/Manager.Reset";

/// What is installed, what is done to it, and how it behaves.
#[derive(Default)]
pub struct Firmware {
    /// Id, name and version of each.
    pub parts: Vec<(&'static str, &'static str, String)>,
    /// Bodies of the updates that it was asked for.
    pub asked: Vec<Value>,
    /// States that each task goes through, one a look.
    pub states: Vec<&'static str>,
    /// The version that an image brings.
    pub brings: &'static str,
    /// It runs only after the manager was reset, or the server.
    pub after: Option<After>,
    /// It runs soon after the task is done.
    pub waiting: Option<(usize, String)>,
    pub tasks: Vec<Task>,
    pub manager_resets: usize,
    /// The answer to an update is lost on its way.
    pub loses_answers: bool,
    /// Tasks do not say what they are about.
    pub hides_payloads: bool,
    /// Answers 202 with a `Location` alone.
    pub answers_location: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    ManagerReset,
    HostReset,
}

/// An update under way.
#[derive(Clone)]
pub struct Task {
    part: usize,
    body: Value,
    looks: usize,
    began: jiff::Timestamp,
}

impl Firmware {
    /// The host starts again.
    pub fn host_starts(&mut self) {
        if let Some((part, version)) =
            self.waiting.take_if(|_| self.after == Some(After::HostReset))
        {
            self.parts[part].2 = version;
        }
    }

    fn answer(&mut self, request: &Received) -> Option<Act> {
        let path = request.path.split('?').next().unwrap().trim_end_matches('/');
        let none = || Act::Answer { status: 204, headers: vec![], body: String::new() };
        let links = |paths: Vec<String>| {
            let members: Vec<Value> =
                paths.into_iter().map(|path| json!({"@odata.id": path})).collect();
            json_answer(json!({"Members": members}))
        };
        match (request.method.as_str(), path) {
            ("GET", SERVICE) => Some(json_answer(json!({
                "Id": "UpdateService",
                "FirmwareInventory": {"@odata.id": INVENTORY},
                "Actions": {"#UpdateService.SimpleUpdate": {
                    "target": UPDATE,
                    "TransferProtocol@Redfish.AllowableValues": ["HTTP", "HTTPS"],
                    "@Redfish.OperationApplyTimeSupport": {"SupportedValues": ["Immediate", "OnReset"]},
                }},
            }))),
            ("GET", INVENTORY) => {
                Some(links(self.parts.iter().map(|(id, ..)| format!("{INVENTORY}/{id}")).collect()))
            }
            ("GET", "/redfish/v1/TaskService") => {
                Some(json_answer(json!({"Tasks": {"@odata.id": TASKS}})))
            }
            ("GET", TASKS) => {
                Some(links((0..self.tasks.len()).map(|at| format!("{TASKS}/{at}")).collect()))
            }
            ("GET", "/redfish/v1/Managers/bmc") => Some(json_answer(json!({
                "Id": "bmc", "DateTime": jiff::Timestamp::now().to_string(),
                "Actions": {"#Manager.Reset": {"target": RESET}},
            }))),
            ("POST", RESET) => {
                self.manager_resets += 1;
                if let Some((part, version)) =
                    self.waiting.take_if(|_| self.after == Some(After::ManagerReset))
                {
                    self.parts[part].2 = version;
                }
                Some(none())
            }
            ("POST", UPDATE) => Some(self.update(request)),
            ("GET", path) => {
                let below = |folder: &str| path.strip_prefix(folder)?.strip_prefix('/');
                if let Some(id) = below(INVENTORY) {
                    let (_, name, version) = self.parts.iter().find(|(known, ..)| *known == id)?;
                    return Some(json_answer(json!({
                        "Id": id, "Name": name, "Version": version, "Updateable": true,
                    })));
                }
                let at: usize = below(TASKS)?.parse().ok()?;
                Some(self.task(at))
            }
            _ => None,
        }
    }

    fn update(&mut self, request: &Received) -> Act {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        self.asked.push(body.clone());
        let target = body["Targets"][0].as_str().unwrap().rsplit('/').next().unwrap();
        let Some(part) = self.parts.iter().position(|(id, ..)| *id == target) else {
            return status(400);
        };
        let at = self.tasks.len();
        self.tasks.push(Task { part, body, looks: 0, began: jiff::Timestamp::now() });
        if self.loses_answers {
            return Act::HangUp;
        }
        let path = format!("{TASKS}/{at}");
        match self.answers_location {
            true => {
                Act::Answer { status: 202, headers: vec![("Location", path)], body: String::new() }
            }
            false => {
                let body = json!({"@odata.id": path, "TaskState": "New"}).to_string();
                Act::Answer { status: 202, headers: vec![], body }
            }
        }
    }

    fn task(&mut self, at: usize) -> Act {
        let Some(task) = self.tasks.get_mut(at) else { return status(404) };
        let state = self.states[task.looks.min(self.states.len() - 1)];
        task.looks += 1;
        let (part, brings) = (task.part, self.brings.to_owned());
        let done = state == "Completed" || state == "Pending";
        let mut shown = json!({
            "@odata.id": format!("{TASKS}/{at}"), "Id": at.to_string(), "TaskState": state,
            "StartTime": task.began.to_string(),
            "Messages": [{"Message": "the image is not for this part"}],
        });
        if !self.hides_payloads {
            shown["Payload"] = json!({"TargetUri": UPDATE, "HttpOperation": "POST",
                                      "JsonBody": task.body.to_string()});
        }
        if done {
            match self.after {
                None => self.parts[part].2 = brings,
                Some(_) => self.waiting = Some((part, brings)),
            }
        }
        json_answer(shown)
    }
}

/// A BMC with that firmware.
pub fn start(firmware: Firmware) -> (FakeBmc, Arc<Mutex<Firmware>>) {
    let firmware = Arc::new(Mutex::new(firmware));
    let bmc = FakeBmc::start({
        let firmware = firmware.clone();
        move |request: &Received, state: &mut State| {
            let mut firmware = firmware.lock().unwrap();
            let resets = firmware.manager_resets;
            let known = request.header("x-auth-token").unwrap_or_default();
            let logged_in = state.sessions.iter().any(|session| session == known);
            let act = if logged_in { firmware.answer(request) } else { None };
            if firmware.manager_resets > resets {
                // What it kept in memory is gone.
                state.sessions.clear();
                firmware.tasks.clear();
            }
            let act = act.unwrap_or_else(|| well_behaved(request, state));
            let root = request.path.trim_end_matches('/') == "/redfish/v1";
            match act {
                Act::Answer { status, headers, body } if root => {
                    let mut root: Value = serde_json::from_str(&body).unwrap();
                    root["UpdateService"] = json!({"@odata.id": SERVICE});
                    root["Tasks"] = json!({"@odata.id": "/redfish/v1/TaskService"});
                    Act::Answer { status, headers, body: root.to_string() }
                }
                act => act,
            }
        }
    });
    (bmc, firmware)
}
