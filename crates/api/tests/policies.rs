//! Policies of admission through HTTP: what they refuse, warn of and note, and what nobody can do with them.

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
use support::{Answer, Plane, SECRETS, SITES, site, whole};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const ALL: &str = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";
const RACKS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/racks";

/// Rules on sites, for all operations that `operations` names.
fn on(operations: &[&str], resources: &[&str]) -> Value {
    json!({"resourceRules": [{"apiGroups": ["inventory.quarterdeck.dev"], "apiVersions": ["v1alpha1"],
                              "operations": operations, "resources": resources}]})
}

fn policy(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("matchConstraints").is_none() {
        spec["matchConstraints"] = on(&["CREATE", "UPDATE"], &["sites"]);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

fn binding(name: &str, policy: &str, actions: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "spec": {"policyName": policy, "validationActions": actions}})
}

async fn put_to_use(plane: &Plane, name: &str, spec: Value, actions: &[&str]) {
    plane.must("POST", POLICIES, policy(name, spec)).await;
    plane.must("POST", BINDINGS, binding(&format!("{name}-everywhere"), name, actions)).await;
}

fn warnings(answer: &Answer) -> Vec<String> {
    let texts = answer.headers.get_all(header::WARNING).iter();
    texts.map(|text| text.to_str().unwrap().to_owned()).collect()
}

/// The failures that a line of the audit log notes.
fn failures(line: &Value) -> Value {
    let text = &line["annotations"]["validation.policy.admission.k8s.io/validation_failure"];
    serde_json::from_str(text.as_str().unwrap_or_default()).unwrap_or_default()
}

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_refuses_once_it_is_bound_in_the_words_of_kubernetes() {
    let plane = Plane::start().await;
    let spec = json!({"validations": [
        {"expression": "object.spec.region.startsWith('eu-')"},
        {"expression": "size(object.metadata.name) <= 5", "messageExpression": "'at most 5 letters, not ' + string(size(object.metadata.name))", "reason": "Forbidden"},
    ]});
    plane.must("POST", POLICIES, policy("europe", spec)).await;
    let abroad = json!({"metadata": {"name": "a"}, "spec": {"region": "us-east"}});
    plane.must("POST", SITES, abroad.clone()).await;
    plane.must("POST", BINDINGS, binding("all", "europe", &["Deny"])).await;
    let mut other = abroad.clone();
    other["metadata"]["name"] = json!("b");
    let refused = plane.ask("POST", SITES, other.clone()).await;
    assert_eq!((refused.status.as_u16(), &refused.body["reason"]), (422, &json!("Invalid")));
    let why = "ValidatingAdmissionPolicy 'europe' with binding 'all' denied request: \
               failed expression: object.spec.region.startsWith('eu-')";
    assert_eq!(
        message(&refused),
        format!("sites.inventory.quarterdeck.dev \"b\" is forbidden: {why}")
    );
    assert_eq!(refused.body["details"]["causes"][0]["message"], why);
    let refused = plane.ask("POST", SITES, site("long-name")).await;
    assert_eq!((refused.status.as_u16(), &refused.body["reason"]), (403, &json!("Forbidden")));
    assert!(message(&refused).ends_with("denied request: at most 5 letters, not 9"));
    // What is there already is judged when it is changed, in whatever way.
    let path = &format!("{SITES}/a");
    for (method, body) in
        [("PUT", abroad.clone()), ("PATCH", json!({"metadata": {"labels": {"x": "y"}}}))]
    {
        assert_eq!(plane.ask(method, path, body).await.status, 422, "{method}");
    }
    let applied = json!({"apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Site",
                         "metadata": {"name": "c"}, "spec": {"region": "us-east"}});
    let apply = async |query: &str| {
        let path = format!("{SITES}/c?fieldManager=test{query}");
        plane.send_bytes("PATCH", &path, "application/apply-patch+yaml", applied.to_string()).await
    };
    assert_eq!(apply("").await.status, 422);
    assert_eq!(apply("&dryRun=All").await.status, 422);
    // The status is another resource; deletions were not named.
    plane.must("PATCH", &format!("{path}/status"), json!({"status": {"racks": 1}})).await;
    plane.must("DELETE", path, Value::Null).await;
    plane.must("POST", SITES, site("b")).await;
    // Without its binding a policy says nothing.
    plane.must("DELETE", &format!("{BINDINGS}/all"), Value::Null).await;
    plane.must("POST", SITES, abroad).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_tokens_are_judged() {
    let plane = Plane::audited(ALL).await;
    let account = json!({"metadata": {"name": "bot", "labels": {"x": "y"}}});
    plane.must("POST", "/api/v1/namespaces/default/serviceaccounts", account).await;
    let spec = json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["serviceaccounts/token"]}]},
        "validations": [
            {"expression": "object.spec.expirationSeconds <= 3600", "message": "an hour at most"},
            {"expression": "request.kind.kind == 'TokenRequest' && request.subResource == 'token' \
                && request.name == 'bot' && object.metadata.name == 'bot' && oldObject == null \
                && request.resource.resource == 'serviceaccounts' && size(object.spec.audiences) == 1"},
        ],
        "auditAnnotations": [{"key": "seconds", "valueExpression": "string(object.spec.expirationSeconds)"}],
    });
    put_to_use(&plane, "tokens", spec, &["Deny"]).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/bot/token";
    let ask = async |query: &str, seconds: u32| {
        let body = json!({"spec": {"expirationSeconds": seconds}});
        plane.ask("POST", &format!("{path}{query}"), body).await
    };
    assert!(plane.must("POST", path, json!({})).await["status"]["token"].is_string());
    assert_eq!(ask("", 3600).await.status, 201);
    for query in ["", "?dryRun=All"] {
        let refused = ask(query, 3601).await;
        assert_eq!(refused.status, 422);
        assert_eq!(
            message(&refused),
            "serviceaccounts \"bot\" is forbidden: ValidatingAdmissionPolicy 'tokens' with binding \
             'tokens-everywhere' denied request: an hour at most"
        );
        assert!(refused.body["status"]["token"].is_null());
    }
    // The account itself is another resource, and nothing of a token is noted.
    plane
        .must(
            "PATCH",
            "/api/v1/namespaces/default/serviceaccounts/bot",
            json!({"metadata": {"labels": {"x": "z"}}}),
        )
        .await;
    let lines = plane.audit();
    let mut tokens =
        lines.iter().filter(|line| line["objectRef"]["subresource"] == "token").peekable();
    assert!(tokens.peek().is_some());
    assert!(tokens.all(|line| line["annotations"]["tokens/seconds"].is_null()));
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_reach_the_writer_and_notes_the_audit_log() {
    let plane = Plane::audited(ALL).await;
    let spec = json!({
        "validations": [{"expression": "has(object.metadata.labels)", "message": "say whose it is"}],
        "auditAnnotations": [
            {"key": "region", "valueExpression": "'in ' + object.spec.region"},
            {"key": "nothing", "valueExpression": "object.spec.region == 'x' ? 'x' : null"},
        ],
    });
    put_to_use(&plane, "owned", spec, &["Warn", "Audit"]).await;
    let answer = plane.ask("POST", SITES, site("a")).await;
    assert_eq!(answer.status, 201);
    let told = "Validation failed for ValidatingAdmissionPolicy 'owned' with binding \
                'owned-everywhere': say whose it is";
    assert_eq!(warnings(&answer), [format!("299 - \"{told}\"")]);
    let lines = plane.audit();
    let line = lines.last().unwrap();
    assert_eq!(line["annotations"]["owned/region"], "in eu-west", "{line:#}");
    assert!(line["annotations"].get("owned/nothing").is_none());
    let failures =
        line["annotations"]["validation.policy.admission.k8s.io/validation_failure"].as_str();
    assert_eq!(
        serde_json::from_str::<Value>(failures.unwrap()).unwrap(),
        json!([{"message": "say whose it is", "policy": "owned", "binding": "owned-everywhere",
                "expressionIndex": 0, "validationActions": ["Warn", "Audit"]}])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_noted_and_warned_of_all_the_same() {
    let plane = Plane::audited(ALL).await;
    let spec = json!({
        "validations": [{"expression": "false", "message": "first", "reason": "Unauthorized"},
                        {"expression": "false", "message": "second"}],
        "auditAnnotations": [{"key": "region", "valueExpression": "object.spec.region"}],
    });
    put_to_use(&plane, "both", spec, &["Deny", "Audit"]).await;
    let soft = json!({"validations": [{"expression": "false", "message": "größer"}]});
    put_to_use(&plane, "soft", soft, &["Warn"]).await;
    let refused = plane.ask("POST", SITES, site("a")).await;
    assert_eq!(refused.status, 401);
    assert!(message(&refused).ends_with("first"), "{:#}", refused.body);
    // Another token would not help.
    assert!(!refused.headers.contains_key(header::WWW_AUTHENTICATE));
    let warned = refused.headers[header::WARNING].as_bytes();
    assert!(warned.ends_with("größer\"".as_bytes()), "{warned:?}");
    let line = plane.audit().pop().unwrap();
    assert_eq!(line["annotations"]["both/region"], "eu-west", "{line:#}");
    assert_eq!(failures(&line).as_array().unwrap().len(), 2, "{line:#}");
    // The second deletion of what is kept by a finalizer changes nothing, and is judged.
    plane.must("DELETE", &format!("{BINDINGS}/both-everywhere"), Value::Null).await;
    let mut kept = site("kept");
    kept["metadata"]["finalizers"] = json!(["example.com/keep"]);
    plane.must("POST", SITES, kept).await;
    let spec = json!({"matchConstraints": on(&["DELETE"], &["sites"]), "validations": [{"expression": "false"}]});
    put_to_use(&plane, "gone", spec, &["Audit"]).await;
    for _ in 0..2 {
        plane.must("DELETE", &format!("{SITES}/kept"), Value::Null).await;
        let line = plane.audit().pop().unwrap();
        assert_eq!(failures(&line)[0]["policy"], "gone", "{line:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_secret_is_noted() {
    const CANARY: &str = "c2FpZC1ieS1ub2JvZHk=";
    let plane = Plane::audited(ALL).await;
    let secrets = json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}]});
    let spec = json!({
        "matchConstraints": secrets,
        "validations": [{"expression": "object.data.k == 1 || int(object.data.k) == 1"},
                        {"expression": "false", "messageExpression": "'not ' + object.data.k"}],
        "auditAnnotations": [{"key": "k", "valueExpression": "object.data.k"}],
    });
    put_to_use(&plane, "leak", spec, &["Audit", "Warn"]).await;
    let secret = json!({"metadata": {"name": "s"}, "data": {"k": CANARY}});
    let answer = plane.ask("POST", SECRETS, secret.clone()).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    assert!(warnings(&answer).iter().any(|text| text.contains(CANARY)), "its writer may know it");
    let path = format!("{BINDINGS}/leak-everywhere");
    let both = json!({"spec": {"validationActions": ["Audit", "Deny"]}});
    plane.must("PATCH", &path, both).await;
    assert_eq!(plane.ask("POST", SECRETS, secret).await.status, 422);
    let lines = plane.audit();
    assert_eq!(lines.last().unwrap()["responseStatus"]["code"], 422);
    assert!(lines.iter().all(|line| !line.to_string().contains(CANARY)), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_of_a_deleted_collection_is_judged() {
    let plane = Plane::audited(ALL).await;
    for name in ["a", "b", "kept"] {
        plane.must("POST", SITES, site(name)).await;
    }
    let deletions = |expression: &str| {
        json!({"matchConstraints": on(&["DELETE"], &["sites"]),
               "validations": [{"expression": expression}]})
    };
    put_to_use(&plane, "told", deletions("oldObject.metadata.name == 'b'"), &["Warn", "Audit"])
        .await;
    put_to_use(&plane, "keep", deletions("request.name != 'kept'"), &["Deny"]).await;
    let refused = plane.ask("DELETE", SITES, Value::Null).await;
    assert_eq!(refused.status, 422);
    assert!(message(&refused).contains("\"kept\" is forbidden"), "{:#}", refused.body);
    plane.must("DELETE", &format!("{BINDINGS}/keep-everywhere"), Value::Null).await;
    plane.must("POST", SITES, site("c")).await;
    let answer = plane.ask("DELETE", SITES, Value::Null).await;
    assert_eq!((answer.status.as_u16(), warnings(&answer).len()), (200, 2), "c and what was kept");
    let lines = plane.audit();
    let told = &lines.last().unwrap()["annotations"];
    let failures = told["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap();
    let failures: Value = serde_json::from_str(failures).unwrap();
    // The two say the same.
    assert_eq!(failures[0]["policy"], "told");
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_see_who_does_what_to_what() {
    let plane = Plane::start().await;
    let see = |expression: &str| {
        json!({"matchConstraints": on(&["*"], &["sites", "sites/status"]),
        "validations": [{"expression": expression}]})
    };
    let admin = "quarterdeck-admin";
    for (number, (method, path, body, truth)) in [
        ("POST", "", site("s"), format!("request.operation == 'CREATE' && oldObject == null && object.metadata.name == request.name && request.userInfo.username == '{admin}' && 'system:masters' in request.userInfo.groups && !request.dryRun && !has(request.namespace) && namespaceObject == null")),
        ("PATCH", "/s", json!({"metadata": {"labels": {"a": "b"}}}), "request.operation == 'UPDATE' && !has(oldObject.metadata.labels) && object.metadata.labels.a == 'b' && !has(request.subResource) && request.resource.resource == 'sites' && request.kind.kind == 'Site' && request.kind.group == 'inventory.quarterdeck.dev'".to_owned()),
        ("PATCH", "/s/status", json!({"status": {"racks": 3}}), "request.subResource == 'status' && object.status.racks == 3".to_owned()),
        ("DELETE", "/s?dryRun=All", Value::Null, "request.operation == 'DELETE' && object == null && oldObject.metadata.name == 's' && request.dryRun".to_owned()),
        ("DELETE", "", Value::Null, "request.operation == 'DELETE' && request.name == 's' && !request.dryRun".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("p{number}");
        put_to_use(&plane, &name, see(&format!("!({truth})")), &["Deny"]).await;
        let answer = plane.ask(method, &format!("{SITES}{path}"), body.clone()).await;
        assert_eq!(answer.status, 422, "{method} {path}: {:#}", answer.body);
        assert!(message(&answer).contains("failed expression"), "{:#}", answer.body);
        plane.must("DELETE", &format!("{POLICIES}/{name}"), Value::Null).await;
        plane.must(method, &format!("{SITES}{path}"), body).await;
    }
    assert!(plane.get(SITES).await.body["items"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_objects_and_conditions_narrow_what_is_meant() {
    let plane = Plane::start().await;
    for (name, tier) in [("prod", "gold"), ("play", "none")] {
        let namespace = json!({"metadata": {"name": name, "labels": {"tier": tier}}});
        plane.must("POST", "/api/v1/namespaces", namespace).await;
    }
    let spec = json!({
        "matchConstraints": {
            "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}],
            "excludeResourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"], "resourceNames": ["free"]}],
            "namespaceSelector": {"matchLabels": {"tier": "gold"}},
            "objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]},
        },
        "matchConditions": [{"name": "not-tests", "expression": "!request.name.startsWith('test-')"}],
        "variables": [{"name": "team", "expression": "namespaceObject.metadata.labels.tier"}],
        "validations": [{"expression": "false", "messageExpression": "'frozen in ' + variables.team"}],
    });
    put_to_use(&plane, "frozen", spec, &["Deny"]).await;
    let create = async |namespace: &str, name: &str, labels: Value| {
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        plane.ask("POST", &path, json!({"metadata": {"name": name, "labels": labels}})).await
    };
    let refused = create("prod", "a", json!({})).await;
    assert!(message(&refused).ends_with("denied request: frozen in gold"), "{:#}", refused.body);
    for (namespace, name, labels) in [
        ("play", "a", json!({})),
        ("prod", "free", json!({})),
        ("prod", "b", json!({"skip": "yes"})),
        ("prod", "test-a", json!({})),
    ] {
        let answer = create(namespace, name, labels).await;
        assert_eq!(answer.status, 201, "{namespace}/{name}: {:#}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_objects_of_our_own() {
    let plane = Plane::start().await;
    plane.must("POST", SITES, site("model")).await;
    let spec = json!({
        "paramKind": {"apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Site"},
        "matchConstraints": on(&["CREATE"], &["racks"]),
        "validations": [{"expression": "object.spec.site == params.metadata.name", "messageExpression": "'only in ' + params.metadata.name"}],
    });
    plane.must("POST", POLICIES, policy("placed", spec)).await;
    let mut bound = binding("placed", "placed", &["Deny"]);
    bound["spec"]["paramRef"] = json!({"name": "model", "parameterNotFoundAction": "Deny"});
    plane.must("POST", BINDINGS, bound).await;
    let rack = |name: &str, site: &str| json!({"metadata": {"name": name}, "spec": {"site": site, "units": 42}});
    plane.must("POST", RACKS, rack("a", "model")).await;
    let refused = plane.ask("POST", RACKS, rack("b", "elsewhere")).await;
    assert!(message(&refused).ends_with("denied request: only in model"), "{:#}", refused.body);
    let by_name = |param: Value| json!({"spec": {"paramRef": param}});
    let path = format!("{BINDINGS}/placed");
    plane.must("PATCH", &path, by_name(json!({"name": "none"}))).await;
    let refused = plane.ask("POST", RACKS, rack("b", "model")).await;
    let why = "denied request: failed to configure binding: no params found for policy binding \
               with `Deny` parameterNotFoundAction";
    assert!(message(&refused).ends_with(why), "{:#}", refused.body);
    plane.must("PATCH", &path, by_name(json!({"parameterNotFoundAction": "Allow"}))).await;
    plane.must("POST", RACKS, rack("b", "elsewhere")).await;
    // All that a selector selects must be met.
    let selector = json!({"name": null, "selector": {"matchLabels": {"model": "yes"}}});
    plane.must("PATCH", &path, by_name(selector)).await;
    plane.must("POST", RACKS, rack("c", "elsewhere")).await;
    plane
        .must("PATCH", &format!("{SITES}/model"), json!({"metadata": {"labels": {"model": "yes"}}}))
        .await;
    assert_eq!(plane.ask("POST", RACKS, rack("d", "elsewhere")).await.status, 422);
    plane.must("POST", RACKS, rack("d", "model")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_refused_or_ignored_as_the_policy_says() {
    let plane = Plane::start().await;
    let spec = json!({"validations": [{"expression": "object.metadata.labels.team == 'a'"}]});
    put_to_use(&plane, "broken", spec, &["Deny"]).await;
    let refused = plane.ask("POST", SITES, site("a")).await;
    assert_eq!(refused.status, 422);
    let why = "denied request: expression 'object.metadata.labels.team == 'a'' resulted in error: no field \"labels\"";
    assert!(message(&refused).ends_with(why), "{:#}", refused.body);
    let path = format!("{POLICIES}/broken");
    plane.must("PATCH", &path, json!({"spec": {"failurePolicy": "Ignore"}})).await;
    plane.must("POST", SITES, site("a")).await;
    let other = json!({"metadata": {"labels": {"team": "b"}}});
    assert_eq!(plane.ask("PATCH", &format!("{SITES}/a"), other).await.status, 422);
    // Whoever reads a variable without a value is told why.
    let spec = json!({
        "variables": [{"name": "team", "expression": "object.metadata.labels.team"}],
        "validations": [{"expression": "variables.team == 'a'"}, {"expression": "variables.team != 'b'"}],
    });
    put_to_use(&plane, "twice", spec, &["Warn"]).await;
    let told = warnings(&plane.ask("POST", SITES, site("c")).await);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|text| text.contains("no field")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_locked_out_and_nothing_hangs() {
    let plane = Plane::start().await;
    let everything = json!({"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"],
                                               "operations": ["*"], "resources": ["*/*"]}]});
    let spec = json!({"matchConstraints": everything, "validations": [{"expression": "false"}]});
    put_to_use(&plane, "shut", spec, &["Deny"]).await;
    assert_eq!(plane.ask("POST", SITES, site("a")).await.status, 422);
    plane
        .must("PATCH", &format!("{POLICIES}/shut"), json!({"metadata": {"labels": {"a": "b"}}}))
        .await;
    plane.must("DELETE", &format!("{BINDINGS}/shut-everywhere"), Value::Null).await;
    plane.must("DELETE", &format!("{POLICIES}/shut"), Value::Null).await;
    // Bombs, over an object as large as one may be.
    let bomb = "object.metadata.annotations.all(a, object.metadata.annotations.all(b, object.metadata.annotations.exists(c, a + b + c == 'x') || true))";
    let text = "object.metadata.annotations.all(a, !object.metadata.annotations[a].replace('a', object.metadata.annotations[a]).contains('zz'))";
    for (name, expression) in [("loops", bomb), ("texts", text)] {
        put_to_use(&plane, name, json!({"validations": [{"expression": expression}]}), &["Deny"])
            .await;
        let mut large = site("large");
        let notes = (0..1_000).map(|number| (format!("n{number}"), "a".repeat(200).into()));
        large["metadata"]["annotations"] = Value::Object(notes.collect());
        let began = std::time::Instant::now();
        let refused = plane.ask("POST", SITES, large).await;
        assert!(began.elapsed() < support::DEADLINE, "{name}: {:?}", began.elapsed());
        assert!(message(&refused).contains("costs too much"), "{name}: {:#}", refused.body);
        plane.must("DELETE", &format!("{BINDINGS}/{name}-everywhere"), Value::Null).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_cannot_work_are_refused_with_their_field() {
    let plane = Plane::start().await;
    let one = |expression: &str| json!({"validations": [{"expression": expression}]});
    for (spec, field, says) in [
        (
            one("object.spec."),
            "spec.validations[0].expression",
            "compilation failed: not a CEL expression: line 1, column",
        ),
        (
            one("objct.spec.region == 'x'"),
            "spec.validations[0].expression",
            "compilation failed: column 1: there is no variable \"objct\"; did you mean \"object\"?",
        ),
        (
            one("object.spec.region.isIP()"),
            "spec.validations[0].expression",
            "there is no method \"isIP\"; there are charAt, contains, ",
        ),
        (
            one("quantity('1') == quantity('1')"),
            "spec.validations[0].expression",
            "there is no function \"quantity\"; there are bool, bytes, ",
        ),
        (
            one("authorizer.path('/x').check('get').allowed()"),
            "spec.validations[0].expression",
            "authorizer is not known here: Quarterdeck has no authorizer in policies",
        ),
        (
            one("params.x == 1"),
            "spec.validations[0].expression",
            "params is not known here: the policy has no spec.paramKind",
        ),
        (
            one("request.operation == 'CRETE'"),
            "spec.validations[0].expression",
            "did you mean \"CREATE\"?",
        ),
        (
            one("request.name"),
            "spec.validations[0].expression",
            "must evaluate to bool, not string",
        ),
        (
            one("size(variables) == 1"),
            "spec.validations[0].expression",
            "variables are read by name",
        ),
        (
            json!({"validations": [{"expression": "true", "messageExpression": "1"}]}),
            "spec.validations[0].messageExpression",
            "must evaluate to string, not int",
        ),
        (
            json!({"validations": [{"expression": "variables.b"}], "variables": [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "true"}]}),
            "spec.variables[0].expression",
            "variables has no field \"b\"",
        ),
        (
            json!({"validations": [{"expression": "true"}], "matchConditions": [{"name": "c", "expression": "variables.a"}]}),
            "spec.matchConditions[0].expression",
            "match conditions come before them",
        ),
        (
            json!({}),
            "spec.validations",
            "validations or auditAnnotations must contain at least one item",
        ),
        (
            json!({"validations": [{"expression": "true"}], "matchConstraints": {}}),
            "spec.matchConstraints.resourceRules",
            "Required value",
        ),
        (
            json!({"validations": [{"expression": "true"}], "matchConstraints": on(&["EAT"], &["sites"])}),
            "spec.matchConstraints.resourceRules[0].operations[0]",
            "Unsupported value",
        ),
        (
            json!({"validations": [{"expression": "true"}], "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets", "secrets/token"]}]}}),
            "spec.matchConstraints.resourceRules[0].resources[1]",
            "only objects (RESOURCE), their status (RESOURCE/status) and scale (RESOURCE/scale), and serviceaccounts/token are judged here",
        ),
        (
            json!({"validations": [{"expression": "true"}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}),
            "spec.paramKind",
            "Not found",
        ),
        (
            json!({"validations": [{"expression": "true", "reason": "Bored"}]}),
            "spec.validations[0].reason",
            "Unsupported value",
        ),
        (
            json!({"validations": [{"expression": ""}]}),
            "spec.validations[0].expression",
            "Required value",
        ),
    ] {
        let answer = plane.ask("POST", POLICIES, policy("p", spec.clone())).await;
        assert_eq!(answer.status, 422, "{spec}: {:#}", answer.body);
        let causes = answer.body["details"]["causes"].as_array().unwrap();
        let found = causes.iter().any(|cause| {
            cause["field"] == field && cause["message"].as_str().unwrap().contains(says)
        });
        assert!(found, "{spec}: {causes:#?}");
    }
    for (spec, field) in [
        (
            json!({"policyName": "p", "validationActions": ["Deny", "Warn"]}),
            "spec.validationActions",
        ),
        (json!({"policyName": "p"}), "spec.validationActions"),
        (json!({"validationActions": ["Deny"]}), "spec.policyName"),
        (
            json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {"name": "a"}}),
            "spec.paramRef.parameterNotFoundAction",
        ),
        (
            json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {"parameterNotFoundAction": "Deny"}}),
            "spec.paramRef",
        ),
    ] {
        let answer =
            plane.ask("POST", BINDINGS, json!({"metadata": {"name": "b"}, "spec": spec})).await;
        assert_eq!(answer.status, 422, "{spec}: {:#}", answer.body);
        assert_eq!(answer.body["details"]["causes"][0]["field"], field, "{spec}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_shows_its_writer_nothing_they_may_not_read() {
    let plane = Plane::start().await;
    let rules = json!([{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]}]);
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "policies"}, "rules": rules});
    plane.must("POST", &format!("{roles}/clusterroles"), role).await;
    let bound = json!({"metadata": {"name": "policies"},
        "roleRef": {"kind": "ClusterRole", "name": "policies"},
        "subjects": [{"kind": "User", "name": "ann"}]});
    plane.must("POST", &format!("{roles}/clusterrolebindings"), bound).await;
    let ann = plane.caller(Some(&plane.authority.client("ann", &[]).unwrap()));
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "validations": [{"expression": "true", "messageExpression": "params.data.k"}]});
    let body = policy("peek", spec).to_string();
    let request = plane.request("POST", POLICIES).header(header::CONTENT_TYPE, "application/json");
    let answer = ann.request(request.body(http_body_util::Full::new(body.into())).unwrap()).await;
    let answer = whole(answer.unwrap()).await;
    assert_eq!(answer.status, 403, "{:#}", answer.body);
    assert_eq!(answer.body["details"]["causes"][0]["field"], "spec.paramKind");
    // Before there is such a policy nobody knows what the parameters will be.
    let mut early = binding("early", "not-yet", &["Deny"]);
    early["spec"]["paramRef"] =
        json!({"name": "s", "namespace": "default", "parameterNotFoundAction": "Deny"});
    let bind = async |caller: &support::Caller| {
        let request = plane.request("POST", BINDINGS);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = http_body_util::Full::new(early.to_string().into());
        whole(caller.request(request.body(body).unwrap()).await.unwrap()).await
    };
    let answer = bind(&ann).await;
    assert_eq!(answer.status, 403, "{:#}", answer.body);
    assert_eq!(answer.body["details"]["causes"][0]["field"], "spec.paramRef");
    let admin = plane.caller(Some(&plane.authority.admin().unwrap()));
    assert_eq!(bind(&admin).await.status, 201);
}
