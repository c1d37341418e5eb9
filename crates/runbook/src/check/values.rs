//! Values: what a step is given against what is asked for, expressions included.

use super::{
    Found,
    expression::{Names, Problem, type_of},
    types::{Type, any_of, hint},
};
use crate::{
    Expression, Template,
    template::{Part, Piece},
};
use quarterdeck_model::{FieldError, schema};
use serde_json::Value;

/// Deepest value that is looked into; templates refuse what is deeper.
const DEPTH_MAX: usize = 32;

/// Checks the values and expressions of one step.
pub(super) struct Values<'a> {
    /// What they can see.
    pub(super) names: &'a Names,
    /// `step "power-off"`, for messages.
    pub(super) step: &'a str,
    pub(super) found: &'a mut Found,
}

/// What is asked of a value.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Its structural schema.
    pub(super) schema: &'a Value,
    /// Who asks, such as `power.set`.
    pub(super) by: &'a str,
}

impl Values<'_> {
    fn error(&mut self, path: &str, value: &str, why: &str) {
        let why = format!("{}: {why}", self.step);
        self.found.push(FieldError::invalid(path, value, why));
    }

    /// The type of an expression in the field `path`.
    pub(super) fn expression(&mut self, text: &str, path: &str) -> Type {
        match Expression::parse(text) {
            Ok(expression) => self.parsed(&expression, path),
            Err(error) => {
                self.error(path, &format!("{text:?}"), &error.to_string());
                Type::Dyn
            }
        }
    }

    fn parsed(&mut self, expression: &Expression, path: &str) -> Type {
        let (found, problems) = type_of(expression, self.names);
        for Problem { at, message } in problems {
            let place = at.map_or_else(String::new, |at| place(expression.text(), at));
            self.error(path, &format!("{:?}", expression.text()), &format!("{place}{message}"));
        }
        found
    }

    /// An expression that must be true or false.
    pub(super) fn condition(&mut self, text: &str, path: &str) {
        let found = self.expression(text, path);
        if !found.is_open() && found != Type::Bool {
            let why = format!("a condition is true or false, and this is {}", found.one());
            self.error(path, &format!("{text:?}"), &why);
        }
    }

    /// An expression that must be a list; gives the type of its items.
    pub(super) fn list(&mut self, text: &str, path: &str) -> Type {
        match self.expression(text, path) {
            Type::List(item) => item.as_ref().clone(),
            Type::Dyn | Type::Never => Type::Dyn,
            other => {
                let why = format!("forEach goes through a list, and this is {}", other.one());
                self.error(path, &format!("{text:?}"), &why);
                Type::Dyn
            }
        }
    }

    /// The type of a value with expressions in it of which nothing is asked.
    pub(super) fn any(&mut self, value: &Value, path: &str) -> Type {
        self.value(value, None, path, 0)
    }

    /// Checks a value with expressions in it.
    pub(super) fn wanted(&mut self, value: &Value, wanted: Wanted<'_>, path: &str) {
        self.value(value, Some(wanted), path, 0);
    }

    fn value(
        &mut self,
        value: &Value,
        wanted: Option<Wanted<'_>>,
        path: &str,
        depth: usize,
    ) -> Type {
        if depth > DEPTH_MAX {
            self.error(path, "…", &format!("is nested deeper than {DEPTH_MAX} levels"));
            return Type::Dyn;
        }
        match value {
            Value::String(text) if text.contains("${") => self.text(value, text, wanted, path),
            Value::Array(items) => {
                self.kind(value, wanted, path);
                let inner = wanted.and_then(|wanted| {
                    wanted.schema.get("items").map(|schema| Wanted { schema, ..wanted })
                });
                let mut all = Type::Never;
                for (at, item) in items.iter().enumerate() {
                    let found = self.value(item, inner, &format!("{path}[{at}]"), depth + 1);
                    all = all.or(found);
                }
                Type::list(all)
            }
            Value::Object(fields) => {
                self.kind(value, wanted, path);
                let mut known = Vec::new();
                for (name, field) in fields {
                    let inner = wanted.and_then(|wanted| self.of_field(wanted, name, path));
                    let found = self.value(field, inner, &format!("{path}.{name}"), depth + 1);
                    known.push((name.clone(), found));
                }
                if let Some(wanted) = wanted {
                    self.required(wanted, &|name| fields.contains_key(name), path);
                }
                Type::object(known)
            }
            constant => {
                if let Some(wanted) = wanted {
                    self.constant(constant, wanted, path);
                }
                match constant {
                    Value::Bool(_) => Type::Bool,
                    Value::Number(number) if number.is_f64() => Type::Double,
                    Value::Number(_) => Type::Int,
                    Value::String(text) => Type::one_of(&[text]),
                    _ => Type::Null,
                }
            }
        }
    }

    /// A text with `${ }` in it.
    fn text(&mut self, value: &Value, text: &str, wanted: Option<Wanted<'_>>, path: &str) -> Type {
        let template = match Template::parse(value) {
            Ok(template) => template,
            Err(error) => {
                self.error(path, &format!("{text:?}"), &error.to_string());
                return Type::Dyn;
            }
        };
        let found = match template.root() {
            Part::Whole(expression) => self.parsed(expression, path),
            Part::Text(pieces) => {
                for piece in pieces {
                    if let Piece::Computed(expression) = piece {
                        self.parsed(expression, path);
                    }
                }
                Type::TEXT
            }
            Part::Constant(constant) => {
                if let Some(wanted) = wanted {
                    self.constant(constant, wanted, path);
                }
                return Type::TEXT;
            }
            Part::List(_) | Part::Object(_) => Type::Dyn,
        };
        if let Some(wanted) = wanted
            && let Err(why) = fits(&found, wanted.schema, 0)
        {
            self.error(path, &format!("{text:?}"), &format!("{} {why}", wanted.by));
        }
        found
    }

    /// What is asked of a field; tells when there is no such field.
    fn of_field<'w>(&mut self, wanted: Wanted<'w>, name: &str, path: &str) -> Option<Wanted<'w>> {
        let Type::Object(fields) = Type::of_schema(wanted.schema) else { return None };
        let properties = wanted.schema.get("properties");
        if let Some(schema) = properties.and_then(|properties| properties.get(name)) {
            return Some(Wanted { schema, ..wanted });
        }
        if fields.rest.is_none() {
            let near = hint(name, fields.known.keys().map(String::as_str));
            let why = format!("{} takes no {name:?}{near}", wanted.by);
            self.error(&format!("{path}.{name}"), &format!("{name:?}"), &why);
        }
        let schema = wanted.schema.get("additionalProperties").filter(|rest| rest.is_object())?;
        Some(Wanted { schema, ..wanted })
    }

    fn required(&mut self, wanted: Wanted<'_>, is_given: &dyn Fn(&str) -> bool, path: &str) {
        let required = wanted.schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if is_given(name) {
                continue;
            }
            let field = wanted.schema.get("properties").and_then(|fields| fields.get(name));
            let what = field.map_or_else(String::new, |field| {
                let words = field.get("description").and_then(Value::as_str).unwrap_or_default();
                let words = words.lines().next().unwrap_or_default();
                if words.is_empty() { String::new() } else { format!(": {words}") }
            });
            let why = format!("{}: {} needs it{what}", self.step, wanted.by);
            self.found.push(FieldError::required(format!("{path}.{name}"), why));
        }
    }

    /// Whether a list or object may stand here at all.
    fn kind(&mut self, value: &Value, wanted: Option<Wanted<'_>>, path: &str) {
        let Some(wanted) = wanted else { return };
        let given = if value.is_array() { "array" } else { "object" };
        if let Some(asked) = wanted.schema.get("type").and_then(Value::as_str)
            && asked != given
        {
            let why = format!("{} takes {}, not {}", wanted.by, word(asked), word(given));
            self.error(path, &value.to_string(), &why);
        }
    }

    fn constant(&mut self, value: &Value, wanted: Wanted<'_>, path: &str) {
        if let Some(allowed) = wanted.schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            let why = format!("{} takes {}", wanted.by, choices(value, allowed));
            return self.error(path, &value.to_string(), &why);
        }
        if let Some(asked) = wanted.schema.get("type").and_then(Value::as_str)
            && !schema::has_type(asked, value)
        {
            let hint = unquoted(asked, value);
            let why = format!("{} takes {}{hint}", wanted.by, word(asked));
            return self.error(path, &value.to_string(), &why);
        }
        for error in schema::check(wanted.schema, value) {
            // The value and its place are told already.
            let shown = format!("Invalid value: {value}: ");
            let message = error.message.strip_prefix(&shown).unwrap_or(&error.message);
            let message = message.trim_start().trim_start_matches("in body ");
            let why = format!("{}: {message}", wanted.by);
            self.error(path, &value.to_string(), &why);
        }
    }
}

/// The texts that are allowed, and the near one.
fn choices(value: &Value, allowed: &[Value]) -> String {
    let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    if names.len() == allowed.len() {
        let near =
            value.as_str().map_or_else(String::new, |text| hint(text, names.iter().copied()));
        let near = if near.starts_with("; did") { near } else { String::new() };
        return format!("{}{near}", any_of(&names));
    }
    allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// YAML reads `on`, `no` and `12` as other than texts.
fn unquoted(asked: &str, value: &Value) -> &'static str {
    if asked == "string" && (value.is_boolean() || value.is_number()) {
        "; put it in quotes"
    } else {
        ""
    }
}

fn word(kind: &str) -> &str {
    match kind {
        "array" => "a list",
        "object" => "a map",
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    }
}

/// Where in an expression: its line when there are several, and its column.
pub(crate) fn place(text: &str, at: usize) -> String {
    let before: String = text.chars().take(at).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
    if text.trim().contains('\n') {
        format!("line {line}, column {column}: ")
    } else {
        format!("column {column}: ")
    }
}

/// Whether what an expression gives can be what a schema asks for.
fn fits(found: &Type, schema: &Value, depth: usize) -> Result<(), String> {
    let Some(asked) = schema.get("type").and_then(Value::as_str) else { return Ok(()) };
    if depth > DEPTH_MAX {
        return Ok(());
    }
    let good = match found {
        Type::Dyn | Type::Never => true,
        Type::Optional(_) => {
            return Err(format!(
                "takes {}; this may have no value, end it with .orValue(…)",
                word(asked)
            ));
        }
        Type::Null | Type::Kind => false,
        Type::Bool => asked == "boolean",
        Type::Int | Type::Uint => matches!(asked, "integer" | "number"),
        Type::Double => {
            if asked == "integer" {
                return Err("takes a whole number; write int(…)".into());
            }
            asked == "number"
        }
        Type::Number => matches!(asked, "integer" | "number"),
        Type::Text(texts) => {
            if asked == "string" {
                return one_of(texts.as_deref(), schema);
            }
            false
        }
        Type::Bytes | Type::Timestamp | Type::Duration => asked == "string",
        Type::List(item) => {
            if asked == "array" {
                let items = schema.get("items").unwrap_or(&Value::Null);
                return fits(item, items, depth + 1)
                    .map_err(|why| format!("{why}, for each item of the list"));
            }
            false
        }
        Type::Object(fields) => {
            if asked == "object" {
                return fields.known.iter().try_for_each(|(name, field)| {
                    let inner = schema.get("properties").and_then(|inner| inner.get(name));
                    let inner = inner.unwrap_or(&Value::Null);
                    fits(field, inner, depth + 1).map_err(|why| format!("{why} as {name:?}"))
                });
            }
            false
        }
    };
    if good { Ok(()) } else { Err(format!("takes {}, not {}", word(asked), found.one())) }
}

/// Whether one of the texts is allowed: a text that is known to be none of them is wrong.
fn one_of(texts: Option<&[String]>, schema: &Value) -> Result<(), String> {
    let (Some(texts), Some(allowed)) = (texts, schema.get("enum").and_then(Value::as_array)) else {
        return Ok(());
    };
    match texts.iter().find(|text| !allowed.iter().any(|allowed| allowed == text.as_str())) {
        None => Ok(()),
        Some(wrong) => {
            let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            Err(format!("takes {}, and this can be {wrong:?}", any_of(&names)))
        }
    }
}
