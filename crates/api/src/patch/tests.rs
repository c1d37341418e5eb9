use super::*;
use proptest::prelude::*;
use serde_json::json;

fn patched(kind: PatchType, object: Value, patch: Value) -> Result<Value, String> {
    let mut object = object;
    Patch::parse(kind, patch.to_string().as_bytes())
        .and_then(|patch| patch.apply(&mut object))
        .map(|()| object)
        .map_err(|error| format!("{} {}", error.code.as_u16(), error.reason))
}

#[test]
fn three_ways_to_patch() {
    let object = json!({"a": {"b": 1, "c": 2}, "finalizers": ["x", "y"]});
    let merge = json!({"a": {"b": null, "d": 3}, "finalizers": ["z"]});
    assert_eq!(
        patched(PatchType::Merge, object.clone(), merge.clone()).unwrap(),
        json!({"a": {"c": 2, "d": 3}, "finalizers": ["z"]})
    );
    assert_eq!(
        patched(PatchType::Strategic, object.clone(), merge).unwrap(),
        json!({"a": {"c": 2, "d": 3}, "finalizers": ["x", "y", "z"]})
    );
    let delete = json!({"$deleteFromPrimitiveList/finalizers": ["x"],
        "$setElementOrder/finalizers": ["y"], "a": {"$patch": "replace", "e": 1}});
    assert_eq!(
        patched(PatchType::Strategic, object.clone(), delete).unwrap(),
        json!({"a": {"e": 1}, "finalizers": ["y"]})
    );
    let json = json!([{"op": "replace", "path": "/a/b", "value": 9}]);
    assert_eq!(patched(PatchType::Json, object.clone(), json).unwrap()["a"]["b"], 9);
    for (patch, refusal) in [
        (json!([{"op": "test", "path": "/a/b", "value": 2}]), "422 Invalid"),
        (json!([{"op": "remove", "path": "/none"}]), "422 Invalid"),
        (json!({"op": "remove"}), "400 BadRequest"),
        (json!([{"op": "replace", "path": "", "value": 1}]), "400 BadRequest"),
    ] {
        assert_eq!(patched(PatchType::Json, object.clone(), patch).unwrap_err(), refusal);
    }
}

/// Lists of objects, as `ownerReferences` and `conditions` are, merge by their key.
#[test]
fn strategic_lists_merge_by_key() {
    let object = json!({"conditions": [{"type": "A", "status": "True"}, {"type": "B"}]});
    let patch = json!({"conditions": [
        {"type": "A", "status": "False"}, {"type": "B", "$patch": "delete"}, {"type": "C"}]});
    assert_eq!(
        patched(PatchType::Strategic, object.clone(), patch).unwrap(),
        json!({"conditions": [{"type": "A", "status": "False"}, {"type": "C"}]})
    );
    for wrong in [json!({"conditions": [{"status": "True"}]}), json!({"$patch": "explode"})] {
        let refusal = patched(PatchType::Strategic, object.clone(), wrong).unwrap_err();
        assert_eq!(refusal, "400 BadRequest");
    }
}

#[test]
fn a_patch_cannot_make_much_of_little() {
    let object = json!({"a": "x".repeat(1000)});
    let copies: Vec<Value> =
        (0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/b{n}")})).collect();
    let refusal = patched(PatchType::Json, object.clone(), copies.into()).unwrap_err();
    assert_eq!(refusal, "413 RequestEntityTooLarge");
    // Each step puts the whole object at its own bottom: twice as deep each time.
    let mut deeper = vec![json!({"op": "add", "path": "/d", "value": {}})];
    for step in 0..18 {
        let path = "/d".repeat(1 << step);
        deeper.push(json!({"op": "copy", "from": "/d", "path": format!("{path}/d")}));
    }
    let refusal = patched(PatchType::Json, object.clone(), deeper.into()).unwrap_err();
    assert_eq!(refusal, "422 Invalid");
    // The same with `add`, by a long path.
    let long: Vec<Value> = (1..=DEPTH_MAX + 1)
        .map(|depth| json!({"op": "add", "path": "/d".repeat(depth), "value": {}}))
        .collect();
    assert_eq!(patched(PatchType::Json, object, long.into()).unwrap_err(), "422 Invalid");
}

/// RFC 7386 §2, written as there.
fn merge_model(target: Option<Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Some(Value::Object(target)) => target,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let merged = merge_model(target.get(name).cloned(), value);
            target.insert(name.clone(), merged);
        }
    }
    target.into()
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c~/]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-c]", any_value(), 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// A list of operations that turns `from` into `to`: at each place where they differ, one operation.
fn difference(from: &Value, to: &Value, path: &str, operations: &mut Vec<Value>) {
    match (from, to) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                let path = format!("{path}/{name}");
                match old.get(name) {
                    Some(old) => difference(old, value, &path, operations),
                    None => operations.push(json!({"op": "add", "path": path, "value": value})),
                }
            }
            for name in old.keys().filter(|name| !new.contains_key(*name)) {
                operations.push(json!({"op": "remove", "path": format!("{path}/{name}")}));
            }
        }
        (from, to) if from == to => {
            operations.push(json!({"op": "test", "path": path, "value": to}));
        }
        (_, to) => operations.push(json!({"op": "replace", "path": path, "value": to})),
    }
}

proptest! {
    #[test]
    fn merge_patches_do_what_the_rfc_says(object in any_object(), patch in any_object()) {
        let wanted = merge_model(Some(object.clone()), &patch);
        prop_assert_eq!(patched(PatchType::Merge, object, patch), Ok(wanted));
    }

    #[test]
    fn json_patches_lead_from_any_object_to_any_other(from in any_object(), to in any_object()) {
        let mut operations = Vec::new();
        difference(&from, &to, "", &mut operations);
        prop_assert_eq!(patched(PatchType::Json, from, operations.into()), Ok(to));
    }

    /// Without lists, a strategic merge is a merge; and applied again, it changes nothing more.
    #[test]
    fn strategic_patches_of_objects_merge(object in any_object(), patch in any_object()) {
        let once = patched(PatchType::Strategic, object.clone(), patch.clone()).unwrap();
        let again = patched(PatchType::Strategic, once.clone(), patch.clone()).unwrap();
        prop_assert_eq!(&again, &once);
        prop_assert_eq!(once, patched(PatchType::Merge, object, patch).unwrap());
    }

    #[test]
    fn no_bytes_make_a_patch_panic(object in any_object(), body in any::<Vec<u8>>(), text in "[\\[{\"a-c:/,}\\]]{0,40}") {
        for kind in [PatchType::Json, PatchType::Merge, PatchType::Strategic] {
            for body in [body.as_slice(), text.as_bytes()] {
                if let Ok(patch) = Patch::parse(kind, body) {
                    let _ = patch.apply(&mut object.clone());
                }
            }
        }
    }

    #[test]
    fn no_operations_make_a_patch_panic(
        object in any_object(),
        operations in prop::collection::vec(
            ("(add|remove|replace|move|copy|test)", "(/[a-c0-2-]){0,3}", "(/[a-c0-2-]){0,3}", any_value()),
            0..6,
        ),
    ) {
        let operations: Vec<Value> = operations
            .into_iter()
            .map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
            .collect();
        let _ = patched(PatchType::Json, object, operations.into());
    }
}
