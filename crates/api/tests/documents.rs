//! What the server says of itself: OpenAPI in both versions, definitions of its kinds; and how large
//! answers are sent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use flate2::read::GzDecoder;
use http::header;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::io::Read as _;
use support::{Events, Plane, SECRETS};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const SITE_DEFINITION: &str = "sites.inventory.quarterdeck.dev";

async fn raw(
    plane: &Plane,
    path: &str,
    headers: &[(header::HeaderName, &str)],
) -> (http::response::Parts, Vec<u8>) {
    let mut request = plane.request("GET", path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = plane.send(request.body(Default::default()).unwrap()).await;
    let (parts, body) = answer.into_parts();
    (parts, body.collect().await.unwrap().to_bytes().to_vec())
}

fn text<'a>(parts: &'a http::response::Parts, name: &header::HeaderName) -> &'a str {
    parts.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_is_served_in_both_versions_and_kept_by_its_hash() {
    let plane = Plane::start().await;
    let (parts, body) = raw(&plane, "/openapi/v2", &[]).await;
    assert_eq!(text(&parts, &header::CONTENT_TYPE), "application/json");
    let document: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(document["swagger"], "2.0");
    let definitions = document["definitions"].as_object().unwrap();
    for part in document.to_string().split("\"$ref\":\"").skip(1) {
        let target = part.split('"').next().unwrap().strip_prefix("#/definitions/").unwrap();
        assert!(definitions.contains_key(target), "{target}");
    }
    let site = &definitions["dev.quarterdeck.inventory.v1alpha1.Site"];
    assert_eq!(site["x-kubernetes-group-version-kind"][0]["kind"], "Site");
    assert_eq!(
        site["properties"]["metadata"]["$ref"],
        "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/secrets/{name}"]["patch"];
    let consumes = patch["consumes"].as_array().unwrap();
    assert!(consumes.contains(&json!("application/strategic-merge-patch+json")));

    // As the clients of Kubernetes ask for it, by a media type that no other server has.
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let (parts, body) = raw(&plane, "/openapi/v2", &[(header::ACCEPT, protobuf)]).await;
    assert!(text(&parts, &header::CONTENT_TYPE).ends_with("v2.v1.0+protobuf"));
    assert!(body.starts_with(b"\x0a\x032.0"), "field 1 is the version");
    let (parts, _) = raw(&plane, "/openapi/v2", &[(header::ACCEPT, "text/html")]).await;
    assert_eq!(parts.status, 406);

    let index = plane.must("GET", "/openapi/v3", Value::Null).await;
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    for (path, kept) in [("/openapi/v2", false), (url, true), ("/openapi/v3/api/v1", false)] {
        let (parts, _) = raw(&plane, path, &[]).await;
        let tag = text(&parts, &header::ETAG).to_owned();
        assert_eq!(text(&parts, &header::CACHE_CONTROL).contains("immutable"), kept, "{path}");
        let weak = format!("\"other\", W/{tag}");
        for known in [tag.as_str(), &weak] {
            let (parts, body) = raw(&plane, path, &[(header::IF_NONE_MATCH, known)]).await;
            assert_eq!((parts.status.as_u16(), body.len()), (304, 0), "{path}");
        }
        let (parts, _) = raw(&plane, path, &[(header::IF_NONE_MATCH, "\"other\"")]).await;
        assert_eq!(parts.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_are_found_as_definitions_that_nobody_can_change() {
    let plane = Plane::start().await;
    let list = plane.must("GET", DEFINITIONS, Value::Null).await;
    assert_eq!(list["kind"], "CustomResourceDefinitionList");
    let items = list["items"].as_array().unwrap();
    let names: Vec<&str> =
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert!(names.contains(&SITE_DEFINITION) && names.is_sorted(), "{names:?}");
    assert!(names.iter().all(|name| name.ends_with(".quarterdeck.dev")), "{names:?}");
    let one = plane.must("GET", &format!("{DEFINITIONS}/{SITE_DEFINITION}"), Value::Null).await;
    assert_eq!(one["apiVersion"], "apiextensions.k8s.io/v1");
    let region = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/region/type";
    assert_eq!(one.pointer(region).unwrap(), "string");
    let selected = format!("{DEFINITIONS}?fieldSelector=metadata.name%3D{SITE_DEFINITION}");
    let found = plane.must("GET", &selected, Value::Null).await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(plane.get(&format!("{DEFINITIONS}/pods")).await.status, 404);

    // A watch tells what there is, then waits; one of another release is told to list again.
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = async |query: &str| {
        let path = format!("{DEFINITIONS}?watch=true&timeoutSeconds=1&{query}");
        Events::of(plane.send(plane.request("GET", &path).body(Default::default()).unwrap()).await)
    };
    let mut events = watch("").await;
    for name in &names {
        assert_eq!(events.next_name().await, ("ADDED".into(), (*name).to_owned()));
    }
    assert!(events.next().await.is_none(), "it ends when its time is over");
    assert!(watch(&format!("resourceVersion={version}")).await.next().await.is_none());
    let mut streamed =
        watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
            .await;
    for _ in &names {
        assert_eq!(streamed.next_name().await.0, "ADDED");
    }
    let end = streamed.next().await.unwrap();
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let other = plane.get(&format!("{DEFINITIONS}?watch=true&resourceVersion=7")).await;
    assert_eq!((other.status.as_u16(), &other.body["reason"]), (410, &json!("Expired")));

    for (method, path) in [
        ("POST", DEFINITIONS.to_owned()),
        ("DELETE", DEFINITIONS.to_owned()),
        ("PUT", format!("{DEFINITIONS}/{SITE_DEFINITION}")),
        ("PATCH", format!("{DEFINITIONS}/{SITE_DEFINITION}")),
        ("DELETE", format!("{DEFINITIONS}/{SITE_DEFINITION}")),
    ] {
        let refused = plane.ask(method, &path, json!({})).await;
        assert_eq!(refused.status, 405, "{method} {path}");
        let message = refused.body["message"].as_str().unwrap();
        assert!(message.contains("come with this server"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_for_who_takes_it_and_watches_never() {
    let plane = Plane::start().await;
    for number in 0..3 {
        let data = json!({"a": "x".repeat(100_000)});
        let secret = json!({"metadata": {"name": format!("s{number}")}, "stringData": data});
        plane.must("POST", SECRETS, secret).await;
    }
    let gzip = [(header::ACCEPT_ENCODING, "gzip")];
    let table = [
        (header::ACCEPT_ENCODING, "deflate, gzip;q=1.0"),
        (header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io"),
    ];
    let whole = format!("{SECRETS}?includeObject=Object");
    for headers in [gzip.as_slice(), &table] {
        let plain = [(header::ACCEPT, headers.last().filter(|h| h.0 == header::ACCEPT))];
        let plain: Vec<_> =
            plain.into_iter().filter_map(|(name, value)| Some((name, value?.1))).collect();
        let (parts, wanted) = raw(&plane, &whole, &plain).await;
        assert_eq!(text(&parts, &header::CONTENT_ENCODING), "");
        let (parts, packed) = raw(&plane, &whole, headers).await;
        assert_eq!(text(&parts, &header::CONTENT_ENCODING), "gzip");
        assert!(text(&parts, &header::VARY).contains("Accept-Encoding"));
        assert!(packed.len() * 20 < wanted.len(), "{} of {}", packed.len(), wanted.len());
        let mut unpacked = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(read(&unpacked)["items"], read(&wanted)["items"]);
        assert_eq!(unpacked.len(), wanted.len());
    }
    let (parts, _) = raw(&plane, "/api/v1/namespaces/default", &gzip).await;
    assert_eq!(text(&parts, &header::CONTENT_ENCODING), "", "a small answer");
    let watch = format!("{SECRETS}?watch=true&timeoutSeconds=1");
    let (parts, body) = raw(&plane, &watch, &gzip).await;
    assert_eq!(text(&parts, &header::CONTENT_ENCODING), "", "a watch");
    assert!(body.len() > 300_000);
}
