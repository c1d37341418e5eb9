//! Turns on the processors. All work that is done for one caller stands in one line, and a few of its
//! tasks are worked on at a time; what else runs has its turn in between. So a caller with a thousand
//! busy connections delays others as much as one with two, and yet has all that others leave.
//!
//! This must never hold work back while nothing else runs, and never wait for anything but a turn.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::task::AtomicWaker;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Tasks of one caller that are worked on before others have their turn. Two keep two processors busy
/// when there is nothing else to do.
const AT_ONCE: usize = 2;
/// A turn that took less than this is over at once: to stand in line again would cost more.
const SHORT: Duration = Duration::from_micros(10);

/// Where the work for one caller waits for its turn.
#[derive(Clone)]
pub(crate) struct Line(Arc<Semaphore>);

impl Default for Line {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// The line in which the work of one connection stands. It may become known later whose that is.
#[derive(Clone)]
pub(crate) struct Standing(Arc<ArcSwap<Semaphore>>);

impl Line {
    /// The same work, done in turn.
    pub(crate) fn stand<F: Future>(&self, work: F) -> InLine<F> {
        self.standing().stand(work)
    }

    /// Work that stands in this line for now.
    pub(crate) fn standing(&self) -> Standing {
        Standing(Arc::new(ArcSwap::new(self.0.clone())))
    }
}

impl Standing {
    /// The same work, done in turn.
    pub(crate) fn stand<F: Future>(&self, work: F) -> InLine<F> {
        let woken = Arc::new(Woken { work: AtomicBool::new(true), task: AtomicWaker::new() });
        let waker = Waker::from(woken.clone());
        InLine { work: Box::pin(work), line: self.clone(), waiting: None, had: None, woken, waker }
    }

    /// All that stands here goes to another line with its next turn.
    pub(crate) fn change_to(&self, line: &Line) {
        self.0.store(line.0.clone());
    }
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// Tells a wake-up of the work from one of the line.
struct Woken {
    work: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.work.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// Work that is done in turn.
pub(crate) struct InLine<F> {
    work: Pin<Box<F>>,
    line: Standing,
    /// Its turn, when there is something to do and it is not there yet.
    waiting: Option<Acquiring>,
    /// The turn it had, which ends when all that is ready by now was worked on.
    had: Option<OwnedSemaphorePermit>,
    woken: Arc<Woken>,
    /// What the work is told to wake.
    waker: Waker,
}

impl<F> fmt::Debug for InLine<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InLine").finish_non_exhaustive()
    }
}

impl<F: Future> Future for InLine<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        this.woken.task.register(context.waker());
        // Lets the next of this line go on.
        this.had = None;
        if this.waiting.is_none() && !this.woken.work.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let turns = || this.line.0.load_full();
        let at_once = match this.waiting {
            None => turns().try_acquire_owned().ok(),
            Some(_) => None,
        };
        let turn = match at_once {
            Some(turn) => Some(turn),
            None => {
                let waiting = this.waiting.get_or_insert_with(|| Box::pin(turns().acquire_owned()));
                match waiting.as_mut().poll(context) {
                    // Lines are never closed.
                    Poll::Ready(turn) => turn.ok(),
                    Poll::Pending => return Poll::Pending,
                }
            }
        };
        this.waiting = None;
        this.woken.work.store(false, Ordering::Release);
        let begin = Instant::now();
        let done = this.work.as_mut().poll(&mut Context::from_waker(&this.waker));
        if let (Poll::Pending, Some(turn)) = (&done, turn)
            && begin.elapsed() >= SHORT
        {
            // Behind all that is ready now: who wakes itself while it runs goes to the end.
            this.had = Some(turn);
            context.waker().wake_by_ref();
        }
        done
    }
}

/// Ends a turn in the middle of something long, and goes on behind all that is ready now. (tokio's own
/// waits for the next look at the network.)
pub(crate) async fn let_others() {
    let mut woken = false;
    std::future::poll_fn(|context| match std::mem::replace(&mut woken, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Keeps the processor for longer than is too short to count.
    fn work() {
        let begin = Instant::now();
        while begin.elapsed() < 2 * SHORT {}
    }

    #[tokio::test]
    async fn one_caller_works_between_the_turns_of_another_however_busy() {
        const BUSY: usize = 200;
        let (flood, ann) = (Line::default(), Line::default());
        let turns = Arc::new(AtomicUsize::new(0));
        let floods: Vec<_> = (0..BUSY)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(flood.stand(async move {
                    for _ in 0..20 {
                        work();
                        turns.fetch_add(1, Ordering::Relaxed);
                        let_others().await;
                    }
                }))
            })
            .collect();
        let seen = turns.clone();
        let most = tokio::spawn(ann.stand(async move {
            let (mut last, mut most) = (seen.load(Ordering::Relaxed), 0);
            for _ in 0..300 {
                work();
                let_others().await;
                let now = seen.load(Ordering::Relaxed);
                (most, last) = (most.max(now - last), now);
            }
            most
        }));
        let most = most.await.unwrap();
        assert!((1..=4 * AT_ONCE).contains(&most), "{most} turns of the other at once");
        for flood in floods {
            flood.await.unwrap();
        }
        assert_eq!(turns.load(Ordering::Relaxed), BUSY * 20, "nothing is lost");
    }

    #[tokio::test]
    async fn who_is_alone_never_waits() {
        let line = Line::default();
        let (ours, theirs) = tokio::io::duplex(8);
        let (mut read, mut write) = (ours, theirs);
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let reader = tokio::spawn(line.stand(async move {
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.map(|_| all)
        }));
        let writer = tokio::spawn(line.stand(async move {
            for byte in 0..100_u8 {
                write.write_all(&[byte]).await?;
            }
            Ok::<_, std::io::Error>(())
        }));
        writer.await.unwrap().unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), (0..100).collect::<Vec<u8>>());
    }

    #[tokio::test]
    async fn who_turns_out_to_be_another_waits_behind_nobody_of_the_line_before() {
        let (address, ann) = (Line::default(), Line::default());
        let standing = address.standing();
        let (known, who) = tokio::sync::oneshot::channel();
        let mut work = standing.stand(who);
        // Once for its turn, and once to give that back.
        for _ in 0..2 {
            assert!(futures_util::poll!(&mut work).is_pending());
        }
        let taken = address.0.clone().try_acquire_many_owned(u32::try_from(AT_ONCE).unwrap());
        assert!(taken.is_ok(), "others have all turns of the address");
        standing.change_to(&ann);
        known.send("ann").unwrap();
        let done = tokio::time::timeout(Duration::from_secs(10), work).await;
        assert_eq!(done.unwrap().unwrap(), "ann");
        assert_eq!(ann.0.available_permits(), AT_ONCE);
    }

    /// A task that is given up while it waits takes no turn along.
    #[tokio::test]
    async fn who_goes_away_leaves_its_turn() {
        let line = Line::default();
        let endless = || async {
            loop {
                work();
                let_others().await;
            }
        };
        let tasks: Vec<_> = (0..20).map(|_| tokio::spawn(line.stand(endless()))).collect();
        for _ in 0..50 {
            let_others().await;
        }
        for task in tasks {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        assert_eq!(line.0.available_permits(), AT_ONCE);
    }
}
