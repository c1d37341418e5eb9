//! Expressions: CEL texts, parsed once and evaluated on JSON values.
//!
//! Nothing here may panic or run long, whatever the text: texts are bounded before they are parsed,
//! and evaluation has a budget. Source of the language: the Common Expression Language definition
//! (cel-spec, "langdef").

use cel::{
    Context, Env, ExecutionError, IdedExpr,
    common::{
        ast::{EntryExpr, Expr, LiteralValue, operators},
        types::{
            CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
        },
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use serde_json::{Map, Value};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Longest expression. What people write is a line or two.
pub const EXPRESSION_BYTES_MAX: usize = 2048;
/// Most opening brackets: the parser and the evaluator recurse into each.
const BRACKETS_MAX: usize = 64;
/// Most operator characters: a chain of them is a tree as deep as it is long.
const OPERATORS_MAX: usize = 256;
/// Most elements of list and map literals, so that loops over them stay short.
const LITERALS_MAX: usize = 64;
/// How deep loops (`map`, `all`, …) may stand in one another.
const LOOPS_MAX: usize = 2;
/// What one evaluation may read of its variables, in values. A run's target has a few thousand.
const READS_MAX: u64 = 4_000_000;
/// Deepest value given to or taken from an expression.
const VALUE_DEPTH_MAX: usize = 64;

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A parsed CEL expression.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    tree: Arc<IdedExpr>,
    uses: Arc<Uses>,
}

/// What an expression reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Free variables.
    pub variables: BTreeSet<String>,
    /// Fields read of the variable `steps`.
    pub steps: BTreeSet<String>,
    /// `steps` is also read as a whole, or by a computed name.
    pub all_steps: bool,
}

impl Uses {
    /// Adds what `other` reads.
    pub fn add(&mut self, other: &Self) {
        self.variables.extend(other.variables.iter().cloned());
        self.steps.extend(other.steps.iter().cloned());
        self.all_steps |= other.all_steps;
    }
}

/// Why an expression cannot be read or has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    kind: ErrorKind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorKind {
    /// The text is no expression.
    Syntax,
    /// It reads a field that is not there.
    Missing,
    /// Anything else.
    Other,
}

impl ExpressionError {
    /// It reads a field that is not there (yet).
    pub fn is_missing(&self) -> bool {
        self.kind == ErrorKind::Missing
    }

    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Syntax, message: message.into() }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Other, message: message.into() }
    }

    /// The same error with where it is said before it.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

/// The variables of an evaluation.
#[derive(Debug, Clone, Default)]
pub struct Scope<'a> {
    variables: Vec<(&'a str, Cow<'a, Value>)>,
}

impl<'a> Scope<'a> {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value) -> Self {
        self.variables.push((name, Cow::Owned(value)));
        self
    }

    /// Adds a variable without copying its value.
    #[must_use]
    pub fn with_ref(mut self, name: &'a str, value: &'a Value) -> Self {
        self.variables.push((name, Cow::Borrowed(value)));
        self
    }
}

impl Expression {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is no CEL expression (with line and column) or larger than any we run.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        bound(text)?;
        let tree = ENV.parser().max_recursion_depth(96).parse(text).map_err(|errors| {
            let told = errors.errors.first().map_or_else(
                || "it cannot be read".to_owned(),
                |error| {
                    let (line, column) = error.pos;
                    format!("line {line}, column {column}: {}", error.msg)
                },
            );
            ExpressionError::syntax(format!("{text:?} is not a CEL expression: {told}"))
        })?;
        let mut reader = Reader::default();
        reader.read(&tree, 0)?;
        Ok(Self { text: text.into(), tree: Arc::new(tree), uses: Arc::new(reader.uses) })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The variables it uses.
    pub fn references(&self) -> &Uses {
        &self.uses
    }

    /// Its syntax tree.
    #[expect(dead_code, reason = "admission does not look into it yet")]
    pub(crate) fn tree(&self) -> &IdedExpr {
        &self.tree
    }

    /// Its value.
    ///
    /// # Errors
    /// When it has none: see [`ExpressionError::is_missing`].
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        let variables = Variables::new(scope, &self.uses)?;
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&variables);
        let told = match cel::Value::resolve(&self.tree, &context) {
            Ok(value) => return from_cel(&value, 0).map_err(|error| error.within(&self.text)),
            Err(told) => told,
        };
        if variables.left.load(Ordering::Relaxed) == 0 {
            return Err(ExpressionError::other(format!("{}: reads too much data", self.text)));
        }
        let (kind, why) = match &told {
            ExecutionError::NoSuchKey(name) => (ErrorKind::Missing, format!("no field {name:?}")),
            ExecutionError::IndexOutOfBounds(_) => {
                (ErrorKind::Missing, "the list has no such item".to_owned())
            }
            ExecutionError::UndeclaredReference(name) => {
                (ErrorKind::Other, format!("unknown name {name:?}"))
            }
            other => (ErrorKind::Other, cut(&other.to_string())),
        };
        Err(ExpressionError { kind, message: format!("{}: {why}", self.text) })
    }

    /// Its value, which must be true or false.
    ///
    /// # Errors
    /// As [`Self::evaluate`], and when the value is something else.
    pub fn truth(&self, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        let value = self.evaluate(scope)?;
        value.as_bool().ok_or_else(|| {
            ExpressionError::other(format!(
                "{}: is {}, not true or false",
                self.text,
                cut(&value.to_string())
            ))
        })
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Refuses texts that would make the parser recurse deeply. Counts without regard to quotes: a
/// quote that is read wrongly must not let anything through.
fn bound(text: &str) -> Result<(), ExpressionError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(ExpressionError::syntax(format!(
            "the expression is longer than {EXPRESSION_BYTES_MAX} bytes; make it several steps"
        )));
    }
    if text.trim().is_empty() {
        return Err(ExpressionError::syntax("the expression is empty"));
    }
    let brackets = text.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count();
    let operators = text
        .bytes()
        .filter(|byte| {
            matches!(
                byte,
                b'.' | b'+'
                    | b'-'
                    | b'*'
                    | b'/'
                    | b'%'
                    | b'?'
                    | b'<'
                    | b'>'
                    | b'='
                    | b'!'
                    | b'&'
                    | b'|'
            )
        })
        .count();
    let words = text.split_ascii_whitespace().filter(|word| *word == "in").count();
    if brackets > BRACKETS_MAX || operators + words > OPERATORS_MAX {
        return Err(ExpressionError::syntax(format!(
            "the expression has more than {BRACKETS_MAX} brackets or {OPERATORS_MAX} operators; \
             make it several steps"
        )));
    }
    Ok(())
}

/// Walks a syntax tree for what it uses, and refuses what is not run here.
#[derive(Default)]
struct Reader {
    uses: Uses,
    bound: Vec<String>,
    literals: usize,
}

impl Reader {
    fn read(&mut self, node: &IdedExpr, loops: usize) -> Result<(), ExpressionError> {
        match &node.expr {
            Expr::Unspecified => return Err(ExpressionError::syntax("the expression is empty")),
            Expr::Struct(made) => {
                return Err(ExpressionError::syntax(format!(
                    "{} {{ … }}: message types are not known here; write a map: {{\"field\": value}}",
                    made.type_name
                )));
            }
            Expr::Literal(_) => {}
            Expr::Ident(name) => self.variable(name, None),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr {
                    self.variable(name, Some(&select.field));
                } else {
                    self.read(&select.operand, loops)?;
                }
            }
            Expr::Call(call) => self.call(call, loops)?,
            Expr::List(list) => {
                self.literals(list.elements.len())?;
                for element in &list.elements {
                    self.read(element, loops)?;
                }
            }
            Expr::Map(map) => {
                self.literals(map.entries.len())?;
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.read(&entry.key, loops)?;
                            self.read(&entry.value, loops)?;
                        }
                        EntryExpr::StructField(field) => self.read(&field.value, loops)?,
                    }
                }
            }
            Expr::Comprehension(inner) => {
                if loops == LOOPS_MAX {
                    return Err(ExpressionError::syntax(format!(
                        "more than {LOOPS_MAX} loops (map, filter, all, exists) in one another"
                    )));
                }
                self.read(&inner.iter_range, loops)?;
                self.read(&inner.accu_init, loops)?;
                let known = self.bound.len();
                self.bound.push(inner.iter_var.clone());
                self.bound.extend(inner.iter_var2.clone());
                self.bound.push(inner.accu_var.clone());
                for part in [&inner.loop_cond, &inner.loop_step, &inner.result] {
                    self.read(part, loops + 1)?;
                }
                self.bound.truncate(known);
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        call: &cel::common::ast::CallExpr,
        loops: usize,
    ) -> Result<(), ExpressionError> {
        // `steps["power-off"]` names a step as `steps.name` does.
        let indexed = matches!(
            call.func_name.as_str(),
            operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT
        );
        if indexed
            && let [operand, key] = call.args.as_slice()
            && let Expr::Ident(name) = &operand.expr
            && let Expr::Literal(LiteralValue::String(key)) = &key.expr
        {
            self.variable(name, Some(key.inner()));
            return Ok(());
        }
        if let Some(target) = &call.target {
            self.read(target, loops)?;
        }
        for argument in &call.args {
            self.read(argument, loops)?;
        }
        Ok(())
    }

    fn literals(&mut self, more: usize) -> Result<(), ExpressionError> {
        self.literals += more;
        if self.literals > LITERALS_MAX {
            return Err(ExpressionError::syntax(format!(
                "the expression lists more than {LITERALS_MAX} values; make them a parameter"
            )));
        }
        Ok(())
    }

    fn variable(&mut self, name: &str, field: Option<&str>) {
        let name = name.trim_start_matches('.');
        if name.starts_with('@')
            || self.bound.iter().any(|bound| bound == name)
            || TYPES.contains(&name)
        {
            return;
        }
        self.uses.variables.insert(name.to_owned());
        if name == "steps" {
            match field {
                Some(field) => {
                    self.uses.steps.insert(field.to_owned());
                }
                None => self.uses.all_steps = true,
            }
        }
    }
}

/// Names of types, and the namespace of optional values: no variables.
pub(crate) const TYPES: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "optional",
    "string",
    "type",
    "uint",
];

/// The variables in the form the evaluator reads, with a budget on how much it reads.
struct Variables<'v> {
    values: Vec<(&'v str, Box<dyn Val + 'v>, u64)>,
    left: AtomicU64,
}

impl<'v> Variables<'v> {
    fn new(scope: &'v Scope<'_>, uses: &Uses) -> Result<Self, ExpressionError> {
        let mut values = Vec::new();
        for (name, value) in &scope.variables {
            if uses.variables.contains(*name) {
                let mut weight = 0;
                let converted = to_cel(value, 0, &mut weight)?;
                values.push((*name, converted, weight));
            }
        }
        Ok(Self { values, left: AtomicU64::new(READS_MAX) })
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let (_, value, weight) = self.values.iter().find(|(name, ..)| *name == variable)?;
        let left = self.left.load(Ordering::Relaxed).saturating_sub(*weight);
        self.left.store(left, Ordering::Relaxed);
        // An unknown variable ends the evaluation; the caller sees that nothing is left.
        (left > 0).then(|| CowVal::Borrowed(value.as_ref()))
    }
}

fn to_cel<'v>(
    value: &'v Value,
    depth: usize,
    weight: &mut u64,
) -> Result<Box<dyn Val + 'v>, ExpressionError> {
    if depth > VALUE_DEPTH_MAX {
        return Err(ExpressionError::other(format!(
            "a value is nested deeper than {VALUE_DEPTH_MAX} levels"
        )));
    }
    *weight += 1;
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        // JSON knows one kind of number; whole numbers are `int`, as they are written in CEL.
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or_default())),
        },
        Value::String(text) => {
            *weight += text.len() as u64 / 16;
            Box::new(CelString::from(text.as_str()))
        }
        Value::Array(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.push(to_cel(item, depth + 1, weight)?);
            }
            Box::new(CelList::from(list))
        }
        Value::Object(fields) => {
            let mut map = HashMap::with_capacity(fields.len());
            for (name, field) in fields {
                map.insert(CelMapKey::from(name.as_str()), to_cel(field, depth + 1, weight)?);
            }
            Box::new(CelMap::from(map))
        }
    })
}

fn from_cel(value: &cel::Value, depth: usize) -> Result<Value, ExpressionError> {
    if depth > VALUE_DEPTH_MAX {
        return Err(ExpressionError::other(format!(
            "the value is nested deeper than {VALUE_DEPTH_MAX} levels"
        )));
    }
    Ok(match value {
        cel::Value::List(items) => Value::Array(
            items.iter().map(|item| from_cel(item, depth + 1)).collect::<Result<_, _>>()?,
        ),
        cel::Value::Map(fields) => {
            // Sorted, because the evaluator's maps have no order and equal values must be written alike.
            let mut sorted: Vec<_> =
                fields.map.iter().map(|(key, field)| (key.to_string(), field)).collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            let mut object = Map::new();
            for (key, field) in sorted {
                object.insert(key, from_cel(field, depth + 1)?);
            }
            Value::Object(object)
        }
        cel::Value::Float(number) if !number.is_finite() => {
            return Err(ExpressionError::other("the number is infinite or not a number"));
        }
        cel::Value::Duration(span) => span
            .to_std()
            .ok()
            .and_then(|span| u64::try_from(span.as_millis()).ok())
            .map(|millis| quarterdeck_model::Duration::from_millis(millis).to_string().into())
            .ok_or_else(|| ExpressionError::other("the duration is negative or too long"))?,
        other => other.json().map_err(|_| {
            ExpressionError::other(format!("has no JSON value: {}", other.type_of()))
        })?,
    })
}

/// Longest part of an evaluator's message that is repeated: it can show whole values.
const TOLD_CHARS_MAX: usize = 200;

pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(TOLD_CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
