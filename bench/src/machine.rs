//! The machine and the build the figures hold for, and where their peers are on it.

use crate::Failure;
use std::{fs, path::PathBuf, process::Command, thread};

/// One paragraph: date, cores, processor, memory, kernel, compiler.
pub(crate) fn facts() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let memory_kib: f64 = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "Measured on {date}: {cores} cores ({processor}), {memory:.0} GiB, Linux {kernel}, {rustc}.",
        date = printed("date", &["--utc", "+%Y-%m-%d"]),
        memory = memory_kib / f64::from(1 << 20),
        kernel = kernel.trim(),
        rustc = printed("rustc", &["--version"]),
    )
}

/// Where `scripts/setup-bench.sh` has put the peers.
pub(crate) fn peers() -> Result<PathBuf, Failure> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("quarterdeck/bench"))
}

/// The first value of a `name : value` file under /proc.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field.trim() == name).then(|| value.trim().to_owned())
    })
}

/// What a program prints, or that it is unknown.
pub(crate) fn printed(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map_or_else(
            || format!("{program} unknown"),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
}
