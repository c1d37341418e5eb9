//! What is told of all instances of this host. Who tells never waits: of each instance the last word counts.

use super::assignment::InstanceReport;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{mpsc, watch};

/// Reports that wait for who listens.
const QUEUE: usize = 64;

/// The last report of each instance, with a number that grows.
#[derive(Debug, Default)]
struct Last {
    number: u64,
    reports: BTreeMap<String, (u64, InstanceReport)>,
}

/// What is told of all instances.
#[derive(Debug)]
pub(super) struct Reports {
    last: Arc<Mutex<Last>>,
    changed: watch::Sender<u64>,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self { last: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// Tells it, if it is news.
    pub(super) fn put(&self, report: InstanceReport) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.reports.get(&report.uid).is_some_and(|(_, before)| *before == report) {
            return;
        }
        last.number += 1;
        let number = last.number;
        last.reports.insert(report.uid.clone(), (number, report));
        drop(last);
        self.changed.send_replace(number);
    }

    /// Says again that an instance is gone: it was asked for again.
    pub(super) fn put_again(&self, report: InstanceReport) {
        self.forget(&report.uid);
        self.put(report);
    }

    /// Nobody asks for it any more.
    pub(super) fn forget(&self, uid: &str) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).reports.remove(uid);
    }

    /// All that is the case now, and then what changes.
    pub(super) fn listen(&self) -> mpsc::Receiver<InstanceReport> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (last, mut changed) = (Arc::clone(&self.last), self.changed.subscribe());
        tokio::spawn(async move {
            let mut told = 0;
            loop {
                let news: Vec<(u64, InstanceReport)> = {
                    let last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    last.reports.values().filter(|(number, _)| *number > told).cloned().collect()
                };
                for (number, report) in news {
                    told = told.max(number);
                    if sender.send(report).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    changed = changed.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        receiver
    }
}
