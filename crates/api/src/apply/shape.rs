//! How a kind's objects are merged, read once from its schema: what is a field of its own, and what
//! is replaced as a whole.
//! Source: Kubernetes "Server-Side Apply", "Merge strategy" (`x-kubernetes-list-type`,
//! `x-kubernetes-list-map-keys`, `x-kubernetes-map-type`).

use super::fields::Item;
use quarterdeck_model::{KindRef, kinds, schema};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

/// How values at one place of an object are merged.
#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    /// As one: a scalar, an atomic list or map.
    Whole,
    /// As the value itself suggests, where the schema says nothing: maps by their fields, the rest whole.
    Deduced,
    /// By field: those the schema names, and others if it allows any.
    Fields { named: BTreeMap<String, Shape>, others: Option<Box<Shape>> },
    /// A list whose items are told by their key fields.
    Keyed { keys: Vec<String>, item: Box<Shape> },
    /// A list whose items are told by their value.
    Set,
}

/// A value, opened as its shape says.
pub(crate) enum Opened<'v> {
    Whole,
    Fields(&'v Map<String, Value>),
    Items(&'v [Value]),
}

impl Shape {
    /// The shape of a kind's objects.
    pub(crate) fn of(kind: KindRef) -> &'static Self {
        static SHAPES: OnceLock<HashMap<Arc<str>, Shape>> = OnceLock::new();
        static DEDUCED: Shape = Shape::Deduced;
        SHAPES
            .get_or_init(|| {
                let shape = |kind: &KindRef| (kind.resource_name(), Self::read((kind.schema)()));
                kinds::all().iter().map(shape).collect()
            })
            .get(&kind.resource_name())
            .unwrap_or(&DEDUCED)
    }

    /// Reads the shape that a structural schema describes.
    pub(crate) fn read(node: &Value) -> Self {
        let says = |name: &str, text: &str| node.get(name).and_then(Value::as_str) == Some(text);
        let properties = node.get("properties").and_then(Value::as_object);
        let open = node.get(schema::PRESERVE) == Some(&Value::Bool(true));
        if says("x-kubernetes-map-type", "atomic") {
            return Self::Whole;
        }
        if says("type", "array") {
            return Self::read_list(node);
        }
        if properties.is_some() || says("type", "object") && !open {
            let named = properties.into_iter().flatten();
            let others = node.get("additionalProperties").filter(|schema| schema.is_object());
            return Self::Fields {
                named: named.map(|(name, node)| (name.clone(), Self::read(node))).collect(),
                others: others
                    .map(Self::read)
                    .or_else(|| open.then_some(Self::Deduced))
                    .map(Box::new),
            };
        }
        if node.get("type").is_none_or(|_| open) { Self::Deduced } else { Self::Whole }
    }

    fn read_list(node: &Value) -> Self {
        match node.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => Self::Set,
            Some("map") => {
                let keys = node.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str);
                Self::Keyed {
                    keys: keys.map(Into::into).collect(),
                    item: Box::new(node.get("items").map_or(Self::Deduced, Self::read)),
                }
            }
            _ => Self::Whole,
        }
    }

    /// Opens a value. One that is not of its shape is taken as a whole: validation refuses it.
    pub(crate) fn open<'v>(&self, value: &'v Value) -> Opened<'v> {
        match (self, value) {
            (Self::Fields { .. } | Self::Deduced, Value::Object(fields)) => Opened::Fields(fields),
            (Self::Keyed { .. } | Self::Set, Value::Array(items)) => Opened::Items(items),
            _ => Opened::Whole,
        }
    }

    /// The shape of a field, and whether the schema names it (rather than allowing any name).
    pub(crate) fn field(&self, name: &str) -> Option<(&Self, bool)> {
        match self {
            Self::Fields { named, others } => match named.get(name) {
                Some(shape) => Some((shape, true)),
                None => others.as_deref().map(|shape| (shape, false)),
            },
            _ => Some((&Self::Deduced, false)),
        }
    }

    /// The shape of a list's items.
    pub(crate) fn item(&self) -> &Self {
        match self {
            Self::Keyed { item, .. } => item,
            _ => &Self::Whole,
        }
    }

    /// How an item of the list is told from others; the error names a key that it lacks.
    pub(crate) fn identify(&self, item: &Value) -> Result<Item, String> {
        let Self::Keyed { keys, .. } = self else { return Ok(Item::value(item)) };
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let value = item.get(key).ok_or_else(|| {
                format!(
                    "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                )
            })?;
            found.push((key.as_str(), value));
        }
        Ok(Item::key(found.into_iter()))
    }

    /// Whether `value` holds entries of their own, as labels or conditions do, rather than the fields
    /// of one thing.
    pub(crate) fn holds_entries(&self, value: &Value) -> bool {
        let one_thing = matches!(self, Self::Fields { named, .. } if !named.is_empty());
        !one_thing && !matches!(self.open(value), Opened::Whole)
    }
}
