//! Random stories of three managers, held against a model of flat fields; and what must hold of
//! every apply.

use super::{super::shape::Shape, *};
use proptest::prelude::*;
use quarterdeck_model::{
    Kind as _,
    kinds::{Runbook, Site},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A label, a hall or the region, by its path, and its value.
type Fields = BTreeMap<&'static str, u8>;

const PATHS: [&str; 6] = [
    ".metadata.labels.a",
    ".metadata.labels.b",
    ".spec.halls[=\"x\"]",
    ".spec.halls[=\"y\"]",
    ".spec.region",
    ".spec.address",
];

fn hall(path: &str) -> Option<&str> {
    path.strip_prefix(".spec.halls[=\"")?.strip_suffix("\"]")
}

fn object(fields: &Fields) -> Value {
    let mut object = json!({"metadata": {"name": "s"}, "spec": {}});
    for (path, value) in fields {
        if let Some(hall) = hall(path) {
            let halls = object["spec"].as_object_mut().unwrap().entry("halls");
            halls.or_insert_with(|| json!([])).as_array_mut().unwrap().push(hall.into());
            continue;
        }
        let (place, name) = path.rsplit_once('.').unwrap();
        let place = place.split('.').skip(1).fold(&mut object, |at, name| &mut at[name]);
        place[name] = value.to_string().into();
    }
    object
}

/// A step of a story.
#[derive(Debug, Clone)]
enum Do {
    Apply { force: bool, fields: Fields },
    Update { path: &'static str, value: Option<u8> },
}

fn steps() -> impl Strategy<Value = Vec<(&'static str, Do)>> {
    let path = || prop::sample::select(PATHS.to_vec());
    let value =
        |(path, value): (&'static str, u8)| (path, if hall(path).is_some() { 0 } else { value });
    let field = move || (path(), 0_u8..2).prop_map(value);
    let apply = (any::<bool>(), prop::collection::vec(field(), 0..5))
        .prop_map(|(force, fields)| Do::Apply { force, fields: fields.into_iter().collect() });
    let update = (field(), any::<bool>())
        .prop_map(|((path, value), there)| Do::Update { path, value: there.then_some(value) });
    let step = prop_oneof![2 => apply, 1 => update];
    prop::collection::vec((prop::sample::select(vec!["ann", "ben", "cyd"]), step), 1..14)
}

/// What a fair reader of the documentation would expect, field by field.
#[derive(Default)]
struct Model {
    fields: Fields,
    /// By manager; `*` behind the name for what it wrote without applying.
    owners: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Model {
    fn others_own(&self, me: &str, path: &str) -> bool {
        self.owners.iter().any(|(owner, fields)| owner != me && fields.contains(path))
    }

    fn take(&mut self, me: &str, path: &'static str) {
        self.owners.iter_mut().filter(|(owner, _)| *owner != me).for_each(|(_, fields)| {
            fields.remove(path);
        });
    }

    /// Whether it is done.
    fn apply(&mut self, me: &str, fields: &Fields, force: bool) -> bool {
        let changed: Vec<&'static str> = fields
            .iter()
            .filter(|(path, value)| self.fields.get(*path) != Some(value))
            .map(|(path, _)| *path)
            .collect();
        if !force && changed.iter().any(|path| self.others_own(me, path)) {
            return false;
        }
        for path in changed {
            self.take(me, path);
        }
        let now: BTreeSet<&'static str> = fields.keys().copied().collect();
        let last = self.owners.insert(me.to_owned(), now).unwrap_or_default();
        self.fields.extend(fields);
        for path in last {
            if !fields.contains_key(path) && !self.others_own(me, path) {
                self.fields.remove(path);
            }
        }
        true
    }

    fn update(&mut self, me: &str, path: &'static str, value: Option<u8>) {
        let old = self.fields.get(path).copied();
        if old == value {
            return;
        }
        self.take("", path);
        match value {
            Some(value) => {
                self.fields.insert(path, value);
                self.owners.entry(format!("{me}*")).or_default().insert(path);
            }
            None => drop(self.fields.remove(path)),
        }
    }
}

/// The fields and owners of a story, as the model has them.
fn seen(story: &Story) -> (Fields, BTreeMap<String, BTreeSet<&'static str>>) {
    let known = |path: &String| PATHS.into_iter().find(|known| known == path);
    let given = walk::given(Shape::of(story.kind), &story.object).unwrap().paths();
    let value = |path: &str| {
        if hall(path).is_some() {
            return 0;
        }
        let pointer = path.replace('.', "/");
        story.object.pointer(&pointer).unwrap().as_str().unwrap().parse().unwrap()
    };
    let fields = given.iter().filter_map(known).map(|path| (path, value(path))).collect();
    let owners = story
        .owners()
        .into_iter()
        .map(|(owner, paths)| (owner, paths.iter().filter_map(known).collect::<BTreeSet<_>>()));
    (fields, owners.filter(|(_, fields)| !fields.is_empty()).collect())
}

proptest! {
    #[test]
    fn stories_go_as_the_model_says(steps in steps()) {
        let mut story = Story::new(Site::info(), object(&Fields::new()));
        let mut model = Model::default();
        for (who, step) in steps {
            match &step {
                Do::Apply { force, fields } => {
                    let done = story.apply(who, object(fields), *force);
                    prop_assert_eq!(done.is_ok(), model.apply(who, fields, *force), "{:?}", done);
                    if done.is_ok() {
                        // What was applied is there, and applying it again is nothing new.
                        let given = seen(&story).0;
                        prop_assert!(fields.iter().all(|field| given.get(field.0) == Some(field.1)));
                        let before = story.clone();
                        prop_assert_eq!(story.apply(who, object(fields), false), Ok(()));
                        prop_assert_eq!(&story.object, &before.object);
                        prop_assert!(story.managed.same_fields(&before.managed));
                    }
                }
                Do::Update { path, value } => {
                    let mut fields = seen(&story).0;
                    match value {
                        Some(value) => drop(fields.insert(path, *value)),
                        None => drop(fields.remove(path)),
                    }
                    story.update(who, |written| *written = object(&fields));
                    model.update(who, path, *value);
                }
            }
            model.owners.retain(|_, fields| !fields.is_empty());
            let (fields, owners) = seen(&story);
            prop_assert_eq!(&fields, &model.fields, "after {:?} by {}", step, who);
            prop_assert_eq!(&owners, &model.owners, "after {:?} by {}", step, who);
            // Every field that is owned is there.
            let mut settled = story.managed.clone();
            settle(story.kind, &mut settled, &story.object);
            prop_assert_eq!(&settled, &story.managed);
            // What is stored is read back.
            let stored = story.managed.clone().write().unwrap_or(Value::Null);
            prop_assert!(Managed::read(&stored).unwrap().same_fields(&story.managed));
        }
    }

    /// Items that were wanted come in their order; the others keep theirs.
    #[test]
    fn merged_lists_keep_order(
        live in prop::collection::hash_set(0..8, 0..6),
        wanted in prop::collection::hash_set(0..8, 0..6),
    ) {
        let (live, wanted): (Vec<i32>, Vec<i32>) =
            (live.into_iter().collect(), wanted.into_iter().collect());
        let mut merged = json!(live);
        merge::merge(&Shape::Set, &mut merged, &json!(wanted));
        let merged: Vec<i32> = serde_json::from_value(merged).unwrap();
        let only = |keep: &dyn Fn(&i32) -> bool| -> Vec<i32> {
            merged.iter().copied().filter(|item| keep(item)).collect()
        };
        prop_assert_eq!(only(&|item| wanted.contains(item)), wanted.clone());
        let own: Vec<i32> = live.into_iter().filter(|item| !wanted.contains(item)).collect();
        prop_assert_eq!(only(&|item| !wanted.contains(item)), own);
    }

    /// Whatever is applied to whatever is there: no panic, and twice is as once.
    #[test]
    fn odd_configurations_are_refused_or_settle(live in odd(), fields in odd(), force in any::<bool>()) {
        let mut story = Story::new(Runbook::info(), json!({"metadata": {"name": "r"}, "spec": live}));
        let config = json!({"metadata": {"name": "r"}, "spec": fields});
        if story.apply("ann", config.clone(), force).is_ok() {
            let before = story.clone();
            prop_assert_eq!(story.apply("ann", config, false), Ok(()));
            prop_assert_eq!(&story.object, &before.object);
        }
        let _ = story.apply("ben", json!({"spec": story.object["spec"]}), true);
        let _ = story.apply("ben", json!({"spec": {}}), true);
    }
}

fn odd() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), (0..2).prop_map(Value::from), "[ab]?".prop_map(Value::from)];
    let inner = leaf.prop_recursive(4, 24, 4, |inner| {
        let name = "name|type|parameters|steps|outputs|target|kind|a";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("parameters|steps|outputs|target|summary", inner, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}
