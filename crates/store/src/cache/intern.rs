//! One copy of each text that many objects share: namespaces, labels, values of indexed fields.

use std::{collections::HashSet, sync::Arc};

/// Below this many texts a sweep is not worth its time.
const SWEEP_MIN: usize = 65_536;

/// A set of shared texts. Texts nobody uses any more are swept out when it has doubled.
#[derive(Default)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    swept: usize,
}

impl Interner {
    /// The one copy of `text`.
    pub(crate) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }

    /// Drops unused texts, if there may be many.
    pub(crate) fn sweep(&mut self) {
        if self.texts.len() > 2 * self.swept.max(SWEEP_MIN) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.swept = self.texts.len();
        }
    }
}
