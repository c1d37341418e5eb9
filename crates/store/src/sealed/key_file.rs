//! The file with the keys that seal what is confidential: reading it, making it, adding a key. A key
//! must never be printed, logged or part of an error.
//!
//! One key a line: when it was made, and 32 random bytes in base64. The first one seals; all of them
//! open. Empty lines and those that begin with `#` are skipped.

use super::envelope::{KeyId, SealingKey, id};
use crate::StoreError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::rand::{SecureRandom, SystemRandom};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Longest file that is read: room for a rotation a day for a year.
const FILE_BYTES_MAX: u64 = 64 * 1024;
const HEADING: &str = "# Keys that encrypt Secrets in the store. Who has this file can read them; without it they are\n\
                       # lost: keep a copy apart from backups of the store. The first key encrypts, all decrypt.\n";

/// The keys of a file as it was read.
pub(super) struct Keys {
    /// Which one seals.
    pub(super) first: KeyId,
    keys: HashMap<KeyId, Arc<SealingKey>>,
}

impl Keys {
    /// The key of that name.
    pub(super) fn get(&self, id: KeyId) -> Option<&Arc<SealingKey>> {
        self.keys.get(&id)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut first = None;
        let mut keys = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || {
                format!(
                    "line {} is not a time and 32 bytes in base64, with a blank between",
                    at + 1
                )
            };
            let (_, key) = line.split_once(char::is_whitespace).ok_or_else(wrong)?;
            let bytes = STANDARD.decode(key.trim()).map_err(|_| wrong())?;
            let key = SealingKey::new(&bytes).ok_or_else(wrong)?;
            let id = id(&bytes);
            first.get_or_insert(id);
            keys.insert(id, Arc::new(key));
        }
        let first = first.ok_or_else(|| "it holds no key".to_owned())?;
        Ok(Self { first, keys })
    }
}

/// What tells that a file has changed, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// A key file.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl std::fmt::Display for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.display().fmt(f)
    }
}

impl KeyFile {
    /// The file at `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// Makes the file with a first key, unless it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(&self, now: &str) -> Result<(), StoreError> {
        if self.path.exists() {
            return Ok(());
        }
        self.write(&format!("{HEADING}{}", line(now)?)).map_err(|error| self.unwritable(&error))
    }

    /// Puts a new key in the first place, whose name it answers. The plane notices by itself.
    ///
    /// # Errors
    /// When the file is not there, is not a key file, or cannot be written.
    pub fn rotate(&self, now: &str) -> Result<KeyId, StoreError> {
        self.read()?;
        let text = fs::read_to_string(&self.path).map_err(|error| self.unreadable(&error))?;
        let before = text.strip_prefix(HEADING).unwrap_or(&text);
        self.write(&format!("{HEADING}{}{before}", line(now)?))
            .map_err(|error| self.unwritable(&error))?;
        Ok(self.read()?.0.first)
    }

    /// Reads the keys.
    pub(super) fn read(&self) -> Result<(Keys, Version), StoreError> {
        // The version first: a change while it is read is noticed the next time.
        let version = self.version().map_err(|error| self.unreadable(&error))?;
        if version.bytes > FILE_BYTES_MAX {
            return Err(self.unusable(&format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let text = fs::read_to_string(&self.path).map_err(|error| self.unreadable(&error))?;
        let keys = Keys::parse(&text).map_err(|why| self.unusable(&why))?;
        Ok((keys, version))
    }

    pub(super) fn version(&self) -> io::Result<Version> {
        let data = fs::metadata(&self.path)?;
        let changed = (data.mtime(), data.mtime_nsec());
        Ok(Version { inode: data.ino(), bytes: data.len(), changed })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file as a whole: half a key file is worse than none.
    fn write(&self, text: &str) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        // One that was left over may have been made with other permissions.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn unreadable(&self, error: &io::Error) -> StoreError {
        self.unusable(&format!("{error}; restore it from your copy"))
    }

    fn unusable(&self, why: &str) -> StoreError {
        StoreError::Unusable(format!("cannot use the key file {}: {why}", self.path.display()))
    }

    fn unwritable(&self, error: &io::Error) -> StoreError {
        StoreError::Unwritable(format!(
            "cannot write the key file {}: {error}; check that its folder exists and this user may write to it",
            self.path.display()
        ))
    }
}

fn line(now: &str) -> Result<String, StoreError> {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| StoreError::Unavailable("the system gives no random numbers".into()))?;
    Ok(format!("{now} {}\n", STANDARD.encode(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_seals_and_all_open() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(&folder.path().join("secrets.key"));
        assert!(file.rotate("t0").is_err(), "there is nothing to add to");
        file.make("t1").unwrap();
        let (one, version) = file.read().unwrap();
        file.make("t2").unwrap();
        assert_eq!(file.version().unwrap(), version, "a file that is there stays");
        let second = file.rotate("t3").unwrap();
        let (two, newer) = file.read().unwrap();
        assert!(two.first == second && second != one.first && newer != version);
        assert!(two.get(one.first).is_some() && two.get(second).is_some());
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.matches('#').count(), 2, "{text}");
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_a_key_file_is_refused_without_saying_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        for (text, why) in [
            ("", "no key"),
            ("# nothing\n\n", "no key"),
            ("2026 c2hvcnQ=\n", "line 1"),
            ("# one\nnonsense\n", "line 2"),
            ("2026 !!!!", "line 1"),
        ] {
            fs::write(&path, text).unwrap();
            let error = KeyFile::at(&path).read().err().unwrap().to_string();
            assert!(error.contains(why) && error.contains("secrets.key"), "{error}");
            assert!(!error.contains("c2hvcnQ"), "{error}");
        }
        fs::write(&path, "#".repeat(70_000)).unwrap();
        assert!(KeyFile::at(&path).read().is_err());
    }
}
