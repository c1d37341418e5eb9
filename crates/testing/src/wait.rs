//! Waiting for a condition, with a deadline. Must never sleep for a fixed time as proof that
//! something happened or did not.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// The pause between two looks at a condition: short beside what tests wait for (a process start,
/// a power change), long beside what a look costs.
const INTERVAL: Duration = Duration::from_millis(25);

/// Waits until `check` answers true.
///
/// # Panics
/// When it has not within `deadline`; the message says what was waited for.
pub async fn wait_until(deadline: Duration, what: &str, mut check: impl AsyncFnMut() -> bool) {
    let last = async || if check().await { Ok(()) } else { Err("not yet") };
    wait_for(deadline, what, last).await;
}

/// Waits until `check` answers `Ok`, and returns what it answered.
///
/// # Panics
/// When it has not within `deadline`; the message says what was waited for and the last `Err`,
/// which should say what was seen instead.
pub async fn wait_for<T, E: Display>(
    deadline: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let end = Instant::now() + deadline;
    let mut last = String::from("the first look did not return");
    loop {
        // A look that hangs must not outlive the deadline either.
        match tokio::time::timeout_at(end, check()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => panic!("waited {deadline:?} for {what}; last seen: {last}"),
        }
        if Instant::now() + INTERVAL >= end {
            panic!("waited {deadline:?} for {what}; last seen: {last}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
