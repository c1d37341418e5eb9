//! Where settings come from: defaults, then one TOML file, then the environment, then flags. A later one
//! wins, and each value knows where it was given. It must not know what a value means, but for the tables
//! `[[oidc]]`, whose fields are named by their line.

use super::{Flags, SETTINGS, SettingsError};
use quarterdeck_api::OidcSettings;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
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

/// What was given.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The value of each setting that has one, by its name.
    values: BTreeMap<&'static str, Given>,
    /// The tables `[[oidc]]` of the file.
    pub(super) oidc: Option<Oidc>,
}

/// Issuers of tokens, as they were given and as they were read.
#[derive(Debug)]
pub(super) struct Oidc {
    pub(super) settings: Vec<OidcSettings>,
    /// As TOML.
    pub(super) text: String,
    pub(super) origin: String,
}

/// A file of which only those tables count.
#[derive(Serialize, Deserialize)]
struct OnlyOidc<T> {
    oidc: T,
}

impl Sources {
    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.values.get(name)
    }

    fn insert(&mut self, name: &'static str, given: Given) {
        self.values.insert(name, given);
    }
}

/// Reads all sources.
pub(super) fn gather(
    flags: &Flags,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Sources, SettingsError> {
    let mut all = defaults();
    match &flags.config {
        Some(path) => file(path, true, &mut all)?,
        None => file(Path::new(DEFAULT_FILE), false, &mut all)?,
    }
    for (name, _, _) in SETTINGS {
        let variable = format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"));
        if let Some(text) = environment(&variable).filter(|text| !text.is_empty()) {
            all.insert(name, Given { text, origin: format!("environment {variable}") });
        }
    }
    given(flags, &mut all);
    Ok(all)
}

/// Reads defaults and flags alone, whatever this machine's file and environment say.
pub(super) fn gather_alone(flags: &Flags) -> Sources {
    let mut all = defaults();
    given(flags, &mut all);
    all
}

fn defaults() -> Sources {
    let mut all = Sources::default();
    for (name, default, _) in SETTINGS {
        if let Some(default) = default {
            all.insert(name, Given { text: default.into(), origin: "default".into() });
        }
    }
    all
}

fn given(flags: &Flags, all: &mut Sources) {
    for (name, text) in flags.given() {
        if let Some(text) = text {
            all.insert(name, Given { text: text.clone(), origin: format!("flag --{name}") });
        }
    }
}

/// Adds what a TOML file sets; nothing when there is none and none is required.
fn file(path: &Path, required: bool, all: &mut Sources) -> Result<(), SettingsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == ErrorKind::NotFound && !required => return Ok(()),
        Err(cause) => return Err(SettingsError::File { path: path.into(), cause }),
    };
    let place = |at: usize| format!("{}:{}", path.display(), line(&text, at));
    let told = |error: &toml::de::Error| {
        (place(error.span().map_or(0, |span| span.start)), error.message().to_owned())
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let (place, cause) = told(&error);
        SettingsError::Syntax { place, cause }
    })?;
    let wrong = |error: toml::de::Error| {
        let (place, cause) = told(&error);
        SettingsError::Oidc { place, cause }
    };
    for (key, value) in table.get_ref() {
        let origin = place(key.span().start);
        if key.get_ref() == "oidc" {
            let shown: Vec<toml::Table> = only_oidc(&text).map_err(wrong)?;
            all.oidc = Some(Oidc {
                settings: only_oidc(&text).map_err(wrong)?,
                // What was read from TOML can be written as TOML.
                text: toml::to_string(&OnlyOidc { oidc: shown }).unwrap_or_default(),
                origin,
            });
            continue;
        }
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
        all.insert(name, Given { text, origin });
    }
    Ok(())
}

fn only_oidc<T: DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
    toml::from_str::<OnlyOidc<T>>(text).map(|only| only.oidc)
}

/// The line, counted from 1, of what is `at` bytes into the text.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
