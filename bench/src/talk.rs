//! Another process of this binary: a line is said to it, and a line of JSON is heard.

use crate::{Failure, served};
use serde_json::Value;
use std::{io::Write as _, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long it may take for what it was told: as many handshakes as there are agents, with certificates made before.
const DEADLINE: Duration = Duration::from_secs(1_200);

/// Says a line to whoever started this process.
pub(crate) fn say(value: &Value) -> Result<(), Failure> {
    let mut output = std::io::stdout();
    writeln!(output, "{value}")?;
    Ok(output.flush()?)
}

/// A process, which is stopped with this.
pub(crate) struct Other {
    process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has said first.
    pub(crate) said: Value,
}

impl Other {
    /// Starts a program and hears what it says first.
    pub(crate) async fn start(command: &[&str]) -> Result<Self, Failure> {
        let (program, arguments) = command.split_first().ok_or("no program")?;
        let mut command = Command::new(program);
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn()?;
        let input = process.stdin.take().ok_or("a process without input")?;
        let output = process.stdout.take().ok_or("a process without output")?;
        let lines = BufReader::new(output).lines();
        let mut other = Self { process, input, lines, said: Value::Null };
        other.said = other.hear().await?;
        Ok(other)
    }

    pub(crate) async fn say(&mut self, line: &str) -> Result<(), Failure> {
        Ok(self.input.write_all(format!("{line}\n").as_bytes()).await?)
    }

    pub(crate) async fn hear(&mut self) -> Result<Value, Failure> {
        match timeout(DEADLINE, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => Ok(serde_json::from_str(&line)?),
            Ok(Ok(None)) => Err(format!("it ended: {}", self.process.wait().await?).into()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(format!("it said nothing for {DEADLINE:?}").into()),
        }
    }

    fn id(&self) -> Result<u32, Failure> {
        Ok(self.process.id().ok_or("it has ended")?)
    }

    /// Memory it holds, in bytes.
    pub(crate) fn resident(&self) -> Result<f64, Failure> {
        served::resident(self.id()?)
    }

    /// Processor time it has taken, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        served::cpu(self.id()?)
    }
}
