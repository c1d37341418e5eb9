//! The processes of a command that runs in a container: it begins a session of its own (setsid(2)), in which all stay that it
//! starts, unless they leave it. Reads /proc, and must never end a process of another container or of the host.

use rustix::process::{Pid, Signal, kill_process};
use std::{fs, time::Duration};
use tokio::{task::spawn_blocking, time::sleep};

/// Has a command end with all that it has started: they are asked to, and killed if they are there after that time.
pub(super) async fn end(command: i32, container: &str, grace: Duration) {
    for (signal, wait) in [(Signal::HUP, grace), (Signal::KILL, Duration::ZERO)] {
        let of = container.to_owned();
        let Ok(all) = spawn_blocking(move || processes(command, &of)).await else { return };
        if all.is_empty() {
            return;
        }
        for pid in all {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
        sleep(wait).await;
    }
}

/// A command and what it has started. What is in no group of that container may be another process which has its number by now.
fn processes(command: i32, container: &str) -> Vec<Pid> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let all = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let its = |pid: &i32| {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        session(&read("stat")).is_some_and(|session| *pid == command || session == command)
            && read("cgroup").contains(container)
    };
    all.filter(its).filter_map(Pid::from_raw).collect()
}

/// The session of a process that has not ended. Source: proc_pid_stat(5); the name before it may hold anything.
fn session(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(2)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead as _, BufReader},
        process::{Child, Command, Stdio},
    };

    #[test]
    fn the_session_of_a_process_is_found_whatever_it_is_called() {
        assert_eq!(session("7 (sh) S 1 7 5 0 -1"), Some(5));
        assert_eq!(session("7 (a) R 9 (b) S 1 7 5 0 -1"), Some(5));
        for wrong in ["", "7 sh", "7 (sh) S 1", "7 (sh) S 1 7 x", "7 (sh) Z 1 7 5 0 -1"] {
            assert_eq!(session(wrong), None, "{wrong}");
        }
    }

    /// A shell in a session of its own, as an engine begins it, once it has said that it is there.
    fn shell(script: &str) -> (Child, i32) {
        let mut shell = Command::new("setsid");
        shell.args(["sh", "-c", script]).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "begun\n");
        let pid = i32::try_from(shell.id()).unwrap();
        (shell, pid)
    }

    #[tokio::test]
    async fn what_a_real_shell_has_started_ends_with_it() {
        // All of this test are in the same groups.
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
        let here = groups.lines().next().unwrap();
        let (mut other, bystander) = shell("echo begun; exec sleep 1000");
        for script in [
            "sleep 1000 & echo begun; wait",
            // The first one ends when it is asked to, and what it started does not.
            "(trap '' HUP; echo begun; sleep 1000) & wait",
            "trap '' HUP; sleep 1000 & echo begun; wait",
            // As in a shell of a person: each job is a group of its own.
            "set -m; sleep 1000 & echo begun; wait",
        ] {
            let (mut shell, pid) = shell(script);
            assert!(processes(pid, here).len() >= 2, "{script}");
            assert!(processes(pid, "another container").is_empty());
            end(pid, "another container", Duration::ZERO).await;
            assert!(processes(pid, here).len() >= 2, "{script}: it is not the one that is meant");
            end(pid, here, Duration::from_millis(200)).await;
            shell.wait().unwrap();
            let gone = async {
                while !processes(pid, here).is_empty() {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), gone).await.expect(script);
        }
        assert_eq!(processes(bystander, here).len(), 1, "others are left alone");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
