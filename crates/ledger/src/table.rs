//! Rows found by name, and by a number that stays theirs while they are there.

use std::{collections::HashMap, sync::Arc};

/// The number of a row.
pub(crate) type Number = u32;

/// Rows by name. A number is used again after its row is removed.
#[derive(Debug)]
pub(crate) struct Table<T> {
    numbers: HashMap<Arc<str>, Number>,
    rows: Vec<T>,
    free: Vec<Number>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), rows: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    pub(crate) fn number(&self, name: &str) -> Option<Number> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn get(&self, number: Number) -> Option<&T> {
        self.rows.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: Number) -> Option<&mut T> {
        self.rows.get_mut(number as usize)
    }

    /// Numbers of all rows, also of those that were given up.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = Number> + use<T> {
        0..Number::try_from(self.rows.len()).unwrap_or(Number::MAX)
    }

    /// One more than the largest number of a row.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The row of that name, made when there is none.
    pub(crate) fn entry(&mut self, name: &str, new: impl FnOnce(Arc<str>) -> T) -> Number {
        if let Some(number) = self.number(name) {
            return number;
        }
        let name: Arc<str> = name.into();
        let row = new(name.clone());
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.get_mut(number) {
                    *place = row;
                }
                number
            }
            None => {
                // Four billion rows do not fit into memory.
                let number = Number::try_from(self.rows.len()).unwrap_or(Number::MAX);
                self.rows.push(row);
                number
            }
        };
        self.numbers.insert(name, number);
        number
    }

    /// Gives up a row. What it held must be gone already.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(number) = self.numbers.remove(name) {
            self.free.push(number);
        }
    }
}
