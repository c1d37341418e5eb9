//! Whether machines are reachable, as the one replica that leads decides it for all: what silence means ([`silence`], pure), and
//! what is written of it. It hears of agents only what their machines say, which changes when one comes or goes; heartbeats
//! stay with the replica that holds the stream.
//!
//! A machine that is silent for too long is marked, and its instances are `Unreachable`: they count as down. Nothing here deletes
//! or disrupts anything, however long a silence lasts.

mod marks;
mod orphans;
mod silence;
mod tasks;

pub(crate) use tasks::StoreHosts;

use crate::{
    follow::{Follower, Seen},
    objects::Objects,
};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    ConditionStatus, Kind as _, Object, condition,
    kinds::{Machine, Rack, Server, machine_agent::REACHABLE},
};
use quarterdeck_store::{EventKind, World};
use silence::{Silence, State, Verdict};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::warn;

/// How often it is looked for silence that lasts too long.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether replicas that hold streams live.
const ORPHANS_EVERY: Duration = Duration::from_secs(5);
/// Machines that are looked at before others get their turn.
const LOOK_MAX: usize = 256;
/// Machines marked in one go.
const MARK_MAX: usize = 64;

/// Keeps what is said of machines' reachability, until its future is dropped.
pub(crate) async fn keep(objects: Objects, deadline: Duration) {
    let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
    let mut silence = Silence::new(silence::Limits::of(deadline), objects.now().timestamp());
    let mut follower = Follower::new(objects.store().clone(), Machine::info());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut orphans = orphans::Orphans::default();
    let mut look_for_orphans = Instant::now();
    let mut told = marks::Masses::default();
    loop {
        tokio::select! {
            seen = follower.next() => match seen {
                Seen::All(all) => {
                    silence.clear();
                    for (at, object) in all.iter().enumerate() {
                        if at % LOOK_MAX == LOOK_MAX - 1 {
                            yield_now().await;
                        }
                        note(&objects, &mut silence, object);
                    }
                    said(marks::restore_all(&objects).await);
                }
                Seen::Changed(events) => {
                    for event in events {
                        if event.kind == EventKind::Deleted {
                            silence.forget(&event.object.key);
                        } else if note(&objects, &mut silence, &event.object) {
                            said(marks::restore(&objects, &event.object.key).await);
                        }
                    }
                }
            },
            _ = ticks.tick() => {
                let now = objects.now().timestamp();
                let due = silence.due(now, MARK_MAX);
                for (key, verdict) in due {
                    if verdict == Verdict::Unreachable {
                        said(marks::unreachable(&objects, &key, deadline).await);
                    }
                }
                said(told.tell(&objects, silence.masses()).await);
                if look_for_orphans <= Instant::now() {
                    look_for_orphans = Instant::now() + ORPHANS_EVERY;
                    said(orphans.look(&objects, deadline).await);
                }
            }
        }
    }
}

fn said<T>(done: Result<T, crate::objects::EngineError>) {
    if let Err(error) = done {
        warn!(%error, "what machines' agents do could not be written down; it is tried again");
    }
}

/// Takes in how a machine is. Answers whether it has come back.
fn note(objects: &Objects, silence: &mut Silence, object: &Object) -> bool {
    let Ok(machine) = object.decode::<Machine>() else { return false };
    let Some(agent) = &machine.status.agent else { return false };
    let reachable = condition::find(&machine.status.conditions, REACHABLE);
    let marked = reachable.is_some_and(|it| it.status == ConditionStatus::False);
    let state = match (agent.is_connected(), agent.disconnected_since) {
        (true, _) => State::Connected,
        (false, Some(_)) if marked => State::Unreachable,
        (false, Some(since)) => State::Silent(since.timestamp()),
        // It never had a stream.
        (false, None) => return false,
    };
    let site = site(&objects.store().world(), &machine);
    let replica = agent.replica.clone().unwrap_or_default();
    silence.note(object.key.clone(), (site, replica), state)
}

/// The site that a machine is in, as far as that is known.
fn site(world: &World, machine: &Machine) -> Option<String> {
    if let Some(location) = &machine.spec.location {
        return Some(location.site.clone());
    }
    let server = world.get(Server::info(), "", machine.status.server.as_deref()?)?;
    let rack: Arc<Object> = world.get(Rack::info(), "", server.field("spec.location.rack")?)?;
    rack.field("spec.site").map(str::to_owned)
}

/// How long from `since` until `now`.
fn passed(since: Timestamp, now: Timestamp) -> SignedDuration {
    now.duration_since(since)
}
