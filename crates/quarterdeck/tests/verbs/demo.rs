//! A plane over a simulated fleet, and the verbs asked of it as a person or a script would.

use quarterdeck_testing::{
    process::{CommandError, Process, Signal, run},
    user::RunAs,
    wait::wait_for,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A freeze over these racks; everywhere, when there are none.
pub(crate) fn freeze(racks: &[&str]) -> String {
    let spec = json!({"reason": "peak season", "end": "2999-01-01T00:00:00Z", "racks": racks});
    let version = "workflows.quarterdeck.dev/v1alpha1";
    json!({"apiVersion": version, "kind": "Freeze", "metadata": {"name": "peak"}, "spec": spec})
        .to_string()
}

/// A plane over a simulated fleet.
pub(crate) struct Demo {
    process: Process,
    pub(crate) home: tempfile::TempDir,
}

impl Demo {
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
        command.args([
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--speed",
            "500",
            "--servers",
            "30",
            "--idle",
        ]);
        command.arg("--data-dir").arg(home.path().join("demo"));
        let log = home.path().join("log");
        let mut process = Process::start("quarterdeck", &command, RunAs::Caller, &log);
        process.wait_for_line("kubectl get runs --watch", DEADLINE).await;
        let demo = Self { home, process };
        wait_for(DEADLINE, "every server to be looked at", async || {
            let top = demo.json(&["top"]).await;
            let (total, ready) = (&top["servers"]["total"], &top["servers"]["ready"]);
            if *total == 30 && ready.as_u64() > Some(25) { Ok(()) } else { Err(top.to_string()) }
        })
        .await;
        demo
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("demo/kubeconfig")
    }

    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("HOME", self.home.path()).env("KUBECONFIG", self.kubeconfig());
        command
    }

    pub(crate) fn quarterdeck(&self, arguments: &[&str]) -> Command {
        self.command(Path::new(env!("CARGO_BIN_EXE_quarterdeck")), arguments)
    }

    /// What a verb answers that ends well.
    pub(crate) async fn says(&self, arguments: &[&str]) -> String {
        let output = run(&self.quarterdeck(arguments), "").await;
        output.unwrap_or_else(|error| panic!("{error}")).stdout
    }

    /// The same as data.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.says(&[arguments, &["-o", "json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// What a verb says that does not end well, and its exit code.
    pub(crate) async fn refuses(&self, arguments: &[&str]) -> (String, i32) {
        ended(run(&self.quarterdeck(arguments), "").await)
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let output = run(&self.command(Path::new("kubectl"), arguments), input).await;
        output.unwrap_or_else(|error| panic!("{error}")).stdout
    }

    /// Starts a verb that goes on, with its output in a file.
    pub(crate) fn start_verb(&self, name: &str, arguments: &[&str]) -> Process {
        let log = self.home.path().join(name);
        Process::start(name, &self.quarterdeck(arguments), RunAs::Caller, &log)
    }

    /// What a verb answers as data that reads this from its standard input.
    pub(crate) async fn fed(&self, arguments: &[&str], input: &str) -> Value {
        let output = run(&self.quarterdeck(arguments), input).await;
        let text = output.unwrap_or_else(|error| panic!("{error}")).stdout;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// A verb on a terminal, at which this is typed: all that is shown, and its exit code.
    pub(crate) async fn typed(&self, arguments: &[&str], typed: &str) -> (String, Option<i32>) {
        let shown = self.home.path().join("typed");
        let line = [&[env!("CARGO_BIN_EXE_quarterdeck")][..], arguments].concat().join(" ");
        let shown_at = shown.to_str().unwrap();
        let script = ["--quiet", "--return", "--command", &line, shown_at];
        let ended = run(&self.command(Path::new("script"), &script), typed).await;
        let code = ended.map_or_else(|error| error.code, |_| Some(0));
        (std::fs::read_to_string(shown).unwrap(), code)
    }

    pub(crate) async fn stop(mut self) {
        let status = self.process.end(Signal::TERM, Duration::from_secs(20)).await;
        assert!(status.success(), "{status}\n{}", self.process.output());
    }
}

pub(crate) fn ended<T: std::fmt::Debug>(result: Result<T, CommandError>) -> (String, i32) {
    let error = result.expect_err("it must not end well");
    (error.reason, error.code.expect("it ends by itself"))
}
