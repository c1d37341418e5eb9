//! Secret: what must not be shown (`v1`).

use crate::{Column, ColumnType, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All data of one secret together, as Kubernetes limits it.
const DATA_BYTES_MAX: usize = 1024 * 1024;

/// Small confidential data, such as a BMC's password.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// Standard object's metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The data, each value in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// The same as plain text, for writing only: it is merged into `data`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub string_data: BTreeMap<String, String>,
    /// What the data is for.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The data may never change again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("name", &self.metadata.name).finish_non_exhaustive()
    }
}

impl Secret {
    /// The decoded value of one key.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        decode(self.data.get(key)?)
    }

    /// Sets the value of one key.
    pub fn set(&mut self, key: &str, value: &[u8]) {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(value);
        self.data.insert(key.to_owned(), text);
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let compact: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(compact).ok()
}

impl Kind for Secret {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Secret";
    const PLURAL: &'static str = "secrets";
    const SINGULAR: &'static str = "secret";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const CATEGORIES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Namespaced;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("Type", "type", "What the data is for"),
        Column::new("Data", "data", "How many values it holds").of(ColumnType::Count),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["type"];
    const DESCRIPTION: &'static str =
        "Secret holds small confidential data, such as a BMC's password.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn set_defaults(&mut self) {
        use base64::Engine as _;
        for (key, text) in std::mem::take(&mut self.string_data) {
            self.data.insert(key, base64::engine::general_purpose::STANDARD.encode(text));
        }
        self.kind.get_or_insert_with(|| "Opaque".into());
    }

    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        let mut bytes = 0;
        for (key, text) in &self.data {
            let letters = |l: char| l.is_ascii_alphanumeric() || matches!(l, '-' | '_' | '.');
            if key.is_empty() || key.len() > 253 || !key.chars().all(letters) {
                errors.push(FieldError::invalid(
                    format!("data[{key}]"),
                    format!("{key:?}"),
                    "a valid key must consist of alphanumeric characters, '-', '_' or '.'",
                ));
            }
            match decode(text) {
                Some(value) => bytes += value.len(),
                // The value itself is not repeated: it may be the secret, sent unencoded by mistake.
                None => errors.push(FieldError::invalid(
                    format!("data[{key}]"),
                    "<hidden>",
                    "must be base64; use stringData for plain text",
                )),
            }
        }
        if bytes > DATA_BYTES_MAX {
            errors.push(FieldError::too_long("data", DATA_BYTES_MAX));
        }
        if let Some(old) = old {
            if old.immutable == Some(true)
                && (old.data != self.data || self.immutable != Some(true))
            {
                errors.push(FieldError::forbidden(
                    "data",
                    "field is immutable when `immutable` is set",
                ));
            }
            if old.kind != self.kind {
                let kind = self.kind.as_deref().unwrap_or_default();
                errors.push(FieldError::invalid("type", format!("{kind:?}"), "field is immutable"));
            }
        }
    }

    kind_info!(Secret);
}
