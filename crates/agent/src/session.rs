//! One stream to the plane, from its beginning to its end. It says what the host is when that changed, how it is, how far tasks
//! are, and that it lives; and hands on what there is to do.

use crate::{
    connect::{self, NotOpened, Plane, Reply},
    containers::Containers,
    folder::Folder,
    host::{Health, Host},
    identity::Identity,
    instances::{self, Wanted},
    people::People,
    start::Start,
    tasks::Tasks,
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use quarterdeck_model::{
    agent::{
        Frames, FromAgent, Goodbye, Heartbeat, Hello, HostCondition, PROTOCOL, STREAM_PATH,
        ToAgent, Welcome, encode,
    },
    kinds::{AgentTaskStatus, MachineFacts},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::{info, warn};

/// The plane says how it goes within that.
const WELCOME: Duration = Duration::from_secs(30);
/// How often it is looked whether the host has changed.
const FACTS: Duration = Duration::from_secs(60);
/// How often its health is looked at.
const HEALTH: Duration = Duration::from_secs(10);
/// Heartbeats between two questions for the time.
const HEARTBEATS_A_TIME: u64 = 6;
/// How soon a new certificate is asked for again.
const RENEW_AGAIN: Duration = Duration::from_secs(300);

/// What a stream needs.
pub(crate) struct Session<'a> {
    pub(crate) plane: &'a Plane,
    pub(crate) host: &'a Host,
    pub(crate) tasks: &'a Tasks,
    pub(crate) containers: &'a Arc<Containers>,
    pub(crate) people: &'a People,
    pub(crate) folder: &'a Folder,
    pub(crate) start: &'a Start,
}

/// How a stream ended.
pub(crate) enum Ended {
    /// It goes on with another certificate.
    Renewed,
    /// The plane will not have it again.
    ForGood(String),
    /// Anything else; with the time over which to spread, if the plane had said it.
    Lost { why: String, served: Option<Duration> },
}

impl From<String> for Ended {
    fn from(why: String) -> Self {
        Self::Lost { why, served: None }
    }
}

/// What of the stream's other end was told.
#[derive(Default)]
struct Told {
    facts: Option<MachineFacts>,
    conditions: Option<Vec<HostCondition>>,
    tasks: HashMap<String, AgentTaskStatus>,
}

impl Session<'_> {
    /// Holds a stream until it ends.
    pub(crate) async fn run(&self, identity: &mut Identity) -> Ended {
        match self.serve(identity).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn serve(&self, identity: &mut Identity) -> Result<std::convert::Infallible, Ended> {
        let connected = self.plane.connect(Some(identity)).await;
        let mut requests = connected.map_err(|trouble| match trouble.into_text() {
            why if connect::says_it_ended(&why) => Ended::ForGood(identity.over()),
            why => why.into(),
        })?;
        let opened = requests.open(STREAM_PATH).await;
        let (out, body) = opened.map_err(|why| match why {
            NotOpened::Refused(Reply::Refused { message, lasting: true }) => {
                Ended::ForGood(message)
            }
            NotOpened::Refused(Reply::Refused { message, .. }) => message.into(),
            NotOpened::Refused(Reply::Done(_)) => {
                "the plane's answer is not understood".to_owned().into()
            }
            NotOpened::Lost(why) if identity.is_over(&why) => Ended::ForGood(identity.over()),
            NotOpened::Lost(why) => why.into(),
        })?;
        let stream = Stream { out };
        let mut reader = Reader { body, frames: Frames::default() };
        let boot_id = self.host.boot_id();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let hello = Hello {
            protocol: PROTOCOL,
            version,
            boot_id,
            stream: Some(self.start.next()),
            start: self.start.id.clone(),
            hostname: self.host.name(),
        };
        stream.send(&FromAgent::Hello(hello)).await?;
        let welcome = match timeout(WELCOME, reader.next()).await {
            Ok(Ok(ToAgent::Welcome(welcome))) => welcome,
            Ok(Ok(ToAgent::Goodbye(goodbye))) => return Err(self.ended(goodbye)),
            Ok(Ok(_)) => return Err("the plane did not begin with a welcome".to_owned().into()),
            Ok(Err(why)) => return Err(why.into()),
            Err(_) => return Err("the plane did not welcome it".to_owned().into()),
        };
        info!(session = welcome.session, "the agent is connected");
        let spread = Duration::from_millis(welcome.reconnect_spread_millis.into());
        let served = self.welcomed(identity, &mut requests, (&stream, &mut reader), &welcome).await;
        served.map_err(|ended| match ended {
            Ended::Lost { why, .. } => Ended::Lost { why, served: Some(spread) },
            ended => ended,
        })
    }

    async fn welcomed(
        &self,
        identity: &mut Identity,
        requests: &mut crate::connect::Requests,
        (stream, reader): (&Stream, &mut Reader),
        welcome: &Welcome,
    ) -> Result<std::convert::Infallible, Ended> {
        let mut told = Told::default();
        let (mut wanted, mut seen) = (Wanted::default(), self.containers.reports());
        let mut health = Health::default();
        let every = |period: Duration| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        health.plane_says(welcome.time, Timestamp::now());
        let mut ahead = Timestamp::now().duration_since(welcome.time.timestamp());
        let mut heartbeats = every(Duration::from_secs(welcome.heartbeat_seconds.max(1).into()));
        let (mut facts, mut looks) = (every(FACTS), every(HEALTH));
        let mut takes = self.containers.usage();
        let mut changes = self.tasks.changes();
        let mut count = 0_u64;
        let mut renew = Instant::now();
        loop {
            tokio::select! {
                frame = reader.next() => match frame? {
                    ToAgent::Tasks(tasks) => {
                        self.tasks.assign(tasks, &told.tasks);
                        told.tasks.retain(|name, _| self.tasks.knows(name));
                        self.tell_tasks(stream, &mut told).await?;
                    }
                    ToAgent::Instances(said) => {
                        wanted.take(identity.namespace(), said, self.containers)?;
                    }
                    ToAgent::Session(session) => {
                        self.people.begin(requests.opener(), self.containers, session);
                    }
                    ToAgent::Time(time) => {
                        health.plane_says(time, Timestamp::now());
                        ahead = Timestamp::now().duration_since(time.timestamp());
                    }
                    ToAgent::Goodbye(goodbye) => return Err(self.ended(goodbye)),
                    ToAgent::Welcome(_) => return Err("the plane welcomed it twice".to_owned().into()),
                },
                _ = heartbeats.tick() => {
                    let usage = self.host.usage();
                    let wants_time = count % HEARTBEATS_A_TIME == HEARTBEATS_A_TIME - 1;
                    count += 1;
                    stream.send(&FromAgent::Heartbeat(Heartbeat { usage, wants_time })).await?;
                    // By the plane's clock: the host's own may be wrong.
                    let due = Timestamp::now().saturating_sub(ahead).is_ok_and(|now| identity.renew_at() <= now);
                    if due && renew <= Instant::now() {
                        renew = Instant::now() + RENEW_AGAIN;
                        match identity.renew(self.folder, requests).await {
                            Ok(()) => return Err(Ended::Renewed),
                            Err(why) => warn!(why, "no new certificate yet; it tries again in {RENEW_AGAIN:?}"),
                        }
                    }
                }
                _ = facts.tick() => {
                    let found = self.host.facts().await;
                    if told.facts.as_ref() != Some(&found) {
                        stream.send(&FromAgent::Facts(Box::new(found.clone()))).await?;
                        told.facts = Some(found);
                    }
                }
                _ = looks.tick() => {
                    let seen = self.host.vitals().await;
                    let conditions = health.look(&seen);
                    if told.conditions.as_ref() != Some(&conditions) {
                        stream.send(&FromAgent::Conditions(conditions.clone())).await?;
                        told.conditions = Some(conditions);
                    }
                }
                Ok(()) = takes.changed() => {
                    let taken = takes.borrow_and_update().clone();
                    stream.send(&FromAgent::Containers(taken)).await?;
                }
                Some(report) = seen.recv() => {
                    let report = Box::new(instances::report(report));
                    stream.send(&FromAgent::Instance(report)).await?;
                }
                _ = changes.changed() => self.tell_tasks(stream, &mut told).await?,
            }
        }
    }

    /// How a stream ends that the plane has ended.
    fn ended(&self, goodbye: Goodbye) -> Ended {
        self.start.known(goodbye.newest);
        match goodbye.for_good {
            true => Ended::ForGood(goodbye.message),
            false => goodbye.message.into(),
        }
    }

    /// Says how far tasks are, as far as that was not said on this stream.
    async fn tell_tasks(&self, stream: &Stream, told: &mut Told) -> Result<(), Ended> {
        for report in self.tasks.reports() {
            if told.tasks.get(&report.name) == Some(&report.status) {
                continue;
            }
            told.tasks.insert(report.name.clone(), report.status.clone());
            stream.send(&FromAgent::Task(Box::new(report))).await?;
        }
        Ok(())
    }
}

/// What is sent.
struct Stream {
    out: mpsc::Sender<Bytes>,
}

impl Stream {
    async fn send(&self, frame: &FromAgent) -> Result<(), Ended> {
        let bytes = encode(frame).map_err(|error| error.to_string())?;
        let sent = self.out.send(bytes.into()).await;
        sent.map_err(|_| "the connection was lost".to_owned().into())
    }
}

/// What comes.
struct Reader {
    body: Incoming,
    frames: Frames,
}

impl Reader {
    /// The next frame. May be dropped and called again.
    async fn next(&mut self) -> Result<ToAgent, String> {
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
                None => return Err("the plane ended the stream".into()),
            }
        }
    }
}
