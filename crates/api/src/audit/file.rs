//! The file of the log: lines are appended; a full file is set aside under the next number, and the
//! oldest of those are removed. It must never end a line in the middle and go on behind it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tracing::warn;

/// Where the log goes, and how much of it is kept.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// The file that is written.
    pub path: PathBuf,
    /// How large it may get before it is set aside.
    pub bytes_max: u64,
    /// How many of those set aside are kept.
    pub files_max: usize,
}

/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The file, open.
#[derive(Debug)]
pub(super) struct Rotating {
    settings: LogFile,
    open: Option<Open>,
    told: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Device and inode: another may take the name.
    id: (u64, u64),
    size: u64,
    /// It ends in the middle of a line.
    torn: bool,
    /// A pipe or device is neither measured nor set aside.
    regular: bool,
}

impl Rotating {
    pub(super) fn open(settings: LogFile) -> io::Result<Self> {
        if let Some(folder) = settings.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let open = Some(Open::new(&settings.path)?);
        let rotating = Self { settings, open, told: None };
        // The plane may have stopped between setting one aside and removing the oldest.
        rotating.prune()?;
        Ok(rotating)
    }

    /// Appends whole lines. On an error none of them is in the file.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let path = &self.settings.path;
        if self.open.as_ref().is_some_and(|open| open.moved(path)) {
            self.open = None;
        }
        if self.open.as_ref().is_some_and(|open| open.is_full(lines.len(), &self.settings))
            && let Err(error) = self.set_aside()
            && self.told.is_none_or(|told| told.elapsed() > TELL_EVERY)
        {
            self.told = Some(Instant::now());
            let path = self.settings.path.display();
            warn!(%path, %error, "the audit log is full and cannot be set aside; it grows");
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::new(&self.settings.path)?),
        };
        open.append(lines)
    }

    /// Closes the file, so that the next line opens it anew.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Gives the full file its number; the next line begins a new one.
    fn set_aside(&mut self) -> io::Result<()> {
        let number = self.numbers()?.last().map_or(1, |(last, _)| last + 1);
        let mut name = self.settings.path.clone().into_os_string();
        name.push(format!(".{number:06}"));
        fs::rename(&self.settings.path, name)?;
        self.open = None;
        self.prune()
    }

    /// Removes the oldest of those set aside.
    fn prune(&self) -> io::Result<()> {
        let found = self.numbers()?;
        let old = found.len().saturating_sub(self.settings.files_max);
        for (_, path) in found.into_iter().take(old) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Those set aside, oldest first. Numbers, unlike times, always rise.
    fn numbers(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let path = &self.settings.path;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        let stem = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut found = Vec::new();
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(stem));
            let number = number.and_then(|rest| rest.strip_prefix('.')).filter(|digits| {
                digits.len() >= 6 && digits.bytes().all(|digit| digit.is_ascii_digit())
            });
            if let Some(number) = number.and_then(|digits| digits.parse().ok()) {
                found.push((number, entry.path()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        // Opening a pipe to read would take what another is to read.
        let regular = fs::metadata(path).map_or(true, |found| found.is_file());
        let mut options = OpenOptions::new();
        options.append(true).create(true).read(regular).mode(0o600);
        let mut file = options.open(path)?;
        let found = file.metadata()?;
        let mut torn = false;
        if regular {
            file.try_lock().map_err(|error| match error {
                fs::TryLockError::WouldBlock => {
                    io::Error::new(io::ErrorKind::ResourceBusy, "another process writes it")
                }
                fs::TryLockError::Error(error) => error,
            })?;
            if found.len() > 0 {
                let mut last = [0];
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
                torn = last != *b"\n";
            }
        }
        Ok(Self { file, id: (found.dev(), found.ino()), size: found.len(), torn, regular })
    }

    /// Whether the name now stands for another file, or none.
    fn moved(&self, path: &Path) -> bool {
        self.regular
            && fs::metadata(path).map_or(true, |found| (found.dev(), found.ino()) != self.id)
    }

    fn is_full(&self, more: usize, settings: &LogFile) -> bool {
        self.regular && self.size > 0 && self.size.saturating_add(more as u64) > settings.bytes_max
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.size += 1;
            self.torn = false;
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.size += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What was written of it goes; if that fails, the next line begins on its own.
                self.torn = self.regular && self.file.set_len(self.size).is_err();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path, bytes_max: u64, files_max: usize) -> LogFile {
        LogFile { path: folder.join("logs/audit.log"), bytes_max, files_max }
    }

    fn texts(folder: &Path) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(folder.join("logs"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    fn expect(folder: &Path, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        assert_eq!(texts(folder), expected);
    }

    #[test]
    fn full_files_are_set_aside_and_the_oldest_removed() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 10, 2);
        let mut file = Rotating::open(settings.clone()).unwrap();
        for line in ["one\n", "two\n", "three\n", "a long line\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        let first = ("audit.log.000001", "one\ntwo\n");
        expect(
            folder.path(),
            &[("audit.log", "a long line\n"), first, ("audit.log.000002", "three\n")],
        );
        // A start goes on with the file and with the numbers.
        drop(file);
        let mut file = Rotating::open(settings.clone()).unwrap();
        file.append(b"four\n").unwrap();
        let third = ("audit.log.000003", "a long line\n");
        expect(folder.path(), &[("audit.log", "four\n"), ("audit.log.000002", "three\n"), third]);
        // A plane that stopped in the middle of it: the full file has its number, a new one is not begun,
        // and the oldest is not removed.
        drop(file);
        fs::rename(
            folder.path().join("logs/audit.log"),
            folder.path().join("logs/audit.log.000004"),
        )
        .unwrap();
        let mut file = Rotating::open(settings).unwrap();
        file.append(b"five\n").unwrap();
        let fourth = ("audit.log.000004", "four\n");
        expect(folder.path(), &[("audit.log", "five\n"), third, fourth]);
    }

    #[test]
    fn a_torn_line_stays_on_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 1_000, 1);
        Rotating::open(settings.clone()).unwrap().append(b"one\n{\"cut").unwrap();
        Rotating::open(settings).unwrap().append(b"two\n").unwrap();
        expect(folder.path(), &[("audit.log", "one\n{\"cut\ntwo\n")]);
    }

    #[test]
    fn a_file_that_is_taken_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 1_000, 1);
        let mut file = Rotating::open(settings.clone()).unwrap();
        file.append(b"one\n").unwrap();
        fs::remove_file(&settings.path).unwrap();
        file.append(b"two\n").unwrap();
        expect(folder.path(), &[("audit.log", "two\n")]);
        // As another program's rotation does.
        fs::rename(&settings.path, folder.path().join("logs/moved")).unwrap();
        file.append(b"three\n").unwrap();
        expect(folder.path(), &[("audit.log", "three\n"), ("moved", "two\n")]);
        // The whole folder is gone: that is an error until it is there again.
        fs::remove_dir_all(folder.path().join("logs")).unwrap();
        assert!(file.append(b"four\n").is_err());
        fs::create_dir(folder.path().join("logs")).unwrap();
        file.append(b"five\n").unwrap();
        expect(folder.path(), &[("audit.log", "five\n")]);
    }

    #[test]
    fn two_processes_do_not_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 1_000, 1);
        let first = Rotating::open(settings.clone()).unwrap();
        assert!(Rotating::open(settings.clone()).unwrap_err().to_string().contains("another"));
        drop(first);
        Rotating::open(settings).unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let settings = LogFile { path: "/dev/full".into(), bytes_max: 10, files_max: 1 };
        let mut file = Rotating::open(settings).unwrap();
        let error = file.append(b"one\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
