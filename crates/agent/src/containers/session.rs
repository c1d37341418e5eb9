//! The processes of a command that runs in a container: it begins a session of its own (setsid(2)), in which all stay that it
//! starts, unless they leave it. Reads /proc, and must never name a process of another container or of the host.

use rustix::process::Pid;
use std::fs;

/// A command and what it has started. What is in no group of that container may be another process which has its number by now.
pub(super) fn of(command: i32, container: &str) -> Vec<Pid> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let processes = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let its = |pid: &i32| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let of = || read("stat").as_deref().and_then(session);
        (*pid == command || of() == Some(command))
            && read("cgroup").is_some_and(|groups| groups.contains(container))
    };
    processes.filter(its).filter_map(Pid::from_raw).collect()
}

/// The session of a process. Source: proc_pid_stat(5); the name before it may hold anything.
fn session(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_of_a_process_is_found_whatever_it_is_called() {
        assert_eq!(session("7 (sh) S 1 7 5 0 -1"), Some(5));
        assert_eq!(session("7 (a) R 9 (b) S 1 7 5 0 -1"), Some(5));
        for wrong in ["", "7 sh", "7 (sh) S 1", "7 (sh) S 1 7 x"] {
            assert_eq!(session(wrong), None, "{wrong}");
        }
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(of(own, "no group is called that").is_empty());
    }
}
