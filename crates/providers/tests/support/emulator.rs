//! sushy-tools' Redfish emulator as a child process, with its fake driver.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Python has to start and import a web framework.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub const SYSTEM: &str = "27946b59-9e44-4fa7-8e91-f3527a1ef094";

/// The guest of libvirt's test driver.
pub const GUEST: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

/// A running emulator; it is stopped when this is dropped, also by a panic.
pub struct Emulator {
    child: Child,
    pub port: u16,
    folder: tempfile::TempDir,
}

/// How the emulator is started.
#[derive(Default)]
pub struct Options<'a> {
    /// PEM certificate and key.
    pub tls: Option<(&'a str, &'a str)>,
    /// Ask for the tests' user and password.
    pub auth: bool,
    /// Lines of its configuration.
    pub config: &'a str,
    /// Over the one guest of libvirt's own test driver, in place of systems that it makes up.
    pub libvirt: bool,
}

impl Emulator {
    pub fn start(options: &Options<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let port = free_port();
        let mut config = format!("SUSHY_EMULATOR_STATE_DIR = {:?}\n", folder.path());
        config.push_str(options.config);
        if options.auth {
            let auth = file("htpasswd", &bcrypt_line());
            config.push_str(&format!("\nSUSHY_EMULATOR_AUTH_FILE = {auth:?}\n"));
        }
        let mut command = Command::new(venv().join("bin/sushy-emulator"));
        command
            .args(match options.libvirt {
                true => &["--libvirt-uri", "test:///default"][..],
                false => &["--fake"],
            })
            .args(["-i", "127.0.0.1", "-p", &port.to_string(), "--config"])
            .arg(file("emulator.conf", &config))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap());
        if let Some((certificate, key)) = options.tls {
            command.arg("--ssl-certificate").arg(file("bmc.crt", certificate));
            command.arg("--ssl-key").arg(file("bmc.key", key));
        }
        let child = command.spawn().expect("sushy-emulator is installed; see CONTRIBUTING.md");
        let mut emulator = Self { child, port, folder };
        emulator.wait_until_up();
        emulator
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What the emulator has logged: one line a request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// How many of the logged requests contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Reads a resource apart from the code under test, from an emulator without TLS and login.
    pub fn get(&self, path: &str) -> serde_json::Value {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: bmc\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let answer = std::io::read_to_string(&mut stream).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {head} {body}"))
    }

    fn wait_until_up(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the emulator ended: {}", self.log());
            assert!(Instant::now() < deadline, "the emulator does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn venv() -> PathBuf {
    std::env::var_os("QUARTERDECK_VENV").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/quarterdeck/venv"),
        PathBuf::from,
    )
}

/// The user file, made by the library that the emulator itself checks it with.
fn bcrypt_line() -> String {
    let script = "import bcrypt,sys; \
        print(sys.argv[1] + ':' + bcrypt.hashpw(sys.argv[2].encode(), bcrypt.gensalt(4)).decode())";
    let output = Command::new(venv().join("bin/python"))
        .args(["-c", script, super::USER, super::PASSWORD])
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
