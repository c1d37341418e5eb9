//! Copies of a whole store at one revision, in a file that either backend can be restored from. It must
//! never take a file that is not whole for one that is, nor leave half a copy under the name of a whole, nor
//! write over a file that it did not begin.
//!
//! Bodies are copied as the backend holds them: what is sealed stays sealed.
//!
//! Start reading at [`write`] and [`read`]; `format` is the file. What each backend does is in its own
//! folder (`sqlite/backup.rs`, `postgres/backup.rs`).

mod format;

pub(crate) use format::{Part, Reader, Writer};

use crate::{Current, StoreError, Taker};
use quarterdeck_model::Revision;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{BufWriter, ErrorKind},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// Revisions that a restored store skips at least, should clocks be wrong.
const SKIPPED_MIN: u64 = 1_000_000_000;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The revision that it shows.
    pub revision: Revision,
    /// How many objects there are.
    pub objects: u64,
    /// When it was made, in microseconds since 1970.
    pub made: u64,
    /// The token of each lease: those of a restored store go on from there.
    pub leases: Vec<(String, u64)>,
}

impl Backup {
    /// The revision that a store begins with when it is restored at `now`.
    ///
    /// After the backup was made, the store it was made of went on, and watches were told of revisions that
    /// the backup does not hold. Those must never stand for anything else. No store makes one revision every
    /// microsecond; so one that skips as many as microseconds went by skips all that any had made, also one
    /// that was restored from the same file before.
    pub(crate) fn first_revision(&self, now: u64) -> Revision {
        let since = now.saturating_sub(self.made);
        Revision(self.revision.0.saturating_add(SKIPPED_MIN).saturating_add(since))
    }

    /// The token that a lease begins with then, by the same reasoning.
    pub(crate) fn first_token(&self, token: u64, now: u64) -> u64 {
        let skipped = self.first_revision(now).0.saturating_sub(self.revision.0);
        token.saturating_add(skipped)
    }
}

/// Microseconds since 1970.
pub(crate) fn microseconds(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn unwritable(path: &Path) -> impl Fn(std::io::Error) -> StoreError + '_ {
    move |error| StoreError::Unwritable(format!("{}: {error}", path.display()))
}

fn is_there(to: &Path) -> StoreError {
    StoreError::Unwritable(format!("{} exists already; name a new file", to.display()))
}

/// Makes the file `partial` for this backup alone. Only its owner may read it.
fn make(partial: &Path) -> Result<File, StoreError> {
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial);
    let made = match create() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let left = OpenOptions::new().read(true).write(true).open(partial);
            let left = left.map_err(unwritable(partial))?;
            own(&left, partial)?;
            // Left by one that was killed. Removed, not written over: it can be another name of a whole one.
            fs::remove_file(partial).map_err(unwritable(partial))?;
            create()
        }
        made => made,
    };
    let made = made.map_err(unwritable(partial))?;
    own(&made, partial)?;
    Ok(made)
}

/// Locks `file`, which was opened as `partial`, unless another backup works on it.
fn own(file: &File, partial: &Path) -> Result<(), StoreError> {
    let other = || {
        StoreError::InUse(format!(
            "another backup is being written to {}; wait for it, or name another file",
            partial.display()
        ))
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(other()),
        Err(TryLockError::Error(error)) => return Err(unwritable(partial)(error)),
    }
    // Whoever had the lock until now may have removed it or made it whole.
    let id = |of: std::io::Result<fs::Metadata>| of.map(|of| (of.dev(), of.ino())).ok();
    if id(file.metadata()) == id(partial.symlink_metadata()) { Ok(()) } else { Err(other()) }
}

/// Gives what is whole its name, unless something has that name.
fn name(partial: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::hard_link(partial, to) {
        // Some file systems give a file one name only.
        Err(error)
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) =>
        {
            if to.symlink_metadata().is_ok() {
                return Err(is_there(to));
            }
            fs::rename(partial, to).map_err(unwritable(to))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(is_there(to)),
        named => named.map_err(unwritable(to)),
    }
}

/// A backup while it is written, under a name of its own until it is whole.
pub(crate) struct Unfinished {
    to: PathBuf,
    partial: PathBuf,
    /// Keeps others away for as long as the partial file has its name.
    _lock: File,
    writer: Arc<Mutex<Option<Writer<BufWriter<File>>>>>,
}

impl Unfinished {
    /// Begins the backup `to`, which must not exist.
    pub(crate) fn begin(to: &Path, now: SystemTime) -> Result<Self, StoreError> {
        if to.symlink_metadata().is_ok() {
            return Err(is_there(to));
        }
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = make(&partial)?;
        let lock = file.try_clone().map_err(unwritable(&partial))?;
        let writer = Writer::begin(BufWriter::new(file), microseconds(now));
        let writer = writer.map_err(unwritable(&partial))?;
        let writer = Arc::new(Mutex::new(Some(writer)));
        Ok(Self { to: to.into(), partial, _lock: lock, writer })
    }

    /// What takes the objects. One only: they are written one after the other.
    pub(crate) fn taker(&self) -> Taker {
        let (writer, partial) = (self.writer.clone(), self.partial.clone());
        Box::new(move |current: Current<'_>| {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            match writer.as_mut() {
                Some(writer) => writer.add(&current).map_err(unwritable(&partial)),
                None => Err(StoreError::Unusable("an object came after the last".into())),
            }
        })
    }

    /// Ends the file and gives it its name, once it is on disk.
    pub(crate) fn finish(
        self,
        revision: Revision,
        leases: Vec<(String, u64)>,
    ) -> Result<Backup, StoreError> {
        let failed = unwritable(&self.partial);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = writer.ok_or_else(|| StoreError::Unusable("it was ended twice".into()))?;
        let (backup, file) = writer.finish(revision, leases).map_err(&failed)?;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(&failed)?;
        name(&self.partial, &self.to)?;
        sync_folder_of(&self.to)?;
        Ok(backup)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What was finished has its own name by now. When this one cannot be removed, it tells what it is.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Makes a new name in a folder outlast a power cut.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable(folder))
}

/// Opens a backup to read it.
pub(crate) fn open(from: &Path) -> Result<Reader<std::io::BufReader<File>>, StoreError> {
    let file = File::open(from).map_err(|error| {
        StoreError::Unusable(format!("cannot open the backup {}: {error}", from.display()))
    })?;
    Reader::begin(std::io::BufReader::new(file), &from.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_store_begins_after_all_that_any_has_made_since() {
        let backup = Backup { revision: Revision(70), objects: 0, made: 5_000_000, leases: vec![] };
        for (now, first) in [
            (5_000_000, 1_000_000_070),
            (5_000_001, 1_000_000_071),
            // An hour later.
            (3_605_000_000, 4_600_000_070),
            // The clock of this computer is behind.
            (0, 1_000_000_070),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(backup.first_revision(now), Revision(first), "{now}");
        }
        assert_eq!(backup.first_token(3, 5_000_001), 1_000_000_004);
    }

    fn begin(to: &Path) -> Result<Unfinished, String> {
        Unfinished::begin(to, UNIX_EPOCH).map_err(|error| error.to_string())
    }

    fn finish(unfinished: Unfinished) -> Result<Backup, String> {
        unfinished.finish(Revision(1), vec![]).map_err(|error| error.to_string())
    }

    #[test]
    fn two_backups_to_one_file_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("backup");
        let first = begin(&to).unwrap();
        let why = begin(&to).err().unwrap();
        assert!(why.contains("another backup is being written to"), "{why}");
        finish(first).unwrap();
        open(&to).unwrap();
        assert_eq!(to.metadata().unwrap().mode() & 0o777, 0o600, "others may not read it");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        let why = begin(&to).err().unwrap();
        assert!(why.contains("exists already"), "{why}");
    }

    #[test]
    fn a_file_that_came_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("backup");
        let unfinished = begin(&to).unwrap();
        fs::write(&to, "something else").unwrap();
        let why = finish(unfinished).unwrap_err();
        assert!(why.contains("exists already"), "{why}");
        assert_eq!(fs::read(&to).unwrap(), b"something else");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_backup_left_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (to, kept) = (folder.path().join("backup"), folder.path().join("kept"));
        let partial = folder.path().join("backup.partial");
        // Killed between its two names, then moved: the left name is that of a whole backup.
        fs::write(&kept, "a whole backup").unwrap();
        fs::hard_link(&kept, &partial).unwrap();
        finish(begin(&to).unwrap()).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"a whole backup");
        assert!(!partial.exists());
        open(&to).unwrap();
    }
}
