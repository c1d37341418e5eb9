//! Templates: JSON values with `${ expression }` inside their texts.

use crate::expression::{Expression, ExpressionError, Scope, Uses};
use serde_json::{Map, Value};

/// Deepest nesting of a template.
const DEPTH_MAX: usize = 32;
/// Most expressions in one template: each may make as much as one may.
const EXPRESSIONS_MAX: usize = 100;

/// A JSON value some of whose texts are computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    root: Part,
    uses: Uses,
}

/// One node of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// A value without expressions.
    Constant(Value),
    /// A text that is exactly one `${ }`: the expression's value, with its type.
    Whole(Expression),
    /// A text with expressions in it.
    Text(Vec<Piece>),
    /// A list.
    List(Vec<Part>),
    /// An object.
    Object(Vec<(String, Part)>),
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// As written.
    Literal(String),
    /// Computed.
    Computed(Expression),
}

impl Template {
    /// Reads `value`.
    ///
    /// # Errors
    /// When an expression in it cannot be read.
    pub fn parse(value: &Value) -> Result<Self, ExpressionError> {
        let root = read(value, 0).map_err(|(path, error)| {
            if path.is_empty() { error } else { error.within(path.trim_start_matches('.')) }
        })?;
        let mut uses = Uses::default();
        let mut count = 0;
        root.each(&mut |expression| {
            uses.add(expression.references());
            count += 1;
        });
        if count > EXPRESSIONS_MAX {
            return Err(ExpressionError::syntax(format!(
                "has more than {EXPRESSIONS_MAX} expressions; make it several steps"
            )));
        }
        Ok(Self { root, uses })
    }

    /// Reads an object's fields.
    ///
    /// # Errors
    /// When an expression in it cannot be read.
    pub fn parse_fields(fields: &Map<String, Value>) -> Result<Self, ExpressionError> {
        Self::parse(&Value::Object(fields.clone()))
    }

    /// The value with every expression computed.
    ///
    /// # Errors
    /// When an expression has no value.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        self.root.render(scope)
    }

    /// Its outermost node.
    pub(crate) fn root(&self) -> &Part {
        &self.root
    }

    /// The variables it uses.
    pub fn references(&self) -> &Uses {
        &self.uses
    }
}

/// Reads one node; an error comes with the path of the text it is in.
fn read(value: &Value, depth: usize) -> Result<Part, (String, ExpressionError)> {
    if depth > DEPTH_MAX {
        let error = ExpressionError::syntax(format!("nested deeper than {DEPTH_MAX} levels"));
        return Err((String::new(), error));
    }
    match value {
        Value::String(text) if text.contains("${") => {
            read_text(text).map_err(|error| (String::new(), error))
        }
        Value::Array(items) => {
            let mut parts = Vec::with_capacity(items.len());
            for (at, item) in items.iter().enumerate() {
                let part = read(item, depth + 1)
                    .map_err(|(path, error)| (format!("[{at}]{path}"), error))?;
                parts.push(part);
            }
            Ok(constant_list(parts))
        }
        Value::Object(fields) => {
            let mut parts = Vec::with_capacity(fields.len());
            for (name, field) in fields {
                let part = read(field, depth + 1)
                    .map_err(|(path, error)| (format!(".{name}{path}"), error))?;
                parts.push((name.clone(), part));
            }
            Ok(constant_object(parts))
        }
        other => Ok(Part::Constant(other.clone())),
    }
}

fn constant_list(parts: Vec<Part>) -> Part {
    if parts.iter().all(|part| matches!(part, Part::Constant(_))) {
        let values = parts.into_iter().filter_map(Part::constant).collect();
        return Part::Constant(Value::Array(values));
    }
    Part::List(parts)
}

fn constant_object(parts: Vec<(String, Part)>) -> Part {
    if parts.iter().all(|(_, part)| matches!(part, Part::Constant(_))) {
        let fields =
            parts.into_iter().filter_map(|(name, part)| Some((name, part.constant()?))).collect();
        return Part::Constant(Value::Object(fields));
    }
    Part::Object(parts)
}

/// Splits a text at its `${ }`. `$${` stands for a plain `${`.
fn read_text(text: &str) -> Result<Part, ExpressionError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            literal.push_str(before);
            literal.push_str("${");
            rest = after;
            continue;
        }
        literal.push_str(before);
        let end = closing(after).ok_or_else(|| {
            ExpressionError::syntax(format!(
                "{text:?}: an expression \"${{\" is not closed by \"}}\""
            ))
        })?;
        let (inner, tail) = after.split_at(end);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Computed(Expression::parse(inner.trim())?));
        rest = tail.strip_prefix('}').unwrap_or(tail);
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    if let [Piece::Computed(_)] = pieces.as_slice()
        && let Some(Piece::Computed(only)) = pieces.pop()
    {
        return Ok(Part::Whole(only));
    }
    if let [Piece::Literal(text)] = pieces.as_slice() {
        return Ok(Part::Constant(text.clone().into()));
    }
    Ok(Part::Text(pieces))
}

/// Where the expression that `text` begins with ends: its `}`, not one in quotes or in a map.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match quote {
            Some(open) => {
                if escaped {
                    escaped = false;
                } else if letter == '\\' {
                    escaped = true;
                } else if letter == open {
                    quote = None;
                }
            }
            None => match letter {
                '"' | '\'' => quote = Some(letter),
                '{' => depth += 1,
                '}' if depth == 0 => return Some(at),
                '}' => depth -= 1,
                _ => {}
            },
        }
    }
    None
}

impl Part {
    fn constant(self) -> Option<Value> {
        match self {
            Self::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Calls `found` with every expression in it.
    fn each(&self, found: &mut impl FnMut(&Expression)) {
        match self {
            Self::Constant(_) => {}
            Self::Whole(expression) => found(expression),
            Self::Text(pieces) => {
                for piece in pieces {
                    if let Piece::Computed(expression) = piece {
                        found(expression);
                    }
                }
            }
            Self::List(parts) => parts.iter().for_each(|part| part.each(found)),
            Self::Object(parts) => parts.iter().for_each(|(_, part)| part.each(found)),
        }
    }

    fn render(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Whole(expression) => expression.evaluate(scope)?,
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => text.push_str(literal),
                        Piece::Computed(expression) => match expression.evaluate(scope)? {
                            Value::String(value) => text.push_str(&value),
                            value => text.push_str(&value.to_string()),
                        },
                    }
                }
                text.into()
            }
            Self::List(parts) => {
                Value::Array(parts.iter().map(|part| part.render(scope)).collect::<Result<_, _>>()?)
            }
            Self::Object(parts) => {
                let mut object = Map::new();
                for (name, part) in parts {
                    object.insert(name.clone(), part.render(scope)?);
                }
                Value::Object(object)
            }
        })
    }
}
