//! Group commit: gathers what many writers want into one transaction at a time. It must never
//! answer before the batch is durable and in the cache.

use crate::{BATCH_MAX, Backend, Mutation, Outcome, StoreError};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// Most submissions that wait; more writers than that wait for a place in the queue.
const QUEUE_MAX: usize = 4_096;

struct Submission {
    mutations: Vec<Mutation>,
    answer: oneshot::Sender<Result<Vec<Outcome>, StoreError>>,
}

/// A handle to the one task that commits.
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
        tokio::spawn(run(backend, submissions, applied));
        Self { queue }
    }

    /// Commits at most [`BATCH_MAX`] mutations, together with those of other writers.
    pub(crate) async fn commit(
        &self,
        mutations: Vec<Mutation>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let stopped = || StoreError::Unavailable("the plane is stopping".into());
        let (answer, outcome) = oneshot::channel();
        self.queue.send(Submission { mutations, answer }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

async fn run<F, W>(
    backend: Arc<dyn Backend>,
    mut submissions: mpsc::Receiver<Submission>,
    applied: F,
) where
    F: Fn(Vec<Mutation>, Vec<Outcome>) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(submission) => submission,
            None => match submissions.recv().await {
                Some(submission) => submission,
                None => return,
            },
        };
        let mut batch = first.mutations;
        let mut writers = VecDeque::from([(batch.len(), first.answer)]);
        while batch.len() < BATCH_MAX {
            let Ok(more) = submissions.try_recv() else { break };
            if batch.len() + more.mutations.len() > BATCH_MAX {
                next = Some(more);
                break;
            }
            writers.push_back((more.mutations.len(), more.answer));
            batch.extend(more.mutations);
        }
        match backend.commit(&batch).await {
            Ok(outcomes) => {
                applied(batch, outcomes.clone()).await;
                let mut outcomes = outcomes.into_iter();
                for (count, answer) in writers {
                    // A writer that went away does not need its answer.
                    let _ = answer.send(Ok(outcomes.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                for (_, answer) in writers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}
