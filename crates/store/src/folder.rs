//! The lock on a data folder: one process works in it at a time, whatever backend it uses. It says
//! nothing about what is in the folder.

use crate::StoreError;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write as _},
    path::Path,
};

/// Name of the file whose lock says who owns the folder.
const LOCK_FILE: &str = "quarterdeck.lock";

/// Ownership of a data folder, for as long as it lives; the system lets go of it however the
/// process ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes this process the owner of the folder `dir`.
    ///
    /// # Errors
    /// When another process owns it, or its lock file cannot be opened or locked.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(LOCK_FILE);
        let open =
            || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open().map_err(|error| {
            StoreError::Unwritable(format!(
                "cannot open {}: {error}; check that the data folder exists and this user may write to it",
                path.display()
            ))
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Only for the message.
                let _ = (&mut file).take(32).read_to_string(&mut owner);
                let owner = owner.trim();
                let who = if owner.is_empty() {
                    "Another process".to_owned()
                } else {
                    format!("Another process (pid {owner})")
                };
                return Err(StoreError::InUse(format!(
                    "{who} already runs on {}. Stop it first, or choose another folder with --data-dir.",
                    dir.display()
                )));
            }
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::Unusable(format!(
                    "cannot lock {}: {error}",
                    path.display()
                )));
            }
        }
        // Only for the message above; the lock itself does not need it.
        let _ = file.set_len(0);
        let _ = file.rewind();
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}
