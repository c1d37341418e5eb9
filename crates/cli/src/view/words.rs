//! Words of sentences.

pub(crate) use quarterdeck_model::words::{are, count, size};
