//! Many writers at once, each waiting for its answer before it writes again.

use crate::{Failure, samples::Samples};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// What a load came to.
pub(crate) struct Load {
    /// Answers a second.
    pub(crate) rate: f64,
    /// Time of each from asking to the answer.
    pub(crate) times: Samples,
}

/// Has `writers` tasks do `write` again and again for `length`. It is told who writes, and how many
/// that writer has written before.
pub(crate) async fn drive<F, W>(writers: usize, length: Duration, write: F) -> Result<Load, Failure>
where
    F: Fn(usize, usize) -> W + Send + Sync + 'static,
    W: Future<Output = Result<(), Failure>> + Send,
{
    let write = Arc::new(write);
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let write = write.clone();
        tasks.spawn(async move {
            let mut times: Vec<Duration> = Vec::new();
            while begin.elapsed() < length {
                let asked = Instant::now();
                write(writer, times.len()).await?;
                times.push(asked.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let (mut times, mut count) = (Samples::default(), 0_u32);
    while let Some(done) = tasks.join_next().await {
        for time in done?? {
            times.push(time);
            count += 1;
        }
    }
    Ok(Load { rate: f64::from(count) / begin.elapsed().as_secs_f64(), times })
}
