//! Runs a command: no shell, a clean environment, bounded output that is told while it comes, and an end: at its deadline the
//! whole group of its processes is asked to end, and a moment later killed.

use super::{Failure, Outcome, output::Output, said, users};
use crate::host::Host;
use quarterdeck_model::kinds::{AgentTaskStatus, ExecTask};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::{Instant, interval, sleep_until, timeout},
};

/// Between being asked to end and being killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often what was printed is told: each time is a write of the plane's.
const TELL: Duration = Duration::from_secs(5);
/// How long output is read after a command has ended, whose children may hold its pipes open.
const REST: Duration = Duration::from_secs(1);
/// Longest command line and environment, and most parts of it.
const PARTS_MAX: usize = 1_024;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Told what was printed until now.
pub(super) type Progress<'p> = &'p (dyn Fn(String, String) + Sync);

/// A command that has ended.
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

pub(super) async fn exec(
    host: &Host,
    task: &ExecTask,
    left: Duration,
    progress: Progress<'_>,
) -> Outcome {
    let ran = run(host, task, left, progress).await?;
    let code = exit_code(ran.status);
    let status = AgentTaskStatus {
        exit_code: Some(code),
        stdout: said(ran.stdout),
        stderr: said(ran.stderr),
        ..AgentTaskStatus::default()
    };
    // Whether that is a failure is for whoever asked: it has the code.
    Ok(status)
}

/// As a shell tells it: 128 and the signal, for a command that a signal ended.
pub(super) fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Runs a command until it ends.
pub(super) async fn run(
    host: &Host,
    task: &ExecTask,
    left: Duration,
    progress: Progress<'_>,
) -> Result<Ran, Failure> {
    let mut command = command(host, task)?;
    let program = task.argv.first().cloned().unwrap_or_default();
    let mut child = command.spawn().map_err(|error| {
        Failure::new("NotStarted", format!("{program:?} could not be started: {error}"))
    })?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), task.stdin.clone()) {
        // Who does not read it may end before; whoever waits for its end is told of that.
        tokio::spawn(async move { stdin.write_all(text.as_bytes()).await });
    }
    let (mut out, mut err) = (Output::default(), Output::default());
    let ended = follow(&mut child, (&mut out, &mut err), left, progress).await;
    let signal = |signal| {
        if let Some(group) = group {
            // It may have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    };
    match ended {
        Some(Ok(status)) => Ok(Ran { status, stdout: out.text(), stderr: err.text() }),
        Some(Err(error)) => Err(Failure::new("NotStarted", error.to_string())),
        None => {
            signal(Signal::TERM);
            let ended = timeout(GRACE, child.wait()).await.is_ok();
            // What it started may ask for more time than it did itself.
            signal(Signal::KILL);
            if !ended {
                let _ = timeout(GRACE, child.wait()).await;
            }
            progress(out.text(), err.text());
            Err(Failure::new(
                "Timeout",
                format!("{program:?} had not ended at its deadline, and was stopped"),
            ))
        }
    }
}

fn command(host: &Host, task: &ExecTask) -> Result<Command, Failure> {
    let Some((program, arguments)) = task.argv.split_first() else {
        return Err(Failure::invalid("argv is empty; it must name a program"));
    };
    if task.argv.len() > PARTS_MAX || task.env.len() > PARTS_MAX {
        return Err(Failure::invalid(format!("argv and env have at most {PARTS_MAX} parts each")));
    }
    let wrong = |text: &String| text.contains('\0');
    if task.argv.iter().any(wrong)
        || task.env.iter().any(|(name, value)| wrong(name) || name.contains('=') || wrong(value))
    {
        return Err(Failure::invalid("argv and env must not hold NUL, and names in env no ="));
    }
    let mut command = Command::new(program);
    let mut env = BTreeMap::from([
        ("PATH", PATH.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("HOME", "/root".to_owned()),
    ]);
    if let Some(name) = &task.user {
        let user = users::user(host, name)?;
        command.uid(user.uid).gid(user.gid);
        env.insert("HOME", user.home);
    }
    command
        .args(arguments)
        .env_clear()
        .envs(env)
        .envs(&task.env)
        .current_dir(task.cwd.as_deref().unwrap_or("/"))
        .stdin(if task.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // So that all that it starts ends with it.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// Reads what it prints until it ends; none when that was too late.
async fn follow(
    child: &mut Child,
    (out, err): (&mut Output, &mut Output),
    left: Duration,
    progress: Progress<'_>,
) -> Option<std::io::Result<ExitStatus>> {
    let deadline = Instant::now() + left;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut from_out, mut from_err) = ([0; 4096], [0; 4096]);
    let mut tell = interval(TELL);
    tell.tick().await;
    let (mut ended, mut rest, mut news) = (None, deadline, false);
    loop {
        if stdout.is_none() && stderr.is_none() && ended.is_some() {
            return ended;
        }
        tokio::select! {
            count = read(&mut stdout, &mut from_out) => {
                out.push(from_out.get(..count).unwrap_or_default());
                news = true;
            }
            count = read(&mut stderr, &mut from_err) => {
                err.push(from_err.get(..count).unwrap_or_default());
                news = true;
            }
            status = child.wait(), if ended.is_none() => {
                ended = Some(status);
                rest = Instant::now() + REST;
            }
            _ = tell.tick(), if news => {
                news = false;
                progress(out.text(), err.text());
            }
            () = sleep_until(rest) => return ended,
        }
    }
}

/// Reads some, until there is no more: then the pipe is none any more.
async fn read(from: &mut Option<impl AsyncRead + Unpin>, to: &mut [u8]) -> usize {
    match from {
        None => std::future::pending().await,
        Some(pipe) => match pipe.read(to).await {
            Ok(count) if count > 0 => count,
            _ => {
                *from = None;
                0
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(20);

    fn task(argv: &[&str]) -> ExecTask {
        ExecTask { argv: argv.iter().map(|&it| it.into()).collect(), ..ExecTask::default() }
    }

    async fn ran(task: &ExecTask, left: Duration) -> Outcome {
        exec(&Host::new("/".as_ref()), task, left, &|_, _| {}).await
    }

    #[tokio::test]
    async fn a_command_runs_as_it_was_asked() {
        let mut env = task(&["/bin/sh", "-c", "echo $A $PATH; pwd >&2; cat; exit 3"]);
        env.env.insert("A".into(), "b c".into());
        (env.cwd, env.stdin) = (Some("/tmp".into()), Some("in\n".into()));
        let status = ran(&env, LEFT).await.unwrap();
        assert_eq!(status.exit_code, Some(3));
        assert_eq!(status.stdout.unwrap(), format!("b c {PATH}\nin\n"));
        assert_eq!(status.stderr.unwrap(), "/tmp\n");
        let killed = ran(&task(&["/bin/sh", "-c", "kill -9 $$"]), LEFT).await.unwrap();
        assert_eq!(killed.exit_code, Some(137));
        let missing = ran(&task(&["/no/such"]), LEFT).await.unwrap_err();
        assert_eq!(missing.reason, "NotStarted");
        for wrong in [task(&[]), task(&["a\0b"])] {
            assert_eq!(ran(&wrong, LEFT).await.unwrap_err().reason, "InvalidInput");
        }
        let mut nobody = task(&["/usr/bin/id"]);
        nobody.user = Some("no-such-user".into());
        assert_eq!(ran(&nobody, LEFT).await.unwrap_err().reason, "InvalidInput");
    }

    #[tokio::test]
    async fn a_command_ends_at_its_deadline_with_all_that_it_started() {
        for script in [
            "trap '' TERM; sleep 1000 & echo $!; wait; wait",
            // The first ends when it is asked to, and what it started does not.
            "(trap '' TERM; exec sleep 1000) & echo $!; wait",
        ] {
            ends_with_all_that_it_started(script).await;
        }
    }

    async fn ends_with_all_that_it_started(script: &str) {
        let begun = Instant::now();
        let told = std::sync::Mutex::new(String::new());
        let progress = |out: String, _| *told.lock().unwrap() = out;
        let host = Host::new("/".as_ref());
        let late =
            exec(&host, &task(&["/bin/sh", "-c", script]), Duration::from_secs(1), &progress).await;
        assert_eq!(late.unwrap_err().reason, "Timeout");
        assert!(begun.elapsed() < Duration::from_secs(15));
        let child: i32 = told.lock().unwrap().trim().parse().unwrap();
        let child = Pid::from_raw(child).unwrap();
        let gone = async {
            // It is a zombie until whoever is above it has waited for it.
            while std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero()))
                .is_ok_and(|stat| !stat.contains(") Z "))
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(LEFT, gone).await.expect("what it started is gone too");
    }

    #[tokio::test]
    async fn what_leaves_children_behind_ends_all_the_same() {
        let begun = Instant::now();
        let status = ran(&task(&["/bin/sh", "-c", "sleep 30 & echo a"]), LEFT).await.unwrap();
        assert_eq!(status.stdout.as_deref(), Some("a\n"));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
