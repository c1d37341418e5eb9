//! Whether machines are reachable, as the one replica that leads decides it for all: what silence means ([`silence`], pure), and
//! what is written of it. It hears of agents only what their machines say, which changes when one comes or goes; heartbeats
//! stay with the replica that holds the stream.
//!
//! A machine that is silent for too long is marked, and its instances are `Unreachable`: they count as down. Nothing here deletes
//! or disrupts anything, however long a silence lasts.

mod ends;
mod listening;
mod marks;
mod orphans;
mod silence;
mod tasks;

pub(crate) use ends::Ends;
pub(crate) use tasks::StoreHosts;

use crate::{
    follow::{Follower, Seen},
    objects::Objects,
};
use jiff::{SignedDuration, Timestamp};
use listening::Listening;
use quarterdeck_model::{
    Key, Kind as _, Object,
    agent::RECONNECT_MAX,
    condition,
    kinds::{Machine, Rack, Server, machine_agent::AGENT_CONNECTED},
};
use quarterdeck_store::{EventKind, World};
use silence::{Silence, State, Verdict};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::warn;

/// How often it is looked for silence that lasts too long.
const EVERY: Duration = Duration::from_secs(1);
/// How long the store may take to say what is new.
const ASK: Duration = Duration::from_secs(2);
/// How often it is looked whether replicas that hold streams live.
const ORPHANS_EVERY: Duration = Duration::from_secs(5);
/// Machines that are looked at before others get their turn.
const LOOK_MAX: usize = 256;
/// Machines marked in one go.
const MARK_MAX: usize = 64;

/// Keeps what is said of machines' reachability, until its future is dropped.
pub(crate) async fn keep(objects: Objects, deadline: Duration) {
    let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
    let mut keeper = Keeper {
        deadline,
        silence: Silence::new(silence::Limits::of(deadline)),
        listening: Listening::begin(objects.now().timestamp()),
        orphans: orphans::Orphans::default(),
        unsettled: BTreeSet::new(),
        began: false,
        objects,
    };
    let mut follower = Follower::new(keeper.objects.store().clone(), Machine::info());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut look_for_orphans) = (Instant::now(), Instant::now());
    let mut told = marks::Masses::default();
    loop {
        tokio::select! {
            seen = follower.next() => keeper.take(seen).await,
            _ = ticks.tick() => {
                // What others wrote is here before anybody is judged, and while that cannot be had nobody is.
                let heard = timeout(ASK, keeper.objects.store().fresh()).await;
                let heard = matches!(heard, Ok(Ok(_)));
                let passed = SignedDuration::try_from(last.elapsed()).unwrap_or(SignedDuration::MAX);
                last = Instant::now();
                let now = keeper.listening.step(passed, heard);
                if !heard {
                    continue;
                }
                keeper.mark(now).await;
                keeper.settle().await;
                said(told.tell(&keeper.objects, keeper.silence.masses()).await);
                if look_for_orphans <= Instant::now() {
                    look_for_orphans = Instant::now() + ORPHANS_EVERY;
                    let time = (keeper.listening, deadline);
                    said(keeper.orphans.look(&keeper.objects, time).await);
                }
            }
        }
    }
}

/// What is known of all machines' agents.
struct Keeper {
    objects: Objects,
    deadline: SignedDuration,
    silence: Silence,
    listening: Listening,
    orphans: orphans::Orphans,
    /// Machines whose instances may not be as they say.
    unsettled: BTreeSet<Key>,
    /// All machines were seen once.
    began: bool,
}

impl Keeper {
    /// Takes in what was seen of machines.
    async fn take(&mut self, seen: Seen) {
        match seen {
            Seen::All(all) => {
                let mut there = HashSet::with_capacity(all.len());
                for (at, object) in all.iter().enumerate() {
                    if at % LOOK_MAX == LOOK_MAX - 1 {
                        yield_now().await;
                    }
                    self.note(object).await;
                    there.insert(object.key.clone());
                }
                for gone in self.silence.forget_others(&there) {
                    self.orphans.forget(&gone);
                }
                self.unsettled.append(&mut marks::with_unreachable(&self.objects));
                self.began = true;
            }
            Seen::Changed(events) => {
                for event in events {
                    if event.kind == EventKind::Deleted {
                        self.silence.forget(&event.object.key);
                        self.orphans.forget(&event.object.key);
                    } else {
                        self.note(&event.object).await;
                    }
                }
            }
        }
    }

    /// Takes in how a machine is.
    async fn note(&mut self, object: &Object) {
        let Ok(machine) = object.decode::<Machine>() else { return };
        let Some(agent) = &machine.status.agent else { return };
        let session = agent.session.as_deref().filter(|_| agent.is_connected());
        self.orphans.note(&object.key, session);
        let state = match (agent.is_connected(), agent.disconnected_since) {
            (true, _) => State::Connected,
            (false, Some(_)) if marks::is_marked(&machine) => State::Unreachable,
            (false, Some(since)) => State::Silent(since.timestamp()),
            // It never had a stream.
            (false, None) => return,
        };
        let site = site(&self.objects.store().world(), &machine);
        let replica = agent.replica.clone().unwrap_or_default();
        let since = self.silent_since(&machine);
        let before = self.silence.note(object.key.clone(), (site, replica), (state, since));
        let marked = |state| state == State::Unreachable;
        if marked(state) && before != Some(state) || before.is_some_and(marked) && !marked(state) {
            self.unsettled.insert(object.key.clone());
        }
        if before.is_some_and(marked) && state == State::Connected {
            said(marks::tell_back(&self.objects, &object.key).await);
        }
    }

    /// Since when a silence that is seen now counts. Whoever has just begun to listen has heard nobody yet, and those who were cut off with
    /// the plane wait before they try again. Otherwise what the replica that lost it has waited for it counts, by its own clock.
    fn silent_since(&self, machine: &Machine) -> Timestamp {
        let now = self.listening.now();
        if !self.began {
            let wait = SignedDuration::try_from(RECONNECT_MAX).unwrap_or_default();
            return now.checked_add(wait).unwrap_or(now);
        }
        let agent = machine.status.agent.as_ref();
        let heard = agent.and_then(|agent| agent.disconnected_since);
        let written = condition::find(&machine.status.conditions, AGENT_CONNECTED);
        let waited = written.zip(heard).map_or(SignedDuration::ZERO, |(written, heard)| {
            written.last_transition_time.timestamp().duration_since(heard.timestamp())
        });
        let waited = waited.clamp(SignedDuration::ZERO, self.deadline / 2);
        now.checked_sub(waited).unwrap_or(now)
    }

    /// Marks those who are silent for too long.
    async fn mark(&mut self, now: Timestamp) {
        for (key, verdict) in self.silence.due(now, MARK_MAX) {
            if verdict == Verdict::Unreachable {
                said(marks::unreachable(&self.objects, &key, self.deadline).await);
                self.unsettled.insert(key);
            }
        }
    }

    /// Has instances be as their machines say, some at a time; those that are not yet are looked at again.
    async fn settle(&mut self) {
        let mut again = BTreeSet::new();
        for _ in 0..MARK_MAX {
            let Some(key) = self.unsettled.pop_first() else { break };
            match marks::settle(&self.objects, &key).await {
                Ok(true) => {}
                Ok(false) => drop(again.insert(key)),
                Err(error) => {
                    again.insert(key);
                    said::<()>(Err(error));
                }
            }
        }
        self.unsettled.append(&mut again);
    }
}

fn said<T>(done: Result<T, crate::objects::EngineError>) {
    if let Err(error) = done {
        warn!(%error, "what machines' agents do could not be written down; it is tried again");
    }
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
