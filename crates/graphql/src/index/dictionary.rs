//! The different values of a field, each with a small number, so that a column of them is numbers.

use std::{collections::HashMap, sync::Arc};

/// Values by number. The first is the empty text, which is that there is no value.
#[derive(Clone)]
pub(crate) struct Dictionary {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    /// How many there were when it was built.
    built: usize,
}

/// A field with more different values has no dictionary: its values are kept beside the names.
pub(super) const VALUES_MAX: usize = 1 << 18;
/// So few different values have a dictionary whatever share of the objects they are of.
const FEW: usize = 1_024;

impl Dictionary {
    pub(super) fn new() -> Self {
        let empty: Arc<str> = "".into();
        Self { numbers: HashMap::from([(empty.clone(), 0)]), texts: vec![empty], built: 0 }
    }

    /// The number of a value, which is new if need be.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        // No more than there are objects, which are fewer than four billion.
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn get(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    /// Ends its making.
    pub(super) fn finish(mut self) -> Self {
        self.built = self.texts.len();
        self
    }

    /// Whether values are hardly ever shared by that many objects, so that a number for each is dear.
    pub(super) fn is_wide(&self, objects: usize) -> bool {
        self.texts.len() > FEW && self.texts.len().saturating_mul(4) > objects
    }

    /// Whether so many values have come since it was built that most may be gone again.
    pub(super) fn is_worn(&self) -> bool {
        self.texts.len() > VALUES_MAX || self.texts.len() > 2 * self.built + FEW
    }

    /// Values in the order of their numbers.
    pub(crate) fn texts(&self) -> &[Arc<str>] {
        &self.texts
    }

    /// For each number, whether its value passes.
    pub(crate) fn passing(&self, test: impl Fn(&str) -> bool) -> Vec<bool> {
        self.texts.iter().map(|text| test(text)).collect()
    }
}
