//! Where a page ended, as a text that clients give back. It names a place in the order and no position, so that it
//! stays good whatever comes and goes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// Longest cursor that is read.
const BYTES_MAX: usize = 4_096;

/// The last object of a page, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The order that it is a place in.
    #[serde(rename = "o")]
    pub(crate) order: String,
    /// What the object is sorted by.
    #[serde(rename = "v")]
    pub(crate) value: String,
    #[serde(rename = "k")]
    pub(crate) kind: String,
    #[serde(rename = "n")]
    pub(crate) namespace: String,
    #[serde(rename = "m")]
    pub(crate) name: String,
}

impl Cursor {
    pub(crate) fn write(&self) -> String {
        // Texts can always be written.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what [`Cursor::write`] wrote, of a page in the same order.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn read(text: &str, order: &str) -> Result<Self, String> {
        let bytes = Some(text).filter(|text| text.len() <= BYTES_MAX);
        let bytes = bytes.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let cursor = bytes.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        let cursor =
            cursor.ok_or("after is not a cursor that this plane gave; begin without it")?;
        if cursor.order != order {
            return Err("after is a cursor of another order; keep sort and kinds as they were, or begin without it".into());
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_in_its_own_order_only() {
        let text = |text: &str| text.to_owned();
        let cursor = Cursor {
            order: text("status.phase"),
            value: text("é"),
            kind: text("Run"),
            namespace: text("ops"),
            name: text("r-1"),
        };
        assert_eq!(Cursor::read(&cursor.write(), "status.phase"), Ok(cursor.clone()));
        assert!(Cursor::read(&cursor.write(), "kind").unwrap_err().contains("another order"));
        for wrong in ["", "x", "e30", &"a".repeat(BYTES_MAX + 1)] {
            assert!(Cursor::read(wrong, "").unwrap_err().contains("begin without it"), "{wrong}");
        }
    }
}
