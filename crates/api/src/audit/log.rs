//! The writer of the log: a thread of its own, since disks make wait. It takes all lines that came
//! meanwhile and writes them as one. Whoever gave a line can wait until it is in the file, so that a killed
//! plane loses none that was answered. Trouble with the file must never stop the plane: lines that cannot be
//! written are counted, and told in the plane's own log.

use super::file::{LogFile, Rotating};
use prometheus_client::metrics::counter::Counter;
use std::{
    io, thread,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::{error, info, warn};

/// Lines that wait for the writer. With the largest bodies in them, that is some 70 MB.
const WAITING_MAX: usize = 1_024;
/// Lines written as one, at most.
const GROUP_MAX: usize = 256;
/// Bytes written as one, at most (unless one line alone is longer): small beside the smallest file.
const GROUP_BYTES_MAX: usize = 256 * 1024;
/// How long an answer waits for its line. A disk that takes longer keeps nobody from working.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often lost lines are told.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What is counted of the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Lines in the file.
    pub(crate) written: Counter,
    /// Lines that could not be written.
    pub(crate) lost: Counter,
}

struct Entry {
    line: Vec<u8>,
    done: oneshot::Sender<()>,
}

/// The log, open for as long as this lives.
#[derive(Debug)]
pub(crate) struct Log {
    entries: mpsc::Sender<Entry>,
    pub(crate) counts: Counts,
}

/// Tells when a line is in the file, or counted as lost.
#[must_use]
pub(crate) struct Receipt(Option<oneshot::Receiver<()>>);

impl Log {
    pub(crate) fn open(file: LogFile) -> io::Result<Self> {
        let file = Rotating::open(file)?;
        let (entries, waiting) = mpsc::channel(WAITING_MAX);
        let counts = Counts::default();
        let writer = Writer { file, counts: counts.clone(), untold: 0, told: None };
        thread::Builder::new().name("audit".into()).spawn(move || writer.run(waiting))?;
        Ok(Self { entries, counts })
    }

    /// Gives a line to the writer, when there is room.
    pub(crate) async fn give(&self, line: Vec<u8>) -> Receipt {
        let (done, written) = oneshot::channel();
        match timeout(PATIENCE, self.entries.send(Entry { line, done })).await {
            Ok(Ok(())) => Receipt(Some(written)),
            _ => {
                self.counts.lost.inc();
                Receipt(None)
            }
        }
    }

    /// Gives a line to the writer if there is room now.
    pub(crate) fn give_now(&self, line: Vec<u8>) {
        let (done, _) = oneshot::channel();
        if self.entries.try_send(Entry { line, done }).is_err() {
            self.counts.lost.inc();
        }
    }
}

impl Receipt {
    /// Waits for it, within reason.
    pub(crate) async fn wait(self) {
        if let Some(written) = self.0
            && timeout(PATIENCE, written).await.is_err()
        {
            warn!("the audit log is slow: a line has waited for {PATIENCE:?}");
        }
    }
}

struct Writer {
    file: Rotating,
    counts: Counts,
    /// Lines lost since that was told last.
    untold: u64,
    told: Option<Instant>,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Entry>) {
        let (mut entries, mut lines, mut done) = (Vec::new(), Vec::new(), Vec::new());
        while waiting.blocking_recv_many(&mut entries, GROUP_MAX) > 0 {
            for entry in entries.drain(..) {
                if !done.is_empty() && lines.len() + entry.line.len() > GROUP_BYTES_MAX {
                    self.write(&mut lines, &mut done);
                }
                lines.extend_from_slice(&entry.line);
                done.push(entry.done);
            }
            self.write(&mut lines, &mut done);
        }
    }

    fn write(&mut self, lines: &mut Vec<u8>, done: &mut Vec<oneshot::Sender<()>>) {
        let count = done.len() as u64;
        let written = self.file.append(lines).or_else(|_| {
            // It may be a file that was replaced: once more, with a new one.
            self.file.close();
            self.file.append(lines)
        });
        match written {
            Ok(()) => {
                self.counts.written.inc_by(count);
                if self.untold > 0 {
                    info!(lost = self.untold, "the audit log is written again");
                    self.untold = 0;
                }
            }
            Err(error) => {
                self.counts.lost.inc_by(count);
                self.untold += count;
                if self.told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
                    self.told = Some(Instant::now());
                    error!(%error, lost = self.untold, "the audit log cannot be written; make room or mend its folder");
                }
            }
        }
        lines.clear();
        for done in done.drain(..) {
            // Not all wait.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn log(path: &Path) -> Log {
        Log::open(LogFile { path: path.into(), bytes_max: 1_000, files_max: 100 }).unwrap()
    }

    #[tokio::test]
    async fn every_line_is_in_the_file_when_its_receipt_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let log = log(&path);
        for number in 0..500_usize {
            log.give(format!("{number}\n").into_bytes()).await.wait().await;
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.ends_with(&format!("{number}\n")), "{number}");
        }
        log.give_now(b"last\n".to_vec());
        log.give(b"end\n".to_vec()).await.wait().await;
        assert_eq!((log.counts.written.get(), log.counts.lost.get()), (502, 0));
        let mut all = String::new();
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        // The one that is written last: its name is the shortest.
        names.sort_by_key(|name| (name == &path, name.clone()));
        for name in names {
            let text = std::fs::read_to_string(name).unwrap();
            assert!(text.len() <= 1_000);
            all.push_str(&text);
        }
        let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        assert_eq!(all, format!("{}\nlast\nend\n", expected.join("\n")));
    }

    #[tokio::test]
    async fn a_full_disk_keeps_nobody_waiting() {
        let log = log(Path::new("/dev/full"));
        for _ in 0..3 {
            log.give(b"line\n".to_vec()).await.wait().await;
        }
        assert_eq!((log.counts.written.get(), log.counts.lost.get()), (0, 3));
    }
}
