//! Expressions: CEL texts, parsed once and evaluated on JSON values.
//!
//! Nothing here may panic or run long, whatever the text: texts are bounded before they are parsed,
//! and evaluation has a budget. Source of the language: the Common Expression Language definition
//! (cel-spec, "langdef").

mod meter;
mod reader;
mod session;
mod texts;
mod values;

use cel::{IdedExpr, common::ast::SourceInfo, parser::ParseError};
use meter::ENV;
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};

pub use meter::Budget;
pub use reader::EXPRESSION_BYTES_MAX;
pub(crate) use reader::TYPES;
pub use session::Session;

/// A parsed CEL expression.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    tree: Arc<IdedExpr>,
    /// The tree as it is run.
    metered: Arc<IdedExpr>,
    places: Arc<SourceInfo>,
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
        reader::bound(text)?;
        let parsed = reader::with_parser_stack(|| ENV.parser().parse_with_source_info(text));
        let (tree, places) = parsed.map_err(|errors| {
            let told = errors.errors.first().map_or_else(|| "it cannot be read".into(), told);
            ExpressionError::syntax(format!("not a CEL expression: {told}"))
        })?;
        let uses = reader::uses(&tree)?;
        Ok(Self {
            text: text.into(),
            metered: Arc::new(meter::meter(&tree)),
            tree: Arc::new(tree),
            places: Arc::new(places),
            uses: Arc::new(uses),
        })
    }

    /// The same, reading `whole.NAME` as the part NAME of a [`Session`].
    ///
    /// # Errors
    /// When `whole` is used in another way.
    pub fn with_parts(mut self, whole: &str) -> Result<Self, ExpressionError> {
        if !self.uses.variables.contains(whole) {
            return Ok(self);
        }
        let mut tree = IdedExpr::clone(&self.metered);
        if !meter::name_parts(&mut tree, whole) {
            let why = format!("{whole} are read by name: {whole}.NAME");
            return Err(ExpressionError::syntax(why));
        }
        self.metered = Arc::new(tree);
        Ok(self)
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
    pub(crate) fn tree(&self) -> &IdedExpr {
        &self.tree
    }

    /// Where a node of the tree was written: its first byte.
    pub(crate) fn offset(&self, id: u64) -> Option<usize> {
        self.places.offset_for(id).and_then(|(start, _)| usize::try_from(start).ok())
    }

    /// Its value.
    ///
    /// # Errors
    /// When it has none: see [`ExpressionError::is_missing`].
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        Session::new(scope, &[], &Budget::default()).evaluate(self)
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

/// What the parser says, with where; without the list of all that might have stood there.
fn told(error: &ParseError) -> String {
    let (line, column) = error.pos;
    let message = error.msg.split(" expecting ").next().unwrap_or_default();
    let message = message.replace("'<EOF>'", "its end");
    format!("line {line}, column {column}: {}", cut(&message))
}

/// Longest part of an evaluator's message that is repeated: it can show whole values.
const TOLD_CHARS_MAX: usize = 200;

pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(TOLD_CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
