//! What one caller takes, seen by another: connections, watches, requests that do not end, answers that
//! are not read. How fast anything is, is measured in `bench/`, not here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod http2;
#[path = "../support/mod.rs"]
mod support;

use http::Request;
use http_body_util::Full;
use quarterdeck_api::{Limits, Most, Places, pki::Identity};
use serde_json::json;
use std::time::Duration;
use support::{Caller, DEADLINE, Plane, SITES, site, whole};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::client::TlsStream;

const RIGHTS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

/// A plane on which ann and bob, of the group `people`, and service accounts may do everything that is not the plane's own.
async fn plane(limits: Limits) -> (Plane, Identity, Identity) {
    let plane = Plane::limited(limits).await;
    let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    let subjects = [group("people"), group("system:serviceaccounts")];
    let binding = json!({
        "metadata": {"name": "people"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": subjects,
    });
    plane.must("POST", RIGHTS, binding).await;
    let person = |name: &str| plane.authority.client(name, &["people"]).unwrap();
    let (ann, bob) = (person("ann"), person("bob"));
    (plane, ann, bob)
}

fn get(plane: &Plane, path: &str) -> Request<Full<bytes::Bytes>> {
    plane.request("GET", path).body(Full::default()).unwrap()
}

/// The same with a token.
fn get_with(plane: &Plane, path: &str, token: &str) -> Request<Full<bytes::Bytes>> {
    let request = plane.request("GET", path).header("authorization", format!("Bearer {token}"));
    request.body(Full::default()).unwrap()
}

/// A token of a new service account.
async fn token(plane: &Plane, name: &str) -> String {
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    plane.must("POST", accounts, json!({"metadata": {"name": name}})).await;
    let made = plane.must("POST", &format!("{accounts}/{name}/token"), json!({})).await;
    made["status"]["token"].as_str().unwrap().to_owned()
}

async fn status(plane: &Plane, caller: &Caller, path: &str) -> (u16, String) {
    let answer = timeout(DEADLINE, caller.request(get(plane, path))).await.unwrap().unwrap();
    let answer = whole(answer).await;
    (answer.status.as_u16(), answer.body["message"].as_str().unwrap_or_default().to_owned())
}

/// Waits until `done` answers true.
async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let waiting = async {
        while !done().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

/// A number that the plane shows.
async fn metric(plane: &Plane, name: &str) -> f64 {
    let text = plane.get("/metrics").await.body.as_str().unwrap().to_owned();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_caller_with_too_many_connections_is_told_and_others_connect() {
    let connections = Most { caller: 3, all: 100, kept: 0 };
    let handshake = Duration::from_secs(2);
    let limits = Limits { connections, handshake, ..Limits::default() };
    let (plane, ann, bob) = plane(limits).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = plane.connect_as(&ann).await;
        stream.write_all(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(stream.read_u8().await.is_ok());
        open.push(stream);
    }
    let mut stream = plane.connect_as(&ann).await;
    stream.write_all(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    for part in ["HTTP/1.1 429 ", "retry-after: 1", "you have 3 connections open"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert_eq!(status(&plane, &plane.caller(Some(&bob)), "/version").await.0, 200);
    // One that says nothing does not stay either.
    let mut silent = plane.connect_as(&ann).await;
    let ended = timeout(DEADLINE, silent.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(metric(&plane, "quarterdeck_api_connections_refused_total").await >= 1.0);
    drop(open);
    until("ann can connect again", || async {
        status(&plane, &plane.caller(Some(&ann)), "/version").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn connections_are_counted_to_who_shows_a_token_on_them() {
    let connections = Most { caller: 2, all: 100, kept: 0 };
    let (plane, ..) = plane(Limits { connections, ..Limits::default() }).await;
    let mut open = Vec::new();
    // All from one address. A client keeps the connection it has made.
    for name in ["a", "b", "c"] {
        let token = token(&plane, name).await;
        for _ in 0..2 {
            let caller = plane.caller(None);
            let request = get_with(&plane, "/version", &token);
            assert_eq!(whole(caller.request(request).await.unwrap()).await.status, 200);
            open.push(caller);
        }
    }
    // Who has as many as one may stays with those of the address, who may have two more.
    let token = token(&plane, "d").await;
    for code in [200, 200, 200, 200, 429] {
        let caller = plane.caller(None);
        let answer = caller.request(get_with(&plane, "/version", &token)).await.unwrap();
        assert_eq!(whole(answer).await.status, code);
        open.push(caller);
    }
}

#[tokio::test]
async fn a_handshake_that_is_done_makes_room_for_the_next() {
    let handshakes = Most { caller: 2, all: 2, kept: 0 };
    let (plane, ann, _) = plane(Limits { handshakes, ..Limits::default() }).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = plane.connect_as(&ann).await;
        stream.write_all(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(timeout(DEADLINE, stream.read_u8()).await.unwrap().is_ok());
        open.push(stream);
    }
}

#[tokio::test]
async fn a_caller_with_too_many_watches_is_told_and_others_watch() {
    let watches = Most { caller: 2, all: 3, kept: 0 };
    let (plane, ann, bob) = plane(Limits { watches, ..Limits::default() }).await;
    let (ann, bob) = (plane.caller(Some(&ann)), plane.caller(Some(&bob)));
    let path = format!("{SITES}?watch=true");
    let open = async |caller: &Caller| caller.request(get(&plane, &path)).await.unwrap();
    let first = [open(&ann).await, open(&ann).await];
    assert!(first.iter().all(|answer| answer.status() == 200));
    let (code, message) = status(&plane, &ann, &path).await;
    assert_eq!(code, 429);
    assert!(message.contains("you have 2 watches open"), "{message}");
    assert_eq!(status(&plane, &ann, SITES).await.0, 200, "all else goes on");
    let other = open(&bob).await;
    assert_eq!(other.status(), 200);
    let (code, message) = status(&plane, &bob, &path).await;
    assert!(code == 429 && message.contains("all 3 watches"), "{message}");
    drop(first);
    until("ann can watch again", || async { open(&ann).await.status() == 200 }).await;
}

#[tokio::test]
async fn requests_that_do_not_end_take_only_their_callers_places() {
    let requests = Places { all: 6, kept: 1, caller: 3, waiting: 2 };
    let wait = Duration::from_secs(3600);
    let (plane, ann, bob) = plane(Limits { requests, wait, ..Limits::default() }).await;
    let stuck = stuck(&plane, [&ann; 5]).await;
    until("five are under way", || async {
        metric(&plane, "quarterdeck_api_requests_in_flight").await >= 6.0
    })
    .await;
    let (code, message) = status(&plane, &plane.caller(Some(&ann)), SITES).await;
    assert_eq!(code, 429, "three hold places and two wait");
    assert!(message.contains("you have 2 requests open or waiting"), "{message}");
    let bob = plane.caller(Some(&bob));
    for _ in 0..20 {
        assert_eq!(status(&plane, &bob, SITES).await.0, 200);
    }
    plane.must("POST", SITES, site("a")).await;
    drop(stuck);
    let ann = plane.caller(Some(&ann));
    until("ann's places are free", || async { status(&plane, &ann, SITES).await.0 == 200 }).await;
}

#[tokio::test]
async fn an_administrator_gets_in_when_everybody_elses_places_are_full() {
    let requests = Places { all: 5, kept: 1, caller: 2, waiting: 1 };
    let wait = Duration::from_millis(500);
    let (plane, ann, bob) = plane(Limits { requests, wait, ..Limits::default() }).await;
    let stuck = stuck(&plane, [&ann, &ann, &bob, &bob]).await;
    let eve = plane.caller(Some(&plane.authority.client("eve", &["people"]).unwrap()));
    until("all places but the kept one are taken", || async {
        status(&plane, &eve, "/version").await.0 == 429
    })
    .await;
    // Each of these is answered by the administrator's own place, one after the other.
    for name in ["a", "b", "c"] {
        plane.must("POST", SITES, site(name)).await;
    }
    assert_eq!(status(&plane, &eve, "/version").await.0, 429, "the others are still full");
    drop(stuck);
    until("there is room again", || async { status(&plane, &eve, "/version").await.0 == 200 })
        .await;
}

#[tokio::test]
async fn connections_that_never_speak_are_counted_by_address_and_given_up() {
    let handshakes = Most { caller: 20, all: 30, kept: 0 };
    let (plane, ann, _) = plane(Limits { handshakes, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(plane.address).await.unwrap());
    }
    // Those over the limit are closed at once.
    let closing = async {
        let mut closed = 0;
        while closed < 20 {
            closed = 0;
            for stream in &mut silent {
                let read = timeout(Duration::from_millis(1), stream.read(&mut [0])).await;
                closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
            }
        }
    };
    assert!(timeout(DEADLINE, closing).await.is_ok(), "twenty are closed");
    drop(silent);
    until("the handshakes given up make room", || async {
        let caller = plane.caller(Some(&ann));
        let asked = timeout(DEADLINE, caller.request(get(&plane, SITES))).await.unwrap();
        asked.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_with_its_connection() {
    let stalled = Duration::from_millis(500);
    let (plane, ann, _) = plane(Limits { stalled, ..Limits::default() }).await;
    long_list(&plane).await;
    let mut unread = plane.connect_as(&ann).await;
    let before = metric(&plane, "quarterdeck_api_connections").await;
    ask_for_the_list(&mut unread).await;
    until("its connection is closed", || async {
        metric(&plane, "quarterdeck_api_connections").await < before
    })
    .await;
}

#[tokio::test]
async fn an_answer_has_its_place_until_it_is_sent() {
    let requests = Places { all: 6, kept: 1, caller: 1, waiting: 5 };
    let wait = Duration::from_secs(1);
    let (plane, ann, bob) = plane(Limits { requests, wait, ..Limits::default() }).await;
    long_list(&plane).await;
    let mut unread = plane.connect_as(&ann).await;
    ask_for_the_list(&mut unread).await;
    assert!(unread.read_u8().await.is_ok(), "the answer has begun");
    let (ann, bob) = (plane.caller(Some(&ann)), plane.caller(Some(&bob)));
    assert_eq!(status(&plane, &ann, "/version").await.0, 429, "ann has one place");
    assert_eq!(status(&plane, &bob, "/version").await.0, 200);
    let mut rest = Vec::new();
    timeout(DEADLINE, unread.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.len() > 10_000_000);
    assert_eq!(status(&plane, &ann, "/version").await.0, 200);
}

/// Writes, one of each of these callers, whose bodies are announced and never come.
async fn stuck<const COUNT: usize>(
    plane: &Plane,
    callers: [&Identity; COUNT],
) -> Vec<TlsStream<TcpStream>> {
    let head = format!(
        "POST {SITES} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
    );
    let mut streams = Vec::with_capacity(COUNT);
    for caller in callers {
        let mut stream = plane.connect_as(caller).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        streams.push(stream);
    }
    streams
}

/// More objects than the buffers of two sockets take.
async fn long_list(plane: &Plane) {
    let filler = "x".repeat(200_000);
    for number in 0..60 {
        let mut site = site(&format!("s{number}"));
        site["metadata"]["annotations"] = json!({"example.com/filler": filler});
        plane.must("POST", SITES, site).await;
    }
}

/// Asks for all of them on a connection that ends with the answer.
async fn ask_for_the_list(stream: &mut TlsStream<TcpStream>) {
    let head = format!("GET {SITES} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}
