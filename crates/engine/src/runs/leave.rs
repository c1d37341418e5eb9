//! Leave of one run to disrupt its target: asked for when a step wants it, and again when it was refused and
//! something gave way.

use crate::ledger::{Answer, Asker, InUse, Ledger, What};
use quarterdeck_model::Time;
use quarterdeck_runbook::Admission;
use std::time::Duration;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

/// How soon a run that was refused asks again when nobody tells it to. Those who wait for the same are told a few
/// at a time.
const AGAIN: Duration = Duration::from_secs(15);

/// Pause before a question that was not answered is asked again.
const UNANSWERED_PAUSE: Duration = Duration::from_secs(1);
/// What a run says meanwhile.
const UNANSWERED: &str = "the ledger waits for the store";

/// Shows that the ledger permits a run to disrupt its target. Made here alone.
#[derive(Debug, Clone)]
pub(crate) struct Permitted(#[expect(dead_code, reason = "it is there to be kept")] Option<InUse>);

/// What a run knows of its leave.
pub(super) struct Leave {
    ledger: Ledger,
    /// None when it has no target: then there is nothing to disrupt.
    asker: Option<Asker>,
    state: State,
}

enum State {
    Quiet,
    Asked {
        answer: oneshot::Receiver<Answer>,
        why: Option<String>,
    },
    /// Nobody tells when it helps to ask again, once that is none.
    Refused {
        why: String,
        again: Option<oneshot::Receiver<()>>,
        at: Instant,
    },
    /// With what keeps the permit, when there is a target.
    Permitted(Option<InUse>),
}

impl Leave {
    pub(super) fn new(ledger: Ledger, asker: Option<Asker>) -> Self {
        let state = if asker.is_some() { State::Quiet } else { State::Permitted(None) };
        Self { ledger, asker, state }
    }

    /// What the interpreter is told.
    pub(super) fn admission(&self) -> Admission<'_> {
        match &self.state {
            State::Permitted(_) => Admission::Permitted,
            State::Refused { why, .. } | State::Asked { why: Some(why), .. } => {
                Admission::Refused(why)
            }
            State::Quiet | State::Asked { .. } => Admission::Unknown,
        }
    }

    pub(super) fn permitted(&self) -> Option<Permitted> {
        match &self.state {
            State::Permitted(in_use) => Some(Permitted(in_use.clone())),
            _ => None,
        }
    }

    /// Nothing acts on the permit any more: it may be taken back.
    pub(super) fn let_go(&mut self) {
        self.state = State::Quiet;
    }

    /// A step waits for leave.
    pub(super) fn want(&mut self) {
        if matches!(self.state, State::Quiet) {
            self.ask(What::Permit, None);
        }
    }

    fn ask(&mut self, what: What, why: Option<String>) {
        if let Some(asker) = &self.asker {
            let answer = self.ledger.ask(what, asker.clone());
            self.state = State::Asked { answer, why };
        }
    }

    /// Learns what the answer would be now, without asking for a permit.
    pub(super) async fn look(&mut self, now: Time) {
        if self.asker.is_some() {
            self.ask(What::Look, None);
            self.news(now).await;
        }
    }

    /// Has a disruption counted that may have begun; false when that could not be done yet.
    pub(super) async fn insist(&mut self, now: Time) -> bool {
        if self.permitted().is_none() {
            self.ask(What::Note, None);
            self.news(now).await;
        }
        if self.permitted().is_none() {
            sleep(UNANSWERED_PAUSE).await;
        }
        self.permitted().is_some()
    }

    /// Returns when there is something new to decide on. May be dropped and called again.
    pub(super) async fn news(&mut self, now: Time) {
        loop {
            match &mut self.state {
                State::Quiet | State::Permitted(_) => std::future::pending().await,
                State::Asked { answer, why } => match answer.await {
                    Ok(Answer::Permitted(in_use)) => {
                        self.state = State::Permitted(Some(in_use));
                        return;
                    }
                    Ok(Answer::Refused { why: new, again, until }) => {
                        let same = why.as_ref() == Some(&new);
                        let at = Instant::now() + pause(now, until);
                        self.state = State::Refused { why: new, again: Some(again), at };
                        if !same {
                            return;
                        }
                    }
                    // The store could not be used, or the term is ending.
                    Err(_) => {
                        let why = why.take().unwrap_or_else(|| UNANSWERED.into());
                        let at = Instant::now() + UNANSWERED_PAUSE;
                        self.state = State::Refused { why, again: None, at };
                        return;
                    }
                },
                State::Refused { why, again, at } => {
                    let told = async {
                        match again.as_mut() {
                            Some(again) => again.await.is_ok(),
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        told = told => {
                            *again = None;
                            if !told {
                                continue;
                            }
                        }
                        () = sleep_until(*at) => {}
                    }
                    let why = std::mem::take(why);
                    self.ask(What::Permit, Some(why));
                }
            }
        }
    }
}

/// How long to wait before asking again.
fn pause(now: Time, until: Option<Time>) -> Duration {
    let left = until.map(|until| until.timestamp().duration_since(now.timestamp()));
    let left = left.and_then(|left| Duration::try_from(left).ok());
    left.map_or(AGAIN, |left| left.min(AGAIN)).max(Duration::from_millis(50))
}
