//! Copies of a whole store at one revision, in a file that either backend can be restored from. It must
//! never take a file that is not whole for one that is, nor leave half a copy under the name of a whole.
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
    fs::{self, File},
    io::BufWriter,
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

/// A backup while it is written, under a name of its own until it is whole.
pub(crate) struct Unfinished {
    to: PathBuf,
    partial: PathBuf,
    writer: Arc<Mutex<Option<Writer<BufWriter<File>>>>>,
}

impl Unfinished {
    /// Begins the backup `to`, which must not exist.
    pub(crate) fn begin(to: &Path, now: SystemTime) -> Result<Self, StoreError> {
        if to.exists() {
            return Err(StoreError::Unwritable(format!(
                "{} exists already; name a new file",
                to.display()
            )));
        }
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(unwritable(&partial))?;
        let writer = Writer::begin(BufWriter::new(file), microseconds(now));
        let writer = writer.map_err(unwritable(&partial))?;
        Ok(Self { to: to.into(), partial, writer: Arc::new(Mutex::new(Some(writer))) })
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
        fs::rename(&self.partial, &self.to).map_err(&failed)?;
        sync_folder_of(&self.to)?;
        Ok(backup)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already when it was finished. When it cannot be removed, its name tells what it is.
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
}
