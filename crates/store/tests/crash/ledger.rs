//! What the test knows for sure about a store, and the proof that the store agrees.

use super::writer::{Told, text_of};
use crate::support::{
    all_changes, loaded,
    model::{Model, assert_same},
};
use quarterdeck_model::Revision;
use quarterdeck_store::Backend;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long transactions of killed writers may take to end.
const READ_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct Ledger {
    model: Model,
    /// Every write that is in the log, by its text.
    written: HashMap<String, Revision>,
    /// How many writes were acknowledged in all, and how many failed.
    pub(crate) acknowledged: usize,
    pub(crate) failed: usize,
}

impl Ledger {
    /// The revision up to which all was compared.
    pub(crate) fn checked(&self) -> Revision {
        self.model.head()
    }

    /// Reads what is new in the store and compares all of it with what the writers were told.
    pub(crate) async fn check(&mut self, store: &dyn Backend, told: &[(String, Told)]) {
        self.read(store).await;
        for (text, told) in told {
            let found = self.written.get(text);
            match told {
                Told::Committed(revision) => {
                    assert_eq!(found, Some(revision), "{text} was acknowledged at {revision}");
                    self.acknowledged += 1;
                }
                Told::Failed => {
                    assert_eq!(found, None, "{text} was reported as failed");
                    self.failed += 1;
                }
                Told::Unknown => {}
            }
        }
    }

    /// Reads what is new, until nothing more comes: a server may still be about to end the last
    /// transaction of a writer that was killed.
    async fn read(&mut self, store: &dyn Backend) {
        let end = Instant::now() + READ_DEADLINE;
        loop {
            let new = all_changes(store, self.model.head()).await;
            self.model.extend(&new);
            for change in &new {
                let text = text_of(change.body.as_ref().expect("writers only put"));
                let before = self.written.insert(text.clone(), change.revision);
                assert_eq!(before, None, "{text} is there twice");
            }
            let (current, head) = loaded(store).await;
            if head == self.model.head() && store.head().await.unwrap() == head {
                return assert_same(&current, &self.model.now());
            }
            assert!(Instant::now() < end, "the head moves though nobody writes");
        }
    }
}
