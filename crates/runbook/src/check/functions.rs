//! Functions and operators of expressions: what they take and give, as the evaluator has them.
//!
//! Source: the Common Expression Language definition (cel-spec, "langdef"), standard definitions;
//! the overloads are those of the `cel` crate.

use super::types::{Type, hint};
use cel::common::ast::operators;

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Timestamp,
    Duration,
    List,
    Map,
    Optional,
}

use Takes::{Any, Bool, Bytes, Double, Duration, Int, List, Map, Optional, Text, Timestamp, Uint};

/// A function: its name, the argument lists it takes (a method's first is what it is called on), and
/// what it gives.
struct Function {
    name: &'static str,
    takes: &'static [&'static [Takes]],
    gives: fn(&[Type]) -> Type,
}

const fn function(
    name: &'static str,
    takes: &'static [&'static [Takes]],
    gives: fn(&[Type]) -> Type,
) -> Function {
    Function { name, takes, gives }
}

const MOMENT: &[&[Takes]] = &[&[Timestamp], &[Timestamp, Text]];
const TIME: &[&[Takes]] = &[&[Timestamp], &[Timestamp, Text], &[Duration]];
const SIZED: &[&[Takes]] = &[&[Text], &[Bytes], &[List], &[Map]];
const TEXTS: &[&[Takes]] = &[&[Text, Text]];

const FUNCTIONS: &[Function] = &[
    function("bool", &[&[Bool], &[Text]], |_| Type::Bool),
    function("bytes", &[&[Text], &[Bytes]], |_| Type::Bytes),
    function("double", &[&[Double], &[Int], &[Uint], &[Text]], |_| Type::Double),
    function("duration", &[&[Text], &[Duration]], |_| Type::Duration),
    function("dyn", &[&[Any]], |_| Type::Dyn),
    function("int", &[&[Int], &[Uint], &[Double], &[Text], &[Timestamp]], |_| Type::Int),
    function("matches", TEXTS, |_| Type::Bool),
    function("optional.none", &[&[]], |_| Type::Optional(Type::Never.into())),
    function("optional.of", &[&[Any]], |given| Type::Optional(first(given).into())),
    function("optional.ofNonZeroValue", &[&[Any]], |given| Type::Optional(first(given).into())),
    function("size", SIZED, |_| Type::Int),
    function(
        "string",
        &[&[Text], &[Bool], &[Int], &[Uint], &[Double], &[Bytes], &[Timestamp], &[Duration]],
        |_| Type::TEXT,
    ),
    function("timestamp", &[&[Text], &[Timestamp], &[Int]], |_| Type::Timestamp),
    function("type", &[&[Any]], |_| Type::Kind),
    function("uint", &[&[Uint], &[Int], &[Double], &[Text]], |_| Type::Uint),
];

const METHODS: &[Function] = &[
    function("charAt", &[&[Text, Int]], |_| Type::TEXT),
    function("contains", TEXTS, |_| Type::Bool),
    function("endsWith", TEXTS, |_| Type::Bool),
    function("getDate", MOMENT, |_| Type::Int),
    function("getDayOfMonth", MOMENT, |_| Type::Int),
    function("getDayOfWeek", MOMENT, |_| Type::Int),
    function("getDayOfYear", MOMENT, |_| Type::Int),
    function("getFullYear", MOMENT, |_| Type::Int),
    function("getHours", TIME, |_| Type::Int),
    function("getMilliseconds", TIME, |_| Type::Int),
    function("getMinutes", TIME, |_| Type::Int),
    function("getMonth", MOMENT, |_| Type::Int),
    function("getSeconds", TIME, |_| Type::Int),
    function("indexOf", TEXTS, |_| Type::Int),
    function("join", &[&[List], &[List, Text]], |_| Type::TEXT),
    function("lastIndexOf", TEXTS, |_| Type::Int),
    function("lowerAscii", &[&[Text]], |_| Type::TEXT),
    function("hasValue", &[&[Optional]], |_| Type::Bool),
    function("matches", TEXTS, |_| Type::Bool),
    function("or", &[&[Optional, Optional]], |given| {
        let inner = held(given).or(given.get(1).map_or(Type::Dyn, inside));
        Type::Optional(inner.into())
    }),
    function("orValue", &[&[Optional, Any]], |given| {
        held(given).or(given.get(1).cloned().unwrap_or(Type::Dyn))
    }),
    function("replace", &[&[Text, Text, Text]], |_| Type::TEXT),
    function("size", SIZED, |_| Type::Int),
    function("split", TEXTS, |_| Type::list(Type::TEXT)),
    function("startsWith", TEXTS, |_| Type::Bool),
    function("substring", &[&[Text, Int], &[Text, Int, Int]], |_| Type::TEXT),
    function("trim", &[&[Text]], |_| Type::TEXT),
    function("upperAscii", &[&[Text]], |_| Type::TEXT),
    function("value", &[&[Optional]], held),
];

/// Macros that are called on a list: they reach the check only with a wrong number of arguments.
const MACROS: [&str; 7] = ["all", "exists", "exists_one", "existsOne", "filter", "map", "optMap"];

fn first(given: &[Type]) -> Type {
    given.first().cloned().unwrap_or(Type::Dyn)
}

fn held(given: &[Type]) -> Type {
    given.first().map_or(Type::Dyn, inside)
}

fn inside(optional: &Type) -> Type {
    match optional {
        Type::Optional(inner) => inner.as_ref().clone(),
        _ => Type::Dyn,
    }
}

/// Whether a qualified name such as `optional.of` is a function.
pub(crate) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name)
}

/// What a function gives for these arguments.
///
/// # Errors
/// A sentence on what it takes.
pub(crate) fn call(name: &str, given: &[Type]) -> Result<Type, String> {
    if let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) {
        return apply(function, given, 0);
    }
    if name == operators::HAS {
        return Err("has takes one field, such as has(target.status.powerState)".into());
    }
    if METHODS.iter().any(|method| method.name == name) || MACROS.contains(&name) {
        return Err(format!("{name} is called on a value: x.{name}(…)"));
    }
    let names = FUNCTIONS.iter().map(|function| function.name);
    Err(format!("there is no function {name:?}{}", near(name, names)))
}

/// What a method gives; the first of `given` is what it is called on.
///
/// # Errors
/// A sentence on what it takes.
pub(crate) fn call_on(name: &str, given: &[Type]) -> Result<Type, String> {
    if let Some(method) = METHODS.iter().find(|method| method.name == name) {
        return apply(method, given, 1);
    }
    if MACROS.contains(&name) {
        return Err(format!("{name} takes a name and an expression: x.{name}(item, …)"));
    }
    if FUNCTIONS.iter().any(|function| function.name == name) {
        return Err(format!("{name} is not called on a value; write {name}(x)"));
    }
    let names = METHODS.iter().map(|method| method.name).chain(MACROS);
    Err(format!("there is no method {name:?}{}", near(name, names)))
}

/// The near one, or all there are.
fn near<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match hint(name, names.iter().copied()) {
        near if near.is_empty() => format!("; there are {}", names.join(", ")),
        near => near,
    }
}

/// `receivers`: how many of the arguments stand before the name.
fn apply(function: &Function, given: &[Type], receivers: usize) -> Result<Type, String> {
    let name = function.name;
    let same_count: Vec<_> =
        function.takes.iter().filter(|takes| takes.len() == given.len()).collect();
    if same_count.is_empty() {
        let mut counts: Vec<usize> =
            function.takes.iter().map(|takes| takes.len().saturating_sub(receivers)).collect();
        counts.sort_unstable();
        counts.dedup();
        let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
        let given = given.len().saturating_sub(receivers);
        return Err(format!("{name} takes {} arguments, not {given}", counts.join(" or ")));
    }
    let fitting = same_count
        .iter()
        .any(|takes| takes.iter().zip(given).all(|(takes, given)| takes.accept(given)));
    if fitting {
        return Ok((function.gives)(given));
    }
    // The first argument that no overload takes is the one that is wrong.
    for (at, given) in given.iter().enumerate() {
        let wanted: Vec<Takes> =
            same_count.iter().filter_map(|takes| takes.get(at).copied()).collect();
        if wanted.iter().any(|wanted| wanted.accept(given)) {
            continue;
        }
        let mut words: Vec<&str> = wanted.iter().map(|wanted| wanted.word()).collect();
        words.dedup();
        let words = words.join(" or ");
        let what = if at < receivers { "is called on" } else { "takes" };
        return Err(format!("{name} {what} {words}, not {}", given.one()));
    }
    Err(format!("{name} does not take these values together"))
}

impl Takes {
    fn accept(self, given: &Type) -> bool {
        matches!(
            (self, given),
            (_, Type::Dyn | Type::Never)
                | (Self::Any, _)
                | (Self::Bool, Type::Bool)
                | (Self::Int, Type::Int | Type::Number)
                | (Self::Uint, Type::Uint)
                | (Self::Double, Type::Double | Type::Number)
                | (Self::Text, Type::Text(_))
                | (Self::Bytes, Type::Bytes)
                | (Self::Timestamp, Type::Timestamp)
                | (Self::Duration, Type::Duration)
                | (Self::List, Type::List(_))
                | (Self::Map, Type::Object(_))
                | (Self::Optional, Type::Optional(_))
        )
    }

    fn word(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Bool => "a bool",
            Self::Int => "an int",
            Self::Uint => "a uint",
            Self::Double => "a double",
            Self::Text => "a string",
            Self::Bytes => "bytes",
            Self::Timestamp => "a timestamp",
            Self::Duration => "a duration",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Optional => "an optional value",
        }
    }
}

/// What an arithmetic operator or a comparison gives.
///
/// # Errors
/// A sentence on what does not go together.
pub(crate) fn operator(name: &str, left: &Type, right: &Type) -> Result<Type, String> {
    if left.is_open() || right.is_open() {
        return Ok(open_result(name, left, right));
    }
    let found = match name {
        operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS => {
            let same = std::mem::discriminant(left) == std::mem::discriminant(right);
            let ordered = matches!(
                left,
                Type::Text(_) | Type::Bool | Type::Bytes | Type::Timestamp | Type::Duration
            );
            (left.is_number() && right.is_number() || same && ordered).then_some(Type::Bool)
        }
        operators::ADD => add(left, right),
        operators::SUBSTRACT => subtract(left, right),
        operators::MODULO => match (left, right) {
            (Type::Double, _) | (_, Type::Double) => None,
            _ => arithmetic(left, right),
        },
        _ => arithmetic(left, right),
    };
    found.ok_or_else(|| {
        let sign = name.trim_matches('_');
        let mixed = left.is_number() && right.is_number();
        let hint = if mixed { "; convert one with int(…) or double(…)" } else { "" };
        format!("{left} {sign} {right} does not work{hint}")
    })
}

fn open_result(name: &str, left: &Type, right: &Type) -> Type {
    match name {
        operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS => Type::Bool,
        operators::ADD if matches!(left, Type::Text(_)) || matches!(right, Type::Text(_)) => {
            Type::TEXT
        }
        _ => Type::Dyn,
    }
}

fn add(left: &Type, right: &Type) -> Option<Type> {
    Some(match (left, right) {
        (Type::Text(_), Type::Text(_)) => Type::TEXT,
        (Type::Bytes, Type::Bytes) => Type::Bytes,
        (Type::List(_), Type::List(_)) => left.clone().or(right.clone()),
        (Type::Timestamp, Type::Duration) | (Type::Duration, Type::Timestamp) => Type::Timestamp,
        (Type::Duration, Type::Duration) => Type::Duration,
        _ => return arithmetic(left, right),
    })
}

fn subtract(left: &Type, right: &Type) -> Option<Type> {
    Some(match (left, right) {
        (Type::Timestamp, Type::Duration) => Type::Timestamp,
        (Type::Timestamp, Type::Timestamp) | (Type::Duration, Type::Duration) => Type::Duration,
        _ => return arithmetic(left, right),
    })
}

/// Numbers go with numbers of their own type only.
fn arithmetic(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Int, Type::Int) => Some(Type::Int),
        (Type::Uint, Type::Uint) => Some(Type::Uint),
        (Type::Double, Type::Double) => Some(Type::Double),
        (Type::Number, other) | (other, Type::Number) if other.is_number() => Some(Type::Number),
        _ => None,
    }
}
