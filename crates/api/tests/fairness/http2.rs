//! The same over HTTP/2, where a connection has many streams: those that are not read, and those of a
//! caller who asks without end.

use crate::{
    get, get_with, long_list, plane, status,
    support::{DEADLINE, Plane, SITES, site, whole},
    token, until,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use quarterdeck_api::{Limits, Most, Places, pki::Identity};
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Runtime, time::timeout};

type Sender = http2::SendRequest<Full<Bytes>>;

const RACKS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/racks";
/// What is taken of a stream before any of it is read.
const USUAL: u32 = 64 * 1024;
const STALLED: Duration = Duration::from_millis(500);

async fn connect(plane: &Plane, identity: Option<&Identity>, window: u32) -> Sender {
    let stream = TokioIo::new(plane.connect_by(identity, "h2").await);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_alone_and_gives_its_place_back() {
    let requests = Places { all: 6, kept: 1, caller: 3, waiting: 5 };
    let (wait, stalled) = (Duration::from_secs(3600), STALLED);
    let (plane, ann, _) = plane(Limits { requests, wait, stalled, ..Limits::default() }).await;
    long_list(&plane).await;
    let mut sender = connect(&plane, Some(&ann), 1).await;
    let mut unread = Vec::new();
    for path in [SITES, SITES, &format!("{SITES}/s1")] {
        let answer = sender.send_request(get(&plane, path)).await.unwrap();
        assert_eq!(answer.status(), 200);
        unread.push(answer.into_body());
    }
    // It waits for a place, of which the answers hold all that are ann's.
    assert_eq!(status(&plane, &plane.caller(Some(&ann)), "/version").await.0, 200);
    for body in unread {
        let read = timeout(DEADLINE, body.collect()).await.unwrap();
        assert!(read.is_err(), "the stream is reset");
    }
    // The connection goes on, for an answer that is read.
    let answer = sender.send_request(get(&plane, "/livez")).await.unwrap();
    assert_eq!(timeout(DEADLINE, whole(answer)).await.unwrap().body, "ok");
}

#[tokio::test]
async fn a_watch_that_is_not_read_ends_and_one_without_events_goes_on() {
    let watches = Most { caller: 2, all: 10, kept: 0 };
    let (plane, ann, _) = plane(Limits { watches, stalled: STALLED, ..Limits::default() }).await;
    long_list(&plane).await;
    let mut sender = connect(&plane, Some(&ann), USUAL).await;
    let quiet = sender.send_request(get(&plane, &format!("{RACKS}?watch=true"))).await.unwrap();
    let path = format!("{SITES}?watch=true");
    let unread = sender.send_request(get(&plane, &path)).await.unwrap();
    let caller = plane.caller(Some(&ann));
    assert_eq!(status(&plane, &caller, &path).await.0, 429);
    until("the unread one has ended", || async {
        caller.request(get(&plane, &path)).await.unwrap().status() == 200
    })
    .await;
    assert!(timeout(DEADLINE, unread.into_body().collect()).await.unwrap().is_err());
    plane
        .must("POST", RACKS, serde_json::json!({"metadata": {"name": "r"}, "spec": {"site": "s1"}}))
        .await;
    let event = timeout(DEADLINE, quiet.into_body().frame()).await.unwrap().unwrap().unwrap();
    let event: Value = serde_json::from_slice(event.data_ref().unwrap()).unwrap();
    assert_eq!(event["object"]["metadata"]["name"], "r");
}

/// What somebody shows.
#[derive(Clone)]
enum Shown {
    Certificate(Arc<Identity>),
    Token(String),
}

impl Shown {
    async fn connect(&self, plane: &Plane) -> Sender {
        match self {
            Self::Certificate(identity) => connect(plane, Some(identity), USUAL).await,
            Self::Token(_) => connect(plane, None, USUAL).await,
        }
    }

    fn get(&self, plane: &Plane, path: &str) -> Request<Full<Bytes>> {
        match self {
            Self::Certificate(_) => get(plane, path),
            Self::Token(token) => get_with(plane, path, token),
        }
    }
}

#[test]
fn one_caller_is_answered_between_the_turns_of_another_with_many_streams() {
    let server = quarterdeck_api::runtime().worker_threads(2).build().unwrap();
    let (plane, ann, bob) = server.block_on(plane(Limits::default()));
    answered_in_between(&server, plane, [ann, bob].map(|it| Shown::Certificate(Arc::new(it))));
}

/// The connections of both come from one address, and are told apart by what is sent over them.
#[test]
fn so_is_one_with_a_token() {
    let server = quarterdeck_api::runtime().worker_threads(2).build().unwrap();
    let (plane, ..) = server.block_on(plane(Limits::default()));
    let tokens = server.block_on(async { [token(&plane, "a").await, token(&plane, "b").await] });
    answered_in_between(&server, plane, tokens.map(Shown::Token));
}

/// The first has many streams on few connections, all of which always ask for something; the other asks now
/// and then. Without turns by caller each answer to it would come after one of each stream of the first.
fn answered_in_between(server: &Runtime, plane: Plane, [ann, bob]: [Shown; 2]) {
    const CONNECTIONS: usize = 2;
    const STREAMS: usize = 100;
    const ASKED: usize = 20;
    let plane = Arc::new(plane);
    server.block_on(async {
        for number in 0..100 {
            plane.must("POST", SITES, site(&format!("s{number}"))).await;
        }
    });
    let flood = Runtime::new().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    flood.block_on(async {
        for _ in 0..CONNECTIONS {
            let sender = ann.connect(&plane).await;
            for _ in 0..STREAMS {
                let (plane, answered, ann, mut sender) =
                    (plane.clone(), answered.clone(), ann.clone(), sender.clone());
                tokio::spawn(async move {
                    while let Ok(answer) = sender.send_request(ann.get(&plane, SITES)).await {
                        if answer.status() != 200 || answer.into_body().collect().await.is_err() {
                            break;
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
    });
    let seen = || answered.load(Ordering::Relaxed);
    let asking = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let between = asking.block_on(async {
        let mut sender = bob.connect(&plane).await;
        until("the flood is there", || async { seen() > 2 * CONNECTIONS * STREAMS }).await;
        let before = seen();
        for _ in 0..ASKED {
            let request = bob.get(&plane, &format!("{SITES}/s1"));
            let answer = timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
            assert_eq!(whole(answer).await.status, 200);
        }
        seen() - before
    });
    flood.shutdown_background();
    assert!(between > 0, "the flood went on");
    let each = between / ASKED;
    assert!(each < CONNECTIONS * STREAMS / 4, "{each} answers to ann for one to bob");
}
