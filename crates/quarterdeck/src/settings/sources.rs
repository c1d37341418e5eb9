//! Where settings come from: defaults, then one TOML file, then the environment, then flags. A later one
//! wins, and each value knows where it was given. It must not know what a value means.

use super::{Flags, SETTINGS, SettingsError};
use std::{collections::BTreeMap, io::ErrorKind, path::Path};
use toml::de::{DeTable, DeValue};

/// Where the file is looked for when `--config` is not given.
const DEFAULT_FILE: &str = "/etc/quarterdeck/config.toml";
/// What environment variables begin with: `QUARTERDECK_LISTEN`.
const PREFIX: &str = "QUARTERDECK_";

/// A value as it was given, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: String,
}

/// The value of each setting that has one, by its name.
pub(super) type Sources = BTreeMap<&'static str, Given>;

/// Reads all sources.
pub(super) fn gather(
    flags: &Flags,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Sources, SettingsError> {
    let mut all = Sources::new();
    for (name, default, _) in SETTINGS {
        if let Some(default) = default {
            all.insert(name, Given { text: default.into(), origin: "default".into() });
        }
    }
    match &flags.config {
        Some(path) => all.extend(file(path, true)?),
        None => all.extend(file(Path::new(DEFAULT_FILE), false)?),
    }
    for (name, _, _) in SETTINGS {
        let variable = format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"));
        if let Some(text) = environment(&variable).filter(|text| !text.is_empty()) {
            all.insert(name, Given { text, origin: format!("environment {variable}") });
        }
    }
    for (name, text) in flags.given() {
        if let Some(text) = text {
            all.insert(name, Given { text: text.clone(), origin: format!("flag --{name}") });
        }
    }
    Ok(all)
}

/// What a TOML file sets; nothing when there is none and none is required.
fn file(path: &Path, required: bool) -> Result<Sources, SettingsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == ErrorKind::NotFound && !required => return Ok(Sources::new()),
        Err(cause) => return Err(SettingsError::File { path: path.into(), cause }),
    };
    let place = |at: usize| format!("{}:{}", path.display(), line(&text, at));
    let table = DeTable::parse(&text).map_err(|error| SettingsError::Syntax {
        place: place(error.span().map_or(0, |span| span.start)),
        cause: error.message().into(),
    })?;
    let mut found = Sources::new();
    for (key, value) in table.get_ref() {
        let origin = place(key.span().start);
        let Some((name, _, _)) = SETTINGS.iter().find(|(name, _, _)| name == key.get_ref()) else {
            return Err(SettingsError::Unknown { name: key.get_ref().to_string(), origin });
        };
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(yes) => yes.to_string(),
            other => {
                return Err(SettingsError::NoText { name, found: other.type_str(), origin });
            }
        };
        found.insert(name, Given { text, origin });
    }
    Ok(found)
}

/// The line, counted from 1, of what is `at` bytes into the text.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
