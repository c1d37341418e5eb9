//! Evaluating expressions on the same values, within one budget. Values are brought into the form the
//! evaluator reads when one is first asked for, and named parts (`variables.NAME`) are evaluated then, once.

use super::{
    ErrorKind, Expression, ExpressionError, Scope, cut,
    meter::{BUDGET_NAME, Budget, ENV, weight},
    reader, values,
};
use cel::{
    Context, ExecutionError,
    common::value::{CowVal, Val},
    context::VariableResolver,
};
use serde_json::Value;
use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What the names of parts begin with, once they are read as one name: no text of an expression does.
pub(super) const PART: &str = "@part.";

/// The value, or why there is none: each expression that asks for it is told.
type Known<'v> = OnceLock<Result<Box<dyn Val + 'v>, ExpressionError>>;

/// Values that expressions are evaluated on, and what is left of their budget.
pub struct Session<'v> {
    values: Vec<(&'v str, &'v Value, Known<'v>)>,
    parts: Vec<(&'v str, &'v Expression, Known<'static>)>,
    /// So many of the parts can be seen: a part sees those before it.
    visible: AtomicUsize,
    budget: Budget,
    /// Why the value or part that was asked for last is not there.
    failed: Mutex<Option<ExpressionError>>,
}

impl<'v> Session<'v> {
    /// A session with the variables of `scope`, and named parts in the order in which they see each other.
    /// What is evaluated takes from `budget`.
    pub fn new(scope: &'v Scope<'v>, parts: &'v [(String, Expression)], budget: &Budget) -> Self {
        let value =
            |(name, value): &'v (&'v str, Cow<'v, Value>)| (*name, &**value, OnceLock::new());
        Self {
            values: scope.variables.iter().map(value).collect(),
            visible: AtomicUsize::new(parts.len()),
            parts: parts.iter().map(|(name, part)| (&**name, part, OnceLock::new())).collect(),
            budget: budget.clone(),
            failed: Mutex::new(None),
        }
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// When it has none: see [`ExpressionError::is_missing`].
    pub fn evaluate(&self, expression: &Expression) -> Result<Value, ExpressionError> {
        let value = self.run(expression)?;
        values::from_cel(&value).map_err(|error| error.within(&expression.text))
    }

    fn run(&self, expression: &Expression) -> Result<cel::Value, ExpressionError> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(self);
        let result =
            reader::with_evaluator_stack(|| cel::Value::resolve(&expression.metered, &context));
        let text = &expression.text;
        if self.budget.is_exhausted() {
            let why = "costs too much: it reads or makes more data than one expression may";
            return Err(ExpressionError::other(format!("{text}: {why}")));
        }
        let told = match result {
            Ok(value) => return Ok(value),
            Err(told) => told,
        };
        let (kind, why) = match &told {
            ExecutionError::NoSuchKey(name) => (ErrorKind::Missing, format!("no field {name:?}")),
            ExecutionError::IndexOutOfBounds(_) => {
                (ErrorKind::Missing, "the list has no such item".to_owned())
            }
            ExecutionError::UndeclaredReference(name) => match self.failed().take() {
                Some(cause) => (cause.kind, cause.message),
                None => (ErrorKind::Other, format!("unknown name {name:?}")),
            },
            other => (ErrorKind::Other, cut(&other.to_string())),
        };
        Err(ExpressionError { kind, message: format!("{text}: {why}") })
    }

    fn failed(&self) -> MutexGuard<'_, Option<ExpressionError>> {
        // It is whole whatever happened while it was held.
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, name: &str) -> Option<&(dyn Val + 'v)> {
        let (_, value, known) = self.values.iter().find(|(known, ..)| *known == name)?;
        let known = known.get_or_init(|| {
            let value = values::to_cel(value, 0);
            if let Ok(value) = &value {
                // Once for each session: large values and many sessions add up.
                self.budget.spend(weight(value.as_ref()) / 2);
            }
            value
        });
        self.found(known)
    }

    fn part(&self, name: &str) -> Option<&(dyn Val + 'v)> {
        let visible = self.visible.load(Ordering::Relaxed);
        let mut seen = self.parts.iter().take(visible);
        let at = seen.position(|(part, ..)| *part == name)?;
        let (_, part, known) = self.parts.get(at)?;
        let known = known.get_or_init(|| {
            // It sees only those before it, so this one is never asked for while it is evaluated.
            self.visible.store(at, Ordering::Relaxed);
            let value = self.run(part);
            self.visible.store(visible, Ordering::Relaxed);
            let value = value.and_then(|value| {
                let value: Result<Box<dyn Val>, _> = value.try_into();
                value.map_err(|error: ExecutionError| {
                    ExpressionError::other(cut(&error.to_string()))
                })
            });
            if let Ok(value) = &value {
                // Copied out of the evaluation that made it.
                self.budget.spend(weight(value.as_ref()));
            }
            value.map_err(|error| error.within(format!("variables.{name}")))
        });
        self.found(known)
    }

    /// The value, or none and a note why.
    fn found<'a>(
        &self,
        known: &'a Result<Box<dyn Val + 'v>, ExpressionError>,
    ) -> Option<&'a (dyn Val + 'v)> {
        match known {
            Ok(value) => Some(&**value),
            Err(error) => {
                *self.failed() = Some(error.clone());
                None
            }
        }
    }
}

impl VariableResolver for Session<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if variable == BUDGET_NAME {
            return Some(CowVal::Borrowed(&self.budget));
        }
        let found = match variable.strip_prefix(PART) {
            Some(name) => self.part(name),
            None => self.value(variable),
        };
        found.map(CowVal::Borrowed)
    }
}
