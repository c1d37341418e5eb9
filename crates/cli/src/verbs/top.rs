//! `quarterdeck top`: what happens now, drawn anew as it changes, or once.

use super::{Common, now};
use crate::{
    Error, Outcome,
    held::Held,
    output::note,
    plane::{Plane, Selection, Within},
    terminal::Screen,
    view::top::{PermitNow, RunNow, ServerNow, Top, frame, top as count},
};
use futures_util::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};
use quarterdeck_model::{
    Kind, KindRef,
    kinds::{Campaign, Permit, Run, Server},
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

/// How often it is drawn anew: changes in between are gathered, as there may be thousands a second.
const TICK: Duration = Duration::from_millis(500);

/// How it is shown.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "On a terminal it is drawn anew as things change, until Ctrl-C. Elsewhere, with --once, and with -o json \
                             it is printed once."
)]
pub struct TopArguments {
    /// Print it once
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    common: Common,
}

/// All that is looked at.
struct Now {
    servers: Held<ServerNow>,
    runs: Held<RunNow>,
    permits: Held<PermitNow>,
    campaigns: Held<Campaign>,
    /// Kinds that may not be seen, and why: of each the last that was said.
    unseen: BTreeMap<&'static str, String>,
}

fn read<K: Kind>(value: &Value) -> Option<K> {
    K::deserialize(value).ok()
}

/// The kinds that are looked at.
fn kinds() -> [KindRef; 4] {
    [Server::info(), Run::info(), Permit::info(), Campaign::info()]
}

impl Now {
    fn new() -> Self {
        Self {
            servers: Held::new(|it| read(it).as_ref().map(ServerNow::of)),
            runs: Held::new(|it| read(it).as_ref().map(RunNow::of)),
            permits: Held::new(|it| read(it).as_ref().and_then(PermitNow::of)),
            campaigns: Held::new(read),
            unseen: BTreeMap::new(),
        }
    }

    fn apply(&mut self, kind: KindRef, event: Event<Value>) {
        match kind {
            kind if kind == Server::info() => self.servers.apply(event),
            kind if kind == Run::info() => self.runs.apply(event),
            kind if kind == Permit::info() => self.permits.apply(event),
            _ => self.campaigns.apply(event),
        }
    }

    fn count(&self) -> Top {
        let Self { servers, runs, permits, campaigns, .. } = self;
        count(servers.values(), runs.values(), permits.values(), campaigns.values(), now())
    }

    /// Each kind has been shown once, or may not be seen.
    fn complete(&self) -> bool {
        let shown = [
            (Server::PLURAL, self.servers.complete()),
            (Run::PLURAL, self.runs.complete()),
            (Permit::PLURAL, self.permits.complete()),
            (Campaign::PLURAL, self.campaigns.complete()),
        ];
        shown.iter().all(|(kind, shown)| *shown || self.unseen.contains_key(kind))
    }
}

pub(crate) async fn top(arguments: &TopArguments) -> Result<Outcome, Error> {
    let output = arguments.common.output;
    let plane = Plane::open(&arguments.common.connection).await?;
    let screen = Screen::new();
    if arguments.once || output.data() || !screen.live() {
        let now_held = once(&plane).await?;
        for (kind, why) in &now_held.unseen {
            note(&format!("not shown: {kind}: {why}"));
        }
        let top = now_held.count();
        let text = || frame(&top, now()).join("\n") + "\n";
        output.print(text, || serde_json::to_value(&top).unwrap_or_default())?;
        return Ok(Outcome::Done);
    }
    live(&plane, screen).await
}

async fn once(plane: &Plane) -> Result<Now, Error> {
    let mut held = Now::new();
    for kind in kinds() {
        held.apply(kind, Event::Init);
        let all = Selection::default();
        let take = |object| held.apply(kind, Event::InitApply(object));
        match plane.each(kind, Within::Everywhere, &all, take).await {
            Err(Error::Refused(why)) => drop(held.unseen.insert(kind.plural, why)),
            other => other?,
        }
        held.apply(kind, Event::InitDone);
    }
    Ok(held)
}

/// Draws it anew until somebody presses Ctrl-C.
async fn live(plane: &Plane, mut screen: Screen) -> Result<Outcome, Error> {
    // One that cannot be reached at all is said so at once.
    let one = Selection { most: Some(1), ..Selection::default() };
    match plane.list(Permit::info(), Within::Everywhere, &one).await {
        Ok(_) | Err(Error::Refused(_)) => {}
        Err(error) => return Err(error),
    }
    let mut held = Now::new();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut changes = futures_util::stream::select_all(kinds().map(|kind| watch(plane, kind)));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            Some((kind, change)) = changes.next() => match change {
                Ok(event) => held.apply(kind, event),
                Err(error) => if let Some(error) = plane.watch_ended(kind, error) {
                    held.unseen.insert(kind.plural, error.to_string());
                },
            },
            _ = tick.tick() => {
                let mut lines = match held.complete() {
                    true => frame(&held.count(), now()),
                    false => vec!["reading…".into()],
                };
                lines.extend(held.unseen.iter().map(|(kind, why)| format!("not shown: {kind}: {why}")));
                screen.draw(&lines)?;
            }
            _ = interrupted.recv() => return Ok(Outcome::Done),
        }
    }
}

/// A kind's changes, with the kind.
fn watch(
    plane: &Plane,
    kind: KindRef,
) -> impl Stream<Item = (KindRef, Result<Event<Value>, watcher::Error>)> + Unpin + use<> {
    let changes = plane.watch(kind, Within::Everywhere, &Selection::default());
    changes.map(move |change| (kind, change)).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_errors_of_one_kind_are_about_one_kind() {
        let mut held = Now::new();
        for kind in [Server::info(), Run::info()] {
            held.apply(kind, Event::Init);
            held.apply(kind, Event::InitDone);
        }
        for why in ["forbidden", "still forbidden"] {
            held.unseen.insert(Permit::PLURAL, why.into());
        }
        assert!(!held.complete(), "campaigns were neither shown nor refused");
        held.unseen.insert(Campaign::PLURAL, "forbidden".into());
        assert!(held.complete());
        // One that is shown after all is shown.
        held.apply(Permit::info(), Event::Init);
        held.apply(Permit::info(), Event::InitDone);
        assert!(held.complete());
    }
}
