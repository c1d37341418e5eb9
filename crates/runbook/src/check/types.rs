//! Types: what is known of a value before a run, from JSON schemas and from expressions.
//!
//! What is not known is [`Type::Dyn`], which fits everywhere: the check refuses what cannot work,
//! never what might.

use quarterdeck_model::schema::{DEPTH_MAX, PRESERVE};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The type of a value as expressions see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    /// Known only when it runs.
    Dyn,
    /// Of what is never there, such as the items of `[]`.
    Never,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    /// A JSON number: `int` when it is whole, else `double`.
    Number,
    /// A text; one of these, when there are some.
    Text(Option<Arc<[String]>>),
    Bytes,
    Timestamp,
    Duration,
    /// A type as a value.
    Kind,
    List(Arc<Type>),
    Object(Arc<Fields>),
    Optional(Arc<Type>),
}

/// The fields of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields {
    /// Those that are known by name.
    pub(crate) known: BTreeMap<String, Type>,
    /// Type of any other; none when there is no other.
    pub(crate) rest: Option<Type>,
}

impl Type {
    pub(crate) const TEXT: Self = Self::Text(None);

    pub(crate) fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// An object with these fields and no other.
    pub(crate) fn object(known: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Object(Arc::new(Fields { known: known.into_iter().collect(), rest: None }))
    }

    pub(crate) fn one_of(texts: &[&str]) -> Self {
        Self::Text(Some(texts.iter().map(|text| (*text).to_owned()).collect()))
    }

    /// The type of what a structural schema describes.
    pub(crate) fn of_schema(schema: &Value) -> Self {
        Self::at_depth(schema, 0)
    }

    fn at_depth(schema: &Value, depth: usize) -> Self {
        if depth > DEPTH_MAX {
            return Self::Dyn;
        }
        let inner = |name: &str| {
            schema.get(name).filter(|inner| inner.is_object()).map(|inner| {
                let inner = Self::at_depth(inner, depth + 1);
                Arc::new(inner)
            })
        };
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => {
                let texts = schema.get("enum").and_then(Value::as_array);
                let texts: Vec<String> = texts
                    .into_iter()
                    .flatten()
                    .filter_map(|text| text.as_str().map(str::to_owned))
                    .collect();
                Self::Text((!texts.is_empty()).then(|| texts.into()))
            }
            Some("integer") => Self::Int,
            Some("number") => Self::Number,
            Some("boolean") => Self::Bool,
            Some("array") => Self::List(inner("items").unwrap_or_else(|| Self::Dyn.into())),
            Some("object") => {
                let properties = schema.get("properties").and_then(Value::as_object);
                let known = properties.into_iter().flatten();
                let known = known
                    .map(|(name, field)| (name.clone(), Self::at_depth(field, depth + 1)))
                    .collect();
                let open = schema.get(PRESERVE) == Some(&Value::Bool(true));
                let rest = inner("additionalProperties")
                    .map(|rest| rest.as_ref().clone())
                    .or(open.then_some(Self::Dyn));
                Self::Object(Arc::new(Fields { known, rest }))
            }
            _ => Self::Dyn,
        }
    }

    /// Nothing is known of it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Never)
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double | Self::Number)
    }

    /// What a value is that is of one type or of the other.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Never, other) | (other, Self::Never) => other,
            (Self::Text(Some(one)), Self::Text(Some(other))) => {
                let mut texts: Vec<String> = one.iter().chain(other.iter()).cloned().collect();
                texts.sort();
                texts.dedup();
                Self::Text(Some(texts.into()))
            }
            (Self::Text(_), Self::Text(_)) => Self::TEXT,
            (one, other) if one.is_number() && other.is_number() => Self::Number,
            (Self::List(one), Self::List(other)) => {
                Self::list(one.as_ref().clone().or(other.as_ref().clone()))
            }
            _ => Self::Dyn,
        }
    }

    /// Whether a value of one type can be equal to one of the other.
    pub(crate) fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (one, other) if one.is_open() || other.is_open() => true,
            // Any field may turn out to be null.
            (Self::Null, _) | (_, Self::Null) => true,
            (one, other) if one.is_number() && other.is_number() => true,
            (Self::Text(Some(one)), Self::Text(Some(other))) => {
                one.iter().any(|text| other.contains(text))
            }
            (Self::List(one), Self::List(other)) => one.may_equal(other),
            (Self::Optional(one), Self::Optional(other)) => one.may_equal(other),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Type {
    /// `an int`, `a string`.
    pub(crate) fn one(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Int | Self::Optional(_) => format!("an {self}"),
            _ => format!("a {self}"),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn | Self::Never => "value",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Number => "number",
            Self::Text(_) => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::Kind => "type",
            Self::List(_) => "list",
            Self::Object(_) => "map",
            Self::Optional(_) => "optional value",
        })
    }
}

/// `"a", "b" or "c"`.
pub(crate) fn any_of<T: fmt::Debug>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match shown.split_last() {
        None => "nothing".into(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// Most names offered when none is near.
const OFFERED_MAX: usize = 12;

/// What to say of a name that is not among the known: the near one, or which there are.
pub(crate) fn hint<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(name, &known) {
        return format!("; did you mean {near:?}?");
    }
    match known.len() {
        0 => String::new(),
        1..=OFFERED_MAX => format!("; there is {}", any_of(&known)),
        _ => String::new(),
    }
}

fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let lower = name.to_lowercase();
    // A third of the letters may differ.
    let most = (lower.chars().count() / 3).min(3);
    let distance = |other: &str| strsim::osa_distance(&lower, &other.to_lowercase());
    known
        .iter()
        .map(|other| (distance(other), *other))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, other)| other)
}
