//! Group commit: gathers what many writers want into one transaction at a time. It must never
//! answer before the batch is durable and in the cache.
//!
//! Two tasks: while one has batches committed, as many at once as the backend takes, the other brings
//! those before them into the cache and answers their writers, in order.

use crate::{BATCH_BYTES_MAX, BATCH_MAX, Backend, Mutation, Outcome, StoreError};
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Most submissions that wait; more writers than that wait for a place in the queue.
const QUEUE_MAX: usize = 4_096;
/// Most batches that are under way or durable, and not yet taken into the cache: enough to keep both tasks
/// busy, and a backend that commits several at once.
const COMMITTED_MAX: usize = 6;

type Answer = Result<Vec<Outcome>, StoreError>;

struct Submission {
    mutations: Vec<Mutation>,
    answer: oneshot::Sender<Answer>,
}

/// What is committed at once, and who is to be told about how many of its mutations.
#[derive(Default)]
struct Batch {
    mutations: Vec<Mutation>,
    bytes: usize,
    writers: Vec<(usize, oneshot::Sender<Answer>)>,
}

/// A handle to the tasks that commit.
pub(crate) struct Committer {
    queue: mpsc::Sender<Submission>,
}

impl Committer {
    /// Starts committing to `backend`. `applied` is called with each batch and its outcomes, in commit
    /// order, before its writers are answered.
    pub(crate) fn start<F, W>(backend: Arc<dyn Backend>, applied: F) -> Self
    where
        F: Fn(Vec<Mutation>, Vec<Outcome>) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let (queue, submissions) = mpsc::channel(QUEUE_MAX);
        let (committed, batches) = mpsc::channel(COMMITTED_MAX);
        tokio::spawn(commit(backend, submissions, committed));
        tokio::spawn(answer(batches, applied));
        Self { queue }
    }

    /// Commits what is within the limits of one batch, together with what other writers want.
    pub(crate) async fn commit(&self, mutations: Vec<Mutation>) -> Answer {
        let stopped = || StoreError::Unavailable("the plane is stopping".into());
        let (answer, outcome) = oneshot::channel();
        self.queue.send(Submission { mutations, answer }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

fn size(mutations: &[Mutation]) -> usize {
    mutations.iter().map(Mutation::size_bytes).sum()
}

impl Batch {
    /// Takes `more` in, or gives it back when there is no room for all of it.
    fn add(&mut self, more: Submission) -> Result<(), Submission> {
        let bytes = size(&more.mutations);
        let fits = self.mutations.len() + more.mutations.len() <= BATCH_MAX
            && self.bytes + bytes <= BATCH_BYTES_MAX;
        // A batch of one is for the backend to judge.
        if !fits && !self.writers.is_empty() {
            return Err(more);
        }
        self.writers.push((more.mutations.len(), more.answer));
        self.mutations.extend(more.mutations);
        self.bytes += bytes;
        Ok(())
    }
}

/// Divides mutations into what fits one batch each, in order.
pub(crate) fn split(mutations: Vec<Mutation>) -> Vec<Vec<Mutation>> {
    let mut parts: Vec<Vec<Mutation>> = Vec::new();
    let mut bytes = 0;
    for mutation in mutations {
        bytes += mutation.size_bytes();
        match parts.last_mut() {
            Some(part) if part.len() < BATCH_MAX && bytes <= BATCH_BYTES_MAX => part.push(mutation),
            _ => {
                bytes = mutation.size_bytes();
                parts.push(vec![mutation]);
            }
        }
    }
    parts
}

/// A place among what is committed, to be filled.
type Place = mpsc::OwnedPermit<(Batch, Vec<Outcome>)>;

/// Commits batch after batch, until there are no more writers.
async fn commit(
    backend: Arc<dyn Backend>,
    mut submissions: mpsc::Receiver<Submission>,
    committed: mpsc::Sender<(Batch, Vec<Outcome>)>,
) {
    let mut left_over = None;
    let mut under_way = FuturesOrdered::new();
    loop {
        let begins = under_way.len() < backend.at_once().max(1);
        let next = tokio::select! {
            biased;
            Some((place, batch, answer)) = under_way.next() => {
                deliver(place, batch, answer);
                continue;
            }
            next = next(&committed, &mut left_over, &mut submissions), if begins => next,
        };
        let Some((place, first)) = next else { break };
        // Writers that were answered at once write again at once: those come along.
        tokio::task::yield_now().await;
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(submission) = next {
            if let Err(submission) = batch.add(submission) {
                left_over = Some(submission);
                break;
            }
            next = submissions.try_recv().ok();
        }
        let backend = backend.clone();
        under_way.push_back(async move {
            let answer = backend.commit(&batch.mutations).await;
            (place, batch, answer)
        });
    }
    while let Some((place, batch, answer)) = under_way.next().await {
        deliver(place, batch, answer);
    }
}

/// What is to begin the next batch, and the place where it goes once it is committed: what is under way
/// must never wait for one, since others may wait for it. None when there are no more writers, or nobody to
/// answer them.
async fn next(
    committed: &mpsc::Sender<(Batch, Vec<Outcome>)>,
    left_over: &mut Option<Submission>,
    submissions: &mut mpsc::Receiver<Submission>,
) -> Option<(Place, Submission)> {
    let place = committed.clone().reserve_owned().await.ok()?;
    let submission = match left_over.take() {
        Some(submission) => submission,
        None => submissions.recv().await?,
    };
    Some((place, submission))
}

/// Passes on what was committed, or tells its writers that it was not.
fn deliver(place: Place, batch: Batch, answer: Answer) {
    match answer {
        Ok(outcomes) => drop(place.send((batch, outcomes))),
        Err(error) => {
            for (_, answer) in batch.writers {
                // A writer that went away does not need its answer.
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}

/// Brings committed batches into the cache, in order, and answers their writers.
async fn answer<F, W>(mut batches: mpsc::Receiver<(Batch, Vec<Outcome>)>, applied: F)
where
    F: Fn(Vec<Mutation>, Vec<Outcome>) -> W,
    W: Future<Output = ()>,
{
    while let Some((batch, outcomes)) = batches.recv().await {
        applied(batch.mutations, outcomes.clone()).await;
        let mut outcomes = outcomes.into_iter();
        for (count, answer) in batch.writers {
            let _ = answer.send(Ok(outcomes.by_ref().take(count).collect()));
        }
    }
}
