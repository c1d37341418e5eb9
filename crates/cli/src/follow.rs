//! Following one object until it has ended: what is new of it as lines, or all of it drawn in place. Interrupting that
//! changes nothing of what is followed.

use crate::{
    Error, Outcome,
    output::{Output, note},
    plane::{Plane, Seen, Selection, Within, seen},
    terminal::Screen,
    verbs::now,
};
use futures_util::StreamExt as _;
use kube::runtime::watcher::Event;
use quarterdeck_model::{Kind, Time};
use std::time::Duration;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

/// How often times that go on are drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// How the story of a kind is told.
pub(crate) struct Story<K> {
    /// All of it, to be drawn in place.
    pub(crate) frame: fn(&K, Time) -> Vec<String>,
    /// What is new since it was seen last.
    pub(crate) news: fn(Option<&K>, &K, Time) -> Vec<String>,
    /// How it ended, once it has.
    pub(crate) outcome: fn(&K) -> Option<Outcome>,
    /// What it means that it is gone; that is a mistake, if nothing is said.
    pub(crate) gone: Option<Outcome>,
    /// What is said to whoever stops following.
    pub(crate) goes_on: fn(&K) -> String,
}

/// What is followed, as it was shown last.
struct Following<'a, K> {
    story: &'a Story<K>,
    screen: Screen,
    output: Output,
    last: Seen<K>,
    lost: bool,
}

/// Follows an object until it has ended, or until somebody presses Ctrl-C.
pub(crate) async fn follow<K: Kind>(
    plane: &Plane,
    namespace: &str,
    name: &str,
    output: Output,
    story: &Story<K>,
) -> Result<Outcome, Error> {
    let last: Seen<K> = match (plane.read(namespace, name).await, story.gone) {
        (Err(Error::NotFound(_)), Some(outcome)) => return Ok(outcome),
        (read, _) => read?,
    };
    let mut following = Following { story, screen: Screen::new(), output, last, lost: false };
    following.first()?;
    if let Some(outcome) = following.ended()? {
        return Ok(outcome);
    }
    let selection = Selection::fields(format!("metadata.name={name}"));
    let mut changes = plane.watch(K::info(), Within::Namespace(namespace), &selection);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut interrupted = signal(SignalKind::interrupt())?;
    // A list without it says that it is gone.
    let mut listed = false;
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(Event::Init)) => listed = false,
                Some(Ok(Event::InitDone)) if listed => {}
                Some(Ok(Event::InitDone | Event::Delete(_))) => {
                    return following.gone(name);
                }
                Some(Ok(Event::Apply(object) | Event::InitApply(object))) => {
                    listed = true;
                    following.changed(seen(object)?)?;
                    if let Some(outcome) = following.ended()? {
                        return Ok(outcome);
                    }
                }
                Some(Err(error)) => match plane.watch_ended(K::info(), error) {
                    Some(error) => return Err(error),
                    None => following.lost(),
                },
                None => return Err(Error::Connection("the plane tells nothing more".into())),
            },
            _ = tick.tick() => following.draw()?,
            _ = interrupted.recv() => {
                note(&(story.goes_on)(&following.last.object));
                return Ok(Outcome::Interrupted);
            }
        }
    }
}

impl<K: Kind> Following<'_, K> {
    /// It is not there any more.
    fn gone(&mut self, name: &str) -> Result<Outcome, Error> {
        let Some(outcome) = self.story.gone else {
            let why = format!("{} {name} was deleted while it was followed", K::SINGULAR);
            return Err(Error::NotFound(why));
        };
        match self.output.data() {
            true => self.output.print(String::new, || self.last.raw.clone())?,
            false => self.screen.add(&[format!("✓ {} {name} is gone", K::SINGULAR)])?,
        }
        Ok(outcome)
    }

    fn first(&mut self) -> Result<(), Error> {
        self.tell(|story, last| (story.news)(None, last, now()))
    }

    fn changed(&mut self, next: Seen<K>) -> Result<(), Error> {
        self.lost = false;
        let before = std::mem::replace(&mut self.last, next);
        self.tell(|story, last| (story.news)(Some(&before.object), last, now()))
    }

    /// Draws all anew, or adds what is new.
    fn tell(&mut self, news: impl FnOnce(&Story<K>, &K) -> Vec<String>) -> Result<(), Error> {
        match (self.output.data(), self.screen.live()) {
            (true, _) => Ok(()),
            (false, true) => self.draw(),
            (false, false) => self.screen.add(&news(self.story, &self.last.object)),
        }
    }

    fn draw(&mut self) -> Result<(), Error> {
        if self.output.data() || !self.screen.live() {
            return Ok(());
        }
        let mut lines = (self.story.frame)(&self.last.object, now());
        if self.lost {
            lines.push("  the connection to the plane is lost; it is tried again".into());
        }
        self.screen.draw(&lines)
    }

    fn lost(&mut self) {
        if !self.lost && !self.screen.live() {
            note("the connection to the plane is lost; it is tried again");
        }
        self.lost = true;
    }

    fn ended(&mut self) -> Result<Option<Outcome>, Error> {
        let outcome = (self.story.outcome)(&self.last.object);
        if outcome.is_some() && self.output.data() {
            self.output.print(String::new, || self.last.raw.clone())?;
        }
        Ok(outcome)
    }
}
