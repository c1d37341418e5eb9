//! How ownership moves, case by case, as structured-merge-diff describes it.

use super::*;
use quarterdeck_model::{
    Kind as _,
    kinds::{Runbook, Secret, Server, Site},
};
use serde_json::json;

fn site() -> Story {
    Story::new(Site::info(), json!({"metadata": {"name": "s"}, "spec": {}}))
}

fn spec(fields: Value) -> Value {
    json!({"metadata": {"name": "s"}, "spec": fields})
}

#[track_caller]
fn owns(story: &Story, owner: &str, paths: &[&str]) {
    let owners = story.owners();
    let owned = owners.get(owner).map(Vec::as_slice).unwrap_or_default();
    assert_eq!(owned, paths, "of {owner} in {owners:#?}");
}

#[test]
fn what_one_applied_conflicts_with_what_another_applies() {
    let mut story = site();
    story.apply("ann", spec(json!({"region": "a", "address": "x"})), false).unwrap();
    let refused = story.apply("ben", spec(json!({"region": "b"})), false).unwrap_err();
    assert_eq!(refused, "Apply failed with 1 conflict: conflict with \"ann\": .spec.region");
    assert_eq!(story.object["spec"]["region"], "a");
    // The same value is no conflict: both own it.
    story.apply("ben", spec(json!({"region": "a"})), false).unwrap();
    owns(&story, "ann", &[".spec.address", ".spec.region"]);
    owns(&story, "ben", &[".spec.region"]);
    // One of them cannot change what both own, and who gives it up leaves it to the other.
    let refused = story.apply("ann", spec(json!({"region": "c"})), false).unwrap_err();
    assert!(refused.contains("conflict with \"ben\": .spec.region"), "{refused}");
    story.apply("ann", spec(json!({"address": "x"})), false).unwrap();
    assert_eq!(story.object["spec"], json!({"region": "a", "address": "x"}));
    owns(&story, "ann", &[".spec.address"]);
    // The last owner takes it along.
    story.apply("ben", spec(json!({})), false).unwrap();
    assert_eq!(story.object["spec"], json!({"address": "x"}));
}

#[test]
fn force_takes_over() {
    let mut story = site();
    story.apply("ann", spec(json!({"region": "a", "address": "x"})), false).unwrap();
    story.apply("ben", spec(json!({"region": "b"})), true).unwrap();
    owns(&story, "ann", &[".spec.address"]);
    owns(&story, "ben", &[".spec.region"]);
    // What was taken is not given up by who lost it.
    story.apply("ann", spec(json!({"address": "x"})), false).unwrap();
    assert_eq!(story.object["spec"]["region"], "b");
}

#[test]
fn any_write_takes_what_it_changes() {
    let mut story = site();
    story.apply("ann", spec(json!({"region": "a", "address": "x"})), false).unwrap();
    story.update("ben", |site| site["spec"]["region"] = "b".into());
    owns(&story, "ann", &[".spec.address"]);
    owns(&story, "ben*", &[".spec.region"]);
    let refused =
        story.apply("ann", spec(json!({"region": "a", "address": "x"})), false).unwrap_err();
    assert_eq!(
        refused,
        "Apply failed with 1 conflict: conflict with \"ben\" using inventory.quarterdeck.dev/v1alpha1: .spec.region"
    );
    // Who applies what is there shares it, and then leaving it out leaves it to the other.
    story.apply("ann", spec(json!({"region": "b", "address": "x"})), false).unwrap();
    story.apply("ann", spec(json!({})), false).unwrap();
    assert_eq!(story.object["spec"], json!({"region": "b"}));
    // A field that a write removes is nobody's.
    story.update("cyd", |site| drop(site["spec"].as_object_mut().unwrap().remove("region")));
    owns(&story, "ben*", &[]);
    owns(&story, "cyd*", &[]);
}

#[test]
fn several_conflicts_are_told_by_owner_and_field() {
    let mut story = site();
    story.apply("ann", spec(json!({"region": "a", "address": "x"})), false).unwrap();
    story.update("ben", |site| site["metadata"]["labels"] = json!({"l": "1"}));
    let labelled = json!({"metadata": {"name": "s", "labels": {"l": "2"}},
        "spec": {"region": "b", "address": "y"}});
    let refused = story.apply("cyd", labelled, false).unwrap_err();
    assert_eq!(
        refused,
        "Apply failed with 3 conflicts: conflicts with \"ann\":\n- .spec.address\n- .spec.region\n\
         conflicts with \"ben\" using inventory.quarterdeck.dev/v1alpha1:\n- .metadata.labels.l"
    );
}

#[test]
fn items_of_sets_have_owners_of_their_own() {
    let mut story = site();
    story.apply("ann", spec(json!({"halls": ["n", "s"]})), false).unwrap();
    story.apply("ben", spec(json!({"halls": ["s", "w"]})), false).unwrap();
    assert_eq!(story.object["spec"]["halls"], json!(["n", "s", "w"]));
    owns(&story, "ben", &[".spec.halls[=\"s\"]", ".spec.halls[=\"w\"]"]);
    story.apply("ann", spec(json!({"halls": []})), false).unwrap();
    assert_eq!(story.object["spec"]["halls"], json!(["s", "w"]));
    story.apply("ben", spec(json!({})), false).unwrap();
    assert_eq!(story.object["spec"], json!({}));
    let twice = story.apply("ben", spec(json!({"halls": ["n", "n"]})), false).unwrap_err();
    assert!(twice.ends_with(".spec.halls: duplicate entries for key [=\"n\"]"), "{twice}");
}

#[test]
fn items_of_list_maps_are_merged_by_key() {
    let mut story = Story::new(Runbook::info(), json!({"metadata": {"name": "r"}, "spec": {}}));
    let parameters = |list: Value| json!({"spec": {"parameters": list}});
    let mine = json!([{"name": "a", "type": "string"}, {"name": "b", "type": "string"}]);
    story.apply("ann", parameters(mine), false).unwrap();
    let others = json!([{"name": "c", "type": "integer"}, {"name": "a", "required": true}]);
    story.apply("ben", parameters(others), false).unwrap();
    let names = |story: &Story| -> Vec<Value> {
        let list = story.object["spec"]["parameters"].as_array().cloned().unwrap_or_default();
        list.iter().map(|parameter| parameter["name"].clone()).collect()
    };
    assert_eq!(names(&story), ["c", "a", "b"]);
    owns(
        &story,
        "ben",
        &[
            ".spec.parameters[name=\"a\"]",
            ".spec.parameters[name=\"a\"].name",
            ".spec.parameters[name=\"a\"].required",
            ".spec.parameters[name=\"c\"]",
            ".spec.parameters[name=\"c\"].name",
            ".spec.parameters[name=\"c\"].type",
        ],
    );
    // An item goes with its last owner, and takes along what nobody owns in it.
    story.object["spec"]["parameters"][2]["description"] = "filled in".into();
    story.apply("ann", parameters(json!([])), false).unwrap();
    assert_eq!(
        story.object["spec"]["parameters"],
        json!([{"name": "c", "type": "integer"}, {"name": "a", "required": true}])
    );
    for (wrong, why) in [
        (json!([{"name": "a"}, {"name": "a"}]), "duplicate entries for key [name=\"a\"]"),
        (
            json!([{"type": "string"}]),
            "element 0: associative list with keys has an element that omits key field \"name\"",
        ),
    ] {
        let refused = story.apply("ann", parameters(wrong), true).unwrap_err();
        assert!(refused.contains(&format!(".spec.parameters: {why}")), "{refused}");
    }
}

#[test]
fn atomic_parts_are_replaced_whole() {
    let runbook = json!({"metadata": {"name": "r"}, "spec": {}});
    let mut story = Story::new(Runbook::info(), runbook);
    let steps = |names: &[&str]| -> Value {
        let steps: Value = names.iter().map(|name| json!({"name": name, "pause": "1s"})).collect();
        json!({"spec": {"steps": steps}})
    };
    story.apply("ann", steps(&["a", "b"]), false).unwrap();
    owns(&story, "ann", &[".spec.steps"]);
    let refused = story.apply("ben", steps(&["b"]), false).unwrap_err();
    assert!(refused.ends_with("conflict with \"ann\": .spec.steps"), "{refused}");
    story.apply("ben", steps(&["b"]), true).unwrap();
    assert_eq!(story.object["spec"]["steps"].as_array().unwrap().len(), 1);
    owns(&story, "ann", &[]);

    let mut story = Story::new(Server::info(), json!({"metadata": {"name": "s"}, "spec": {}}));
    let credentials =
        |reference: Value| json!({"spec": {"bmc": {"credentialsSecretRef": reference}}});
    let both = json!({"namespace": "n", "name": "a"});
    story.apply("ann", credentials(both), false).unwrap();
    story.apply("ann", credentials(json!({"name": "b"})), false).unwrap();
    assert_eq!(story.object["spec"]["bmc"]["credentialsSecretRef"], json!({"name": "b"}));
}

/// Nothing is known of what is in `outputs`: its maps are merged, its lists are whole.
#[test]
fn what_the_schema_does_not_say_is_deduced() {
    let mut story = Story::new(Runbook::info(), json!({"metadata": {"name": "r"}, "spec": {}}));
    let outputs = |value: Value| json!({"spec": {"outputs": value}});
    story.apply("ann", outputs(json!({"a": {"x": 1, "l": [1, 2]}})), false).unwrap();
    story.apply("ben", outputs(json!({"a": {"y": 2}})), false).unwrap();
    let refused = story.apply("ben", outputs(json!({"a": {"l": [3]}})), false).unwrap_err();
    assert!(refused.ends_with("conflict with \"ann\": .spec.outputs.a.l"), "{refused}");
    story.apply("ann", outputs(json!({"a": {"x": 1}})), false).unwrap();
    assert_eq!(story.object["spec"]["outputs"], json!({"a": {"x": 1, "y": 2}}));
    story.apply("ben", outputs(json!({})), false).unwrap();
    story.apply("ann", json!({}), false).unwrap();
    assert_eq!(story.object["spec"], json!({"outputs": {}}), "ben owns the empty map");
}

#[test]
fn fields_of_one_thing_go_together_and_entries_one_by_one() {
    let mut story = Story::new(Server::info(), json!({"metadata": {"name": "s"}, "spec": {}}));
    story.apply("ann", json!({"spec": {"location": {"rack": "r"}}}), false).unwrap();
    // Filled in without anybody's doing, as defaults are.
    story.object["spec"]["location"]["unit"] = 4.into();
    story.apply("ann", json!({"spec": {}}), false).unwrap();
    assert_eq!(story.object["spec"], json!({}));

    let labels = |value: Value| json!({"metadata": {"name": "s", "labels": value}});
    story.apply("ann", labels(json!({"a": "1"})), false).unwrap();
    story.object["metadata"]["labels"]["engine"] = "2".into();
    story.apply("ann", labels(json!({})), false).unwrap();
    assert_eq!(story.object["metadata"]["labels"], json!({"engine": "2"}));

    let mut secret = Story::new(Secret::info(), json!({"metadata": {"name": "s"}}));
    secret.apply("ann", json!({"immutable": true, "data": {"a": "YQ=="}}), false).unwrap();
    secret.apply("ann", json!({}), false).unwrap();
    assert_eq!(
        secret.object,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})
    );
}

#[test]
fn the_object_and_its_status_are_applied_apart() {
    let mut story = site();
    let both =
        json!({"metadata": {"name": "s"}, "spec": {"region": "a"}, "status": {"phase": "x"}});
    story.apply("ann", both.clone(), false).unwrap();
    assert!(story.object.get("status").is_none());
    story.part = Some(Subresource::Status);
    story.apply("ann", both, false).unwrap();
    assert_eq!(story.object["status"], json!({"phase": "x"}));
    let parts: Vec<(&str, Vec<String>)> = story
        .managed
        .0
        .iter()
        .filter(|owner| owner.manager.name == "ann")
        .map(|owner| (owner.manager.subresource.as_str(), owner.fields.paths()))
        .collect();
    assert_eq!(
        parts,
        [("", vec![".spec.region".to_owned()]), ("status", vec![".status.phase".to_owned()])]
    );
    let condition =
        |reason: &str| json!({"status": {"conditions": [{"type": "Open", "reason": reason}]}});
    story.apply("ben", condition("a"), false).unwrap();
    // The plane writes status without telling; what is gone is nobody's, the rest is as it was.
    story.object["status"] = json!({"racks": 2, "conditions": [{"type": "Full", "reason": "r"}]});
    story.apply("ben", condition("b"), false).unwrap();
    assert_eq!(story.object["status"]["conditions"].as_array().unwrap().len(), 2);
    story.apply("ben", json!({"status": {}}), false).unwrap();
    let left = json!({"racks": 2, "conditions": [{"type": "Full", "reason": "r"}]});
    assert_eq!(story.object["status"], left);
}

#[test]
fn what_was_there_before_is_kept_by_an_owner_of_its_own() {
    let mut story = site();
    story.object = json!({"metadata": {"name": "s", "uid": "u", "labels": {"l": "1"}},
        "spec": {"region": "a"}, "status": {"phase": "x"}});
    story.managed = Managed::default();
    let refused = story.apply("ann", spec(json!({"region": "b"})), false).unwrap_err();
    assert!(refused.contains("conflict with \"before-first-apply\" using"), "{refused}");
    story.apply("ann", spec(json!({"region": "a"})), false).unwrap();
    owns(
        &story,
        "before-first-apply*",
        &[".metadata.labels", ".metadata.labels.l", ".spec", ".spec.region"],
    );
}

#[test]
fn kubectl_moves_from_client_side_apply() {
    let client = |story: &mut Story, region: &str| {
        let applied = json!({"apiVersion": Site::info().api_version(), "kind": "Site",
            "metadata": {"annotations": {}, "name": "s"}, "spec": {"region": region}});
        story.update("kubectl-client-side-apply", |site| {
            site["spec"]["region"] = region.into();
            site["metadata"]["annotations"] =
                json!({"kubectl.kubernetes.io/last-applied-configuration": applied.to_string()});
        });
    };
    let mut story = site();
    client(&mut story, "a");
    // To another manager it is a conflict; to kubectl what it applied itself is none.
    assert!(story.apply("other", spec(json!({"region": "b"})), false).is_err());
    story.apply("kubectl", spec(json!({"region": "<b>"})), false).unwrap();
    owns(&story, "kubectl", &[".spec.region"]);
    // The annotation follows, as Go writes JSON.
    assert_eq!(
        story.object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"],
        "{\"apiVersion\":\"inventory.quarterdeck.dev/v1alpha1\",\"kind\":\"Site\",\"metadata\":{\"name\":\"s\"},\
         \"spec\":{\"region\":\"\\u003cb\\u003e\"}}\n"
    );
    // What somebody else has changed since is theirs.
    let mut story = site();
    client(&mut story, "a");
    story.update("ben", |site| site["spec"]["region"] = "c".into());
    let refused = story.apply("kubectl", spec(json!({"region": "b"})), false).unwrap_err();
    assert!(refused.contains("conflict with \"ben\""), "{refused}");
}

#[test]
fn writers_are_capped_and_appliers_are_not() {
    let mut story = site();
    for number in 0..25 {
        let name = format!("writer-{number:02}");
        story.update(&name, |site| site["metadata"]["labels"][&name] = "x".into());
        let name = format!("applier-{number:02}");
        let labels = json!({"metadata": {"name": "s", "labels": {name.clone(): "x"}}});
        story.apply(&name, labels, false).unwrap();
    }
    let owners = story.owners();
    let writers: Vec<&String> = owners.keys().filter(|name| name.ends_with('*')).collect();
    assert_eq!((owners.len(), writers.len()), (35, 10), "{writers:?}");
    // The oldest are together; nothing is lost.
    assert!(owners["ancient-changes*"].contains(&".metadata.labels.writer-00".to_owned()));
    assert!(owners["ancient-changes*"].contains(&".metadata.labels.writer-15".to_owned()));
    assert_eq!(owners["writer-24*"], [".metadata.labels.writer-24"]);
}

#[test]
fn entries_are_written_as_kubernetes_sorts_them() {
    let mut story = site();
    story.apply("zoe", spec(json!({"region": "a"})), false).unwrap();
    story.update("ben", |site| site["spec"]["address"] = "x".into());
    story.apply("ann", spec(json!({"region": "a"})), false).unwrap();
    let written = story.managed.write().unwrap();
    let names: Vec<&str> = written
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["zoe", "ann", "creator", "ben"]);
    assert_eq!(
        written[0],
        json!({"manager": "zoe", "operation": "Apply", "fieldsType": "FieldsV1",
            "apiVersion": "inventory.quarterdeck.dev/v1alpha1", "time": "1970-01-01T00:00:02Z",
            "fieldsV1": {"f:spec": {"f:region": {}}}})
    );
}

#[test]
fn configurations_that_cannot_be_read_are_refused() {
    let read = |body: &str| Config::read(Site::info(), None, body.as_bytes()).map(drop);
    let site = "apiVersion: inventory.quarterdeck.dev/v1alpha1\nkind: Site\nmetadata: {name: s}\n";
    read(site).unwrap();
    for (body, message) in [
        ("a: [", "error decoding YAML: "),
        ("[]", "error decoding YAML: it is not an object"),
        ("{}", "invalid object type: /, Kind="),
        ("{apiVersion: v1, kind: Secret}", "invalid object type: v1, Kind=Secret"),
        (
            "{apiVersion: inventory.quarterdeck.dev/v9, kind: Site}",
            "Incorrect version specified in apply patch. Specified patch version: \
             inventory.quarterdeck.dev/v9, expected: inventory.quarterdeck.dev/v1alpha1",
        ),
        (
            &site.replace("name: s", "name: s, managedFields: []"),
            "metadata.managedFields must be nil",
        ),
        (
            &format!("{site}spec: {{colour: red}}"),
            "failed to create typed patch object (/s; inventory.quarterdeck.dev/v1alpha1, Kind=Site): \
             .spec.colour: field not declared in schema",
        ),
    ] {
        let refused = read(body).unwrap_err();
        assert_eq!(refused.code, 400);
        assert!(refused.message.starts_with(message), "{}", refused.message);
    }
}
