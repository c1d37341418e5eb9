//! Sessions of people with the containers of this host: the plane says who wants what, and for each a stream of its own is
//! opened on the same connection. It ends with either side: who asked, the container, or the connection. What waits to
//! be sent, and to be read by a command, is bounded; who takes nothing gets nothing more, and holds up nobody else.

use crate::{
    connect::{NotOpened, Opener, Reply},
    containers::{Containers, ContainersError, ExecControl, ExecOutput, ExecSession},
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use quarterdeck_model::agent::session::{
    Channel, ExecOptions, LogOptions, PIECE_BYTES_MAX, Pieces, SESSION_PATH, SESSIONS_MAX,
    SessionAsk, SessionEnd, SessionWanted, end, piece,
};
use serde::Deserialize;
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tracing::{debug, info};

/// Lines of a log that are said together, if they are there.
const LINES_AT_ONCE: usize = 64;
/// How long the other side may take to end a session that is over here.
const GOODBYE: Duration = Duration::from_secs(10);

/// Who listens, or runs something.
pub(crate) struct People {
    places: Arc<Semaphore>,
}

impl Default for People {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(SESSIONS_MAX)) }
    }
}

/// The other side is gone, or does not take any more.
struct Gone;

type Ended = Result<SessionEnd, Gone>;

impl People {
    /// Begins what the plane asks for.
    pub(crate) fn begin(
        &self,
        mut opener: Opener,
        containers: &Arc<Containers>,
        wanted: SessionWanted,
    ) {
        let (place, containers) =
            (Arc::clone(&self.places).try_acquire_owned(), containers.clone());
        tokio::spawn(async move {
            let path = format!("{SESSION_PATH}{}", wanted.id);
            let (out, body) = match opener.open(&path).await {
                Ok(opened) => opened,
                Err(NotOpened::Refused(Reply::Refused { message, .. })) => {
                    return debug!(id = wanted.id, message, "a session is not wanted any more");
                }
                // With the connection, all that wants it is gone.
                Err(NotOpened::Refused(Reply::Done(_)) | NotOpened::Lost(_)) => return,
            };
            let speaker = Speaker(out);
            let mut listener = Listener { body, pieces: Pieces::default() };
            let ended = match place {
                Err(_) => Ok(SessionEnd::Refused(format!(
                    "{SESSIONS_MAX} sessions with containers of this host are open, as many as there may be; try again when one has ended"
                ))),
                Ok(_place) => serve(&containers, wanted, &speaker, &mut listener).await,
            };
            if let Ok(how) = ended {
                // Who is gone does not hear it.
                let _ = speaker.send(end(&how)).await;
                drop(speaker);
                // A stream that is not heard to its end is reset, and what was said last may be lost with it.
                let _ = timeout(GOODBYE, async { while listener.next().await.is_ok() {} }).await;
            }
        });
    }
}

async fn serve(
    containers: &Containers,
    wanted: SessionWanted,
    speaker: &Speaker,
    listener: &mut Listener,
) -> Ended {
    let SessionWanted { id, uid, container, ask } = wanted;
    match ask {
        SessionAsk::Logs(options) => {
            logs(containers, (&uid, &container), options, speaker, listener).await
        }
        SessionAsk::Exec(options) => {
            info!(id, uid, container, "somebody runs a command in a container");
            exec(containers, (&uid, &container), options, speaker, listener).await
        }
    }
}

async fn logs(
    containers: &Containers,
    (uid, container): (&str, &str),
    options: LogOptions,
    speaker: &Speaker,
    listener: &mut Listener,
) -> Ended {
    let mut parts = match containers.logs(uid, container, options).await {
        // The engine gives line by line: what is there is said at once.
        Ok(parts) => Box::pin(parts.ready_chunks(LINES_AT_ONCE)),
        Err(error) => return Ok(refusal(&error)),
    };
    speaker.begin().await?;
    loop {
        tokio::select! {
            lines = parts.next() => {
                let Some(lines) = lines else { return Ok(SessionEnd::Done) };
                let mut said = Vec::new();
                let mut broken = None;
                for line in lines {
                    match line {
                        Ok(bytes) => said.extend_from_slice(&bytes),
                        Err(error) => broken = Some(SessionEnd::Failed(error.to_string())),
                    }
                }
                speaker.say(Channel::Stdout, &said).await?;
                if let Some(end) = broken {
                    return Ok(end);
                }
            }
            // Nothing is to be said to a log: whoever does, or is gone, wants no more of it.
            _ = listener.next() => return Err(Gone),
        }
    }
}

async fn exec(
    containers: &Containers,
    (uid, container): (&str, &str),
    options: ExecOptions,
    speaker: &Speaker,
    listener: &mut Listener,
) -> Ended {
    let session = match containers.exec(uid, container, options).await {
        Ok(session) => session,
        Err(error) => return Ok(refusal(&error)),
    };
    let control = session.control();
    let ended = run(session, &control, speaker, listener).await;
    if ended.is_err() {
        control.hang_up().await;
    }
    ended
}

async fn run(
    session: ExecSession,
    control: &ExecControl,
    speaker: &Speaker,
    listener: &mut Listener,
) -> Ended {
    let ExecSession { stdin, mut output, .. } = session;
    speaker.begin().await?;
    let saying = async {
        while let Some(part) = output.next().await {
            match part {
                Ok(ExecOutput::Stdout(bytes)) => speaker.say(Channel::Stdout, &bytes).await?,
                Ok(ExecOutput::Stderr(bytes)) => speaker.say(Channel::Stderr, &bytes).await?,
                Err(error) => return Ok(SessionEnd::Failed(error.to_string())),
            }
        }
        Ok(match control.exit_code().await {
            Ok(code) => SessionEnd::Exited(code),
            Err(error) => SessionEnd::Failed(error.to_string()),
        })
    };
    tokio::select! {
        ended = saying => ended,
        gone = hear(listener, stdin, control) => Err(gone),
        // Nothing is heard while the command reads nothing of what was said before.
        () = speaker.0.closed() => Err(Gone),
    }
}

/// Hands on what is said to the command, until the other side is gone.
async fn hear(
    listener: &mut Listener,
    mut stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    control: &ExecControl,
) -> Gone {
    loop {
        match listener.next().await {
            Ok((Channel::Stdin, bytes)) => {
                // A command that reads no more has not ended by that.
                if let Some(to) = &mut stdin
                    && write(to, &bytes).await.is_err()
                {
                    stdin = None;
                }
            }
            Ok((Channel::StdinClosed, _)) => {
                if let Some(mut to) = stdin.take() {
                    let _ = to.shutdown().await;
                }
            }
            Ok((Channel::Resize, bytes)) => {
                // As kubectl writes it. What is no size changes none.
                if let Ok(Size { width, height }) = serde_json::from_slice(&bytes)
                    && let Err(error) = control.resize(width, height).await
                {
                    debug!(%error, "a terminal keeps its size");
                }
            }
            Ok(_) => {}
            Err(gone) => return gone,
        }
    }
}

async fn write(to: &mut Pin<Box<dyn AsyncWrite + Send>>, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

fn refusal(error: &ContainersError) -> SessionEnd {
    match error {
        ContainersError::EngineAway { .. } | ContainersError::File { .. } => {
            SessionEnd::Failed(error.to_string())
        }
        error => SessionEnd::Refused(error.to_string()),
    }
}

/// What is said. Waits while the other side does not take it.
struct Speaker(mpsc::Sender<Bytes>);

impl Speaker {
    async fn say(&self, channel: Channel, bytes: &[u8]) -> Result<(), Gone> {
        for part in bytes.chunks(PIECE_BYTES_MAX) {
            self.send(piece(channel, part)).await?;
        }
        Ok(())
    }

    async fn begin(&self) -> Result<(), Gone> {
        self.send(piece(Channel::Begun, &[])).await
    }

    async fn send(&self, piece: Vec<u8>) -> Result<(), Gone> {
        self.0.send(piece.into()).await.map_err(|_| Gone)
    }
}

/// What is heard.
struct Listener {
    body: Incoming,
    pieces: Pieces,
}

impl Listener {
    /// The next piece. May be dropped and called again.
    async fn next(&mut self) -> Result<(Channel, Vec<u8>), Gone> {
        loop {
            if let Some(piece) = self.pieces.pop().map_err(|_| Gone)? {
                return Ok(piece);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.pieces.push(&bytes);
                    }
                }
                Some(Err(_)) | None => return Err(Gone),
            }
        }
    }
}
