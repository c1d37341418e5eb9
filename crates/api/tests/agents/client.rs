//! An agent as its stream shows it: a certificate, HTTP/2, frames. What it says is for the test.

use crate::support::Plane;
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quarterdeck_api::pki::Identity;
use quarterdeck_model::{
    Time,
    agent::{
        AGENTS_GROUP, Frames, FromAgent, Goodbye, Heartbeat, Hello, PROTOCOL, STREAM_PATH, ToAgent,
        encode,
    },
};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    SerialNumber,
};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::client::TlsStream;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Joins the machine's agent, and answers its certificate.
pub(crate) async fn join(plane: &Plane, machine: &str) -> Identity {
    let path = format!("{}/{machine}/jointoken", crate::MACHINES);
    let made = plane.must("POST", &path, json!({})).await;
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let body = json!({"token": made["status"]["token"], "certificateSigningRequest": request});
    let certified = plane.must("POST", "/agent/v1alpha1/join", body).await;
    let certificate = certified["certificate"].as_str().unwrap().to_owned();
    Identity { certificate, key: key.serialize_pem() }
}

/// A certificate as the plane gives one to an agent, which ends so soon.
pub(crate) fn short(plane: &Plane, machine: &str, uid: &str, life: Duration) -> Identity {
    let file = plane.authority_file();
    let read = |name: &str| std::fs::read_to_string(file.with_file_name(name)).unwrap();
    let authority = KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), authority).unwrap();
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, AGENTS_GROUP);
    name.push(DnType::CommonName, format!("machine:default:{machine}"));
    name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]), uid);
    params.distinguished_name = name;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let millis = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let millis = u64::try_from(millis).unwrap();
    let serial = uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.not_before = (SystemTime::now() - Duration::from_secs(60)).into();
    params.not_after = (SystemTime::now() + life).into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    Identity { certificate, key: key.serialize_pem() }
}

/// What an agent of that start says first, on its stream of that number.
pub(crate) fn hello(start: &str, stream: u64) -> Hello {
    Hello {
        protocol: PROTOCOL,
        version: "test".into(),
        boot_id: format!("boot-{start}"),
        stream: Some(stream),
        start: start.into(),
        hostname: format!("host-{start}"),
    }
}

/// What is answered to JSON on a connection.
pub(crate) async fn post(tls: TlsStream<TcpStream>, path: &str, body: String) -> Value {
    let connection = http1::handshake(TokioIo::new(tls)).await;
    let (mut requests, connection) = connection.unwrap();
    tokio::spawn(connection);
    let request = Request::post(path).header("host", "plane").body(Full::new(Bytes::from(body)));
    let answer = timeout(DEADLINE, requests.send_request(request.unwrap())).await.unwrap().unwrap();
    let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// A stream.
pub(crate) struct Stream {
    /// The connection ends with whoever can ask on it.
    _requests: http2::SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
    out: mpsc::Sender<Bytes>,
    body: Incoming,
    frames: Frames,
}

impl Stream {
    pub(crate) async fn open(plane: &Plane, identity: &Identity, hello: Hello) -> Self {
        let tls = plane.connect_by(Some(identity), "h2").await;
        let connection = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await;
        let (mut requests, connection) = connection.unwrap();
        tokio::spawn(connection);
        let (out, frames) = mpsc::channel::<Bytes>(8);
        let body = stream::unfold(frames, |mut frames| async move {
            frames.recv().await.map(|bytes| (Ok::<_, Infallible>(Frame::data(bytes)), frames))
        });
        let request = Request::post(format!("https://{}{STREAM_PATH}", plane.address));
        let request = request.body(StreamBody::new(body).boxed_unsync()).unwrap();
        let answer = timeout(DEADLINE, requests.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        let stream =
            Self { _requests: requests, out, body: answer.into_body(), frames: Frames::default() };
        stream.say(&FromAgent::Hello(hello)).await;
        stream
    }

    pub(crate) async fn say(&self, frame: &FromAgent) {
        // One that was ended takes nothing.
        let _ = self.out.send(encode(frame).unwrap().into()).await;
    }

    /// The next frame; none at the end.
    pub(crate) async fn next(&mut self) -> Option<ToAgent> {
        let reading = async {
            loop {
                if let Some(frame) = self.frames.pop().unwrap() {
                    return Some(frame);
                }
                let frame = self.body.frame().await?.unwrap_or_else(|error| panic!("{error:?}"));
                let data = frame.into_data().unwrap_or_default();
                self.frames.push(&data);
            }
        };
        timeout(DEADLINE, reading).await.expect("a frame in time")
    }

    /// Reads on until the plane says goodbye.
    pub(crate) async fn goodbye(&mut self) -> Goodbye {
        loop {
            match self.next().await {
                Some(ToAgent::Goodbye(goodbye)) => return goodbye,
                Some(_) => {}
                None => panic!("it ended without a goodbye"),
            }
        }
    }

    /// Asks for the time: the stream is open, and all that was said before was taken in.
    pub(crate) async fn time(&mut self) -> Time {
        self.time_or_goodbye().await.unwrap_or_else(|goodbye| panic!("{goodbye:?}"))
    }

    /// The same, of a stream that the plane may have ended.
    pub(crate) async fn time_or_goodbye(&mut self) -> Result<Time, Goodbye> {
        self.say(&FromAgent::Heartbeat(Heartbeat { usage: None, wants_time: true })).await;
        loop {
            match self.next().await {
                Some(ToAgent::Time(time)) => return Ok(time),
                Some(ToAgent::Goodbye(goodbye)) => return Err(goodbye),
                Some(_) => {}
                None => panic!("it has ended"),
            }
        }
    }
}
