//! Objects from YAML files: the shipped runbooks and what `--load` names.

use serde_json::Value;
use std::path::Path;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot load {file}: {cause}")]
pub(crate) struct ManifestError {
    file: String,
    cause: String,
}

/// All objects of one YAML text, in order.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Value>, ManifestError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| ManifestError { file: file.into(), cause: error.to_string() })?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// All objects of the YAML files in a folder, each with its file; files in the order of their names.
pub(crate) fn folder(path: &Path) -> Result<Vec<(String, Value)>, ManifestError> {
    let fail = |cause: &dyn std::fmt::Display| ManifestError {
        file: path.display().to_string(),
        cause: cause.to_string(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| fail(&error))? {
        let file = entry.map_err(|error| fail(&error))?.path();
        let yaml = file.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let fail = |cause: String| ManifestError { file: name.clone(), cause };
        let size = file.metadata().map_err(|error| fail(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(fail(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(&file).map_err(|error| fail(error.to_string()))?;
        let found = parse(&name, &text)?;
        objects.extend(found.into_iter().map(|object| (name.clone(), object)));
    }
    Ok(objects)
}
