//! One answer for all who ask the same at the same time. Pages are told at one moment that something changed, and ask at that
//! moment: one of them asks, and those who came before that was begun wait for it and share it.
//!
//! Nobody gets an answer that is older than the question, nor one that was made for eyes that see something else: what an answer
//! was made of that its asker may see is noted ([`Facts`]), and must hold for whoever shares it.

use crate::viewer::{Act, Scope, Viewer};
use bytes::Bytes;
use quarterdeck_model::KindRef;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::Mutex as Turn;

/// An answer that depends on more than so many things its asker may do is for that one alone.
const FACTS_MAX: usize = 64;

/// An answer, and whether the question could be asked at all.
pub(crate) type Answer = (Bytes, bool);

/// Who asks what at this moment.
#[derive(Default)]
pub(crate) struct Shared {
    lines: Mutex<HashMap<Arc<str>, Weak<Line>>>,
    /// Counts questions and answers that are begun, so that it is known which came first.
    clock: AtomicU64,
}

/// All who ask the same question: one of them has their turn.
#[derive(Default)]
struct Line {
    last: Turn<Option<Made>>,
}

/// The last answer, as long as somebody is left in the line.
struct Made {
    began: u64,
    facts: Facts,
    answer: Answer,
}

/// A place in a line. The line goes with the last of them.
struct Place<'s> {
    shared: &'s Shared,
    question: Arc<str>,
    line: Arc<Line>,
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Line>>> {
        // Each change is one insertion or removal, so a poisoned lock guards a good map.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, question: &str) -> Place<'_> {
        let mut lines = self.lines();
        let known = lines.get_key_value(question);
        if let Some((question, line)) = known.and_then(|(it, line)| Some((it, line.upgrade()?))) {
            return Place { shared: self, question: question.clone(), line };
        }
        let (question, line): (Arc<str>, Arc<Line>) = (question.into(), Arc::default());
        lines.insert(question.clone(), Arc::downgrade(&line));
        Place { shared: self, question, line }
    }

    /// The answer to a question, which `make` makes for somebody.
    ///
    /// # Errors
    /// What `make` fails with.
    pub(crate) async fn answer<E, M>(
        &self,
        question: &str,
        viewer: Arc<dyn Viewer>,
        make: impl FnOnce(Arc<dyn Viewer>) -> M,
    ) -> Result<Answer, E>
    where
        M: Future<Output = Result<Answer, E>>,
    {
        let asked = self.clock.fetch_add(1, Ordering::AcqRel);
        let place = self.enter(question);
        let mut last = place.line.last.lock().await;
        if let Some(made) = last.as_ref().filter(|made| made.began > asked) {
            if made.facts.hold(&*viewer) {
                return Ok(made.answer.clone());
            }
            // Who sees something else waits for no other.
            drop(last);
            return make(viewer).await;
        }
        let began = self.clock.fetch_add(1, Ordering::AcqRel);
        let witness = Arc::new(Witness::new(viewer));
        let answer = make(witness.clone()).await?;
        *last = Some(Made { began, facts: witness.facts(), answer: answer.clone() });
        Ok(answer)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Nobody enters meanwhile.
        let mut lines = self.shared.lines();
        if Arc::strong_count(&self.line) == 1 {
            lines.remove(&self.question);
        }
    }
}

/// What an answer was made of that is about its asker.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// It is for nobody else.
    own: bool,
    teams: Option<Vec<String>>,
    /// Of which kinds all may be seen, and of which none.
    scopes: Vec<(KindRef, bool)>,
    may: Vec<(Did, bool)>,
}

/// An [`Act`] that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Did {
    kind: KindRef,
    /// Verb, subresource, namespace and name.
    words: [String; 4],
}

impl Did {
    fn of(act: &Act<'_>) -> Self {
        let words = [act.verb, act.subresource, act.namespace, act.name].map(str::to_owned);
        Self { kind: act.kind, words }
    }

    fn act(&self) -> Act<'_> {
        let [verb, subresource, namespace, name] = self.words.each_ref().map(String::as_str);
        Act { verb, kind: self.kind, subresource, namespace, name }
    }
}

impl Facts {
    /// Whether somebody else would be answered the same.
    fn hold(&self, viewer: &dyn Viewer) -> bool {
        let sees = |kind| match viewer.scope(kind) {
            Scope::All => Some(true),
            Scope::Nothing => Some(false),
            Scope::Some(_) => None,
        };
        !self.own
            && self.scopes.iter().all(|(kind, all)| sees(kind) == Some(*all))
            && self.teams.as_ref().is_none_or(|teams| viewer.teams() == *teams)
            && self.may.iter().all(|(did, may)| viewer.may(&did.act()) == *may)
    }

    fn note(&mut self, did: Did, may: bool) {
        if self.may.iter().any(|(known, _)| *known == did) {
            return;
        }
        if self.may.len() >= FACTS_MAX {
            self.own = true;
            return;
        }
        self.may.push((did, may));
    }
}

/// Notes what is asked about somebody.
struct Witness {
    viewer: Arc<dyn Viewer>,
    own: AtomicBool,
    facts: Mutex<Facts>,
}

impl Witness {
    fn new(viewer: Arc<dyn Viewer>) -> Self {
        Self { viewer, own: AtomicBool::new(false), facts: Mutex::default() }
    }

    fn noted(&self) -> MutexGuard<'_, Facts> {
        // Each change is one insertion, so a poisoned lock guards good facts.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn facts(&self) -> Facts {
        let mut facts = self.noted().clone();
        facts.own |= self.own.load(Ordering::Acquire);
        facts
    }
}

impl Viewer for Witness {
    fn user(&self) -> &str {
        self.own.store(true, Ordering::Release);
        self.viewer.user()
    }

    fn groups(&self) -> &[String] {
        self.own.store(true, Ordering::Release);
        self.viewer.groups()
    }

    fn teams(&self) -> Vec<String> {
        let teams = self.viewer.teams();
        self.noted().teams = Some(teams.clone());
        teams
    }

    fn may(&self, act: &Act<'_>) -> bool {
        let may = self.viewer.may(act);
        if !self.own.load(Ordering::Acquire) {
            self.noted().note(Did::of(act), may);
        }
        may
    }

    fn scope(&self, kind: KindRef) -> Scope {
        let scope = self.viewer.scope(kind);
        match &scope {
            Scope::Some(_) => self.own.store(true, Ordering::Release),
            all => self.noted().scopes.push((kind, matches!(all, Scope::All))),
        }
        scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sees;
    use quarterdeck_model::{Kind as _, kinds::Server};
    use std::{convert::Infallible, sync::atomic::AtomicUsize, time::Duration};
    use tokio::{
        sync::Semaphore,
        task::JoinSet,
        time::{Instant, sleep},
    };

    /// Makes answers, each when it is let, and counts them.
    struct Maker {
        shared: Shared,
        begun: AtomicUsize,
        gate: Semaphore,
    }

    impl Maker {
        fn new() -> Arc<Self> {
            let (shared, begun) = (Shared::default(), AtomicUsize::new(0));
            Arc::new(Self { shared, begun, gate: Semaphore::new(0) })
        }

        /// Asks what servers there are: the number of the answer, and whether all may be seen.
        async fn ask(self: Arc<Self>, sees: Option<&'static str>) -> String {
            let make = async |viewer: Arc<dyn Viewer>| {
                let number = self.begun.fetch_add(1, Ordering::AcqRel);
                let all = matches!(viewer.scope(Server::info()), Scope::All);
                self.gate.acquire().await.unwrap().forget();
                Ok::<_, Infallible>((format!("{number} {all}").into(), true))
            };
            let answer = self.shared.answer("servers", Arc::new(Sees(sees)), make);
            let (answer, _) = answer.await.unwrap();
            String::from_utf8(answer.to_vec()).unwrap()
        }

        /// Waits until so many are in the line, and so many answers were begun.
        async fn until(&self, asking: usize, begun: usize) {
            let end = Instant::now() + Duration::from_secs(10);
            loop {
                let line = self.shared.lines().get("servers").map_or(0, Weak::strong_count);
                if line == asking && self.begun.load(Ordering::Acquire) == begun {
                    return;
                }
                assert!(Instant::now() < end, "{line} ask, {:?} begun", self.begun);
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn who_came_before_an_answer_was_begun_shares_it_and_nobody_else() {
        let maker = Maker::new();
        let first = tokio::spawn(maker.clone().ask(None));
        maker.until(1, 1).await;
        // What has changed since the first was begun is not in its answer.
        let mut later = JoinSet::new();
        for _ in 0..20 {
            later.spawn(maker.clone().ask(None));
        }
        maker.until(21, 1).await;
        maker.gate.add_permits(2);
        assert_eq!(first.await.unwrap(), "0 true");
        while let Some(answer) = later.join_next().await {
            assert_eq!(answer.unwrap(), "1 true");
        }
        assert!(maker.shared.lines().is_empty(), "nothing is kept");
        maker.gate.add_permits(1);
        assert_eq!(maker.clone().ask(None).await, "2 true");
    }

    #[tokio::test]
    async fn nobody_is_answered_what_was_made_for_other_eyes() {
        for (one, other) in [(None, Some("a")), (Some("a"), None), (Some("a"), Some("a"))] {
            let maker = Maker::new();
            let first = tokio::spawn(maker.clone().ask(None));
            maker.until(1, 1).await;
            let one_asks = tokio::spawn(maker.clone().ask(one));
            maker.until(2, 1).await;
            let other_asks = tokio::spawn(maker.clone().ask(other));
            maker.until(3, 1).await;
            maker.gate.add_permits(3);
            first.await.unwrap();
            let all = |answer: String| answer.ends_with("true");
            assert_eq!(all(one_asks.await.unwrap()), one.is_none());
            assert_eq!(all(other_asks.await.unwrap()), other.is_none());
            assert_eq!(maker.begun.load(Ordering::Acquire), 3, "{one:?} {other:?}");
        }
    }

    #[tokio::test]
    async fn who_stops_asking_holds_up_nobody() {
        let maker = Maker::new();
        let first = tokio::spawn(maker.clone().ask(None));
        maker.until(1, 1).await;
        let second = tokio::spawn(maker.clone().ask(None));
        maker.until(2, 1).await;
        first.abort();
        maker.until(1, 2).await;
        maker.gate.add_permits(1);
        assert_eq!(second.await.unwrap(), "1 true");
    }
}
