//! A kind is one file: with the one beside this and a word to the model, everything else follows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod lift;
#[path = "../support/mod.rs"]
mod support;

use lift::Lift;
use quarterdeck_api::pki;
use quarterdeck_model::{Kind as _, kinds};
use serde_json::{Value, json};
use std::process::Command;
use support::{Events, Plane};

const GROUP: &str = "/apis/building.quarterdeck.dev/v1alpha1";
const LIFTS: &str = "/apis/building.quarterdeck.dev/v1alpha1/namespaces/default/lifts";

/// A plane that knows lifts.
async fn plane() -> Plane {
    assert!(kinds::include(&[Lift::info()]), "before anything has looked at the kinds");
    Plane::start().await
}

fn lift(name: &str, maker: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"maker": maker}})
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_written_read_and_watched() {
    let plane = plane().await;
    let watch = plane.request("GET", &format!("{LIFTS}?watch=true")).body(Default::default());
    let mut events = Events::of(plane.send(watch.unwrap()).await);
    // Defaults are filled in, what the schema does not know is dropped with a remark.
    let mut first = lift("a", "Otis");
    first["spec"]["colour"] = json!("red");
    let made = plane.ask("POST", LIFTS, first.clone()).await;
    assert_eq!(made.body["spec"], json!({"maker": "Otis", "loadKg": 1000}));
    assert_eq!(made.body["apiVersion"], "building.quarterdeck.dev/v1alpha1");
    assert_eq!(made.headers["warning"], r#"299 - "unknown field \"spec.colour\"""#);
    let strict = plane.ask("POST", &format!("{LIFTS}?fieldValidation=Strict"), first).await;
    assert_eq!(strict.status, 400);
    assert_eq!(events.next_name().await, ("ADDED".into(), "a".into()));

    // Validated by its schema and by its own rules, new and against the old.
    for (method, path, body, message) in [
        (
            "POST",
            LIFTS,
            json!({"metadata": {"name": "b"}, "spec": {"maker": "x", "loadKg": 0}}),
            "Lift.building.quarterdeck.dev \"b\" is invalid: spec.loadKg: Invalid value: 0: a lift carries something",
        ),
        (
            "POST",
            LIFTS,
            json!({"metadata": {"name": "b"}, "spec": {}}),
            "Lift.building.quarterdeck.dev \"b\" is invalid: spec.maker: Required value",
        ),
        (
            "PATCH",
            &format!("{LIFTS}/a"),
            json!({"spec": {"maker": "x"}}),
            "Lift.building.quarterdeck.dev \"a\" is invalid: spec.maker: Forbidden: a lift does not change its maker",
        ),
    ] {
        let refused = plane.ask(method, path, body).await;
        assert_eq!((refused.status.as_u16(), &refused.body["message"]), (422, &json!(message)));
    }

    // A status apart from the spec, lists merged as the schema says, by whoever applies.
    let status = json!({"status": {"floor": "2"}});
    plane.must("PATCH", &format!("{LIFTS}/a/status"), status).await;
    for (manager, floor) in [("one", "1"), ("two", "2")] {
        let config = json!({
            "apiVersion": "building.quarterdeck.dev/v1alpha1", "kind": "Lift",
            "metadata": {"name": "a"}, "spec": {"maker": "Otis", "floors": [floor]},
        });
        let path = format!("{LIFTS}/a?fieldManager={manager}&force=true");
        let media = "application/apply-patch+yaml";
        let applied = plane.send_bytes("PATCH", &path, media, config.to_string()).await;
        assert_eq!(applied.status, 200, "{:#}", applied.body);
    }
    let found = plane.get(&format!("{LIFTS}/a")).await.body;
    assert_eq!(found["status"]["floor"], "2");
    assert_eq!(found["spec"]["floors"], json!(["1", "2"]));
    assert_eq!(found["metadata"]["generation"], 3);

    // Found by its indexed field, in its namespace and in all, and by no other field.
    plane.must("POST", LIFTS, lift("b", "Schindler")).await;
    for (query, names) in
        [("spec.maker=Otis", vec!["a"]), ("spec.maker!=Otis", vec!["b"]), ("spec.maker=x", vec![])]
    {
        for path in [LIFTS, &format!("{GROUP}/lifts")] {
            let list = plane.get(&format!("{path}?fieldSelector={query}")).await.body;
            let items = list["items"].as_array().unwrap().iter();
            let found: Vec<&Value> = items.map(|item| &item["metadata"]["name"]).collect();
            assert_eq!(found, names, "{path} {query}");
        }
    }
    let unknown = plane.get(&format!("{LIFTS}?fieldSelector=spec.loadKg=1000")).await;
    assert_eq!(unknown.status, 400);
    plane.must("DELETE", &format!("{LIFTS}/b"), Value::Null).await;
    assert_eq!(plane.get(&format!("{LIFTS}/b")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_of_in_every_document() {
    let plane = plane().await;
    plane.must("POST", LIFTS, lift("a", "Otis")).await;
    let table = plane
        .request("GET", LIFTS)
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table =
        support::whole(plane.send(table.body(Default::default()).unwrap()).await).await.body;
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let columns: Vec<&Value> = columns.map(|column| &column["name"]).collect();
    assert_eq!(columns, ["Name", "Maker", "Load", "Floor", "Stops", "Age"]);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(
        cells[..5],
        json!(["a", "Otis", 1000, null, 0]).as_array().unwrap()[..],
        "{table:#}"
    );

    let group = plane.get(GROUP).await.body;
    let of = |name: &str| {
        let all = group["resources"].as_array().unwrap();
        all.iter().find(|resource| resource["name"] == name).unwrap().clone()
    };
    let lifts = of("lifts");
    assert_eq!((&lifts["kind"], &lifts["namespaced"]), (&json!("Lift"), &json!(true)));
    assert_eq!((&lifts["shortNames"], &lifts["categories"]), (&json!(["lf"]), &json!(["fleet"])));
    assert_eq!(of("lifts/status")["kind"], "Lift");
    let groups = plane.get("/apis").await.body.to_string();
    assert!(groups.contains("building.quarterdeck.dev/v1alpha1"), "{groups}");

    let name = "dev.quarterdeck.building.v1alpha1.Lift";
    let second = plane.get("/openapi/v2").await.body;
    let index = plane.get("/openapi/v3").await.body;
    let url = index["paths"]["apis/building.quarterdeck.dev/v1alpha1"]["serverRelativeURL"].clone();
    let third = plane.get(url.as_str().unwrap()).await.body;
    for schema in [&second["definitions"][name], &third["components"]["schemas"][name]] {
        assert_eq!(schema["description"], Lift::DESCRIPTION);
        let wanted =
            json!([{"group": "building.quarterdeck.dev", "version": "v1alpha1", "kind": "Lift"}]);
        assert_eq!(schema["x-kubernetes-group-version-kind"], wanted);
        let load = &schema["properties"]["spec"]["properties"]["loadKg"];
        assert_eq!(load["description"], "Most that it carries, in kilograms; 1000 when not set.");
    }
    for document in [&second, &third] {
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.contains_key(&LIFTS.replace("default", "{namespace}")), "{:?}", paths.keys());
    }
    let definition =
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/lifts.building.quarterdeck.dev";
    let definition = plane.get(definition).await.body;
    assert_eq!(definition["spec"]["names"]["kind"], "Lift");
    assert_eq!(
        definition["spec"]["versions"][0]["selectableFields"],
        json!([{"jsonPath": ".spec.maker"}])
    );
    let metrics = plane.get("/metrics").await.body;
    let count = "quarterdeck_store_objects{kind=\"lifts.building.quarterdeck.dev\"} 1";
    assert!(metrics.as_str().unwrap().contains(count), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_treats_it_as_any_other() {
    let plane = plane().await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let admin = plane.authority.admin().unwrap();
    std::fs::write(&kubeconfig, pki::kubeconfig(&plane.authority, &admin, plane.address)).unwrap();
    let manifest = folder.path().join("lift.yaml");
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new("kubectl");
        command.args(arguments).env("KUBECONFIG", &kubeconfig).env("HOME", folder.path());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (said, refused) = (text(output.stdout), text(output.stderr));
        if output.status.success() { Ok(said) } else { Err(refused) }
    };
    let write = |load: u32| {
        let text = format!(
            "apiVersion: building.quarterdeck.dev/v1alpha1\nkind: Lift\nmetadata: {{name: a}}\nspec: {{maker: Otis, loadKg: {load}}}\n"
        );
        std::fs::write(&manifest, text).unwrap();
    };
    let file = manifest.to_str().unwrap();
    write(500);
    assert_eq!(
        kubectl(&["apply", "-f", file]).unwrap(),
        "lift.building.quarterdeck.dev/a created\n"
    );
    write(800);
    let configured = "lift.building.quarterdeck.dev/a configured\n";
    assert_eq!(kubectl(&["apply", "-f", file]).unwrap(), configured);
    let applied = "lift.building.quarterdeck.dev/a serverside-applied\n";
    assert_eq!(
        kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file]).unwrap(),
        applied
    );
    write(0);
    let refused = kubectl(&["apply", "-f", file]).unwrap_err();
    assert!(
        refused.contains("spec.loadKg: Invalid value: 0: a lift carries something"),
        "{refused}"
    );

    for asked in ["lf", "lift", "lifts.building.quarterdeck.dev", "fleet"] {
        let table = kubectl(&["get", asked]).unwrap();
        let rows: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NAME", "MAKER", "LOAD", "FLOOR", "AGE"], "{table}");
        assert!(rows[1][0].ends_with('a') && rows[1][1..3] == ["Otis", "800"], "{table}");
    }
    let explained = kubectl(&["explain", "lift.spec"]).unwrap();
    for part in
        ["KIND:       Lift", "loadKg", "Most that it carries, in kilograms", "maker", "-required-"]
    {
        assert!(explained.contains(part), "{part} in {explained}");
    }
    let selected = ["get", "lf", "--field-selector", "spec.maker=Otis", "-o", "name"];
    assert_eq!(kubectl(&selected).unwrap(), "lift.building.quarterdeck.dev/a\n");
    let deleted = kubectl(&["delete", "lift", "a"]).unwrap();
    assert!(deleted.starts_with("lift.building.quarterdeck.dev \"a\" deleted"), "{deleted}");
}
