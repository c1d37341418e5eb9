//! One started program: its output goes to a log file, it can be waited for, signalled and
//! killed, and it never outlives the test. Must only signal processes that it started.
//!
//! The program dies with the *thread* that started it, also when the test process is killed
//! outright. So start it from the test function itself, not from a thread that ends earlier.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, WaitOptions};
use tokio::io::AsyncWriteExt as _;

use crate::user::RunAs;
use crate::wait::wait_for;

/// How much of the log's end a failure shows: enough for a stack trace, not a flood.
const LOG_TAIL_BYTES: usize = 8 * 1024;

/// How long a program run to its end may take; the longest here are a guest's power change and a
/// `kubectl wait` of the caller's.
const RUN_DEADLINE: Duration = Duration::from_secs(120);

/// How deep [`Process::kill`] follows children of children. No part here starts more than three
/// levels; the bound only keeps the walk finite.
const DESCENDANT_DEPTH_MAX: usize = 16;

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where in the log this run's output begins: a restarted part appends to the same file.
    log_start: u64,
}

impl Process {
    /// Starts `command` in its own process group, standard output and error appended to `log`.
    ///
    /// # Panics
    /// When the log cannot be opened or the program cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &Command, run_as: RunAs, log: &Path) -> Self {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("cannot open the log {log:?} of {name}: {error}"));
        let log_start = output.metadata().map_or(0, |data| data.len());
        // Orphans of what we kill come to us to be waited for. Left to the machine's first
        // process, they could stay as zombies for long, and a crash test makes thousands.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .expect("every Linux since 3.4 can");
        let errors = output
            .try_clone()
            .unwrap_or_else(|error| panic!("cannot share the log {log:?} of {name}: {error}"));
        let child = wrapped(command, run_as)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned(), log_start }
    }

    /// The process id, which is also the id of its process group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What this run has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.log_start))?;
            file.read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("(cannot read {:?}: {error})", self.log),
        }
    }

    /// How the program ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends `signal` to the program's process group. Does nothing when it has already ended.
    pub fn signal(&mut self, signal: Signal) {
        // The id stays ours until the child is waited for, so it cannot name another process.
        if self.exit_status().is_none() {
            let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), signal);
        }
    }

    /// Kills the program and everything it started, at once and without warning, and returns
    /// when all of it is gone.
    pub fn kill(&mut self) {
        if self.exit_status().is_some() {
            return;
        }
        // Stopped first, so that nothing new is started while its children are looked up. They
        // are looked up because some leave the process group (PostgreSQL's backends do).
        self.signal(Signal::STOP);
        let descendants = descendants(self.id());
        self.signal(Signal::KILL);
        for pid in &descendants {
            let _ = rustix::process::kill_process(*pid, Signal::KILL);
        }
        let _ = self.child.wait();
        // Parents come before their children, so each is ours to wait for when its turn comes,
        // unless its parent waited for it first.
        for pid in &descendants {
            let _ = rustix::process::waitpid(Some(*pid), WaitOptions::empty());
        }
    }

    /// Sends `signal` and waits for the program to end by itself.
    ///
    /// # Panics
    /// When it has not ended within `deadline`.
    pub async fn end(&mut self, signal: Signal, deadline: Duration) -> ExitStatus {
        self.signal(signal);
        let what = format!("{} to end after {signal:?}", self.name);
        wait_for(deadline, &what, async || {
            self.exit_status().ok_or_else(|| format!("still running; its log:\n{}", self.tail()))
        })
        .await
    }

    /// Waits for the program to end well by itself.
    ///
    /// # Panics
    /// When it has not ended within `deadline`, or has failed.
    pub async fn wait_until_end(&mut self, deadline: Duration) {
        let what = format!("{} to end", self.name);
        let status = wait_for(deadline, &what, async || {
            self.exit_status().ok_or_else(|| format!("still running; its log:\n{}", self.tail()))
        })
        .await;
        assert!(status.success(), "{} ended with {status}; its log:\n{}", self.name, self.tail());
    }

    /// Waits until `check` answers `Ok`, and returns what it answered.
    ///
    /// # Panics
    /// When the program ends, or `deadline` passes, before that.
    pub async fn wait_until_ready<T, E: std::fmt::Display>(
        &mut self,
        deadline: Duration,
        what: &str,
        mut check: impl AsyncFnMut(&Process) -> Result<T, E>,
    ) -> T {
        let name = self.name.clone();
        wait_for(deadline, &format!("{name}: {what}"), async || {
            // Asked before the check, so that what it did just before its end counts.
            let ended = self.exit_status();
            let error = match check(self).await {
                Ok(ready) => return Ok(ready),
                Err(error) => error,
            };
            if let Some(status) = ended {
                panic!("{name} ended with {status} before {what}; its log:\n{}", self.tail());
            }
            Err(format!("{error}; its log:\n{}", self.tail()))
        })
        .await
    }

    /// Waits for a whole line of output that contains `text`, and returns the line.
    ///
    /// # Panics
    /// When the program ends, or `deadline` passes, before that.
    pub async fn wait_for_line(&mut self, text: &str, deadline: Duration) -> String {
        self.wait_until_ready(deadline, &format!("it printed {text:?}"), async |process| {
            process
                .output()
                .split_inclusive('\n')
                .filter_map(|line| line.strip_suffix('\n'))
                .find(|line| line.contains(text))
                .map(str::to_owned)
                .ok_or("no such line")
        })
        .await
    }

    /// Waits until something accepts connections on `address`.
    ///
    /// # Panics
    /// When the program ends, or `deadline` passes, before that.
    pub async fn wait_for_port(&mut self, address: SocketAddr, deadline: Duration) {
        self.wait_until_ready(deadline, &format!("{address} was open"), async |_| {
            tokio::net::TcpStream::connect(address).await.map(drop)
        })
        .await;
    }

    /// The end of this run's log.
    fn tail(&self) -> String {
        let output = self.output();
        let start = output.ceil_char_boundary(output.len().saturating_sub(LOG_TAIL_BYTES));
        output.split_at(start).1.to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // The reason of a failed test is often in the log of a part, which goes away with it.
            #[expect(clippy::print_stderr, reason = "the test harness shows it with the failure")]
            {
                eprintln!("--- end of the log of {} ---\n{}", self.name, self.tail());
            }
        }
    }
}

/// What a finished program printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A program that did not do what it was run for.
#[derive(Debug, thiserror::Error)]
#[error("{command} failed: {reason}")]
pub struct CommandError {
    /// The program and its arguments.
    pub command: String,
    /// What it printed on standard error, or why it did not run to its end.
    pub reason: String,
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
}

/// Runs `command` to its end with `input` on its standard input, within [`RUN_DEADLINE`].
///
/// # Errors
/// When it cannot be started, does not end in time, or ends with a failure.
pub async fn run(command: &Command, input: &str) -> Result<Output, CommandError> {
    let failed = |code: Option<i32>, reason: String| CommandError {
        command: format!("{command:?}"),
        reason,
        code,
    };
    let mut child = tokio::process::Command::from(wrapped(command, RunAs::Caller));
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let work = async {
        let mut child = child.spawn()?;
        let stdin = child.stdin.take();
        let write = async {
            // A program that does not read its input closes it, which is its own affair.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        tokio::join!(write, child.wait_with_output()).1
    };
    let output = match tokio::time::timeout(RUN_DEADLINE, work).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failed(None, error.to_string())),
        Err(_) => return Err(failed(None, format!("not done after {RUN_DEADLINE:?}"))),
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(Output { stdout, stderr })
    } else {
        Err(failed(output.status.code(), format!("{}: {}{stdout}", output.status, stderr)))
    }
}

/// `command` run through `setpriv`, which sets the user and asks the kernel to kill the program
/// when the thread that starts it ends.
fn wrapped(command: &Command, run_as: RunAs) -> Command {
    let mut outer = Command::new("setpriv");
    outer.args(run_as.setpriv_arguments());
    outer.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(key, value),
            None => outer.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

/// All living children of process `id`, then their children, and so on.
fn descendants(id: u32) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut level = vec![id];
    for _ in 0..DESCENDANT_DEPTH_MAX {
        level = level.into_iter().flat_map(children).collect();
        if level.is_empty() {
            break;
        }
        found.extend(
            level.iter().filter_map(|id| i32::try_from(*id).ok()).filter_map(Pid::from_raw),
        );
    }
    found
}

/// The living children of process `id`, started by any of its threads.
fn children(id: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|line| {
            line.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}
