//! A small BMC in this process that misbehaves as told: each request is answered by a function.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

/// One request as received.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _value)| header.eq_ignore_ascii_case(name));
        found.map(|(_header, value)| value.as_str())
    }
}

/// What to do with a request.
pub enum Act {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Close without an answer, after the effect.
    HangUp,
    /// Send a byte a second until the other side has enough.
    Drip,
    /// Send zeros without end.
    Flood,
}

pub fn json_answer(body: Value) -> Act {
    Act::Answer { status: 200, headers: vec![], body: body.to_string() }
}

pub fn status(status: u16) -> Act {
    let body =
        json!({"error": {"code": "Base.1.0.GeneralError", "message": format!("says {status}")}});
    Act::Answer { status, headers: vec![], body: body.to_string() }
}

/// A server that ends when dropped.
pub struct FakeBmc {
    pub port: u16,
    at: std::net::SocketAddr,
    pub received: Arc<Mutex<Vec<Received>>>,
    in_flight: Arc<InFlight>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How many requests are being answered at once.
#[derive(Default)]
struct InFlight {
    now: AtomicUsize,
    most: AtomicUsize,
    /// Milliseconds that each answer takes.
    delay: AtomicU64,
}

type Handler = dyn Fn(&Received, &mut State) -> Act + Send + Sync;

/// A machine behind the fake BMC.
pub struct State {
    pub power: &'static str,
    pub resets: Vec<String>,
    pub sessions: Vec<String>,
    pub last_reset: Option<String>,
    pub boot_order: Vec<String>,
    pub disks: Vec<Disk>,
    /// Acts to do before anything else, first to last.
    pub script: VecDeque<Act>,
}

/// A disk of that machine.
#[derive(Clone, Default)]
pub struct Disk {
    pub cannot_be_erased: bool,
    /// How often it shows yet that it is being erased.
    pub busy: u32,
    pub erased: u32,
    pub health: Option<&'static str>,
    /// States of the task by which it is erased, one a look; it is done at once without any.
    pub task: Vec<&'static str>,
}

impl FakeBmc {
    pub fn start(handler: impl Fn(&Received, &mut State) -> Act + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
    }

    /// One that listens there.
    pub fn on(
        listener: TcpListener,
        handler: impl Fn(&Received, &mut State) -> Act + Send + Sync + 'static,
    ) -> Self {
        let at = listener.local_addr().unwrap();
        let port = at.port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let in_flight = Arc::new(InFlight::default());
        let stop = Arc::new(AtomicBool::new(false));
        let state = Arc::new(Mutex::new(State {
            power: "On",
            resets: vec![],
            sessions: vec![],
            last_reset: None,
            boot_order: ["Boot1", "Boot2", "Boot3"].map(str::to_owned).into(),
            disks: vec![],
            script: VecDeque::new(),
        }));
        let handler: Arc<Handler> = Arc::new(handler);
        let thread = std::thread::spawn({
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            let in_flight = Arc::clone(&in_flight);
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let (received, in_flight, state, handler, stop) = (
                        Arc::clone(&received),
                        Arc::clone(&in_flight),
                        Arc::clone(&state),
                        Arc::clone(&handler),
                        Arc::clone(&stop),
                    );
                    std::thread::spawn(move || {
                        // The client may leave at any moment; that is its right.
                        let _gone = serve(
                            &stream.unwrap(),
                            &received,
                            &in_flight,
                            &state,
                            &*handler,
                            &stop,
                        );
                    });
                }
            }
        });
        Self { port, at, received, in_flight, stop, thread: Some(thread) }
    }

    /// The most requests that it was answering at one moment.
    pub fn most_at_once(&self) -> usize {
        self.in_flight.most.load(Ordering::SeqCst)
    }

    /// Makes each answer take this long.
    pub fn delay(&self, delay: Duration) {
        let milliseconds = u64::try_from(delay.as_millis()).unwrap();
        self.in_flight.delay.store(milliseconds, Ordering::SeqCst);
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn count(&self, method: &str, path_part: &str) -> usize {
        let fits = |r: &&Received| r.method == method && r.path.contains(path_part);
        self.requests().iter().filter(fits).count()
    }
}

impl Drop for FakeBmc {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.at);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn serve(
    stream: &TcpStream,
    received: &Mutex<Vec<Received>>,
    in_flight: &InFlight,
    state: &Mutex<State>,
    handler: &Handler,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut words = first.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut headers = Vec::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).unwrap();
        let request = Received { method, path, headers, body };
        received.lock().unwrap().push(request.clone());
        let at_once = in_flight.now.fetch_add(1, Ordering::SeqCst) + 1;
        in_flight.most.fetch_max(at_once, Ordering::SeqCst);
        let act = {
            let mut state = state.lock().unwrap();
            match state.script.pop_front() {
                Some(act) => act,
                None => handler(&request, &mut state),
            }
        };
        std::thread::sleep(Duration::from_millis(in_flight.delay.load(Ordering::SeqCst)));
        in_flight.now.fetch_sub(1, Ordering::SeqCst);
        match act {
            Act::Answer { status, headers, body } => {
                let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                writer.write_all(format!("{text}\r\n{body}").as_bytes())?;
            }
            Act::HangUp => return Ok(()),
            Act::Drip => {
                writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")?;
                while !stop.load(Ordering::SeqCst) {
                    writer.write_all(b" ")?;
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            Act::Flood => {
                writer.write_all(b"HTTP/1.1 200 OK\r\n\r\n{")?;
                let block = [b' '; 65536];
                while !stop.load(Ordering::SeqCst) {
                    writer.write_all(&block)?;
                }
            }
        }
    }
}

const TASKS: &str = "/redfish/v1/TaskService/Tasks/";
const STORAGE: &str = "/redfish/v1/Systems/node-a/Storage";

/// What is below the collection of storage.
fn storage(request: &Received, below: &str, state: &mut State) -> Act {
    let drive = |at: usize| format!("{STORAGE}/1/Drives/{at}");
    match (request.method.as_str(), below) {
        ("GET", "") => json_answer(json!({"Members": [{"@odata.id": format!("{STORAGE}/1")}]})),
        ("GET", "/1") => {
            let drives = (0..state.disks.len()).map(|at| json!({"@odata.id": drive(at)}));
            json_answer(json!({"Id": "1", "Drives": drives.collect::<Vec<_>>()}))
        }
        (method, below) => {
            let mut parts = below.strip_prefix("/1/Drives/").unwrap_or_default().split('/');
            let at: usize = parts.next().unwrap().parse().unwrap();
            let Some(disk) = state.disks.get_mut(at) else { return status(404) };
            if method == "POST" {
                disk.erased += 1;
                if !disk.task.is_empty() {
                    let task = json!({"@odata.id": format!("{TASKS}{at}")});
                    return Act::Answer { status: 202, headers: vec![], body: task.to_string() };
                }
                disk.busy = 2;
                return Act::Answer { status: 204, headers: vec![], body: String::new() };
            }
            let erase = json!({"#Drive.SecureErase": {
                "target": format!("{}/Actions/Drive.SecureErase", drive(at)),
            }});
            let busy = disk.busy > 0;
            disk.busy = disk.busy.saturating_sub(1);
            json_answer(json!({
                "Id": format!("disk-{at}"),
                "Status": {"Health": disk.health},
                "Operations": if busy { json!([{"OperationName": "Sanitize"}]) } else { json!([]) },
                "Actions": if disk.cannot_be_erased { json!({}) } else { erase },
            }))
        }
    }
}

/// A well-behaved BMC with one system; tests wrap it to misbehave.
pub fn well_behaved(request: &Received, state: &mut State) -> Act {
    let path = request.path.split('?').next().unwrap().trim_end_matches('/');
    let is_login = request.method == "POST" && path.ends_with("/Sessions");
    if !is_login && path != "/redfish/v1" {
        let token = request.header("x-auth-token").unwrap_or_default();
        if !state.sessions.iter().any(|session| session == token) {
            return status(401);
        }
    }
    if let Some(disk) = path.strip_prefix(TASKS) {
        let Some(disk) = state.disks.get_mut(disk.parse::<usize>().unwrap()) else {
            return status(404);
        };
        let now = if disk.task.len() > 1 { disk.task.remove(0) } else { disk.task[0] };
        return json_answer(json!({"TaskState": now, "TaskStatus": "OK"}));
    }
    if let Some(below) = path.strip_prefix(STORAGE) {
        return storage(request, below, state);
    }
    match (request.method.as_str(), path) {
        ("GET", "/redfish/v1") => json_answer(json!({
            "RedfishVersion": "1.15.0",
            "Systems": {"@odata.id": "/redfish/v1/Systems"},
            "Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}},
        })),
        ("POST", "/redfish/v1/SessionService/Sessions") => {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            if body["Password"] != super::PASSWORD {
                return status(401);
            }
            let token = format!("token-{}", state.sessions.len() + 1);
            state.sessions.push(token.clone());
            Act::Answer {
                status: 201,
                headers: vec![
                    ("X-Auth-Token", token.clone()),
                    ("Location", format!("/redfish/v1/SessionService/Sessions/{token}")),
                ],
                body: "{}".to_owned(),
            }
        }
        ("DELETE", _) => {
            let token = path.rsplit('/').next().unwrap().to_owned();
            state.sessions.retain(|session| *session != token);
            Act::Answer { status: 204, headers: vec![], body: String::new() }
        }
        ("GET", "/redfish/v1/Systems") => {
            json_answer(json!({"Members": [{"@odata.id": "/redfish/v1/Systems/node-a"}]}))
        }
        ("GET", "/redfish/v1/Systems/node-a") => json_answer(json!({
            "Id": "node-a",
            "SerialNumber": "SN-1",
            "PowerState": state.power,
            "LastResetTime": state.last_reset,
            "Storage": {"@odata.id": STORAGE},
            "Links": {"ManagedBy": [{"@odata.id": "/redfish/v1/Managers/bmc"}]},
            "Boot": {
                "BootOrder": state.boot_order,
                "BootOptions": {"@odata.id": "/redfish/v1/Systems/node-a/BootOptions"},
            },
            "Actions": {"#ComputerSystem.Reset": {
                "target": "/redfish/v1/Systems/node-a/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues":
                    ["On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart"],
            }},
        })),
        ("PATCH", "/redfish/v1/Systems/node-a") => {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            if let Some(order) = body["Boot"]["BootOrder"].as_array() {
                state.boot_order =
                    order.iter().map(|option| option.as_str().unwrap().to_owned()).collect();
            }
            Act::Answer { status: 204, headers: vec![], body: String::new() }
        }
        ("GET", "/redfish/v1/Systems/node-a/BootOptions") => {
            let option = |id: &str, alias: &str| {
                json!({"@odata.id": format!("{path}/{id}"), "Id": id, "BootOptionReference": id,
                       "Alias": alias})
            };
            json_answer(json!({"Members": [option("Boot1", "Hdd"), option("Boot2", "Pxe")]}))
        }
        ("GET", "/redfish/v1/Managers/bmc") => {
            json_answer(json!({"Id": "bmc", "DateTime": jiff::Timestamp::now().to_string()}))
        }
        ("POST", "/redfish/v1/Systems/node-a/Actions/ComputerSystem.Reset") => {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            let reset = body["ResetType"].as_str().unwrap().to_owned();
            state.power =
                if reset.contains("Off") || reset == "GracefulShutdown" { "Off" } else { "On" };
            if reset.contains("Restart") {
                state.last_reset = Some(jiff::Timestamp::now().to_string());
            }
            state.resets.push(reset);
            Act::Answer { status: 204, headers: vec![], body: String::new() }
        }
        _ => status(404),
    }
}
