//! The process helper against real processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use quarterdeck_testing::process::{Process, Signal};
use quarterdeck_testing::user::RunAs;
use quarterdeck_testing::wait::{wait_for, wait_until};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

fn shell(script: &str, folder: &TempDir) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder.path());
    Process::start("the script", &command, RunAs::Caller, &log(folder))
}

fn log(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

/// True while process `id` runs; a process that has ended but was not waited for does not.
fn runs(id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_line_is_seen_only_when_whole_and_of_this_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = shell("echo ready one; exec sleep 600", &folder);
    assert_eq!(first.wait_for_line("ready", DEADLINE).await, "ready one");
    drop(first);

    let mut second = shell("printf 'ready '; sleep 0.2; echo two; exec sleep 600", &folder);
    assert_eq!(second.wait_for_line("ready", DEADLINE).await, "ready two");
    assert_eq!(std::fs::read_to_string(log(&folder)).unwrap(), "ready one\nready two\n");
}

#[tokio::test]
async fn a_kill_takes_the_children_too_even_those_that_left_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("setsid sh -c 'echo child $$; sleep 600; true' & wait", &folder);
    let line = process.wait_for_line("child", DEADLINE).await;
    let child = line.strip_prefix("child ").unwrap();
    assert!(runs(child));
    process.kill();
    assert!(process.exit_status().is_some());
    assert!(!Path::new("/proc").join(child).exists(), "nothing is left, not even a zombie");
}

#[tokio::test]
async fn a_stopped_process_goes_on_and_ends_by_itself_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'echo bye; exit 3' TERM; sleep 600 & echo up; wait";
    let mut process = shell(script, &folder);
    process.wait_for_line("up", DEADLINE).await;
    process.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", process.id());
    wait_until(DEADLINE, "the process to stand still", async || {
        std::fs::read_to_string(&stat).unwrap().contains(") T ")
    })
    .await;
    process.signal(Signal::CONT);
    let status = process.end(Signal::TERM, DEADLINE).await;
    assert_eq!(status.code(), Some(3));
    assert!(process.output().ends_with("bye\n"));
}

#[tokio::test]
#[should_panic(expected = "it wants a flag")]
async fn a_process_that_ends_early_fails_the_wait_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = shell("echo it wants a flag >&2; exit 2", &folder);
    process.wait_for_port("127.0.0.1:1".parse().unwrap(), DEADLINE).await;
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline_even_when_a_look_hangs() {
    let begun = Instant::now();
    let wait = tokio::spawn(async {
        wait_for(Duration::from_millis(100), "never", async || {
            std::future::pending::<Result<(), &str>>().await
        })
        .await;
    });
    assert!(wait.await.unwrap_err().is_panic());
    assert!(begun.elapsed() < DEADLINE);
}

/// What keeps parts from outliving a test run that was itself killed, as a test runner does when
/// a test takes too long.
#[tokio::test]
async fn a_process_dies_with_the_test_that_started_it() {
    const FOLDER: &str = "QUARTERDECK_TESTING_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        // The inner run of this test: start something, then wait to be killed.
        let command = {
            let mut command = Command::new("sh");
            command.args(["-c", "echo $$ > id.new; mv id.new id; exec sleep 600"]);
            command.current_dir(&folder);
            command
        };
        let log = Path::new(&folder).join("inner-log");
        let mut process = Process::start("sleep", &command, RunAs::Unprivileged, &log);
        process.wait_until_ready(DEADLINE, "never", async |_| Err::<(), _>("waiting")).await;
    }

    let folder = tempfile::tempdir().unwrap();
    RunAs::Unprivileged.give(folder.path());
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args(["--exact", "a_process_dies_with_the_test_that_started_it"]);
    inner.env(FOLDER, folder.path());
    // Not by the helper, which would kill what the inner run started.
    let mut inner = inner.spawn().unwrap();
    let id = wait_for(DEADLINE, "the inner process to start", async || {
        std::fs::read_to_string(folder.path().join("id"))
    })
    .await;
    let id = id.trim();
    assert!(runs(id));
    inner.kill().unwrap();
    inner.wait().unwrap();
    wait_until(DEADLINE, "the inner process to be gone", async || !runs(id)).await;
}
