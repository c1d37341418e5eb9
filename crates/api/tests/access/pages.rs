//! What is served at `/`: the page to browsers, the list of paths to all others; and the streams that the page keeps
//! open.

use crate::{
    Person, bind, namespaces,
    support::{DEADLINE, Events, Plane, site},
    user,
};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn browser(plane: &Plane) -> Person<'_> {
    Person::anonymous(plane).acting("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_page_and_programs_the_paths() {
    let plane = Plane::start().await;
    let browser = browser(&plane);
    for path in ["/", "/servers", "/ns/shop/services/web", "/runs?phase=Running"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers["cache-control"], "no-cache");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'")
                && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert!(page.body.as_str().unwrap().to_lowercase().starts_with("<!doctype html>"));
    }
    let head = browser.ask("HEAD", "/servers", Value::Null).await;
    assert_eq!((head.status.as_u16(), head.body), (200, json!("")));
    // What is asked of the API is answered by it, also when there is no such thing.
    for path in [
        "/apis/nothing",
        "/api/v1/nothing",
        "/graphql/x",
        "/assets/gone.js",
        "/stream/x",
        "/version/",
    ] {
        let answer = browser.get(path).await;
        assert_ne!(answer.headers["content-type"], "text/html; charset=utf-8", "{path}");
    }
    let paths = plane.get("/").await;
    assert!(
        paths.body["paths"].as_array().is_some_and(|paths| paths.contains(&json!("/apis"))),
        "{:#}",
        paths.body
    );
    assert_eq!(plane.get("/servers").await.status, 404);
    assert_eq!(Person::anonymous(&plane).get("/").await.status, 403);
    assert_eq!(browser.ask("POST", "/", json!({})).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_is_served_as_it_is() {
    let plane = Plane::start().await;
    for asset in quarterdeck_page::ASSETS {
        if asset.path == "/index.html" {
            continue;
        }
        let person = Person::anonymous(&plane);
        let plain = person.send("GET", asset.path).await;
        let tag = plain.headers()["etag"].to_str().unwrap().to_owned();
        let keep = plain.headers()["cache-control"].to_str().unwrap().to_owned();
        assert_eq!(
            keep.contains("immutable"),
            asset.path.starts_with("/assets/"),
            "{}: {keep}",
            asset.path
        );
        assert!(plain.headers().get("content-encoding").is_none());
        assert_eq!(plain.into_body().collect().await.unwrap().to_bytes(), asset.plain);
        let packed = Person::anonymous(&plane).acting("accept-encoding", "br, gzip");
        let packed = packed.send("GET", asset.path).await;
        assert_eq!(packed.headers().get("content-encoding").is_some(), asset.gzip.is_some());
        let known = Person::anonymous(&plane).acting("if-none-match", &tag);
        assert_eq!(known.get(asset.path).await.status, 304);
    }
}

/// Reads the frames of a fleet map.
struct Map {
    body: Incoming,
    bytes: Vec<u8>,
}

impl Map {
    fn of(answer: http::Response<Incoming>) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/vnd.quarterdeck.fleetmap");
        Self { body: answer.into_body(), bytes: Vec::new() }
    }

    /// Kind and body of the next frame; none at the end.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [kind, a, b, c, d, rest @ ..] = self.bytes.as_slice() {
                let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                if rest.len() >= length {
                    let frame = (*kind, rest[..length].to_vec());
                    self.bytes.drain(..5 + length);
                    return Some(frame);
                }
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await.unwrap()?;
            self.bytes.extend(frame.unwrap().into_data().unwrap_or_default());
        }
    }

    async fn json(&mut self, wanted: u8) -> Value {
        let (kind, body) = self.next().await.unwrap();
        assert_eq!(kind, wanted, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// The names and the values of a whole map.
    async fn whole(&mut self) -> (Value, BTreeMap<String, String>) {
        let header = self.json(1).await;
        let (kind, cells) = self.next().await.unwrap();
        assert_eq!(kind, 3);
        let mut names: Vec<String> = Vec::new();
        while names.len() < cells.len() {
            let (kind, body) = self.next().await.unwrap();
            assert_eq!(
                (kind, &body[..4]),
                (2, &u32::try_from(names.len()).unwrap().to_le_bytes()[..])
            );
            let (mut rest, mut before) = (&body[8..], String::new());
            while let [same, length, more @ ..] = rest {
                let (name, behind) = more.split_at(usize::from(*length));
                before.truncate(usize::from(*same));
                before.push_str(std::str::from_utf8(name).unwrap());
                names.push(before.clone());
                rest = behind;
            }
        }
        let text = |cell: &u8| header["values"][usize::from(*cell)].as_str().unwrap().to_owned();
        let cells = names.into_iter().zip(cells.iter().map(text)).collect();
        (header, cells)
    }
}

const SERVERS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/servers";

async fn fleet(plane: &Plane) {
    plane.must("POST", "/apis/inventory.quarterdeck.dev/v1alpha1/sites", site("ams1")).await;
    for rack in ["b", "a"] {
        let rack =
            json!({"metadata": {"name": rack}, "spec": {"site": "ams1", "hall": "h1", "row": "1"}});
        plane.must("POST", "/apis/inventory.quarterdeck.dev/v1alpha1/racks", rack).await;
    }
    for (name, rack, unit) in [("s1", "b", 1), ("s2", "a", 9), ("s3", "a", 2)] {
        let server = json!({
            "metadata": {"name": name, "labels": {"class": rack}},
            "spec": {"bmc": {"address": name}, "location": {"rack": rack, "unit": unit}, "profile": "old"},
        });
        plane.must("POST", SERVERS, server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_map_is_drawn_once_and_then_follows() {
    let plane = Plane::start().await;
    fleet(&plane).await;
    let open = async |by: &str| {
        let request = plane
            .request("GET", &format!("/stream/fleetmap?by={by}"))
            .body(Default::default())
            .unwrap();
        Map::of(plane.send(request).await)
    };
    let mut map = open("spec.profile").await;
    let (header, cells) = map.whole().await;
    assert_eq!(
        (&header["version"], &header["cells"], &header["by"]),
        (&json!(1), &json!(3), &json!("spec.profile"))
    );
    let place = |rack: &str, first: u8, count: u8| json!({"site": "ams1", "hall": "h1", "row": "1", "rack": rack, "first": first, "count": count});
    assert_eq!(header["places"], json!([place("a", 0, 2), place("b", 2, 1)]));
    assert!(cells.values().all(|value| value == "old"), "{cells:?}");
    // Another page shares it, and both are told of a change: s3 is the lowest in rack a.
    let mut second = open("spec.profile").await;
    second.whole().await;
    plane.must("PATCH", &format!("{SERVERS}/s3"), json!({"spec": {"profile": "new"}})).await;
    for map in [&mut map, &mut second] {
        assert_eq!(map.json(5).await, json!({"first": 2, "values": ["new"]}));
        let (kind, body) = map.next().await.unwrap();
        assert_eq!((kind, &body[8..]), (4, &[1, 0, 0, 0, 0, 0, 0, 0, 2][..]));
    }
    // A server that comes has the map drawn anew.
    let server = json!({"metadata": {"name": "s4"}, "spec": {"bmc": {"address": "s4"}}});
    plane.must("POST", SERVERS, server).await;
    let (header, cells) = map.whole().await;
    assert_eq!((&header["cells"], &*cells["s3"], &*cells["s4"]), (&json!(4), "new", ""));
    let (_, cells) = open("metadata.labels.class").await.whole().await;
    assert_eq!((&*cells["s1"], &*cells["s2"], &*cells["s4"]), ("b", "a", ""));
    let wrong = plane.get("/stream/fleetmap?by=spec.nothing").await;
    assert!(
        wrong.body["message"].as_str().unwrap().contains("cannot be coloured by \"spec.nothing\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_show_what_may_be_seen_and_end_when_it_may_not() {
    let plane = Plane::start().await;
    fleet(&plane).await;
    namespaces(&plane, &["red", "blue"]).await;
    bind(&plane, "red", ("ClusterRole", "view"), user("ann")).await;
    let ann = Person::new(&plane, "ann", &[]);
    let mut map = Map::of(ann.send("GET", "/stream/fleetmap").await);
    assert_eq!(map.json(1).await["cells"], 0);
    let revision = plane.revision();
    let path = format!("/stream/changes?kind=Service&kind=Server&since={revision}");
    let service =
        |team: &str| format!("/apis/services.quarterdeck.dev/v1alpha1/namespaces/{team}/services");
    for team in ["blue", "red"] {
        plane.must("POST", &service(team), json!({"metadata": {"name": "web"}, "spec": {}})).await;
    }
    let mut changes = Events::of(ann.send("GET", &path).await);
    // What came since then, of what may be seen; and then what comes.
    let line = changes.next().await.unwrap();
    assert_eq!(line["changes"], json!([{"kind": "Service", "objects": [["red", "web"]]}]));
    plane.must("PATCH", &format!("{}/web", service("blue")), json!({"spec": {"tier": 2}})).await;
    plane.must("PATCH", &format!("{}/web", service("red")), json!({"spec": {"tier": 2}})).await;
    let line = changes.next().await.unwrap();
    assert_eq!(line["changes"], json!([{"kind": "Service", "objects": [["red", "web"]]}]));
    assert!(line["revision"].as_str().unwrap().parse::<u64>().unwrap() >= plane.revision());
    // The binding goes, and with it the stream.
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/red/rolebindings/view-ann";
    plane.must("DELETE", bindings, Value::Null).await;
    assert_eq!(changes.next().await, None);
    for (path, told) in [
        ("/stream/changes?kind=X", "there is no such kind"),
        ("/stream/changes?since=x", "expected a revision"),
    ] {
        let wrong = plane.get(path).await;
        assert!(wrong.body["message"].as_str().unwrap().contains(told), "{:#}", wrong.body);
    }
    assert_eq!(Person::anonymous(&plane).get("/stream/changes").await.status, 403);
}
