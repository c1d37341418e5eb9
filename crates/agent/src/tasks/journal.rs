//! Tasks on disk, one file each: written before a task is begun, and with its result before that is told.

use crate::{AgentError, folder};
use quarterdeck_model::{agent::Task, kinds::AgentTaskStatus};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A task and how far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) task: Task,
    pub(crate) status: AgentTaskStatus,
}

/// The files.
#[derive(Debug)]
pub(crate) struct Journal(PathBuf);

impl Journal {
    /// Reads what there is. What a crash left half-written was never begun.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Entry>), AgentError> {
        let failed = folder::failed("read", path);
        let mut entries = Vec::new();
        for file in fs::read_dir(path).map_err(&failed)? {
            let file = file.map_err(&failed)?.path();
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read(&file).map_err(&failed)?;
            let entry = serde_json::from_slice(&text).map_err(|error| AgentError::Broken {
                path: file.clone(),
                cause: format!("{error}; the task in it may have been done: look at the host, then remove the file"),
            })?;
            entries.push(entry);
        }
        Ok((Self(path.into()), entries))
    }

    /// Names of objects are safe as names of files, but a plane may be no plane.
    fn file(&self, name: &str) -> io::Result<PathBuf> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(safe) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a task has no name that can be",
            ));
        }
        Ok(self.0.join(format!("{name}.json")))
    }

    pub(crate) fn write(&self, entry: &Entry) -> io::Result<()> {
        folder::write(&self.file(&entry.task.name)?, &serde_json::to_vec(entry)?, folder::PRIVATE)
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_kept_and_no_name_leaves_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, none) = Journal::open(folder.path()).unwrap();
        assert!(none.is_empty());
        let task = |name: &str| {
            let (name, uid) = (name.to_owned(), "u".to_owned());
            let task = Task { name, uid, spec: Default::default(), left_millis: None };
            Entry { task, status: AgentTaskStatus::default() }
        };
        journal.write(&task("a.b-1")).unwrap();
        for wrong in ["", "../a", "a/b", ".a", &"a".repeat(300)] {
            assert!(journal.write(&task(wrong)).is_err(), "{wrong}");
        }
        fs::write(folder.path().join("half.json.new"), "{").unwrap();
        let (journal, found) = Journal::open(folder.path()).unwrap();
        assert_eq!(found[0].task.name, "a.b-1");
        journal.remove("a.b-1").unwrap();
        journal.remove("a.b-1").unwrap();
        assert!(Journal::open(folder.path()).unwrap().1.is_empty());
    }
}
