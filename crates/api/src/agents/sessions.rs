//! Sessions of people with containers. The agent is told on its stream what is wanted, and opens another one for it on the
//! same connection; what is said on that goes through here piece by piece, and no piece waits but those that the two
//! ends have not taken yet. A session counts to its host until it has ended, and ends when any part of its way does.

use super::{Agent, Agents, registry, registry::Session};
use crate::{
    answer::{self, Answer, Lasts},
    status::ApiError,
};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use quarterdeck_model::{
    ConditionStatus, Kind as _,
    agent::session::{Channel, Pieces, SESSIONS_MAX, SessionAsk, SessionEnd, SessionWanted, piece},
    condition,
    kinds::{Machine, machine_agent::AGENT_CONNECTED},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

/// An agent that has not opened a stream by then is one of a release that does not know of sessions, or hangs.
const OPEN: Duration = Duration::from_secs(15);
/// What a container's engine may take until it has begun.
const BEGIN: Duration = Duration::from_secs(30);
/// Pieces that wait to be sent, each way.
pub(super) const WAITING_MAX: usize = 8;

/// A container, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Namespace of the Machine.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) machine: String,
    /// Identity of the instance.
    pub(crate) uid: String,
    /// Name of its container.
    pub(crate) container: String,
}

/// A session that has begun.
pub(crate) struct Talk {
    pub(crate) hears: Hears,
    pub(crate) says: Says,
}

/// What a container says.
pub(crate) struct Hears {
    body: Incoming,
    pieces: Pieces,
    _way: Way,
}

/// What a session takes up on its way. It is given back with it, and the other side sees that it is over, also when it
/// takes nothing of what is said to it.
pub(super) enum Way {
    /// To an agent here: a place of its host, and the stream, which ends with this.
    Here { _place: registry::Place, _stream: watch::Sender<()> },
    /// To another replica: the connection, which ends with this.
    Elsewhere { _connection: JoinSet<()> },
    /// From another replica, whose session it is.
    Asked,
}

/// What is said to it.
pub(crate) struct Says(mpsc::Sender<Bytes>);

/// A stream that was opened for a session.
pub(super) struct Opened {
    pub(super) body: Incoming,
    pub(super) out: mpsc::Sender<Bytes>,
    pub(super) way: Way,
}

/// Who waits for an agent to open a stream, by the id of the session.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<String, Waiter>>);

struct Waiter {
    namespace: String,
    machine: String,
    tell: oneshot::Sender<(Incoming, mpsc::Sender<Bytes>, watch::Sender<()>)>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiter>> {
        // Each change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits no more once it is dropped.
struct Waits<'w>(&'w Waiting, String);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Agents {
    /// Begins a session, wherever the agent is connected. What is wanted is there when this answers.
    ///
    /// # Errors
    /// When the agent cannot be reached, or refuses.
    pub(crate) async fn session(&self, at: &Place, ask: SessionAsk) -> Result<Talk, ApiError> {
        let Place { namespace, machine, uid, container } = at.clone();
        let id = uuid::Uuid::new_v4().simple().to_string();
        let wanted = SessionWanted { id, uid, container, ask };
        let opened = match self.registry.get(&namespace, &machine) {
            Some(session) => self.open_here(&session, (namespace, machine), wanted).await?,
            None => self.open_elsewhere((namespace, machine), wanted).await?,
        };
        Talk::begin(opened).await
    }

    /// Says whether a machine's agent is connected anywhere.
    ///
    /// # Errors
    /// When it is not, with since when.
    pub(crate) fn check_connected(&self, namespace: &str, machine: &str) -> Result<(), ApiError> {
        match self.registry.get(namespace, machine) {
            Some(_) => Ok(()),
            None => self.replica_of(namespace, machine).map(drop),
        }
    }

    /// Where the replica is reached that holds an agent which is not connected here.
    pub(super) fn replica_of(&self, namespace: &str, machine: &str) -> Result<String, ApiError> {
        let gone = |why: String| {
            ApiError::timeout(format!(
                "machine {namespace}/{machine}, which it runs on, is not reached: {why}"
            ))
        };
        let world = self.store.world();
        let found = world.get(Machine::info(), namespace, machine);
        let Some(found) = found.and_then(|it| it.decode::<Machine>().ok()) else {
            return Err(gone("there is no such machine".into()));
        };
        let said = condition::find(&found.status.conditions, AGENT_CONNECTED);
        let agent = found.status.agent.unwrap_or_default();
        // By its process: two replicas may say the same address by mistake.
        let own = agent.session.as_ref().and_then(|it| it.split_once('/'));
        let own = own.is_some_and(|(process, _)| process == self.process);
        match (said, agent.replica) {
            (Some(said), Some(replica)) if said.status == ConditionStatus::True => match own {
                false => Ok(replica),
                true => Err(gone("its agent is between two streams; try again".into())),
            },
            (Some(said), _) => {
                let since = said.last_transition_time;
                Err(gone(format!("its agent is not connected since {since}. {}", said.message)))
            }
            (None, _) => Err(gone("no agent of it was ever connected".into())),
        }
    }

    /// Has an agent that is connected here open a stream.
    pub(super) async fn open_here(
        &self,
        session: &Arc<Session>,
        (namespace, machine): (String, String),
        wanted: SessionWanted,
    ) -> Result<Opened, ApiError> {
        let Some(place) = session.place() else {
            let message = format!(
                "{SESSIONS_MAX} sessions with containers on machine {namespace}/{machine} are open, as many as there may be; try again when one has ended"
            );
            return Err(ApiError { message, ..ApiError::too_many_requests() });
        };
        let late = format!(
            "the agent of machine {namespace}/{machine} did not open a stream for it within {OPEN:?}; is it of an older release?"
        );
        let (tell, told) = oneshot::channel();
        let waits = Waits(&self.waiting, wanted.id.clone());
        self.waiting.lock().insert(wanted.id.clone(), Waiter { namespace, machine, tell });
        session.want(wanted);
        let opened = timeout(OPEN, told).await;
        drop(waits);
        match opened {
            Ok(Ok((body, out, stream))) => {
                Ok(Opened { body, out, way: Way::Here { _place: place, _stream: stream } })
            }
            Ok(Err(_)) | Err(_) => Err(ApiError::timeout(late)),
        }
    }

    /// An agent has opened the stream of a session.
    pub(super) fn opened(
        &self,
        agent: &Agent,
        id: &str,
        body: Incoming,
    ) -> Result<Answer, ApiError> {
        let waiter = {
            let mut waiting = self.waiting.lock();
            let own = waiting
                .get(id)
                .is_some_and(|it| (&it.namespace, &it.machine) == (&agent.namespace, &agent.name));
            if own { waiting.remove(id) } else { None }
        };
        let gone = || ApiError::bad_request("nobody waits for that session any more");
        let waiter = waiter.ok_or_else(gone)?;
        let (out, pieces) = mpsc::channel(WAITING_MAX);
        let (stream, lasts) = watch::channel(());
        waiter.tell.send((body, out, stream)).map_err(|_| gone())?;
        let mut answer = said(pieces);
        answer.extensions_mut().insert(Lasts(lasts));
        Ok(answer)
    }
}

/// An answer of what is said.
fn said(pieces: mpsc::Receiver<Bytes>) -> Answer {
    let body = stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|bytes| (Ok(Frame::data(bytes)), pieces))
    });
    answer::streamed(StreamBody::new(body).boxed_unsync())
}

impl Talk {
    /// Waits until what was asked for is there.
    async fn begin(opened: Opened) -> Result<Self, ApiError> {
        let Opened { body, out, way } = opened;
        let mut hears = Hears { body, pieces: Pieces::default(), _way: way };
        let late = || ApiError::timeout(format!("it did not begin within {BEGIN:?}"));
        let first = timeout(BEGIN, hears.next()).await.map_err(|_| late())?;
        match first.map_err(ApiError::timeout)? {
            (Channel::Begun, _) => Ok(Self { hears, says: Says(out) }),
            (Channel::End, bytes) => Err(match ended(&bytes) {
                SessionEnd::Failed(why) => ApiError::timeout(why),
                SessionEnd::Refused(why) => ApiError::bad_request(why),
                SessionEnd::Done | SessionEnd::Exited(_) => {
                    ApiError::timeout("it ended before it began")
                }
            }),
            _ => Err(ApiError::timeout("what its agent says is not understood")),
        }
    }
}

/// How a session ended, as its last piece says.
pub(crate) fn ended(bytes: &[u8]) -> SessionEnd {
    let not_understood = |_| {
        SessionEnd::Failed(
            "how it ended is not understood: is its agent of a newer release?".into(),
        )
    };
    serde_json::from_slice(bytes).unwrap_or_else(not_understood)
}

impl Hears {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, pieces: Pieces::default(), _way: Way::Asked }
    }

    /// The next piece. May be dropped and called again.
    ///
    /// # Errors
    /// Why there is none any more, as a sentence.
    pub(crate) async fn next(&mut self) -> Result<(Channel, Vec<u8>), String> {
        loop {
            if let Some(piece) = self.pieces.pop().map_err(|error| error.to_string())? {
                return Ok(piece);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.pieces.push(&bytes);
                    }
                }
                Some(Err(error)) => {
                    return Err(format!("the connection to its host was lost ({error})"));
                }
                None => return Err("the connection to its host was lost".into()),
            }
        }
    }
}

impl Says {
    /// One for a test, and what is heard of it.
    #[cfg(test)]
    pub(crate) fn for_test() -> (Self, mpsc::Receiver<Bytes>) {
        let (says, heard) = mpsc::channel(WAITING_MAX);
        (Self(says), heard)
    }

    /// Says a piece, once there is room for it.
    ///
    /// # Errors
    /// When nobody hears it any more.
    pub(crate) async fn say(&self, channel: Channel, bytes: &[u8]) -> Result<(), Unheard> {
        self.0.send(piece(channel, bytes).into()).await.map_err(|_| Unheard)
    }
}

/// Nobody is there any more.
#[derive(Debug)]
pub(crate) struct Unheard;
