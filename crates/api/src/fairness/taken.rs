//! Answers over HTTP/2 that their client does not take. The socket says nothing of them: the connection is
//! alive, and only the window of one stream stays shut. Such a stream is reset, and with it ends all that
//! its answer holds: its place, or its watch.
//!
//! hyper asks a body for its next piece when the one before was handed on, and holds a piece until the
//! client has room for some of it. So [`Taken`] notes when a piece is held, and [`Streams`], which runs
//! hyper's task for each stream, drops a task that held one piece for too long.
//!
//! What is said to somebody in a session may wait for longer: for as long as the session lasts. See [`lasts`].

use super::Standing;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{sync::watch, time::Sleep};

/// Handed on at once: a frame of HTTP/2 as large as all clients take. Whoever takes so much in time is slow,
/// and not gone.
const PIECE_BYTES: usize = 16 * 1024;
/// Most that is handed on last. What is handed on waits in the connection, and nothing ends it there but
/// the connection's end.
const LAST_BYTES: usize = 1024;

tokio::task_local! {
    /// What the stream whose task this is holds.
    static HELD: Arc<Held>;
}

/// What a stream holds.
#[derive(Debug, Default)]
struct Held {
    /// Number of the piece, counted from one, and zero for none.
    piece: AtomicU64,
    /// The session that it belongs to, with which it ends.
    session: OnceLock<watch::Receiver<()>>,
}

/// Has the stream whose answer this is end with a session, also when its client takes nothing; and not before.
/// Called where hyper asks for an answer.
pub(crate) fn lasts(session: watch::Receiver<()>) {
    // No stream has two answers.
    let _ = HELD.try_with(|held| held.session.set(session));
}

/// Runs hyper's tasks for the streams of one connection, in the line of its caller, for as long as their
/// client takes what they have.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) line: Standing,
    /// How long a client may take nothing.
    pub(crate) stalled: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, work: F) {
        tokio::spawn(self.line.stand(while_taken(work, self.stalled)));
    }
}

/// Does the work of a stream until it is done, or holds one piece for so long.
async fn while_taken<F: Future>(work: F, stalled: Duration) -> Option<F::Output> {
    let held = Arc::new(Held::default());
    let mut work = pin!(HELD.scope(held.clone(), work));
    let mut waits: Option<(u64, Pin<Box<Sleep>>)> = None;
    let mut over = None;
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        if let Some(session) = held.session.get() {
            let over = over.get_or_insert_with(|| Box::pin(ended(session.clone())));
            return over.as_mut().poll(context).map(|()| None);
        }
        let piece = held.piece.load(Ordering::Relaxed);
        if piece == 0 {
            waits = None;
            return Poll::Pending;
        }
        let (_, too_long) = match waits.take() {
            Some((of, sleep)) if of == piece => waits.insert((of, sleep)),
            _ => waits.insert((piece, Box::pin(tokio::time::sleep(stalled)))),
        };
        too_long.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Waits until nobody holds the other end.
async fn ended(mut session: watch::Receiver<()>) {
    while session.changed().await.is_ok() {}
}

/// A body that is sent over a stream, in pieces.
pub(crate) struct Taken<B> {
    body: B,
    /// What was read of it and is not handed on.
    rest: Bytes,
    pieces: u64,
    /// None where no stream is.
    held: Option<Arc<Held>>,
}

impl<B> Taken<B> {
    /// Called where hyper asks for an answer, which is in the stream's task.
    pub(crate) fn new(body: B) -> Self {
        let held = HELD.try_with(Arc::clone).ok();
        Self { body, rest: Bytes::new(), pieces: 0, held }
    }

    fn holds(&self, piece: u64) {
        if let Some(held) = &self.held {
            held.piece.store(piece, Ordering::Relaxed);
        }
    }

    /// The next piece of what was read.
    fn piece(&mut self) -> Bytes {
        let left = self.rest.len();
        if left <= LAST_BYTES {
            let last = std::mem::take(&mut self.rest);
            // A part of a larger piece would keep all of it.
            return if self.pieces == 0 { last } else { Bytes::copy_from_slice(&last) };
        }
        self.rest.split_to(PIECE_BYTES.min(left - LAST_BYTES))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Taken<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        this.holds(0);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = this.piece();
        this.pieces += 1;
        this.holds(this.pieces);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, more) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(more.lower().saturating_add(rest));
        if let Some(most) = more.upper() {
            hint.set_upper(most.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full};
    use proptest::prelude::*;
    use tokio::time::Instant;

    proptest! {
        #[test]
        fn nothing_is_lost_and_little_is_handed_on_last(bytes in 0..100_000_usize) {
            let whole = Bytes::from_iter((0..bytes).map(|at| at.to_le_bytes()[0]));
            let mut body = Taken::new(Full::new(whole.clone()));
            prop_assert_eq!(body.size_hint().exact(), Some(bytes as u64));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (mut all, mut last) = (Vec::new(), 0);
            while let Some(frame) = runtime.block_on(body.frame()) {
                let piece = frame.unwrap().into_data().unwrap();
                prop_assert!(piece.len() <= PIECE_BYTES);
                all.extend_from_slice(&piece);
                last = piece.len();
                prop_assert_eq!(body.size_hint().exact(), Some((bytes - all.len()) as u64));
            }
            prop_assert!(body.is_end_stream() && last <= LAST_BYTES);
            prop_assert_eq!(all, whole);
        }
    }

    /// Asks for pieces as hyper does, and never for the one after `until`.
    async fn ask_for(until: u64) {
        let mut body = Taken::new(Full::new(Bytes::from(vec![0; 200_000])));
        for _ in 0..until {
            body.frame().await;
            tokio::time::sleep(STALLED / 2).await;
        }
        std::future::pending().await
    }

    const STALLED: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_piece_now_and_then_goes_on_and_who_takes_none_ends() {
        let begin = Instant::now();
        assert_eq!(while_taken(ask_for(8), STALLED).await, None);
        // Each piece was taken in time, and only the last was not.
        assert_eq!(begin.elapsed().as_secs(), (STALLED / 2 * 7 + STALLED).as_secs());
        let patient = async { tokio::time::sleep(3 * STALLED).await };
        assert_eq!(while_taken(patient, STALLED).await, Some(()), "it holds nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_in_a_session_waits_until_that_ends() {
        let (session, lasting) = watch::channel(());
        let begin = Instant::now();
        let saying = async {
            lasts(lasting);
            std::future::pending::<()>().await
        };
        let ends = async {
            tokio::time::sleep(10 * STALLED).await;
            drop(session);
        };
        let (ended, ()) = tokio::join!(while_taken(saying, STALLED), ends);
        assert_eq!((ended, begin.elapsed()), (None, 10 * STALLED));
    }
}
