//! A plane in a process of its own, so that what it takes of the machine can be told from what its
//! clients take, and clients that can be made to yield to it.

use crate::{Failure, client::Trust, fleet, plane::Plane};
use quarterdeck_api::{
    bench::{self, Part},
    pki::Identity,
};
use quarterdeck_model::{
    Key, Kind as _,
    kinds::{ClusterRoleBinding, Namespace},
    object,
};
use quarterdeck_store::{Mutation, Precondition, Store, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Asks the binary to serve a folder until its input ends.
pub(crate) const SERVE: &str = "--serve";

/// Share of a processor that a quiet process takes at most.
const QUIET_SHARE: f64 = 0.05;
/// Seconds within which a process has to become quiet.
const QUIET_WITHIN: u32 = 120;

/// Where a plane is and how each caller shows who it is.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    authority: String,
    callers: Vec<(String, String)>,
}

/// Callers there are. All may do what people of the plane do; none is its administrator.
pub(crate) const CALLERS: usize = 2;

impl Place {
    /// Who the caller of that number is.
    pub(crate) fn trust(&self, caller: usize) -> Result<Trust, Failure> {
        let (certificate, key) =
            self.callers.get(caller).cloned().ok_or("there is no such caller")?;
        Trust::new(&self.authority, &Identity { certificate, key })
    }
}

/// A process that is stopped with this.
pub(crate) struct Process(Child);

impl Process {
    /// Starts this binary and reads the line of JSON that it begins with. It runs until its input ends.
    pub(crate) fn start<T: serde::de::DeserializeOwned>(
        program: &str,
        arguments: &[&str],
    ) -> Result<(Self, T), Failure> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("a process without output")?;
        let process = Self(child);
        BufReader::new(output).read_line(&mut line)?;
        Ok((process, serde_json::from_str(&line)?))
    }

    /// Processor time it has taken, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        cpu(self.0.id())
    }

    /// Memory it holds, in bytes.
    pub(crate) fn resident(&self) -> Result<f64, Failure> {
        resident(self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Memory that a process holds, in bytes.
pub(crate) fn resident(process: u32) -> Result<f64, Failure> {
    memory(process, "VmRSS")
}

/// Memory of a sort that a process holds, in bytes: proc(5), `/proc/[pid]/status`.
pub(crate) fn memory(process: u32, sort: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(sort)?.strip_prefix(':'));
    let kib: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or("a process without memory")?;
    Ok(kib * 1_024.0)
}

/// Waits until a process does next to nothing: what it does by itself at a start is no part of what is measured.
pub(crate) async fn quiet(process: u32) -> Result<(), Failure> {
    let mut before = cpu(process)?;
    for _ in 0..QUIET_WITHIN {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = cpu(process)?;
        if now - before <= QUIET_SHARE {
            return Ok(());
        }
        before = now;
    }
    Err(format!("it was not quiet within {QUIET_WITHIN} s").into())
}

/// Processor time that a process has taken, in seconds.
pub(crate) fn cpu(process: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|it| it.parse().ok()).collect();
    // Linux counts in hundredths, whatever the clock of the kernel is (proc(5)).
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// The binary that runs.
pub(crate) fn binary() -> Result<String, Failure> {
    let path = std::env::current_exe()?;
    Ok(path.to_str().ok_or("the path of this binary is not UTF-8")?.to_owned())
}

/// What a plane goes without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Off {
    Nothing,
    Authorization,
    Audit,
    Validation,
}

impl Off {
    const ALL: [Self; 4] = [Self::Nothing, Self::Authorization, Self::Audit, Self::Validation];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Authorization => "authorisation",
            Self::Audit => "audit",
            Self::Validation => "validation",
        }
    }

    fn read(name: &str) -> Result<Self, Failure> {
        let known = Self::ALL.into_iter().find(|off| off.name() == name);
        known.ok_or_else(|| format!("a plane cannot go without {name:?}").into())
    }
}

/// A plane over `count` servers in `folder`, with all that a plane usually has: callers who show
/// certificates, roles, validation and the audit log.
pub(crate) fn start(folder: &Path, count: usize) -> Result<(Process, Place), Failure> {
    start_without(folder, count, Off::Nothing)
}

/// The same that goes without a part.
pub(crate) fn start_without(
    folder: &Path,
    count: usize,
    off: Off,
) -> Result<(Process, Place), Failure> {
    let folder = folder.to_str().ok_or("the folder is not UTF-8")?;
    Process::start(&binary()?, &[SERVE, folder, &count.to_string(), off.name()])
}

/// What the process does.
pub(crate) async fn serve(folder: &Path, count: usize, off: &str) -> Result<(), Failure> {
    let off = Off::read(off)?;
    match off {
        Off::Authorization => bench::without(Part::Authorization),
        Off::Validation => bench::without(Part::Validation),
        Off::Nothing | Off::Audit => {}
    }
    let store = fleet::store(folder, count).await?;
    let binding = |role: &str| {
        json!({
            "metadata": {"name": role, "uid": format!("93f4ec26-5f0b-4f0e-9a86-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "people"}],
        })
    };
    let namespace =
        json!({"metadata": {"name": "default", "uid": "0b4d4b2e-9d2c-4a51-8c7f-5f1e0f3a7b11"}});
    let put = |kind, name: &str, value: &Value| Mutation {
        key: Key::new(kind, "", name),
        write: Write::Put(object::encode(kind, value).into()),
        precondition: Precondition::None,
        fence: None,
    };
    store
        .commit(vec![
            put(ClusterRoleBinding::info(), "edit", &binding("edit")),
            put(ClusterRoleBinding::info(), "system:monitoring", &binding("system:monitoring")),
            put(Namespace::info(), "default", &namespace),
        ])
        .await?;
    let plane = match off {
        Off::Audit => Plane::start(Store::clone(&store), folder).await?,
        _ => Plane::audited(Store::clone(&store), folder).await?,
    };
    let callers = (0..CALLERS)
        .map(|number| {
            let identity = plane.authority.client(&format!("person-{number}"), &["people"])?;
            Ok((identity.certificate, identity.key))
        })
        .collect::<Result<_, Failure>>()?;
    let authority = plane.authority.certificate().to_owned();
    let place = Place { address: plane.address, authority, callers };
    let mut output = std::io::stdout();
    writeln!(output, "{}", serde_json::to_string(&place)?)?;
    output.flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    drop(plane);
    Ok(())
}
