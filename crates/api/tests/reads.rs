//! Lists, pages, older versions, tables, watches and discovery.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_model::Revision;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Events, Plane, SITES, site, whole};

async fn names(plane: &Plane, path: &str) -> Vec<String> {
    let list = plane.must("GET", path, Value::Null).await;
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_of_one_snapshot() {
    let plane = Plane::start().await;
    for number in 0..7 {
        plane.must("POST", SITES, site(&format!("s{number}"))).await;
    }
    let first = plane.must("GET", &format!("{SITES}?limit=3"), Value::Null).await;
    let revision = first["metadata"]["resourceVersion"].clone();
    assert_eq!(first["metadata"]["remainingItemCount"], 4);
    let mut found = vec!["s0".to_owned(), "s1".into(), "s2".into()];
    // What happens after the first page is not in the others.
    plane.must("DELETE", &format!("{SITES}/s4"), Value::Null).await;
    plane.must("POST", SITES, site("s35")).await;
    plane.must("PATCH", &format!("{SITES}/s5"), json!({"spec": {"region": "changed"}})).await;
    let mut next = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = next.clone();
    while !next.is_empty() {
        let page =
            plane.must("GET", &format!("{SITES}?limit=3&continue={next}"), Value::Null).await;
        assert_eq!(page["metadata"]["resourceVersion"], revision);
        for item in page["items"].as_array().unwrap() {
            assert_eq!(item["spec"]["region"], "eu-west");
            found.push(item["metadata"]["name"].as_str().unwrap().to_owned());
        }
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(found, ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]);

    // The past can be read exactly, whole objects and lists.
    let at = format!("resourceVersion={}&resourceVersionMatch=Exact", revision.as_str().unwrap());
    assert_eq!(names(&plane, &format!("{SITES}?{at}")).await, found);
    let old = plane.must("GET", &format!("{SITES}/s5?{at}"), Value::Null).await;
    assert_eq!(old["spec"]["region"], "eu-west");
    plane.must("GET", &format!("{SITES}/s4?{at}"), Value::Null).await;
    assert_eq!(plane.get(&format!("{SITES}/s35?{at}")).await.status, 404);

    // Until it is forgotten: then the list can go on where it was, at the newest version.
    plane.store.compact(Revision(plane.revision())).await.unwrap();
    for path in [format!("{SITES}?{at}"), format!("{SITES}/s5?{at}")] {
        let gone = plane.get(&path).await;
        assert_eq!((gone.status.as_u16(), &gone.body["reason"]), (410, &json!("Expired")));
    }
    let gone = plane.get(&format!("{SITES}?limit=3&continue={second}")).await;
    assert_eq!((gone.status.as_u16(), &gone.body["reason"]), (410, &json!("Expired")));
    let next = gone.body["metadata"]["continue"].as_str().unwrap();
    assert_eq!(names(&plane, &format!("{SITES}?continue={next}")).await, ["s3", "s35", "s5", "s6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_begin_and_end_as_asked() {
    let plane = Plane::start().await;
    plane.must("POST", SITES, site("a")).await;
    let begin = plane.revision();
    plane.must("POST", SITES, site("b")).await;
    let watch = async |query: &str| {
        let request = plane.request("GET", &format!("{SITES}?watch=true&{query}"));
        plane.send(request.body(Default::default()).unwrap()).await
    };
    // From a version: what came after it, then what comes.
    let mut events = Events::of(watch(&format!("resourceVersion={begin}")).await);
    assert_eq!(events.next_name().await, ("ADDED".into(), "b".into()));
    plane.must("PATCH", &format!("{SITES}/a"), json!({"spec": {"region": "x"}})).await;
    assert_eq!(events.next_name().await, ("MODIFIED".into(), "a".into()));
    plane.must("DELETE", &format!("{SITES}/a"), Value::Null).await;
    let deleted = events.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(deleted["object"]["metadata"]["resourceVersion"], plane.revision().to_string());

    // Without a version: what there is, then what comes.
    let mut events = Events::of(watch("").await);
    assert_eq!(events.next_name().await, ("ADDED".into(), "b".into()));
    plane.must("POST", SITES, site("c")).await;
    assert_eq!(events.next_name().await, ("ADDED".into(), "c".into()));

    // A streaming list: what there is, and a bookmark that says that this was all.
    let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let mut events = Events::of(watch(streaming).await);
    assert_eq!(events.next_name().await.1, "b");
    assert_eq!(events.next_name().await.1, "c");
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["object"]["kind"], "Site");
    // It ends when its time is up, with a bookmark for the next one to begin from.
    let last = events.next().await.unwrap();
    assert_eq!(
        (&last["type"], &last["object"]["metadata"]["resourceVersion"]),
        (&json!("BOOKMARK"), &json!(plane.revision().to_string()))
    );
    assert!(events.next().await.is_none());

    // An object that begins or ceases to be selected is added or deleted.
    let mut events = Events::of(watch("fieldSelector=spec.region%3Dx&resourceVersion=0").await);
    plane.must("PATCH", &format!("{SITES}/b"), json!({"spec": {"region": "x"}})).await;
    assert_eq!(events.next_name().await, ("ADDED".into(), "b".into()));
    plane.must("PATCH", &format!("{SITES}/b"), json!({"spec": {"region": "y"}})).await;
    assert_eq!(events.next_name().await, ("DELETED".into(), "b".into()));

    // Too old and too new are told the same: list again.
    plane.store.compact(Revision(plane.revision())).await.unwrap();
    let mut events = Events::of(watch(&format!("resourceVersion={begin}")).await);
    let error = events.next().await.unwrap();
    assert_eq!(
        (&error["type"], &error["object"]["code"], &error["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert!(events.next().await.is_none());
    let future = whole(watch("resourceVersion=999999").await).await;
    assert_eq!((future.status.as_u16(), &future.body["reason"]), (410, &json!("Expired")));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_carry_what_is_asked() {
    let plane = Plane::start().await;
    plane.must("POST", SITES, site("a")).await;
    for (include, kind) in
        [("", json!("PartialObjectMetadata")), ("None", Value::Null), ("Object", json!("Site"))]
    {
        let request = plane.request("GET", &format!("{SITES}?includeObject={include}"));
        let request = request.header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let table = whole(plane.send(request.body(Default::default()).unwrap()).await).await.body;
        assert_eq!(table["kind"], "Table");
        assert_eq!(table["rows"][0]["object"]["kind"], kind, "{include}");
        // What nobody has counted yet is left blank.
        assert_eq!(table["rows"][0]["cells"][3], Value::Null);
    }
    let request = plane.request("GET", SITES);
    let request = request
        .header("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    let list = whole(plane.send(request.body(Default::default()).unwrap()).await).await.body;
    assert_eq!(
        (&list["kind"], &list["items"][0]["metadata"]["name"]),
        (&json!("PartialObjectMetadataList"), &json!("a"))
    );
    assert!(list["items"][0].get("spec").is_none());
}

/// Both forms of discovery say the same, and what they say is served.
#[tokio::test(flavor = "multi_thread")]
async fn discovery_says_the_same_in_all_forms() {
    let plane = Plane::start().await;
    let aggregated = async |path: &str, version: &str| {
        let accept =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let request = plane.request("GET", path).header("accept", accept);
        whole(plane.send(request.body(Default::default()).unwrap()).await).await.body
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for version in ["v2", "v2beta1"] {
        for root in ["/api", "/apis"] {
            let found = aggregated(root, version).await;
            assert_eq!(found["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
            for group in list(&found["items"]) {
                let name = group["metadata"]["name"].as_str().unwrap();
                for version in list(&group["versions"]) {
                    let said = version["version"].as_str().unwrap();
                    let path = if name.is_empty() {
                        format!("/api/{said}")
                    } else {
                        format!("/apis/{name}/{said}")
                    };
                    let legacy = plane.must("GET", &path, Value::Null).await;
                    let mut expected = Vec::new();
                    for resource in list(&version["resources"]) {
                        let plural = resource["resource"].as_str().unwrap();
                        let namespaced = resource["scope"] == "Namespaced";
                        let kind = &resource["responseKind"]["kind"];
                        expected.push((
                            plural.to_owned(),
                            namespaced,
                            kind.clone(),
                            resource["verbs"].clone(),
                            list(&resource["shortNames"]),
                            list(&resource["categories"]),
                        ));
                        for part in list(&resource["subresources"]) {
                            let name =
                                format!("{plural}/{}", part["subresource"].as_str().unwrap());
                            expected.push((
                                name,
                                namespaced,
                                part["responseKind"]["kind"].clone(),
                                part["verbs"].clone(),
                                vec![],
                                vec![],
                            ));
                        }
                        if list(&resource["verbs"]).contains(&json!("list")) {
                            plane.must("GET", &format!("{path}/{plural}"), Value::Null).await;
                        }
                    }
                    let legacy: Vec<_> = list(&legacy["resources"])
                        .into_iter()
                        .map(|r| {
                            (
                                r["name"].as_str().unwrap().to_owned(),
                                r["namespaced"] == true,
                                r["kind"].clone(),
                                r["verbs"].clone(),
                                list(&r["shortNames"]),
                                list(&r["categories"]),
                            )
                        })
                        .collect();
                    assert_eq!(legacy, expected, "{path}");
                }
            }
        }
    }
    let index = plane.must("GET", "/openapi/v3", Value::Null).await;
    for (path, entry) in index["paths"].as_object().unwrap() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        assert_eq!(plane.must("GET", url, Value::Null).await["openapi"], "3.0.0", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_open_requests_end() {
    let mut plane = Plane::start().await;
    // A read of a version that is not there yet waits for it; a watch waits for ever.
    let read = plane.request("GET", &format!("{SITES}?resourceVersion={}", plane.revision() + 1));
    let read = plane.send(read.body(Default::default()).unwrap());
    let watch = plane.request("GET", &format!("{SITES}?watch=true"));
    let mut watch = Events::of(plane.send(watch.body(Default::default()).unwrap()).await);
    let stop = async {
        // The read, and the one that asks for the metrics.
        until(async || {
            let metrics = plane.must("GET", "/metrics", Value::Null).await;
            metrics.to_string().contains("api_requests_in_flight 2")
        })
        .await;
        plane.stop.send_replace(true);
        watch.next().await
    };
    let (read, watched) = tokio::join!(read, stop);
    assert!(watched.is_none());
    assert_eq!(whole(read).await.body["reason"], "Timeout");
    tokio::time::timeout(Duration::from_secs(20), &mut plane.serving).await.unwrap().unwrap();
}

/// Asks until the answer is yes.
async fn until(yes: impl AsyncFn() -> bool) {
    let waiting = async {
        while !yes().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(support::DEADLINE, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_selected_by_what_they_are_about() {
    let plane = Plane::start().await;
    let events = "/api/v1/namespaces/default/events";
    for (name, reason, component) in [("e1", "Opened", "doors"), ("e2", "Closed", "windows")] {
        let event = json!({
            "metadata": {"name": name},
            "involvedObject": {"kind": "Site", "name": "ams1", "uid": "u-1",
                "apiVersion": "inventory.quarterdeck.dev/v1alpha1"},
            "reason": reason, "message": "So it is.", "type": "Normal",
            "source": {"component": component}, "reportingComponent": component,
        });
        plane.must("POST", events, event).await;
    }
    for (selector, found) in [
        ("involvedObject.kind=Site,involvedObject.name=ams1,involvedObject.uid=u-1", 2),
        ("involvedObject.name=fra1", 0),
        ("involvedObject.apiVersion=inventory.quarterdeck.dev/v1alpha1,reason=Opened", 1),
        ("type!=Normal", 0),
        ("source=doors", 1),
        ("source!=doors,reportingComponent=windows", 1),
        ("metadata.name=e2", 1),
    ] {
        let query: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        let path = format!("{events}?fieldSelector={query}");
        assert_eq!(names(&plane, &path).await.len(), found, "{selector}");
    }
}
