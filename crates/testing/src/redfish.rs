//! A Redfish service of sushy-tools: over libvirt guests, whose power it really switches, or over
//! systems that it makes up. It speaks HTTPS with a certificate of its own authority, and wants a
//! name and password. Must never listen beyond loopback.
//!
//! What differs from most BMCs, and a test has to know (sushy-tools 2.2):
//! - A one-time boot device is not one-time: `BootSourceOverrideEnabled` of a request is ignored,
//!   always reads `Continuous`, and the device stays until another is set. Over libvirt it becomes
//!   the first `<boot order>` of the guest's next definition, and the disk the second.
//! - Over libvirt, power changes are done when the request is answered. `On` when on and
//!   `ForceOff` when off are answered 204 and do nothing; so is `ForceRestart` when off.
//! - Over made-up systems, a power change shows 1 to 11 seconds later, at random.
//! - There are no sessions (basic authentication only), no event log and no serial number.
//! - A system links to `Memory`, which answers 404, and to `Storage`, which answers 500 unless
//!   configured. Disks are under `SimpleStorage`, which is linked only when there are any.
//! - A processor's `TotalCores` and `TotalThreads` are strings. Virtual processors are listed as
//!   one processor each.
//! - The first look at a system writes made-up BIOS settings into the guest's definition.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::certificate::create_certificate;
use crate::libvirt::Libvirt;
use crate::port::free_address;
use crate::process::{Process, run};
use crate::user::RunAs;

/// The name to log in with.
pub const USER: &str = "operator";

/// The password to log in with.
pub const PASSWORD: &str = "calvin";

/// [`PASSWORD`] as the service wants it, by bcrypt at its lowest cost: the service checks it on
/// every request.
const PASSWORD_HASH: &str = "$2b$04$0ss4TcAi7o3Ehsp10L8uj.rChMMtiOjtRmREKxI7NTIwda4icQHSW";

/// How long a start may take: Python loads for about a second, more on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A Redfish service of its own, gone when dropped.
#[derive(Debug)]
pub struct Redfish {
    /// `None` between a kill and a restart.
    process: Option<Process>,
    address: SocketAddr,
    folder: TempDir,
}

/// A system that the service makes up.
#[derive(Debug, Clone)]
pub struct FakeSystem {
    /// Its id.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The hardware address of its one network card.
    pub mac: String,
    /// Whether it is on at first.
    pub on: bool,
}

impl Redfish {
    /// Starts a service over the guests of `libvirt`, whenever they are defined.
    ///
    /// # Panics
    /// When sushy-tools is not installed or does not start.
    pub async fn over(libvirt: &Libvirt) -> Self {
        let uri = libvirt.uri();
        Self::start(&format!("SUSHY_EMULATOR_LIBVIRT_URI = {uri:?}\n")).await
    }

    /// Starts a service over made-up systems.
    ///
    /// # Panics
    /// When sushy-tools is not installed or does not start.
    pub async fn fake(systems: &[FakeSystem]) -> Self {
        let mut settings =
            String::from("SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_FAKE_SYSTEMS = [\n");
        for FakeSystem { uuid, name, mac, on } in systems {
            let power = if *on { "On" } else { "Off" };
            writeln!(
                settings,
                "{{'uuid': {uuid:?}, 'name': {name:?}, 'power_state': '{power}', \
                 'nics': [{{'mac': {mac:?}, 'ip': ''}}]}},"
            )
            .expect("writing to a string");
        }
        settings.push_str("]\n");
        Self::start(&settings).await
    }

    async fn start(settings: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("quarterdeck-redfish-")
            .tempdir()
            .expect("a temporary folder for the Redfish service");
        let address = free_address();
        create_certificate(folder.path()).await;
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("users"), format!("{USER}:{PASSWORD_HASH}\n")).expect("users");
        // Its default state folder is shared by all services of the machine.
        let common = format!(
            "SUSHY_EMULATOR_LISTEN_IP = '{}'\nSUSHY_EMULATOR_LISTEN_PORT = {}\n\
             SUSHY_EMULATOR_AUTH_FILE = {:?}\nSUSHY_EMULATOR_STATE_DIR = {:?}\n\
             SUSHY_EMULATOR_SSL_CERT = {:?}\nSUSHY_EMULATOR_SSL_KEY = {:?}\n",
            address.ip(),
            address.port(),
            file("users"),
            folder.path(),
            file("service.pem"),
            file("service.key"),
        );
        std::fs::write(file("config.py"), common + settings).expect("config.py");
        let mut service = Self { process: None, address, folder };
        service.restart().await;
        service
    }

    /// Where the service is, without a path: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The authority that signed the service's certificate, as PEM.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("authority.pem"))
            .expect("the authority's certificate")
    }

    /// The SHA-256 of the service's certificate (its DER form), in lower-case hexadecimal.
    ///
    /// # Panics
    /// When openssl does not answer.
    pub async fn fingerprint(&self) -> String {
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in", "service.pem"]);
        command.current_dir(self.folder.path());
        let line = run(&command, "").await.unwrap_or_else(|error| panic!("{error}")).stdout;
        let digits = line.trim().split_once('=').map_or(line.as_str(), |(_, digits)| digits);
        digits.replace(':', "").to_lowercase()
    }

    /// Sends a request of our own, apart from the client under test, and answers the status and
    /// body (null when there is none).
    ///
    /// # Panics
    /// When the service does not answer.
    pub async fn request(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut command = Command::new("curl");
        command.current_dir(self.folder.path());
        command.args(["--silent", "--show-error", "--cacert", "authority.pem"]);
        command.args(["--user", &format!("{USER}:{PASSWORD}"), "--request", method]);
        command.args(["--header", "Content-Type: application/json"]);
        command.args(["--write-out", "\n%{http_code}"]);
        let sent = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_null() {
            command.args(["--data", "@-"]);
        }
        command.arg(format!("{}{path}", self.url()));
        let answer = run(&command, &sent).await.unwrap_or_else(|error| panic!("{error}")).stdout;
        let (text, status) = answer.rsplit_once('\n').expect("curl appends the status");
        let value = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        };
        (status.parse().expect("an HTTP status"), value)
    }

    /// The running service, to stop it for a while ([`crate::process::Signal::STOP`]) or look at
    /// its log. `None` after a kill.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Kills the service: the BMC is unreachable.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Starts the service again at the same address, killing it first if it runs.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.kill9();
        let mut command = Command::new(virtual_environment().join("bin/sushy-emulator"));
        command.args(["--config", "config.py"]).current_dir(self.folder.path());
        let log = self.folder.path().join("sushy.log");
        let mut process = Process::start("sushy-emulator", &command, RunAs::Caller, &log);
        process.wait_for_port(self.address, START_DEADLINE).await;
        self.process = Some(process);
    }
}

/// Where `make setup` installs sushy-tools.
fn virtual_environment() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = variable("QUARTERDECK_VENV").unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_default()
            .join("quarterdeck/venv")
    });
    assert!(
        folder.join("bin/sushy-emulator").exists(),
        "no sushy-emulator in {folder:?}: run `make setup`"
    );
    folder
}
