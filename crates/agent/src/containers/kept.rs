//! What is kept on the host between two lives of the agent: what is assigned to it, and what was seen of that. Secrets are
//! kept in memory only, and so outlive the agent, not the host.

use super::{
    assignment::{Assignment, Secrets},
    decide::Verdict,
    error::ContainersError,
    files,
    settings::Settings,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use quarterdeck_model::kinds::InstanceStatus;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc};

/// An assignment as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub(super) assignment: Arc<Assignment>,
    /// When what still runs of it is killed, once it is to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadline: Option<Timestamp>,
}

/// What was seen of it last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Noted {
    pub(super) status: InstanceStatus,
    pub(super) verdicts: BTreeMap<String, Verdict>,
}

fn assigned(settings: &Settings, uid: &str) -> PathBuf {
    settings.data.join("assigned").join(format!("{uid}.json"))
}

fn noted(settings: &Settings, uid: &str) -> PathBuf {
    settings.data.join("noted").join(format!("{uid}.json"))
}

fn secrets(settings: &Settings, uid: &str) -> PathBuf {
    settings.secrets.join("values").join(format!("{uid}.json"))
}

/// Makes the folders.
pub(super) fn open(settings: &Settings) -> Result<(), ContainersError> {
    for folder in [&settings.data, &settings.secrets] {
        files::private(folder)?;
    }
    files::in_memory(&settings.secrets)?;
    for folder in ["assigned", "noted", "volumes"] {
        files::private(&settings.data.join(folder))?;
    }
    for folder in ["values", "volumes"] {
        files::private(&settings.secrets.join(folder))?;
    }
    Ok(())
}

/// Keeps an assignment.
pub(super) fn keep(settings: &Settings, kept: &Kept) -> Result<(), ContainersError> {
    let Assignment { uid, secrets: values, .. } = &*kept.assignment;
    // Without them it cannot begin: they are there first.
    let text = |value: &Vec<u8>| STANDARD.encode(value);
    let values: BTreeMap<&String, BTreeMap<&String, String>> = values
        .iter()
        .map(|(name, data)| (name, data.iter().map(|(key, value)| (key, text(value))).collect()))
        .collect();
    write(&secrets(settings, uid), &values)?;
    write(&assigned(settings, uid), kept)
}

/// Keeps what was seen.
pub(super) fn note(settings: &Settings, uid: &str, seen: &Noted) -> Result<(), ContainersError> {
    write(&noted(settings, uid), seen)
}

/// What was seen last; nothing, if that cannot be read.
pub(super) fn noted_of(settings: &Settings, uid: &str) -> Noted {
    read(&noted(settings, uid)).ok().flatten().unwrap_or_default()
}

/// Forgets an instance.
pub(super) fn forget(settings: &Settings, uid: &str) -> Result<(), ContainersError> {
    for path in [secrets(settings, uid), noted(settings, uid), assigned(settings, uid)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ContainersError::file("cannot remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// All that is assigned. A file that cannot be read is told of and left: what runs of it goes on until the plane is heard.
pub(super) fn all(settings: &Settings) -> Result<Vec<Kept>, ContainersError> {
    let folder = settings.data.join("assigned");
    let entries = fs::read_dir(&folder).map_err(ContainersError::file("cannot read", &folder))?;
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(ContainersError::file("cannot read", &folder))?.path();
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        match read::<Kept>(&path) {
            Ok(Some(mut kept)) => {
                let mut assignment = Assignment::clone(&kept.assignment);
                assignment.secrets = secrets_of(settings, &assignment.uid);
                kept.assignment = Arc::new(assignment);
                all.push(kept);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(?path, %error, "an assignment that was kept cannot be read")
            }
        }
    }
    Ok(all)
}

fn secrets_of(settings: &Settings, uid: &str) -> Secrets {
    type Written = BTreeMap<String, BTreeMap<String, String>>;
    let written: Written = read(&secrets(settings, uid)).ok().flatten().unwrap_or_default();
    let data = |data: BTreeMap<String, String>| {
        data.into_iter()
            .filter_map(|(key, text)| Some((key, STANDARD.decode(text).ok()?)))
            .collect()
    };
    written.into_iter().map(|(name, values)| (name, data(values))).collect()
}

fn write(path: &std::path::Path, value: &impl Serialize) -> Result<(), ContainersError> {
    let json = serde_json::to_vec(value).map_err(io::Error::from);
    files::write(path, &json.map_err(ContainersError::file("cannot write", path))?, 0o600)
}

fn read<T: DeserializeOwned>(path: &std::path::Path) -> Result<Option<T>, ContainersError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(ContainersError::file("cannot read", path))?,
    };
    let value = serde_json::from_slice(&bytes).map_err(io::Error::from);
    value.map(Some).map_err(ContainersError::file("cannot read", path))
}
