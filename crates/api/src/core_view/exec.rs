//! `kubectl exec`: a command in a container, over a WebSocket. Channels are those of Kubernetes' `v5.channel.k8s.io`, and of
//! `v4`, which differs in that the end of what the command reads cannot be said. SPDY, which kubectl up to 1.29 speaks, is
//! refused with what to do.
//! Source: Kubernetes, KEP-4006; k8s.io/apiserver, `pkg/util/wsstream`; RFC 6455 §4.2.

use super::{lasting::Lasting, pod_part};
use crate::{
    agents::{Agents, Hears, Place, Says, Talk, ended},
    answer::Answer,
    server::Api,
    status::ApiError,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt as _, Stream, StreamExt as _, stream::SplitSink};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use quarterdeck_model::agent::session::{
    Channel, ExecOptions, PIECE_BYTES_MAX, SessionAsk, SessionEnd,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tracing::debug;

/// The protocols that are spoken, the best first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// Largest message that is taken: clients send what they read at once.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long a client may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// How often a client is asked whether it lives: one that vanished takes nothing of it, and its connection ends.
const PING: Duration = Duration::from_secs(15);
/// How long the end of a command may take that hears nothing any more.
const UNHEARD: Duration = Duration::from_secs(30);
/// RFC 6455 §1.3.
const ACCEPT_KEY: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Words of a command, and its bytes are bounded with the address.
const WORDS_MAX: usize = 1_000;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers with a WebSocket, on which the command runs.
pub(super) async fn answer(
    api: &Api,
    pod: (&str, &str),
    mut request: Request<Incoming>,
    lasting: Lasting,
) -> Result<Answer, ApiError> {
    let agents = api.agents.clone().ok_or_else(ApiError::no_such_path)?;
    let (container, options) = parse(request.uri().query().unwrap_or_default())?;
    let world = api.store.fresh().await?;
    let place = pod_part::place(&world, pod, container.as_deref())?;
    // kubectl asks by SPDY when it was refused a WebSocket: what is wrong with both comes first.
    agents.check_connected(&place.namespace, &place.machine)?;
    let Handshake { accept, protocol } = handshake(request.headers())?;
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let socket = match upgraded.await {
            Ok(socket) => TokioIo::new(socket),
            Err(error) => return debug!(%error, "a client did not begin its session"),
        };
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(limits)).await;
        if let Err(error) = serve(socket, &agents, &place, options, lasting).await {
            debug!(%error, "a client is gone");
        }
    });
    let mut answer = Response::new(Empty::new().boxed_unsync());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(answer)
}

/// What is to be run, and in which container. Source: Kubernetes, `v1.PodExecOptions`.
fn parse(query: &str) -> Result<(Option<String>, ExecOptions), ApiError> {
    let (mut container, mut options) = (None, ExecOptions::default());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let flag = matches!(value.as_ref(), "" | "1" | "true" | "True");
        match name.as_ref() {
            "container" => container = Some(value.into_owned()),
            "command" => options.command.push(value.into_owned()),
            "stdin" => options.stdin = flag,
            "stdout" => options.stdout = flag,
            "stderr" => options.stderr = flag,
            "tty" => options.tty = flag,
            _ => {}
        }
    }
    if options.command.is_empty() {
        return Err(ApiError::bad_request("command: you must specify at least one command"));
    }
    if options.command.len() > WORDS_MAX {
        let why = format!("command: it has more than {WORDS_MAX} words");
        return Err(ApiError::bad_request(why));
    }
    let ExecOptions { stdin, stdout, stderr, tty, .. } = options;
    if !(stdin || stdout || stderr || tty) {
        let why = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(ApiError::bad_request(why));
    }
    Ok((container, options))
}

#[derive(Debug, PartialEq, Eq)]
struct Handshake {
    accept: String,
    protocol: &'static str,
}

fn handshake(headers: &HeaderMap) -> Result<Handshake, ApiError> {
    let words = |name: header::HeaderName| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim).collect::<Vec<_>>()
    };
    let upgrade = words(header::UPGRADE);
    let is = |name: &str| upgrade.iter().any(|word| word.eq_ignore_ascii_case(name));
    if is("SPDY/3.1") {
        return Err(ApiError::bad_request(
            "commands are run over a WebSocket, and this client speaks SPDY: use kubectl 1.30 or newer, or set KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true for kubectl 1.29",
        ));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is("websocket"));
    let Some(key) = key else {
        let why = "a command is run over a WebSocket: the request must ask for one (Upgrade: websocket), over HTTP/1.1";
        return Err(ApiError::bad_request(why));
    };
    let asked = words(header::SEC_WEBSOCKET_PROTOCOL);
    let protocol = PROTOCOLS.into_iter().find(|known| asked.contains(known)).ok_or_else(|| {
        ApiError::bad_request(format!(
            "none of the protocols {asked:?} is spoken here; those are {PROTOCOLS:?} (Sec-WebSocket-Protocol)"
        ))
    })?;
    let key = [key.as_bytes(), ACCEPT_KEY.as_bytes()].concat();
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &key));
    Ok(Handshake { accept, protocol })
}

/// Has the command run, and says how it ended.
async fn serve(
    socket: Socket,
    agents: &Arc<Agents>,
    place: &Place,
    options: ExecOptions,
    mut lasting: Lasting,
) -> Result<(), Error> {
    let (mut to, mut from) = socket.split();
    let first = if options.stdout || options.tty { Channel::Stdout } else { Channel::Stderr };
    let end = match agents.session(place, SessionAsk::Exec(options)).await {
        Ok(Talk { mut hears, says }) => {
            // Something on the first channel tells that it has begun, as Kubernetes does.
            to.send(message(first, &[])).await?;
            tokio::select! {
                end = hand_out(&mut hears, &mut to) => end?,
                left = hand_in(&mut from, &says) => match left.end() {
                    Some(end) => end,
                    None => return Ok(()),
                },
                why = lasting.over() => SessionEnd::Failed(why.into()),
            }
        }
        Err(error) => SessionEnd::Failed(error.message),
    };
    to.send(message(Channel::End, status(&end).to_string().as_bytes())).await?;
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    to.send(Message::Close(Some(frame))).await?;
    // What is still on its way is taken, or the end could be lost with the connection.
    let rest = async { while let Some(Ok(_)) = from.next().await {} };
    let _ = timeout(GOODBYE, rest).await;
    Ok(())
}

/// Who is gone.
#[derive(Debug)]
enum Left {
    Client,
    Command,
}

impl Left {
    /// What the client is told, if it is there.
    fn end(self) -> Option<SessionEnd> {
        let unheard = || SessionEnd::Failed("what is said to it does not reach it any more".into());
        matches!(self, Self::Command).then(unheard)
    }
}

/// What the command says goes to the client, until it has ended.
async fn hand_out(
    hears: &mut Hears,
    to: &mut SplitSink<Socket, Message>,
) -> Result<SessionEnd, Error> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let said = tokio::select! {
            said = hears.next() => said,
            _ = ping.tick() => {
                to.send(Message::Ping(Bytes::new())).await?;
                continue;
            }
        };
        match said {
            Ok((channel @ (Channel::Stdout | Channel::Stderr), bytes)) => {
                to.send(message(channel, &bytes)).await?;
            }
            Ok((Channel::End, bytes)) => return Ok(ended(&bytes)),
            Ok(_) => {}
            Err(why) => return Ok(SessionEnd::Failed(why)),
        }
    }
}

/// What the client says goes to the command, until either is gone.
async fn hand_in(
    from: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    says: &Says,
) -> Left {
    while let Some(Ok(message)) = from.next().await {
        let Message::Binary(bytes) = message else {
            if message.is_close() {
                return Left::Client;
            }
            continue;
        };
        let Some((channel, bytes)) = bytes.split_first() else { continue };
        let channel = match *channel {
            0 => Channel::Stdin,
            4 => Channel::Resize,
            255 if bytes == [0] => Channel::StdinClosed,
            _ => continue,
        };
        let said = match channel {
            Channel::StdinClosed => says.say(channel, &[]).await,
            channel => {
                let mut said = Ok(());
                for part in bytes.chunks(PIECE_BYTES_MAX) {
                    said = says.say(channel, part).await;
                }
                said
            }
        };
        if said.is_err() {
            // What it still says is heard, and its end.
            sleep(UNHEARD).await;
            return Left::Command;
        }
    }
    Left::Client
}

fn message(channel: Channel, bytes: &[u8]) -> Message {
    let mut message = Vec::with_capacity(1 + bytes.len());
    message.push(channel as u8);
    message.extend_from_slice(bytes);
    Message::Binary(Bytes::from(message))
}

/// How a command ended, as clients are told. Source: Kubernetes, `remotecommand.NonZeroExitCodeReason`.
fn status(end: &SessionEnd) -> Value {
    let failure = |reason: &str, message: &str, code: u16| {
        json!({
            "metadata": {}, "status": "Failure", "reason": reason, "message": message, "code": code,
        })
    };
    match end {
        SessionEnd::Done | SessionEnd::Exited(0) => json!({"metadata": {}, "status": "Success"}),
        SessionEnd::Exited(code) => {
            let message = format!("command terminated with non-zero exit code: {code}");
            let mut status = failure("NonZeroExitCode", &message, 500);
            if let Some(status) = status.as_object_mut() {
                let cause = json!({"reason": "ExitCode", "message": code.to_string()});
                status.insert("details".into(), json!({"causes": [cause]}));
                status.remove("code");
            }
            status
        }
        SessionEnd::Refused(why) => failure("BadRequest", why, 400),
        SessionEnd::Failed(why) => failure("InternalError", why, 500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = all.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn a_handshake_is_of_a_websocket_with_a_protocol_that_is_spoken() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let socket = ("upgrade", "websocket");
        let good =
            [socket, key, ("sec-websocket-protocol", "v4.channel.k8s.io, v5.channel.k8s.io")];
        // The example of RFC 6455 §1.3.
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        let wanted = Handshake { accept, protocol: "v5.channel.k8s.io" };
        assert_eq!(handshake(&headers(&good)).unwrap(), wanted);
        for (wrong, word) in [
            (vec![("upgrade", "SPDY/3.1")], "kubectl 1.30"),
            (vec![], "Upgrade: websocket"),
            (vec![socket], "Upgrade: websocket"),
            (vec![socket, key], "v5.channel.k8s.io"),
            (vec![socket, key, ("sec-websocket-protocol", "channel.k8s.io")], "is spoken here"),
        ] {
            let refused = handshake(&headers(&wrong)).unwrap_err();
            assert_eq!(refused.reason, "BadRequest");
            assert!(refused.message.contains(word), "{}", refused.message);
        }
    }

    #[test]
    fn what_is_run_is_read_from_the_query() {
        let (container, options) =
            parse("command=sh&command=-c&command=echo+%22a+b%22&container=c&stdout=true&tty=false")
                .unwrap();
        assert_eq!(container.as_deref(), Some("c"));
        assert_eq!(options.command, ["sh", "-c", "echo \"a b\""]);
        assert!(options.stdout && !options.tty && !options.stdin);
        for wrong in ["", "stdout=true", "command=ls", &"command=a&".repeat(1_001)] {
            assert_eq!(parse(wrong).unwrap_err().reason, "BadRequest", "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_something_to_a_command_that_is_gone_is_told() {
        let all = [Message::Binary(Bytes::from_static(b"\0in")), Message::Ping(Bytes::new())];
        let said = || futures_util::stream::iter(all.clone().map(Ok));
        let (says, mut heard) = Says::for_test();
        let left = hand_in(&mut said(), &says).await;
        assert!(left.end().is_none(), "the client is gone first");
        let piece = heard.recv().await.unwrap();
        assert_eq!(piece, quarterdeck_model::agent::session::piece(Channel::Stdin, b"in"));
        drop(heard);
        // What the command still says, and how it ends, has a while to come.
        let begun = tokio::time::Instant::now();
        let left = hand_in(&mut said(), &says).await;
        assert_eq!(begun.elapsed(), UNHEARD);
        let Some(SessionEnd::Failed(why)) = left.end() else { panic!("it failed") };
        assert_eq!(why, "what is said to it does not reach it any more");
    }

    #[test]
    fn clients_are_told_the_exit_code() {
        assert_eq!(status(&SessionEnd::Exited(0))["status"], "Success");
        let seven = status(&SessionEnd::Exited(7));
        assert_eq!(seven["reason"], "NonZeroExitCode");
        assert_eq!(seven["details"]["causes"][0], json!({"reason": "ExitCode", "message": "7"}));
        let failed = status(&SessionEnd::Failed("no".into()));
        assert_eq!((&failed["status"], &failed["message"]), (&json!("Failure"), &json!("no")));
    }
}
