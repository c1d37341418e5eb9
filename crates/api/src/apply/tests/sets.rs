//! Sets of fields: their encoding, their algebra, their names.

use super::super::{
    encode::{from_value, to_value},
    fields::{FieldSet, Item},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What each reads and writes is the same; the paths are what is in it.
#[test]
fn sets_are_written_as_fields_v1() {
    for (encoded, paths) in [
        (json!({}), vec![]),
        (json!({"f:spec": {"f:region": {}}}), vec![".spec.region"]),
        (
            json!({"f:metadata": {"f:labels": {".": {}, "f:a/b": {}}}}),
            vec![".metadata.labels", ".metadata.labels.a/b"],
        ),
        (
            json!({"f:l": {"k:{\"name\":\"x\",\"port\":80}": {".": {}, "f:v": {}}}}),
            vec!["[name=\"x\",port=80]", "[name=\"x\",port=80].v"],
        ),
        (
            json!({"f:l": {"v:\"a b\"": {}, "v:3": {}, "v:true": {}, "i:7": {}}}),
            vec!["[7]", "[=\"a b\"]", "[=3]", "[=true]"],
        ),
    ] {
        let set = from_value(&encoded).unwrap();
        let wanted: Vec<String> = paths
            .iter()
            .map(|path| if path.starts_with('[') { format!(".l{path}") } else { (*path).into() })
            .collect();
        assert_eq!((set.paths(), to_value(&set)), (wanted, encoded));
    }
}

#[test]
fn what_others_write_otherwise_is_read_the_same() {
    let ours = json!({"f:l": {"k:{\"a\":1,\"b\":2}": {}}});
    let theirs = json!({"f:l": {"k:{\"b\": 2, \"a\": 1}": {}}, "z:later": {}});
    assert_eq!(from_value(&theirs).map(|set| to_value(&set)), Ok(ours));
    for wrong in
        [json!([]), json!({"f:a": 1}), json!({"a": {}}), json!({"k:x": {}}), json!({"i:x": {}})]
    {
        assert!(from_value(&wrong).is_err(), "{wrong}");
    }
}

fn set() -> impl Strategy<Value = FieldSet> {
    let leaf = any::<bool>().prop_map(|here| FieldSet { here, ..FieldSet::EMPTY });
    let item = prop_oneof![
        (0_u64..3).prop_map(Item::Index),
        (0..3_i32).prop_map(|value| Item::value(&value.into())),
        "[ab]".prop_map(|name| Item::key([("k", &Value::from(name))].into_iter())),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let fields = prop::collection::vec(("[a-c]".prop_map(String::from), inner.clone()), 0..3);
        let items = prop::collection::vec((item.clone(), inner), 0..3);
        (any::<bool>(), fields, items).prop_map(|(here, fields, items)| {
            let mut set = FieldSet { here, ..FieldSet::EMPTY };
            fields.into_iter().for_each(|(name, child)| set.insert_field(&name, child));
            items.into_iter().for_each(|(item, child)| set.insert_item(item, child));
            set
        })
    })
}

fn paths(set: &FieldSet) -> BTreeSet<String> {
    set.paths().into_iter().collect()
}

proptest! {
    #[test]
    fn sets_survive_their_encoding(mut set in set()) {
        set.here = false;
        prop_assert_eq!(from_value(&to_value(&set)), Ok(set));
    }

    /// The algebra is that of the sets of paths, and leaves no empty child behind.
    #[test]
    fn the_algebra_is_that_of_sets(a in set(), b in set()) {
        let (left, right) = (paths(&a), paths(&b));
        let mut united = a.clone();
        united.unite(b.clone());
        prop_assert_eq!(paths(&united), &left | &right);
        let mut less = a.clone();
        less.subtract(&b);
        prop_assert_eq!(paths(&less), &left - &right);
        prop_assert_eq!(paths(&a.intersection(&b)), &left & &right);
        prop_assert_eq!(less.is_empty(), (&left - &right).is_empty());
        prop_assert_eq!(a.intersection(&b).is_empty(), (&left & &right).is_empty());
        less.unite(a.intersection(&b));
        prop_assert_eq!(less, a);
    }

    #[test]
    fn no_text_makes_the_reader_panic(step in "[fkvi.]:?[a{}\":0-9\\[\\]]{0,8}", deep in any::<bool>()) {
        let child = if deep { json!({step.clone(): {}}) } else { json!({}) };
        let _ = from_value(&json!({step: child}));
    }
}
