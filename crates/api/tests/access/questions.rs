//! `/graphql` shows to each caller what they may see, and counts nothing else.

use crate::{Person, bind, namespaces, role, support::Plane, tokens::account, user};
use serde_json::{Value, json};

const SERVICES: &str = "/apis/services.quarterdeck.dev/v1alpha1/namespaces";

async fn ask(person: &Person<'_>, query: &str) -> Value {
    let answer = person.ask("POST", "/graphql", json!({"query": query})).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    assert_eq!(answer.body.get("errors"), None, "{:#}", answer.body);
    answer.body["data"].clone()
}

async fn fails(person: &Person<'_>, query: &str) -> String {
    let answer = person.ask("POST", "/graphql", json!({"query": query})).await;
    answer.body["errors"][0]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{:#}", answer.body))
        .into()
}

/// Two teams with a service and instances each, of which `ann` may see one.
async fn teams() -> Plane {
    let plane = Plane::start().await;
    namespaces(&plane, &["red", "blue"]).await;
    for (team, count) in [("red", 2), ("blue", 3)] {
        let service = json!({"metadata": {"name": "web"}, "spec": {"owner": team, "tier": 1}});
        plane.must("POST", &format!("{SERVICES}/{team}/services"), service).await;
        for number in 0..count {
            let instance = json!({
                "metadata": {"name": format!("web-{number}")},
                "spec": {"service": "web", "host": {"name": format!("s{number}")}},
            });
            plane.must("POST", &format!("{SERVICES}/{team}/instances"), instance).await;
        }
    }
    bind(&plane, "red", ("ClusterRole", "view"), user("ann")).await;
    plane
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_facets_and_links_are_of_what_may_be_seen() {
    let plane = teams().await;
    let query = r#"{
        search(kinds: ["Instance"], facets: ["metadata.namespace", "spec.service"], first: 1) {
            total edges { node { namespace name } } facets { field values { value count } other }
            pageInfo { hasNextPage }
        }
        everything: search(text: "web") { total facets { values { count } } }
        mine: object(kind: "svc", namespace: "red", name: "web") { links(relations: ["instances"]) { total } }
        theirs: object(kind: "svc", namespace: "blue", name: "web") { name }
        service(namespace: "blue", name: "web") { owner }
        kinds { kind count }
        me { name teams namespaces may(verb: "list", kind: "instances", namespace: "red") }
        fleet { total places { servers } }
        home { mine teams services { name namespace } servicesTotal }
    }"#;
    let seen = ask(&Person::new(&plane, "ann", &[]), query).await;
    assert_eq!(seen["search"]["total"], 2);
    assert_eq!(seen["search"]["edges"][0]["node"], json!({"namespace": "red", "name": "web-0"}));
    assert_eq!(seen["search"]["pageInfo"]["hasNextPage"], true);
    let facets = json!([
        {"field": "metadata.namespace", "values": [{"value": "red", "count": 2}], "other": 0},
        {"field": "spec.service", "values": [{"value": "web", "count": 2}], "other": 0},
    ]);
    assert_eq!(seen["search"]["facets"], facets);
    assert_eq!(seen["everything"]["total"], 3, "a service and its instances");
    assert_eq!(seen["mine"]["links"], json!([{"total": 2}]));
    assert_eq!((&seen["theirs"], &seen["service"]), (&Value::Null, &Value::Null));
    let count = |kind: &str| {
        let kinds = seen["kinds"].as_array().unwrap();
        kinds.iter().find(|it| it["kind"] == kind).unwrap()["count"].clone()
    };
    assert_eq!(
        (count("Instance"), count("Service"), count("Secret")),
        (2.into(), 1.into(), 0.into())
    );
    let me = json!({"name": "ann", "teams": ["red"], "namespaces": ["red"], "may": true});
    assert_eq!(seen["me"], me);
    assert_eq!(seen["fleet"], json!({"total": 0, "places": []}));
    let home = json!({"mine": true, "teams": ["red"], "services": [{"name": "web", "namespace": "red"}], "servicesTotal": 1});
    assert_eq!(seen["home"], home);

    let nobody = Person::new(&plane, "eve", &[]);
    let seen = ask(&nobody, "{ search { total } me { namespaces } home { servicesTotal } }").await;
    assert_eq!(seen["search"]["total"], 0);
    assert_eq!(
        (&seen["me"]["namespaces"], &seen["home"]["servicesTotal"]),
        (&json!([]), &json!(0))
    );
    let answer = Person::anonymous(&plane)
        .ask("POST", "/graphql", json!({"query": "{ me { name } }"}))
        .await;
    assert_eq!(answer.status, 403, "{:#}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_one_name_sees_it_and_no_more() {
    let plane = teams().await;
    let rules = json!([{
        "apiGroups": ["services.quarterdeck.dev"], "resources": ["services"], "verbs": ["get"],
        "resourceNames": ["web"],
    }]);
    role(&plane, "blue", "one", rules).await;
    bind(&plane, "blue", ("Role", "one"), user("bob")).await;
    let bob = Person::new(&plane, "bob", &[]);
    let query = r#"{
        object(kind: "Service", namespace: "blue", name: "web") { name links { relation } graph { nodes { id } } }
        search(kinds: ["Service"]) { total }
    }"#;
    let seen = ask(&bob, query).await;
    let object =
        json!({"name": "web", "links": [], "graph": {"nodes": [{"id": "Service/blue/web"}]}});
    assert_eq!(seen, json!({"object": object, "search": {"total": 0}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_secret_holds_is_shown_to_nobody() {
    let plane = teams().await;
    let path = "/api/v1/namespaces/red/secrets";
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "hunter2"});
    let secret = |text: &str| json!({"metadata": {"name": "s", "annotations": annotations}, "stringData": {"password": text}});
    plane.must("POST", path, secret("hunter2")).await;
    plane.must("PUT", &format!("{path}/s"), secret("hunter3")).await;
    let admin = Person::new(&plane, "root", &["system:masters"]);
    let query = r#"{ object(kind: "Secret", namespace: "red", name: "s") {
        json columns { name value } fields(paths: ["data.password", "data", "metadata.annotations", "metadata.managedFields"])
        timeline { complete entries { verb changes { path before after } } }
    } }"#;
    let seen = ask(&admin, query).await;
    let text = seen.to_string();
    assert_eq!(seen["object"]["timeline"]["entries"].as_array().unwrap().len(), 2);
    for secret in ["hunter", "aHVudGVy", "last-applied"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(seen["object"]["fields"], json!([null, null, null, null]));
    let hidden = fails(
        &admin,
        r#"{ search(kinds: ["Secret"], filters: [{field: "data.password", values: ["x"]}]) { total } }"#,
    );
    assert!(hidden.await.contains("is not a field that can be searched by"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_tells_each_change_and_pages_back() {
    let plane = teams().await;
    let path = format!("{SERVICES}/red/services/web");
    for tier in [2, 3] {
        plane.must("PATCH", &path, json!({"spec": {"tier": tier}})).await;
    }
    let ann = Person::new(&plane, "ann", &[]);
    let timeline = |argument: &str| {
        format!(
            r#"{{ object(kind: "Service", namespace: "red", name: "web") {{ timeline({argument}) {{
                complete endCursor entries {{ at who verb more changes {{ path before after }} }} }} }} }}"#
        )
    };
    let first = ask(&ann, &timeline("first: 2")).await["object"]["timeline"].clone();
    let entries = first["entries"].as_array().unwrap();
    let change =
        |before: u8, after: u8| json!([{"path": "spec.tier", "before": before, "after": after}]);
    assert_eq!((&entries[0]["changes"], &entries[1]["changes"]), (&change(2, 3), &change(1, 2)));
    assert_eq!((&entries[0]["verb"], &first["complete"]), (&json!("CHANGED"), &json!(false)));
    assert!(entries[0]["at"].is_string() && entries[0]["who"] != "quarterdeck", "{entries:#?}");
    let cursor = first["endCursor"].as_str().unwrap();
    let rest =
        ask(&ann, &timeline(&format!("after: {cursor:?}"))).await["object"]["timeline"].clone();
    assert_eq!((&rest["complete"], &rest["endCursor"]), (&json!(true), &Value::Null));
    assert_eq!(rest["entries"].as_array().unwrap().len(), 1);
    assert_eq!(rest["entries"][0]["verb"], "CREATED");
    // A cursor that somebody made up shows nothing of another object.
    let other = plane.get(&format!("{SERVICES}/blue/services/web")).await.body;
    let other = other["metadata"]["resourceVersion"].as_str().unwrap();
    let seen = ask(&ann, &timeline(&format!("after: {other:?}"))).await;
    assert_eq!(seen["object"]["timeline"]["entries"], json!([]));
    // What was compacted away is not told, and said not to be.
    plane.store.compact(plane.store.world().revision()).await.unwrap();
    let seen = ask(&ann, &timeline("first: 20")).await["object"]["timeline"].clone();
    assert_eq!(seen["complete"], false, "{seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_or_wrong_is_said_so() {
    let plane = teams().await;
    let admin = Person::new(&plane, "root", &["system:masters"]);
    let deep =
        (0..30).fold("name".to_owned(), |inner, _| format!("name links {{ nodes {{ {inner} }} }}"));
    let wide: String = (0..3_000).map(|at| format!("a{at}: me {{ name }} ")).collect();
    for (query, told) in [
        ("{ search(kinds: [\"Nothing\"]) { total } }", "there is no kind \"Nothing\""),
        ("{ search(kinds: []) { total } }", "kinds is empty"),
        ("{ search(first: 501) { total } }", "first is 501, and must be from 0 to 500"),
        (
            "{ search(kinds: [\"Server\"], sort: {field: \"spec.x\"}) { total } }",
            "\"spec.x\" is not a field",
        ),
        ("{ search(facets: [\"metadata.name\"]) { total } }", "names are not counted"),
        ("{ search(after: \"x\") { total } }", "after is not a cursor"),
        ("{ search(labels: \"a in\") { total } }", "labels: "),
        ("{ search(filters: [{field: \"kind\", op: IN}]) { total } }", "takes 1 to 1000 values"),
        ("{ nothing }", "Unknown field \"nothing\""),
        ("{ me { name }", "expected"),
        (&format!("{{ object(kind: \"Site\", name: \"x\") {{ {deep} }} }}"), "nested too deep"),
        (&format!("{{ {wide} }}"), "too complex"),
        ("mutation { me { name } }", "mutations"),
        ("{ calendar(from: \"x\", to: \"y\") { id } }", "is not an RFC 3339 time"),
    ] {
        let message = fails(&admin, query).await;
        assert!(message.contains(told), "{told}: {message}");
    }
    let many =
        (0..200).map(|at| format!("a{at}: search(first: 500) {{ total }} ")).collect::<String>();
    let message = fails(&admin, &format!("{{ {many} }}")).await;
    assert!(message.contains("would read more than 50000 objects"), "{message}");
    let get = admin.get("/graphql?query=%7B%20me%20%7B%20name%20%7D%20%7D").await;
    assert_eq!(get.body, json!({"data": {"me": {"name": "root"}}}));
    assert_eq!(admin.get("/graphql").await.status, 400);
    assert_eq!(admin.ask("PUT", "/graphql", json!({})).await.status, 405);
    let form = plane
        .send_bytes("POST", "/graphql", "text/plain", "{\"query\": \"{ me { name } }\"}")
        .await;
    assert_eq!(form.status, 415);
    let schema = ask(&admin, "{ __schema { queryType { name } types { name fields { name type { ofType { ofType { ofType { name } } } } } } } }").await;
    assert_eq!(schema["__schema"]["queryType"]["name"], "Query");
}

#[tokio::test(flavor = "multi_thread")]
async fn impersonation_counts_here_too() {
    let plane = teams().await;
    account(&plane, "red", "bot").await;
    let admin = Person::new(&plane, "root", &["system:masters"]).acting("impersonate-user", "ann");
    let seen = ask(&admin, "{ me { name } search(kinds: [\"Instance\"]) { total } }").await;
    assert_eq!(seen, json!({"me": {"name": "ann"}, "search": {"total": 2}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screens_of_the_page_are_one_question_each() {
    let plane = teams().await;
    let inventory = "/apis/inventory.quarterdeck.dev/v1alpha1";
    let workflows = "/apis/workflows.quarterdeck.dev/v1alpha1";
    plane.must("POST", &format!("{inventory}/sites"), crate::support::site("ams1")).await;
    let spec = json!({"site": "ams1", "hall": "h1", "row": "7", "units": 20, "powerFeeds": ["A"]});
    plane
        .must(
            "POST",
            &format!("{inventory}/racks"),
            json!({"metadata": {"name": "r1"}, "spec": spec}),
        )
        .await;
    for (name, unit) in [("s0", json!(9)), ("s1", json!(2)), ("s2", Value::Null)] {
        let mut location = json!({"rack": "r1"});
        if !unit.is_null() {
            location["unit"] = unit;
        }
        let spec = json!({"bmc": {"address": name}, "location": location, "profile": "p"});
        plane
            .must(
                "POST",
                &format!("{inventory}/servers"),
                json!({"metadata": {"name": name}, "spec": spec}),
            )
            .await;
    }
    let freeze = json!({"metadata": {"name": "holidays"}, "spec": {
        "reason": "holidays", "start": "2098-12-20T00:00:00Z", "end": "2099-01-05T00:00:00Z"}});
    plane.must("POST", &format!("{workflows}/freezes"), freeze).await;
    let query = r#"{
        fleet(level: RACK, within: {hall: "h1"}, by: ["spec.profile"]) {
            total counts { field values { value count } } places { place { site hall row rack } servers }
        }
        rack(name: "r1") { units powerFeeds place { row } slots { unit height server { name } services { value count } }
            services { value count } }
        service(namespace: "blue", name: "web") { owner tier budget racks { value count } sites { value count } }
        calendar(from: "2098-12-01T00:00:00Z", to: "2099-02-01T00:00:00Z") { kind title start end collides }
        home { next { kind title } }
        object(kind: "Rack", name: "r1") { links(relations: ["site", "servers"]) { relation direction total nodes { name } }
            graph(hops: 1) { nodes { id distance hidden } edges { from to relation } } }
    }"#;
    let seen = ask(&Person::new(&plane, "root", &["system:masters"]), query).await;
    let place = json!({"site": "ams1", "hall": "h1", "row": "7", "rack": "r1"});
    let fleet = json!({
        "total": 3, "counts": [{"field": "spec.profile", "values": [{"value": "p", "count": 3}]}],
        "places": [{"place": place, "servers": 3}],
    });
    assert_eq!(seen["fleet"], fleet);
    let slots = seen["rack"]["slots"].as_array().unwrap();
    let units: Vec<&Value> = slots.iter().map(|slot| &slot["unit"]).collect();
    assert_eq!(units, [&json!(2), &json!(9), &Value::Null]);
    let both = json!([{"value": "blue/web", "count": 1}, {"value": "red/web", "count": 1}]);
    assert_eq!((&slots[0]["services"], &slots[0]["height"]), (&both, &json!(1)));
    assert_eq!((&seen["rack"]["units"], &seen["rack"]["place"]["row"]), (&json!(20), &json!("7")));
    let service = json!({
        "owner": "blue", "tier": 1, "budget": 1,
        "racks": [{"value": "r1", "count": 3}], "sites": [{"value": "ams1", "count": 3}],
    });
    assert_eq!(seen["service"], service);
    let entry = json!({"kind": "FREEZE", "title": "holidays", "start": "2098-12-20T00:00:00Z", "end": "2099-01-05T00:00:00Z", "collides": []});
    assert_eq!(seen["calendar"], json!([entry]));
    assert_eq!(seen["home"]["next"], json!([{"kind": "FREEZE", "title": "holidays"}]));
    let links = json!([
        {"relation": "site", "direction": "OUT", "total": 1, "nodes": [{"name": "ams1"}]},
        {"relation": "servers", "direction": "IN", "total": 3, "nodes": [{"name": "s0"}, {"name": "s1"}, {"name": "s2"}]},
    ]);
    assert_eq!(seen["object"]["links"], links);
    let graph = &seen["object"]["graph"];
    assert_eq!(
        graph["edges"][1],
        json!({"from": "Server/s0", "to": "Rack/r1", "relation": "rack"}),
        "{graph:#}"
    );
    let server =
        graph["nodes"].as_array().unwrap().iter().find(|node| node["id"] == "Server/s0").unwrap();
    assert!(
        server["hidden"].as_i64().unwrap() >= 2,
        "its instances, which are a step farther: {graph:#}"
    );
}
