//! The agent's own folder: locked by one process, readable by its user alone, each file written in one step.

use crate::AgentError;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A folder that this process owns.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Folder {
    /// Opens and locks a folder, making it at the first start.
    pub(crate) fn open(path: &Path) -> Result<Self, AgentError> {
        make(path)?;
        let file = path.join("lock");
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(&file);
        let lock = lock.map_err(failed("open", &file))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                Err(AgentError::Running(path.into()))
            }
            Err(error) => Err(failed("lock", &file)(error.into())),
        }
    }

    /// A folder in it.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, AgentError> {
        let path = self.path.join(name);
        make(&path)?;
        Ok(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What a file holds; none when there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, AgentError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Puts a file in another's place.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), AgentError> {
        let (from, to) = (self.path(from), self.path(to));
        let renamed = fs::rename(&from, &to).and_then(|()| sync_folder(&to));
        renamed.map_err(failed("rename", &from))
    }

    /// Writes a file in one step.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), AgentError> {
        let path = self.path(name);
        write(&path, text.as_bytes(), PRIVATE).map_err(failed("write", &path))
    }
}

fn make(path: &Path) -> Result<(), AgentError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed("create", path))
}

pub(crate) fn failed<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl Fn(io::Error) -> AgentError + 'p {
    move |cause| AgentError::File { action, path: path.into(), cause }
}

/// A file that only its owner may read.
pub(crate) const PRIVATE: u32 = 0o600;

/// Writes a file in one step that survives a loss of power: it is the old one or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&new)?;
    // What is left of a crash may have another.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)
}

/// Makes what was renamed or removed in a file's folder durable.
pub(crate) fn sync_folder(of: &Path) -> io::Result<()> {
    File::open(of.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_agents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        let first = Folder::open(&path).unwrap();
        let error = Folder::open(&path).unwrap_err().to_string();
        assert!(error.starts_with("another agent runs in "), "{error}");
        drop(first);
        let again = Folder::open(&path).unwrap();
        assert_eq!(again.read("a").unwrap(), None);
        again.write("a", "b").unwrap();
        assert_eq!(again.read("a").unwrap().as_deref(), Some("b"));
    }
}
