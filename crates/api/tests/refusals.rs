//! What is refused, and how: each refusal is a Status that names what is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use http::header;
use serde_json::{Value, json};
use support::{Plane, SECRETS, SITES, site, try_get};

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_understood() {
    let plane = Plane::start().await;
    plane.must("POST", SITES, site("ams1")).await;
    let ams1 = &format!("{SITES}/ams1");
    let null = Value::Null;
    for (method, path, body, code, reason, part) in [
        (
            "GET",
            "/apis/nothing.example.com/v1/things",
            null.clone(),
            404,
            "NotFound",
            "could not find the requested resource",
        ),
        (
            "GET",
            "/apis/inventory.quarterdeck.dev/v9/sites",
            null.clone(),
            404,
            "NotFound",
            "could not find",
        ),
        ("GET", "/api/v1/namespaces/%zz", null.clone(), 400, "BadRequest", "percent-encoded"),
        ("GET", "/api/v1/secrets/s", null.clone(), 404, "NotFound", "could not find"),
        (
            "GET",
            &format!("{SITES}/none"),
            null.clone(),
            404,
            "NotFound",
            "sites.inventory.quarterdeck.dev \"none\" not found",
        ),
        ("PUT", SITES, site("a"), 405, "MethodNotAllowed", "does not allow this method"),
        ("POST", ams1, site("a"), 405, "MethodNotAllowed", "does not allow this method"),
        (
            "POST",
            "/api/v1/secrets",
            json!({"metadata": {"name": "s"}}),
            405,
            "MethodNotAllowed",
            "",
        ),
        ("DELETE", "/api/v1/secrets", null.clone(), 405, "MethodNotAllowed", ""),
        ("DELETE", &format!("{ams1}/status"), null.clone(), 405, "MethodNotAllowed", ""),
        ("POST", "/version", json!({}), 405, "MethodNotAllowed", ""),
        ("POST", SITES, null.clone(), 400, "BadRequest", "no body"),
        ("POST", SITES, json!([]), 400, "BadRequest", "must be a JSON object"),
        (
            "POST",
            SITES,
            json!({"kind": "Rack", "metadata": {"name": "a"}}),
            400,
            "BadRequest",
            "Kind=Rack",
        ),
        ("POST", SITES, json!({"metadata": "x"}), 400, "BadRequest", "metadata"),
        (
            "POST",
            SITES,
            json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"region": "x"}}),
            400,
            "BadRequest",
            "resourceVersion should not be set",
        ),
        (
            "POST",
            "/api/v1/namespaces/none/secrets",
            json!({"metadata": {"name": "a"}}),
            404,
            "NotFound",
            "namespaces \"none\" not found",
        ),
        (
            "POST",
            SECRETS,
            json!({"metadata": {"name": "a", "namespace": "other"}}),
            400,
            "BadRequest",
            "namespace of the provided object does not match",
        ),
        (
            "POST",
            SITES,
            site("ams1"),
            409,
            "AlreadyExists",
            "sites.inventory.quarterdeck.dev \"ams1\" already exists",
        ),
        (
            "PUT",
            ams1,
            site("fra1"),
            400,
            "BadRequest",
            "the name of the object (fra1) does not match the name on the URL (ams1)",
        ),
        ("PUT", &format!("{SITES}/none"), site("none"), 404, "NotFound", "\"none\" not found"),
        ("PATCH", &format!("{SITES}/none"), json!({}), 404, "NotFound", "\"none\" not found"),
        (
            "PATCH",
            ams1,
            json!({"metadata": {"resourceVersion": "1"}}),
            409,
            "Conflict",
            "the object has been modified",
        ),
        (
            "PATCH",
            ams1,
            json!([{"op": "test", "path": "/spec/region", "value": "x"}]),
            422,
            "Invalid",
            "cannot be applied",
        ),
        ("PATCH", ams1, json!([{"op": "jump"}]), 400, "BadRequest", "error decoding patch"),
        ("DELETE", &format!("{SITES}/none"), null.clone(), 404, "NotFound", "\"none\" not found"),
        (
            "DELETE",
            ams1,
            json!({"preconditions": {"uid": "other"}}),
            409,
            "Conflict",
            "UID in precondition: other",
        ),
        (
            "DELETE",
            ams1,
            json!({"preconditions": {"resourceVersion": "1"}}),
            409,
            "Conflict",
            "ResourceVersion in precondition: 1",
        ),
        ("DELETE", ams1, json!({"propagationPolicy": "Sideways"}), 400, "BadRequest", "Sideways"),
        (
            "DELETE",
            ams1,
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            400,
            "BadRequest",
            "cannot be both set",
        ),
        ("DELETE", ams1, json!({"dryRun": ["Some"]}), 400, "BadRequest", "dryRun"),
        (
            "DELETE",
            "/api/v1/namespaces/default",
            null.clone(),
            403,
            "Forbidden",
            "may not be deleted",
        ),
        (
            "GET",
            &format!("{SITES}?labelSelector=a%20in%20b"),
            null.clone(),
            400,
            "BadRequest",
            "unable to parse labelSelector",
        ),
        (
            "GET",
            &format!("{SITES}?fieldSelector=spec.region"),
            null.clone(),
            400,
            "BadRequest",
            "unable to parse fieldSelector",
        ),
        (
            "GET",
            &format!("{SITES}?fieldSelector=spec.colour%3Dred"),
            null.clone(),
            400,
            "BadRequest",
            "field label not supported: spec.colour",
        ),
        (
            "GET",
            &format!("{SITES}?continue=abc"),
            null.clone(),
            400,
            "BadRequest",
            "continue key is not valid",
        ),
        (
            "GET",
            &format!("{SITES}?resourceVersion=new"),
            null.clone(),
            400,
            "BadRequest",
            "resourceVersion",
        ),
        (
            "GET",
            &format!("{SITES}?resourceVersionMatch=Exact"),
            null.clone(),
            422,
            "Invalid",
            "resourceVersionMatch: Forbidden",
        ),
        ("GET", &format!("{SITES}?limit=-1"), null.clone(), 400, "BadRequest", "limit=-1"),
        (
            "GET",
            &format!("{SITES}?resourceVersion=999999"),
            null.clone(),
            504,
            "Timeout",
            "Too large resource version: 999999",
        ),
    ] {
        let answer = plane.ask(method, path, body).await;
        let about = format!("{method} {path}: {:#}", answer.body);
        assert_eq!(answer.status.as_u16(), code, "{about}");
        assert_eq!(answer.body["kind"], "Status", "{about}");
        assert_eq!(answer.body["status"], "Failure", "{about}");
        assert_eq!(answer.body["code"], code, "{about}");
        assert_eq!(answer.body["reason"], reason, "{about}");
        assert!(answer.body["message"].as_str().unwrap().contains(part), "{part} in {about}");
    }
    plane.must("GET", ams1, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_objects() {
    let plane = Plane::start().await;
    let deep = format!("{{\"spec\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    for (content_type, body, code, part) in [
        ("application/json", "{".into(), 400, "it is not JSON: EOF while parsing"),
        ("application/json", "\u{1}".into(), 400, "it is not JSON"),
        ("application/json", deep.clone(), 400, "recursion limit"),
        ("application/yaml", "a: [".into(), 400, "it is not YAML"),
        ("application/yaml", deep, 400, "it is not YAML"),
        ("application/vnd.kubernetes.protobuf", "k8s".into(), 400, "not Kubernetes protobuf"),
        ("text/plain", "hello".into(), 415, "accepted media types include: application/json"),
        (
            "application/json",
            " ".repeat(3 * 1024 * 1024 + 1),
            413,
            "larger than the limit of 3145728 bytes",
        ),
    ] {
        let answer = plane.send_bytes("POST", SITES, content_type, body).await;
        assert_eq!(answer.status.as_u16(), code, "{content_type}: {:#}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains(part), "{:#}", answer.body);
    }
    let yaml = "metadata: {name: ams1}\nspec:\n  region: eu-west\n";
    assert_eq!(plane.send_bytes("POST", SITES, "application/yaml", yaml).await.status, 201);
    let path = format!("{SITES}/ams1");
    for content_type in ["application/strategic-merge-patch+json", "application/json"] {
        let answer = plane.send_bytes("PATCH", &path, content_type, "{}").await;
        assert_eq!(answer.status, 415, "{content_type}");
        let accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
        assert!(answer.body["message"].as_str().unwrap().ends_with(accepted), "{content_type}");
    }
    // More than the store takes of one object, though the request itself is small enough.
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "x".repeat(1_300_000)}});
    let answer = plane.ask("POST", SECRETS, secret).await;
    assert_eq!((answer.status.as_u16(), &answer.body["reason"]), (422, &json!("Invalid")));
    let request = plane.request("GET", SITES).header(header::ACCEPT, "application/xml");
    let answer = support::whole(plane.send(request.body(Default::default()).unwrap()).await).await;
    assert_eq!((answer.status.as_u16(), &answer.body["reason"]), (406, &json!("NotAcceptable")));
}

/// Each way to be wrong has one code and reason, whatever the body is written in.
#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_input_has_its_status() {
    let plane = Plane::start().await;
    plane.must("POST", SITES, site("ams1")).await;
    let racks = "/apis/inventory.quarterdeck.dev/v1alpha1/racks";
    let rack = json!({"metadata": {"name": "r1"}, "spec": {"site": "ams1", "units": 42}});
    let rack = plane.must("POST", racks, rack).await;
    let stale = {
        let mut read = rack.clone();
        let change = json!({"spec": {"units": 41}});
        plane.must("PATCH", &format!("{racks}/r1"), change).await;
        read["spec"]["units"] = json!(40);
        read.to_string()
    };
    let uid = {
        let mut read = plane.must("GET", &format!("{SITES}/ams1"), Value::Null).await;
        read["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
        read.to_string()
    };
    let laughs = (1..20).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, step| {
        let before = format!("*a{},", step - 1).repeat(9);
        format!("{text}a{step}: &a{step} [{before}]\n")
    });
    let one = |spec: &str| format!("metadata: {{name: a}}\nspec: {spec}\n");
    let (json_type, yaml, protobuf) =
        ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf");
    let (ams1, r1) = (format!("{SITES}/ams1"), format!("{racks}/r1"));
    let strict = format!("{SITES}?fieldValidation=Strict");
    let both = format!("{ams1}?orphanDependents=true&propagationPolicy=Orphan");
    let invalid = "Site.inventory.quarterdeck.dev \"a\" is invalid: spec.region: ";
    let truncated = b"k8s\0\x0a\x10\x0a\x02v1".to_vec();
    let unknown = b"k8s\0\x0a\x0b\x0a\x02v1\x12\x05Thing".to_vec();
    /// Method, path, content type, body; code, reason, part of the message.
    type Case<'a> = (&'a str, &'a str, &'a str, Vec<u8>, u16, &'a str, String);
    let cases: Vec<Case<'_>> = vec![
        ("POST", &strict, yaml, one("{region: x, colour: red}").into(), 400, "BadRequest",
            "strict decoding error: unknown field \"spec.colour\"".into()),
        ("POST", SITES, yaml, one("{region: [x]}").into(), 422, "Invalid",
            format!("{invalid}Invalid value: \"array\": spec.region in body must be of type string: \"array\"")),
        ("POST", SITES, yaml, "metadata: {name: A_b}\nspec: {region: x}".into(), 422, "Invalid",
            "Site.inventory.quarterdeck.dev \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\"".into()),
        ("PUT", &ams1, json_type, uid.into(), 422, "Invalid", "field is immutable".into()),
        ("PUT", &r1, json_type, stale.into(), 409, "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again".into()),
        ("POST", SITES, yaml, vec![b' '; 3 * 1024 * 1024 + 1], 413, "RequestEntityTooLarge", "3145728 bytes".into()),
        ("POST", SITES, protobuf, vec![0; 2 * 1024 * 1024], 413, "RequestEntityTooLarge", "bytes".into()),
        ("POST", SITES, json_type, b"{\"metadata\":".into(), 400, "BadRequest", "it is not JSON: EOF".into()),
        ("POST", SITES, json_type, b"\xff\xfe".into(), 400, "BadRequest", "it is not JSON".into()),
        ("POST", SITES, yaml, b"a: b: c".into(), 400, "BadRequest", "it is not YAML".into()),
        ("POST", SITES, yaml, b"a: *nowhere".into(), 400, "BadRequest", "it is not YAML".into()),
        ("POST", SITES, yaml, laughs.into(), 400, "BadRequest", "it is not YAML".into()),
        ("POST", SITES, yaml, "[".repeat(200_000).into(), 400, "BadRequest", "it is not YAML".into()),
        ("POST", SITES, json_type, "{\"a\":".repeat(200_000).into(), 400, "BadRequest", "recursion limit".into()),
        ("PATCH", &ams1, "application/merge-patch+json", "{\"a\":".repeat(200_000).into(), 400, "BadRequest",
            "error decoding patch".into()),
        ("POST", SITES, protobuf, b"{}".into(), 400, "BadRequest", "does not begin with k8s".into()),
        ("POST", SITES, protobuf, truncated, 400, "BadRequest", "is not Kubernetes protobuf".into()),
        ("POST", SITES, protobuf, unknown, 400, "BadRequest",
            "v1, Kind=Thing is not read as protobuf here; send it as application/json".into()),
        (
            "DELETE",
            &ams1,
            protobuf,
            b"k8s\0\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions\x12\x05\x12\x03\x0a\x01x".into(),
            409,
            "Conflict",
            "UID in precondition: x".into(),
        ),
        ("DELETE", &both, json_type, Vec::new(), 400, "BadRequest", "cannot be both set".into()),
    ];
    for (method, path, content_type, body, code, reason, part) in cases {
        let answer = plane.send_bytes(method, path, content_type, body).await;
        let about = format!("{method} {content_type} {part}: {:#}", answer.body);
        assert_eq!(answer.status.as_u16(), code, "{about}");
        assert_eq!(answer.body["kind"], "Status", "{about}");
        assert_eq!(answer.body["code"], code, "{about}");
        assert_eq!(answer.body["reason"], reason, "{about}");
        assert!(answer.body["message"].as_str().unwrap().contains(&part), "{about}");
    }
    assert_eq!(plane.must("GET", SITES, Value::Null).await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_at_fault_are_named() {
    let plane = Plane::start().await;
    let causes = |body: &Value| -> Vec<String> {
        let causes = body["details"]["causes"].as_array().cloned().unwrap_or_default();
        causes
            .iter()
            .map(|cause| {
                format!(
                    "{} {}",
                    cause["reason"].as_str().unwrap(),
                    cause["field"].as_str().unwrap()
                )
            })
            .collect()
    };
    let servers = "/apis/inventory.quarterdeck.dev/v1alpha1/servers";
    for (path, object, fields) in [
        (
            SITES,
            json!({"metadata": {"name": "a"}, "spec": {}}),
            &["FieldValueRequired spec.region"][..],
        ),
        (
            SITES,
            json!({"metadata": {"name": "a"}, "spec": {"region": 1}}),
            &["FieldValueTypeInvalid spec.region"],
        ),
        (SITES, site("Not_A_Name"), &["FieldValueInvalid metadata.name"]),
        (SITES, json!({"spec": {"region": "x"}}), &["FieldValueRequired metadata.name"]),
        (
            SITES,
            json!({"metadata": {"name": "a", "labels": {"b c": "d"}}, "spec": {"region": "x"}}),
            &["FieldValueInvalid metadata.labels"],
        ),
        (
            servers,
            json!({"metadata": {"name": "a"}, "spec": {"bmc": {"address": "b", "protocol": "IPMI"}, "location": {"rack": "r", "unit": 0}}}),
            &["FieldValueNotSupported spec.bmc.protocol"],
        ),
        (
            servers,
            json!({"metadata": {"name": "a"}, "spec": {"bmc": {"address": ""}, "location": {"rack": "R", "unit": 0}}}),
            &[
                "FieldValueInvalid spec.location.rack",
                "FieldValueInvalid spec.location.unit",
                "FieldValueRequired spec.bmc.address",
            ],
        ),
        (
            SECRETS,
            json!({"metadata": {"name": "a"}, "data": {"k": "hunter2!"}}),
            &["FieldValueInvalid data[k]"],
        ),
    ] {
        let answer = plane.ask("POST", path, object.clone()).await;
        assert_eq!(answer.status, 422, "{object}: {:#}", answer.body);
        assert_eq!(causes(&answer.body), fields, "{object}: {:#}", answer.body);
        assert!(!answer.body.to_string().contains("hunter2"), "a secret is not repeated");
    }
    plane
        .must("POST", SECRETS, json!({"metadata": {"name": "s"}, "type": "a", "immutable": true}))
        .await;
    let answer = plane
        .ask("PATCH", &format!("{SECRETS}/s"), json!({"type": "b", "data": {"k": "YQ=="}}))
        .await;
    assert_eq!(causes(&answer.body), ["FieldValueForbidden data", "FieldValueInvalid type"]);

    // Unknown fields: refused, remarked or let go, as the client asks; never stored.
    let typo =
        json!({"metadata": {"name": "a"}, "spec": {"region": "x", "regoin": "y", "halls": null}});
    let strict = plane.ask("POST", &format!("{SITES}?fieldValidation=Strict"), typo.clone()).await;
    assert_eq!(strict.status, 400);
    assert_eq!(strict.body["message"], "strict decoding error: unknown field \"spec.regoin\"");
    let ignored = plane
        .ask("POST", &format!("{SITES}?fieldValidation=Ignore&dryRun=All"), typo.clone())
        .await;
    assert!(ignored.headers.get(header::WARNING).is_none());
    let warned = plane.ask("POST", SITES, typo).await;
    assert_eq!(warned.headers[header::WARNING], r#"299 - "unknown field \"spec.regoin\"""#);
    assert_eq!(warned.body["spec"], json!({"region": "x"}));
    let patched = plane
        .ask("PATCH", &format!("{SITES}/a?fieldValidation=Strict"), json!({"spec": {"b": 1}}))
        .await;
    assert_eq!(patched.status, 400);

    // So with fields given twice, of which only the last can be meant.
    let twice = r#"{"metadata":{"name":"b"},"spec":{"region":"x","typo":1,"region":"y"}}"#;
    let post = async |query: &str| {
        plane.send_bytes("POST", &format!("{SITES}{query}"), "application/json", twice).await
    };
    let strict = post("?fieldValidation=Strict").await;
    assert_eq!(
        (strict.status.as_u16(), strict.body["message"].as_str()),
        (
            400,
            Some(
                r#"strict decoding error: duplicate field "spec.region", unknown field "spec.typo""#
            )
        )
    );
    let ignored = post("?fieldValidation=Ignore&dryRun=All").await;
    assert!(ignored.headers.get(header::WARNING).is_none());
    let warned = post("").await;
    let warnings: Vec<_> = warned.headers.get_all(header::WARNING).iter().collect();
    assert_eq!(
        warnings,
        [r#"299 - "duplicate field \"spec.region\"""#, r#"299 - "unknown field \"spec.typo\"""#]
    );
    assert_eq!(warned.body["spec"], json!({"region": "y"}));
    let replaced = plane
        .send_bytes("PUT", &format!("{SITES}/b?fieldValidation=Strict"), "application/json", twice)
        .await;
    assert_eq!(replaced.status, 400);
}

/// In every way to write a change, of which only the last of two can be meant.
#[tokio::test(flavor = "multi_thread")]
async fn fields_given_twice_in_changes() {
    let plane = Plane::start().await;
    plane.must("POST", SITES, site("a")).await;
    plane.must("POST", SECRETS, json!({"metadata": {"name": "a"}})).await;
    let (site, secret) = (&format!("{SITES}/a"), &format!("{SECRETS}/a"));
    let applied = r#"{"apiVersion":"inventory.quarterdeck.dev/v1alpha1","kind":"Site","metadata":{"name":"a"},
        "spec":{"displayName":"one","displayName":"two"}}"#;
    for (path, media, body, remark, field) in [
        (
            site,
            "application/merge-patch+json",
            r#"{"spec":{"displayName":"one","displayName":"two"}}"#,
            r#"duplicate field "spec.displayName""#,
            "/spec/displayName",
        ),
        (
            site,
            "application/json-patch+json",
            r#"[{"op":"add","path":"/spec/address","value":"one","value":"two"}]"#,
            r#"json patch duplicate field "[0].value""#,
            "/spec/address",
        ),
        (
            site,
            "application/json-patch+json",
            r#"[{"op":"remove","op":"add","path":"/spec/timeZone","value":{"a":1,"a":2},"value":"two"}]"#,
            r#"json patch duplicate field "[0].op", json patch duplicate field "[0].value.a", json patch duplicate field "[0].value""#,
            "/spec/timeZone",
        ),
        (
            secret,
            "application/strategic-merge-patch+json",
            r#"{"metadata":{"labels":{"a":"one","a":"two"}}}"#,
            r#"duplicate field "metadata.labels.a""#,
            "/metadata/labels/a",
        ),
        (
            site,
            "application/apply-patch+yaml",
            applied,
            r#"duplicate field "spec.displayName""#,
            "/spec/displayName",
        ),
    ] {
        let send = async |validation: &str| {
            let query = format!("fieldManager=m&force=true&fieldValidation={validation}");
            // Only an apply can be forced.
            let query =
                if media.contains("apply") { query } else { query.replace("force=true&", "") };
            plane.send_bytes("PATCH", &format!("{path}?{query}"), media, body).await
        };
        let strict = send("Strict").await;
        assert_eq!(strict.status, 400, "{media}: {:#}", strict.body);
        assert_eq!(strict.body["reason"], "BadRequest");
        assert_eq!(strict.body["message"], format!("strict decoding error: {remark}"));
        let before = plane.get(path).await.body;
        assert!(before.pointer(field).is_none_or(|value| value != "two"), "{media}: {before:#}");
        let warned = send("Warn").await;
        assert_eq!(warned.status, 200, "{media}: {:#}", warned.body);
        let warnings = warned.headers.get_all(header::WARNING).iter();
        let warnings: Vec<&str> = warnings.map(|value| value.to_str().unwrap()).collect();
        let wanted: Vec<String> = remark
            .split(", ")
            .map(|one| format!("299 - \"{}\"", one.replace('"', "\\\"")))
            .collect();
        assert_eq!(warnings, wanted, "{media}");
        assert_eq!(warned.body.pointer(field), Some(&json!("two")), "{media}");
        let ignored = send("Ignore").await;
        assert_eq!(ignored.status, 200, "{media}");
        assert!(ignored.headers.get(header::WARNING).is_none(), "{media}");
        plane.must("PATCH", path, json!({"spec": {"displayName": null}})).await;
    }
    let yaml = applied.replace('{', "{ ").replace("\"two\"", "two");
    let query = "fieldManager=m&fieldValidation=Ignore";
    let refused = plane
        .send_bytes("PATCH", &format!("{site}?{query}"), "application/apply-patch+yaml", yaml)
        .await;
    assert_eq!(refused.status, 400, "{:#}", refused.body);
    assert!(refused.body["message"].as_str().unwrap().starts_with("error decoding YAML: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_known_first() {
    let plane = Plane::start().await;
    let nobody = plane.caller(None);
    for (path, what) in [
        (
            SITES,
            r#"sites.inventory.quarterdeck.dev is forbidden: User "system:anonymous" cannot list resource "sites" in API group "inventory.quarterdeck.dev" at the cluster scope"#,
        ),
        ("/api", r#"forbidden: User "system:anonymous" cannot get path "/api""#),
        ("/openapi/v3", r#"forbidden: User "system:anonymous" cannot get path "/openapi/v3""#),
        ("/metrics", r#"forbidden: User "system:anonymous" cannot get path "/metrics""#),
        ("/", r#"forbidden: User "system:anonymous" cannot get path "/""#),
        ("/nonsense", r#"forbidden: User "system:anonymous" cannot get path "/nonsense""#),
        (
            "/api/v1/secrets?limit=x",
            r#"secrets is forbidden: User "system:anonymous" cannot list resource "secrets" in API group "" at the cluster scope"#,
        ),
    ] {
        let answer = try_get(&plane, &nobody, path).await.unwrap();
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(
            (&answer.body["reason"], &answer.body["message"]),
            (&json!("Forbidden"), &json!(what))
        );
    }
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(try_get(&plane, &nobody, path).await.unwrap().status, 200, "{path}");
    }
    // Who shows a token that nobody gave is not nobody.
    let request = plane.request("GET", "/livez").header(header::AUTHORIZATION, "Bearer abc");
    let answer = nobody.request(request.body(Default::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
    let guest = plane.caller(Some(&plane.authority.client("ann", &["readers"]).unwrap()));
    assert_eq!(try_get(&plane, &guest, "/apis").await.unwrap().status, 200);
    let refused = try_get(&plane, &guest, &format!("{SECRETS}/s")).await.unwrap();
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.body["message"],
        r#"secrets "s" is forbidden: User "ann" cannot get resource "secrets" in API group "" in the namespace "default""#
    );
    assert_eq!(refused.body["details"], json!({"name": "s", "group": "", "kind": "secrets"}));
    assert_eq!(try_get(&plane, &guest, "/metrics").await.unwrap().status, 403);
    // A certificate that another authority signed, even for the same name and group.
    let other = tempfile::tempdir().unwrap();
    let other = quarterdeck_api::pki::Authority::open(other.path()).unwrap();
    let foreign = plane.caller(Some(&other.admin().unwrap()));
    assert!(try_get(&plane, &foreign, "/livez").await.is_err());
}
