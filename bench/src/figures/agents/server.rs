//! The servers of the figures: a plane with machines whose agents connect, and one that only holds TLS connections.

use super::hosts;
use crate::{Failure, client::Trust, plane::Plane, talk::say};
use quarterdeck_api::pki;
use quarterdeck_model::{
    Key, Kind as _, KindRef,
    kinds::{AgentTask, Machine, Namespace},
    object,
};
use quarterdeck_store::{Mutation, Precondition, Sqlite, Store, Write};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, stdin},
    net::TcpListener,
    time::{interval, sleep},
};
use tokio_rustls::TlsAcceptor;

/// Asks the binary to serve a folder with so many machines.
pub(crate) const SERVE: &str = "--agents-serve";
/// Asks it to hold connections.
pub(crate) const HOLD: &str = "--agents-hold";
/// What somebody else reads.
pub(super) const SMALL: &str = "/api/v1/namespaces/default";
/// Machines that are written at once.
const AT_ONCE: usize = 1_000;
/// Between two changes.
const PACE: Duration = Duration::from_millis(10);
/// Wait after a failed accept, before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How an administrator calls the plane of a folder.
pub(super) fn trust(folder: &Path) -> Result<Trust, Failure> {
    let authority = pki::Authority::open(&folder.join("pki"))?;
    Trust::new(authority.certificate(), &authority.admin()?)
}

fn put(kind: KindRef, namespace: &str, name: &str, value: &Value) -> Mutation {
    Mutation {
        key: Key::new(kind, namespace, name),
        write: Write::Put(object::encode(kind, value).into()),
        precondition: Precondition::None,
        fence: None,
    }
}

/// Nanoseconds, as both sides of a change see them.
pub(super) fn nanos() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_nanos()).unwrap_or(0)
}

/// The plane.
pub(crate) async fn serve(folder: &Path, count: usize) -> Result<(), Failure> {
    let data = folder.join("plane");
    std::fs::create_dir_all(&data)?;
    let store = Store::open(Arc::new(Sqlite::open(&data)?)).await?;
    let namespace =
        json!({"metadata": {"name": "default", "uid": "0b4d4b2e-9d2c-4a51-8c7f-5f1e0f3a7b11"}});
    store.commit(vec![put(Namespace::info(), "", "default", &namespace)]).await?;
    for first in (0..count).step_by(AT_ONCE) {
        let machines = (first..count.min(first + AT_ONCE)).map(|number| {
            let name = hosts::name(number);
            let metadata = json!({"name": name, "namespace": "default", "uid": name});
            let machine = json!({"metadata": metadata, "spec": {"preinstalled": true}});
            put(Machine::info(), "default", &name, &machine)
        });
        store.commit(machines.collect()).await?;
    }
    let plane = Plane::with_agents(store.clone(), folder).await?;
    say(&json!({"address": plane.address}))?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut changed = 0_usize;
    while let Some(line) = lines.next_line().await? {
        let Some(changes) = line.strip_prefix("changes ") else { break };
        let mut paces = interval(PACE);
        for _ in 0..changes.parse()? {
            paces.tick().await;
            changed += 1;
            let machine = hosts::name(changed * 7 % count);
            let name = format!("task-{changed}");
            let metadata = json!({"name": name, "namespace": "default", "uid": name});
            let exec = json!({"argv": [nanos().to_string()]});
            let spec = json!({"machine": machine, "machineUID": machine, "exec": exec});
            let task = json!({"metadata": metadata, "spec": spec});
            store.commit(vec![put(AgentTask::info(), "default", &name, &task)]).await?;
        }
        say(&json!({"changes": changed}))?;
    }
    Ok(())
}

/// Only holds connections.
pub(crate) async fn hold(folder: &Path) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let authority = pki::Authority::open(&folder.join("pki"))?;
    let tls = TlsAcceptor::from(pki::tls(&authority, &authority.server(address, &[])?)?);
    say(&json!({"address": address}))?;
    let accepting = async {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let tls = tls.clone();
            tokio::spawn(async move {
                let mut stream = tls.accept(socket).await?;
                stream.read(&mut [0; 1]).await
            });
        }
    };
    tokio::select! {
        () = accepting => Ok(()),
        end = async { BufReader::new(stdin()).lines().next_line().await } => Ok(end.map(drop)?),
    }
}
