//! The engine's own writes on their way into the audit log. It must never be what the engine waits for,
//! while the log can be written.

use quarterdeck_api::{Audit, OwnWrite};
use quarterdeck_engine::Act;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Writes that wait to be logged: about a second of all that the engine can write.
pub(crate) const WAITING_MAX: usize = 16_384;
/// Writes logged together.
const TOGETHER_MAX: usize = 256;

/// Logs what the engine writes, until it has ended.
pub(crate) async fn log(mut acts: mpsc::Receiver<Act>, audit: Arc<Audit>) {
    let mut some = Vec::with_capacity(TOGETHER_MAX);
    while acts.recv_many(&mut some, TOGETHER_MAX).await > 0 {
        let users: Vec<String> =
            some.iter().map(|act| format!("system:controller:{}", act.by.controller)).collect();
        let writes: Vec<_> =
            some.iter().zip(&users).map(|(act, user)| own_write(act, user)).collect();
        audit.own_writes(&writes).await;
        drop(writes);
        some.clear();
    }
}

fn own_write<'a>(act: &'a Act, user: &'a str) -> OwnWrite<'a> {
    let mut annotations = Vec::new();
    if let Some(run) = &act.by.run {
        annotations.push(("quarterdeck.dev/run", run.name.as_str()));
        annotations.push(("quarterdeck.dev/runbook", &*run.runbook));
    }
    if let Some(phase) = &act.phase {
        annotations.push(("quarterdeck.dev/phase", phase));
    }
    let (verb, key, uid, revision) = (act.verb, &act.key, act.uid.as_deref(), act.revision);
    OwnWrite { user, verb, key, uid, revision, annotations }
}
