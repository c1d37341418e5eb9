//! Logs of containers, and commands run in them for people.

use super::{
    ExecOptions, Host, LogOptions, engine,
    error::ContainersError,
    seen::{Seen, SeenContainer, SeenState},
    session,
};
use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults},
    query_parameters::LogsOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future};
use std::{pin, sync::Arc, time::Duration};
use tokio::io::AsyncWrite;

/// What a command has to end once nobody listens.
const HANG_UP: Duration = Duration::from_secs(5);

/// A part of what a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// To its standard output; with a terminal, all.
    Stdout(Bytes),
    /// To its standard error.
    Stderr(Bytes),
}

/// A command that runs in a container.
pub struct ExecSession {
    host: Arc<Host>,
    id: String,
    /// What is written here, the command reads. Shutting it down ends what it reads.
    pub stdin: Option<pin::Pin<Box<dyn AsyncWrite + Send>>>,
    /// What it says. It ends with the command.
    pub output: pin::Pin<Box<dyn Stream<Item = Result<ExecOutput, ContainersError>> + Send>>,
}

impl std::fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSession").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What can be done to a command besides reading and writing, while those are elsewhere.
#[derive(Clone)]
pub struct ExecControl {
    host: Arc<Host>,
    id: String,
}

impl std::fmt::Debug for ExecControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecControl").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ExecSession {
    /// Its control.
    #[must_use]
    pub fn control(&self) -> ExecControl {
        ExecControl { host: Arc::clone(&self.host), id: self.id.clone() }
    }
}

impl ExecControl {
    /// Makes its terminal so many columns wide and rows high.
    ///
    /// # Errors
    /// When the engine does not.
    pub async fn resize(&self, columns: u16, rows: u16) -> Result<(), ContainersError> {
        let engine = &self.host.engine;
        let size = ResizeExecOptions { height: rows, width: columns };
        let resized = engine.client().await?.resize_exec(&self.id, size).await;
        resized.map_err(|error| engine.told(error))
    }

    /// Has it end with all that it has started, now that nobody listens: the engine itself lets them go on. Its container's own
    /// processes are never meant, and where the engine counts processes in a namespace of its own nothing is done.
    pub async fn hang_up(&self) {
        let Ok(client) = self.host.engine.client().await else { return };
        let Ok(seen) = client.inspect_exec(&self.id).await else { return };
        let pid = seen.pid.filter(|_| seen.running == Some(true));
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        let (Some(pid), Some(container)) = (pid, seen.container_id) else { return };
        session::end(pid, &container, HANG_UP).await;
    }

    /// What it ended with, once its output has ended.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn exit_code(&self) -> Result<i64, ContainersError> {
        let engine = &self.host.engine;
        let ended = engine.client().await?.inspect_exec(&self.id).await;
        let ended = ended.map_err(|error| engine.told(error))?;
        ended.exit_code.ok_or_else(|| ContainersError::Refused("the command has not ended".into()))
    }
}

fn newest<'s>(seen: &'s Seen, container: &str) -> Result<&'s SeenContainer, ContainersError> {
    seen.newest(container).ok_or_else(|| {
        ContainersError::NotFound(format!(
            "container {container:?} is not on its host yet; try again when it has begun"
        ))
    })
}

/// The log of a container.
pub(super) async fn logs(
    host: &Arc<Host>,
    uid: &str,
    container: &str,
    options: LogOptions,
) -> Result<impl Stream<Item = Result<Bytes, ContainersError>> + Send + use<>, ContainersError> {
    let engine = Arc::clone(&host.engine);
    let seen = engine.look(uid).await?;
    let newest = newest(&seen, container)?;
    let of = match options.previous {
        true => seen.previous(container).ok_or_else(|| {
            ContainersError::NotFound(format!(
                "container {container:?} was not started again: there is none before it"
            ))
        })?,
        false => newest,
    };
    if of.state == SeenState::Created {
        return Err(ContainersError::NotFound(format!(
            "container {container:?} has not started yet"
        )));
    }
    let since = options.since.map(|it| it.timestamp());
    let mut asked = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(options.follow && !options.previous)
        .timestamps(options.timestamps);
    if let Some(lines) = options.tail {
        asked = asked.tail(&lines.to_string());
    }
    if let Some(since) = since {
        asked = asked.since(i32::try_from(since.as_second()).unwrap_or(i32::MAX));
    }
    let mut left = options.limit_bytes.unwrap_or(u64::MAX);
    let parts = engine.client().await?.logs(&of.id, Some(asked.build()));
    let parts = parts.map(move |part| part.map(engine::bytes).map_err(|error| engine.told(error)));
    Ok(parts
        .map(move |part| {
            let part = part.map(|mut bytes| {
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                bytes
            });
            let full = left == 0;
            left = left.saturating_sub(part.as_ref().map_or(0, |bytes| bytes.len() as u64));
            (part, full)
        })
        .take_while(|(_, full)| future::ready(!full))
        .map(|(part, _)| part))
}

/// Runs a command in a container.
pub(super) async fn exec(
    host: &Arc<Host>,
    uid: &str,
    container: &str,
    options: ExecOptions,
) -> Result<ExecSession, ContainersError> {
    let engine = &host.engine;
    let seen = engine.look(uid).await?;
    let newest = newest(&seen, container)?;
    if !newest.is_running() {
        return Err(ContainersError::NotFound(format!("container {container:?} does not run now")));
    }
    let ExecOptions { command, stdin, stdout, stderr, tty } = options;
    if command.is_empty() {
        return Err(ContainersError::Config("no command was given".into()));
    }
    let asked = CreateExecOptions {
        cmd: Some(command),
        attach_stdin: Some(stdin),
        attach_stdout: Some(stdout || tty),
        // A terminal has one stream for both.
        attach_stderr: Some(stderr && !tty),
        tty: Some(tty),
        env: tty.then(|| vec!["TERM=xterm".to_owned()]),
        ..CreateExecOptions::default()
    };
    let client = engine.client().await?;
    let told = |error| engine.told(error);
    let id = client.create_exec(&newest.id, asked).await.map_err(told)?.id;
    let start = StartExecOptions { detach: false, tty, output_capacity: None };
    let StartExecResults::Attached { output, input } =
        client.start_exec(&id, Some(start)).await.map_err(told)?
    else {
        return Err(ContainersError::Refused(
            "the engine does not give the command's streams".into(),
        ));
    };
    let engine = Arc::clone(engine);
    let output = output.filter_map(move |part| {
        future::ready(match part {
            Ok(LogOutput::StdErr { message }) => Some(Ok(ExecOutput::Stderr(message))),
            Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                Some(Ok(ExecOutput::Stdout(message)))
            }
            Ok(LogOutput::StdIn { .. }) => None,
            Err(error) => Some(Err(engine.told(error))),
        })
    });
    let stdin = stdin.then_some(input);
    Ok(ExecSession { host: Arc::clone(host), id, stdin, output: Box::pin(output) })
}
