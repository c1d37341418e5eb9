//! One stream from its beginning to its end: the agent's frames are read and reported, and what changes for it is sent. One
//! task each, which holds next to nothing while the agent has nothing to say but that it lives.

use super::{
    Agent, Agents,
    instances::{self, Sent},
    limit::{Bucket, Limits, Verdict},
    order::{self, Place},
    registry::{Session, Woken},
    report::{Own, Report, Told},
    said::Said,
    tasks,
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
    agent::{Frames, FromAgent, Goodbye, Hello, PROTOCOL, RECONNECT_MAX, ToAgent, Welcome, encode},
    kinds::{AgentHost, Machine},
};
use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
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
/// How often in a row a stream is written down for something that is said on it.
const TRIES: usize = 3;
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
                return self.say_goodbye(Goodbye { message, for_good: false, newest: None }).await;
            }
            Ok(Ok(_)) => return debug!(namespace, name, "a stream did not begin with who it is"),
            Ok(Err(error)) => return debug!(namespace, name, error, "a stream ended at once"),
            Err(_) => return debug!(namespace, name, "a stream began with nothing"),
        };
        let mut own = self.own(hello);
        if let Err(goodbye) = self.admit(&own).await {
            return self.say_goodbye(goodbye).await;
        }
        let Some(session) = self.agents.registry.begin(namespace, name) else {
            let message = "its host begins streams too often; it has to wait".to_owned();
            return self.say_goodbye(Goodbye { message, for_good: false, newest: None }).await;
        };
        // It is new.
        let _ = session.agent.set(self.agent.clone());
        own.id = self.agents.id(&session);
        let id = own.id.clone();
        info!(namespace, name, session = id, version = own.version, "an agent is connected");
        let mut limits = Limits::default();
        let end = self.serve(&session, (&mut own, &mut limits), reader).await;
        let heard = Timestamp::now() - session.silent_for();
        let last = self.agents.registry.remove(namespace, name, &session);
        let why = match end {
            End::Theirs(why) => why,
            End::Ours(goodbye) => {
                let why = goodbye.message.clone();
                self.say_goodbye(goodbye).await;
                why
            }
        };
        info!(namespace, name, session = id, why, "an agent's stream has ended");
        let Self { agents, out, .. } = self;
        drop(out);
        // The last that it said, which nobody says again if it is gone.
        for said in limits.rest() {
            tell_until(&agents, &own, &Report::Said(&said)).await;
        }
        // Whoever stops leaves it to the others to see who does not come back.
        if !last || *agents.stop.borrow() {
            return;
        }
        sleep(BACK).await;
        if agents.registry.listening.was_away(RECONNECT_MAX) {
            sleep(RECONNECT_MAX).await;
        }
        let heard = Time::new(heard);
        tell_until(&agents, &own, &Report::Disconnected { heard, why: &why }).await;
    }

    /// How the stream is written down.
    fn own(&self, hello: Hello) -> Own {
        let version = hello.version.chars().filter(|letter| !letter.is_control()).take(64);
        let Hello { boot_id, start, hostname, .. } = hello;
        Own {
            agent: self.agent.clone(),
            id: String::new(),
            number: hello.stream,
            host: AgentHost { start, boot_id, hostname }.bounded(),
            version: version.collect(),
            since: Time::new(Timestamp::now()),
        }
    }

    /// Refuses a stream that is older than the one which is known, and one of two hosts with one identity: neither is written
    /// down each time that it comes.
    async fn admit(&self, own: &Own) -> Result<(), Goodbye> {
        let world = self.agents.store.world();
        let machine = world.get(Machine::info(), &self.agent.namespace, &self.agent.name);
        let machine = machine.and_then(|machine| machine.decode::<Machine>().ok());
        let known = machine.as_ref().and_then(|machine| machine.status.agent.as_ref());
        if let Some(holder) = order::rival(known, &own.host) {
            // It is refused though that cannot be written.
            if let Err(error) = self.agents.tell(own, &Report::Refused).await {
                warn!(%error, "that two hosts have one identity could not be written down yet");
            }
            let message = format!(
                "another host has the identity of this agent and holds its stream: {holder}; if this one is the copy, empty its data folder and join it with a token of its own Machine"
            );
            return Err(Goodbye { message, for_good: false, newest: None });
        }
        match order::place(known, &own.id, own.number) {
            Place::Older(newest) => Err(older(newest)),
            Place::Own | Place::Newer(_) => Ok(()),
        }
    }

    /// Serves it until it ends, and says why.
    async fn serve(
        &self,
        session: &Session,
        (own, limits): (&mut Own, &mut Limits),
        mut reader: Reader,
    ) -> End {
        match self.serve_all(session, (own, limits), &mut reader).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn serve_all(
        &self,
        session: &Session,
        (own, limits): (&mut Own, &mut Limits),
        reader: &mut Reader,
    ) -> Result<std::convert::Infallible, End> {
        let now = Time::new(Timestamp::now());
        self.send(&ToAgent::Welcome(Welcome {
            session: own.id.clone(),
            heartbeat_seconds: u32::try_from(self.agents.heartbeat().as_secs()).unwrap_or(1).max(1),
            reconnect_spread_millis: self.spread_millis(),
            time: now,
        }))
        .await?;
        self.connect(session, own).await?;
        // What ended is forgotten when it is not among them, so nothing may be missing only because it is not here yet. And its
        // certificate is looked at again, now that whoever revokes it finds the stream.
        let world = self.agents.store.fresh().await.map_err(|error| error.to_string())?;
        if let Err(error) = self.agent.machine(&world) {
            return Err(End::Ours(Goodbye {
                message: error.message,
                for_good: true,
                newest: None,
            }));
        }
        self.send_tasks().await?;
        let mut sent = Sent::default();
        self.send_instances(&mut sent).await?;
        loop {
            tokio::select! {
                frame = reader.next() => {
                    session.heard();
                    self.take(session, (own, limits), frame?).await?;
                }
                () = at(limits.due()) => self.say_what_waits(session, (own, limits)).await?,
                woken = session.woken() => match woken {
                    Woken::Tasks => self.send_tasks().await?,
                    Woken::Instances => self.send_instances(&mut sent).await?,
                    Woken::Record => self.connect(session, own).await?,
                    Woken::Session(wanted) => self.send(&ToAgent::Session(wanted)).await?,
                    Woken::End(goodbye) => return Err(End::Ours(goodbye)),
                },
            }
        }
    }

    async fn take(
        &self,
        session: &Session,
        (own, limits): (&mut Own, &mut Limits),
        frame: FromAgent,
    ) -> Result<(), End> {
        let said = match frame {
            FromAgent::Heartbeat(heartbeat) => {
                if let Some(usage) = heartbeat.usage {
                    session.uses(usage);
                }
                if heartbeat.wants_time {
                    self.send(&ToAgent::Time(Time::new(Timestamp::now()))).await?;
                }
                return Ok(());
            }
            FromAgent::Containers(all) => {
                session.containers_use(all);
                return Ok(());
            }
            FromAgent::Hello(_) => {
                return Err(End::Theirs("it said twice who it is".into()));
            }
            FromAgent::Facts(facts) => Said::Facts(facts),
            FromAgent::Conditions(said) => Said::Conditions(said),
            FromAgent::Instance(report) => Said::Instance(report),
            FromAgent::Task(report) => Said::Task(report),
        };
        let ours = |message| End::Ours(Goodbye { message, for_good: false, newest: None });
        let said = said.bounded().map_err(ours)?;
        let verdict = match self.is_end(&said) {
            true => {
                limits.ended(&said.thing());
                Verdict::Now(said)
            }
            false => limits.offer(said, &mut written(session), Instant::now()),
        };
        match verdict {
            Verdict::Now(said) => self.say(session, own, &said).await,
            Verdict::Later => Ok(()),
            Verdict::TooMuch => {
                let message = "it says more than a host has to say; look at what runs there";
                Err(ours(message.into()))
            }
        }
    }

    /// Whether it is the end of a task that the agent was given and that has not ended, as far as is known here: such an end comes
    /// once, and so it is written at once. Any other is one of the things that a host may say, and takes what they take.
    fn is_end(&self, said: &Said) -> bool {
        match said {
            Said::Task(report) if report.status.ended() => {
                tasks::is_open(&self.agents.store.world(), &self.agent, report)
            }
            _ => false,
        }
    }

    /// Writes down what was put off and may be written now.
    async fn say_what_waits(
        &self,
        session: &Session,
        (own, limits): (&mut Own, &mut Limits),
    ) -> Result<(), End> {
        loop {
            let said = limits.pop(&mut written(session), Instant::now());
            let Some(said) = said else { return Ok(()) };
            self.say(session, own, &said).await?;
        }
    }

    /// Writes down what the agent says, once its stream is written down: what was said on an older one does not count.
    async fn say(&self, session: &Session, own: &mut Own, said: &Said) -> Result<(), End> {
        for _ in 0..TRIES {
            if self.tell(session, own, Report::Said(said)).await? == Told::Done {
                let ended = matches!(said, Said::Task(report) if report.status.ended());
                // What has ended is no more among its tasks, which tells it that the plane knows. Told again it changes
                // nothing, and nothing else would say so.
                return if ended { self.send_tasks().await } else { Ok(()) };
            }
            self.connect(session, own).await?;
        }
        Err(End::Theirs("what is written of its stream changes too often".into()))
    }

    /// Writes the stream down, or ends it when a later one is known.
    async fn connect(&self, session: &Session, own: &mut Own) -> Result<(), End> {
        match self.tell(session, own, Report::Connected).await? {
            Told::Connected { number, rival } => {
                own.number = Some(number);
                session.set_rival(rival);
            }
            Told::Older(newest) => return Err(End::Ours(older(newest))),
            // It counts no more, which is looked at by whoever asked.
            Told::Done | Told::NotOwn => {}
        }
        Ok(())
    }

    /// Writes, and tries again while the store is away: what an agent said is not lost, and it says no more meanwhile.
    async fn tell(&self, session: &Session, own: &Own, report: Report<'_>) -> Result<Told, End> {
        session.busy(self.tell_in_time(own, report)).await
    }

    async fn tell_in_time(&self, own: &Own, report: Report<'_>) -> Result<Told, End> {
        loop {
            match self.agents.tell(own, &report).await {
                Ok(told) => return Ok(told),
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
        // As many as a frame holds; the others follow when these have ended.
        let mut tasks = tasks::open(&self.agents.store.world(), &self.agent);
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

/// A later stream of the agent is known.
fn older(newest: u64) -> Goodbye {
    let message = "the agent has begun another stream".to_owned();
    Goodbye { message, for_good: false, newest: Some(newest) }
}

/// Waits until then, or for ever.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What the host has had written down.
fn written(session: &Session) -> MutexGuard<'_, Bucket> {
    // Each change is one number.
    session.written.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes something of a stream that has ended, however long the store is away.
async fn tell_until(agents: &Agents, own: &Own, report: &Report<'_>) {
    while !*agents.stop.borrow() {
        match agents.tell(own, report).await {
            Ok(_) => return,
            Err(error) => {
                warn!(%error, "the end of an agent's stream could not be written down yet")
            }
        }
        sleep(PAUSE).await;
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
