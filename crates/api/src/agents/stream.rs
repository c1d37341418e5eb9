//! One stream from its beginning to its end: the agent's frames are read and reported, and what changes for it is sent. One
//! task each, which holds next to nothing while the agent has nothing to say but that it lives.

use super::{
    Agent, Agents,
    instances::{self, Sent},
    registry::{Session, Woken},
    report::Report,
};
use crate::{
    answer::{self, Answer},
    server::Api,
    status::ApiError,
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use jiff::Timestamp;
use quarterdeck_model::{
    Kind as _, Time,
    agent::{
        Frames, FromAgent, Goodbye, Hello, PROTOCOL, TASKS_MAX, Task, ToAgent, Welcome, encode,
    },
    kinds::AgentTask,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

/// An agent that has not said who it is by then says nothing.
const HELLO: Duration = Duration::from_secs(15);
/// Frames that wait to be sent. An agent that takes none is ended by the connection.
const WAITING_MAX: usize = 8;
/// An agent that lost its stream is back by then, most likely, and nothing has to be written down.
const BACK: Duration = Duration::from_secs(2);
/// Pause after a write that failed, since the store is away.
const PAUSE: Duration = Duration::from_secs(2);
/// Streams that are begun anew in a second when all are lost: about what one processor takes of handshakes.
const RECONNECTS_PER_SECOND: usize = 2_500;
/// The least time over which they spread.
const SPREAD_MIN: Duration = Duration::from_millis(500);

/// Opens the stream of an agent.
pub(crate) fn stream(
    api: &Api,
    agents: &Arc<Agents>,
    agent: Agent,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    agent.machine(&api.store.world())?;
    let (out, frames) = mpsc::channel(WAITING_MAX);
    tokio::spawn(Open { agents: agents.clone(), agent, out }.run(request.into_body()));
    let body = stream::unfold(frames, |mut frames: mpsc::Receiver<Bytes>| async move {
        frames.recv().await.map(|bytes| (Ok(Frame::data(bytes)), frames))
    });
    let mut answer = answer::streamed(StreamBody::new(body).boxed_unsync());
    let media = HeaderValue::from_static("application/vnd.quarterdeck.agent");
    answer.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(answer)
}

/// A stream.
struct Open {
    agents: Arc<Agents>,
    agent: Agent,
    out: mpsc::Sender<Bytes>,
}

/// Why a stream ends.
enum End {
    /// The other side is gone, or says nonsense.
    Theirs(String),
    /// This side ends it.
    Ours(Goodbye),
}

impl From<String> for End {
    fn from(why: String) -> Self {
        Self::Theirs(why)
    }
}

impl Open {
    async fn run(self, body: Incoming) {
        let Agent { namespace, name, .. } = &self.agent;
        let mut reader = Reader { body, frames: Frames::default() };
        let hello = match timeout(HELLO, reader.next()).await {
            Ok(Ok(FromAgent::Hello(hello))) if hello.protocol == PROTOCOL => hello,
            Ok(Ok(FromAgent::Hello(hello))) => {
                let message = format!(
                    "this plane speaks version {PROTOCOL} of the agents' protocol, and the agent version {}; install the other release of it",
                    hello.protocol
                );
                return self.say_goodbye(Goodbye { message, for_good: false }).await;
            }
            Ok(Ok(_)) => return debug!(namespace, name, "a stream did not begin with who it is"),
            Ok(Err(error)) => return debug!(namespace, name, error, "a stream ended at once"),
            Err(_) => return debug!(namespace, name, "a stream began with nothing"),
        };
        let session = self.agents.registry.begin(namespace, name);
        // It is new.
        let _ = session.agent.set(self.agent.clone());
        let id = format!("{}/{}", self.agents.process, session.number);
        info!(namespace, name, session = id, version = hello.version, "an agent is connected");
        let end = self.serve(&session, &id, &hello, reader).await;
        let heard = Timestamp::now() - session.silent_for();
        let own = self.agents.registry.remove(namespace, name, &session);
        let why = match end {
            End::Theirs(why) => why,
            End::Ours(goodbye) => {
                let why = goodbye.message.clone();
                self.say_goodbye(goodbye).await;
                why
            }
        };
        info!(namespace, name, session = id, why, "an agent's stream has ended");
        let Self { agents, agent, out } = self;
        drop(out);
        // Whoever stops leaves it to the others to see who does not come back.
        if !own || *agents.stop.borrow() {
            return;
        }
        sleep(BACK).await;
        while !*agents.stop.borrow() {
            let heard = Time::new(heard);
            let report = Report::Disconnected { session: &id, heard, why: &why };
            match agents.tell(&agent, &report).await {
                Ok(()) => return,
                Err(error) => {
                    warn!(%error, "the end of an agent's stream could not be written down")
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Serves it until it ends, and says why.
    async fn serve(&self, session: &Session, id: &str, hello: &Hello, mut reader: Reader) -> End {
        match self.serve_all(session, id, hello, &mut reader).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn serve_all(
        &self,
        session: &Session,
        id: &str,
        hello: &Hello,
        reader: &mut Reader,
    ) -> Result<std::convert::Infallible, End> {
        let now = Time::new(Timestamp::now());
        self.send(&ToAgent::Welcome(Welcome {
            session: id.to_owned(),
            heartbeat_seconds: u32::try_from(self.agents.heartbeat().as_secs()).unwrap_or(1).max(1),
            reconnect_spread_millis: self.spread_millis(),
            time: now,
        }))
        .await?;
        let version: String =
            hello.version.chars().filter(|letter| !letter.is_control()).take(64).collect();
        self.tell(Report::Connected { session: id, version: &version, since: now }).await?;
        // What ended is forgotten when it is not among them, so nothing may be missing only because it is not here yet. And its
        // certificate is looked at again, now that whoever revokes it finds the stream.
        let world = self.agents.store.fresh().await.map_err(|error| error.to_string())?;
        if let Err(error) = self.agent.machine(&world) {
            return Err(End::Ours(Goodbye { message: error.message, for_good: true }));
        }
        self.send_tasks().await?;
        let mut sent = Sent::default();
        self.send_instances(&mut sent).await?;
        loop {
            tokio::select! {
                frame = reader.next() => {
                    session.heard();
                    self.take(session, frame?).await?;
                }
                woken = session.woken() => match woken {
                    Woken::Tasks => self.send_tasks().await?,
                    Woken::Instances => self.send_instances(&mut sent).await?,
                    Woken::Session(wanted) => self.send(&ToAgent::Session(wanted)).await?,
                    Woken::End(goodbye) => return Err(End::Ours(goodbye)),
                },
            }
        }
    }

    async fn take(&self, session: &Session, frame: FromAgent) -> Result<(), End> {
        match frame {
            FromAgent::Heartbeat(heartbeat) => {
                if let Some(usage) = heartbeat.usage {
                    session.uses(usage);
                }
                if heartbeat.wants_time {
                    self.send(&ToAgent::Time(Time::new(Timestamp::now()))).await?;
                }
            }
            FromAgent::Containers(all) => session.containers_use(all),
            FromAgent::Hello(_) => {
                return Err(End::Theirs("it said twice who it is".into()));
            }
            FromAgent::Facts(facts) => {
                self.tell(Report::Facts(facts)).await?;
            }
            FromAgent::Conditions(said) => {
                self.tell(Report::Conditions(said)).await?;
            }
            FromAgent::Instance(report) => {
                self.tell(Report::Instance(report)).await?;
            }
            FromAgent::Task(report) => {
                let ended = report.status.ended();
                self.tell(Report::Task(report)).await?;
                // What has ended is no more among its tasks, which tells it that the plane knows. Told again it changes
                // nothing, and nothing else would say so.
                if ended {
                    self.send_tasks().await?;
                }
            }
        }
        Ok(())
    }

    /// Writes, and tries again while the store is away: what an agent said is not lost, and it says no more meanwhile.
    async fn tell(&self, report: Report<'_>) -> Result<(), End> {
        loop {
            match self.agents.tell(&self.agent, &report).await {
                Ok(()) => return Ok(()),
                Err(error) => warn!(%error, "what an agent said could not be written down yet"),
            }
            if *self.agents.stop.borrow() || self.out.is_closed() {
                return Err(End::Theirs("it ended while the store was away".into()));
            }
            sleep(PAUSE).await;
        }
    }

    /// Sends what there is to do, of which the agent does what it has not done yet.
    async fn send_tasks(&self) -> Result<(), End> {
        let Agent { namespace, name, uid, .. } = &self.agent;
        let world = self.agents.store.world();
        let fields = format!("metadata.namespace={namespace},spec.machine={name}");
        let found = world.with_fields(AgentTask::info(), &fields);
        let mut tasks: Vec<AgentTask> =
            found.iter().filter_map(|task| task.decode().ok()).collect();
        tasks.retain(|task| task.spec.machine_uid == *uid && !task.status.ended());
        tasks.sort_by_key(|task| (task.metadata.creation_timestamp, task.metadata.name.clone()));
        tasks.truncate(TASKS_MAX);
        let tasks = tasks.into_iter().map(|task| Task {
            name: task.metadata.name,
            uid: task.metadata.uid,
            spec: task.spec,
        });
        // As many as a frame holds; the others follow when these have ended.
        let mut tasks: Vec<Task> = tasks.collect();
        loop {
            match encode(&ToAgent::Tasks(tasks.clone())) {
                Ok(bytes) => return self.send_bytes(bytes).await,
                Err(_) if tasks.len() > 1 => tasks.truncate(tasks.len() / 2),
                Err(error) => return Err(End::Theirs(error.to_string())),
            }
        }
    }

    /// Sends what of its instances changed since it was sent.
    async fn send_instances(&self, sent: &mut Sent) -> Result<(), End> {
        for frame in instances::changed(&self.agents.store.world(), &self.agent, sent) {
            self.send(&ToAgent::Instances(frame)).await?;
        }
        Ok(())
    }

    fn spread_millis(&self) -> u32 {
        let millis = self.agents.connected() * 1_000 / RECONNECTS_PER_SECOND;
        let least = usize::try_from(SPREAD_MIN.as_millis()).unwrap_or(0);
        u32::try_from(millis.max(least)).unwrap_or(u32::MAX)
    }

    async fn send(&self, frame: &ToAgent) -> Result<(), End> {
        self.send_bytes(encode(frame).map_err(|error| error.to_string())?).await
    }

    async fn send_bytes(&self, bytes: Vec<u8>) -> Result<(), End> {
        let sent = self.out.send(bytes.into()).await;
        sent.map_err(|_| End::Theirs("the connection was lost".into()))
    }

    async fn say_goodbye(&self, goodbye: Goodbye) {
        // Who does not hear it is gone.
        let _ = timeout(PAUSE, self.send(&ToAgent::Goodbye(goodbye))).await;
    }
}

/// Reads frames.
struct Reader {
    body: Incoming,
    frames: Frames,
}

impl Reader {
    /// The next one. May be dropped and called again.
    async fn next(&mut self) -> Result<FromAgent, String> {
        loop {
            if let Some(frame) = self.frames.pop().map_err(|error| error.to_string())? {
                return Ok(frame);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.frames.push(&bytes);
                    }
                }
                Some(Err(error)) => return Err(format!("the connection was lost ({error})")),
                None => return Err("the agent ended it".into()),
            }
        }
    }
}
