//! Policies of admission: their expressions, checked when a policy is written ([`check`], [`warnings`]) and
//! evaluated when anything else is ([`Program`]). Pure: which writes a policy is about, and what becomes of
//! those that do not meet it, is the API's.
//! Source: Kubernetes "Validating Admission Policy", and the words its server has for findings.

mod check;

pub use check::{check, warnings};

use crate::{Budget, Expression, ExpressionError, Scope, Session};
use quarterdeck_model::kinds::admission_policy::{ValidatingAdmissionPolicySpec, ValidationReason};
use serde_json::Value;

/// What the named expressions of a policy are read from.
const VARIABLES: &str = "variables";
/// Longest message that an expression makes, as in Kubernetes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
/// Longest audit annotation, as in Kubernetes.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

/// The expressions of one policy, read.
#[derive(Debug)]
pub struct Program {
    conditions: Vec<Expression>,
    variables: Vec<(String, Expression)>,
    validations: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
}

#[derive(Debug)]
struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: Option<ValidationReason>,
}

/// What a policy found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Validations that are not met.
    pub failures: Vec<Failure>,
    /// Annotations for the audit log, by key.
    pub annotations: Vec<(String, String)>,
}

/// A validation that is not met.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Place of the validation among those of its policy; none when it is no validation that failed.
    pub index: Option<usize>,
    /// What is told.
    pub message: String,
    /// What kind of refusal it is.
    pub reason: ValidationReason,
    /// An expression had no value, so that `failurePolicy` says what becomes of the write.
    pub broken: bool,
}

impl Failure {
    /// Something that a policy needs is not there, or has no value.
    pub fn broken(message: String) -> Self {
        Self { index: None, message, reason: ValidationReason::Invalid, broken: true }
    }
}

impl Program {
    /// Reads the expressions of a policy.
    ///
    /// # Errors
    /// When one cannot be read; see [`check`], which tells of all.
    pub fn compile(spec: &ValidatingAdmissionPolicySpec) -> Result<Self, ExpressionError> {
        let named = |(name, text): (&String, &String)| -> Result<_, ExpressionError> {
            Ok((name.clone(), read(text)?))
        };
        let conditions = spec.match_conditions.iter().map(|it| Expression::parse(&it.expression));
        let variables = spec.variables.iter().map(|it| named((&it.name, &it.expression)));
        let annotations =
            spec.audit_annotations.iter().map(|it| named((&it.key, &it.value_expression)));
        let validations = spec.validations.iter().map(|it| -> Result<_, ExpressionError> {
            Ok(Validation {
                expression: read(&it.expression)?,
                message: it.message.as_deref().unwrap_or_default().trim().to_owned(),
                message_expression: it.message_expression.as_deref().map(read).transpose()?,
                reason: it.reason,
            })
        });
        Ok(Self {
            conditions: conditions.collect::<Result<_, _>>()?,
            variables: variables.collect::<Result<_, _>>()?,
            validations: validations.collect::<Result<_, _>>()?,
            annotations: annotations.collect::<Result<_, _>>()?,
        })
    }

    /// Evaluates a policy; none when its conditions say that it is not about this write.
    pub fn evaluate(&self, scope: &Scope<'_>, budget: &Budget) -> Option<Findings> {
        let session = Session::new(scope, &self.variables, budget);
        let mut broken = None;
        for condition in &self.conditions {
            match truth(&session, condition) {
                Ok(true) => {}
                // One that is false decides, whatever becomes of others.
                Ok(false) => return None,
                Err(message) => broken = broken.or(Some(message)),
            }
        }
        if let Some(message) = broken {
            return Some(Findings {
                failures: vec![Failure::broken(message)],
                ..Findings::default()
            });
        }
        let mut findings = Findings::default();
        for (index, validation) in self.validations.iter().enumerate() {
            let (message, broken) = match truth(&session, &validation.expression) {
                Ok(true) => continue,
                Ok(false) => (validation.message(&session), false),
                Err(message) => (message, true),
            };
            let reason = validation.reason.filter(|_| !broken);
            let reason = reason.unwrap_or(ValidationReason::Invalid);
            findings.failures.push(Failure { index: Some(index), message, reason, broken });
        }
        for (key, expression) in &self.annotations {
            match session.evaluate(expression) {
                Ok(Value::String(text)) if !text.trim().is_empty() => {
                    let text = text.trim().chars().take(ANNOTATION_BYTES_MAX).collect();
                    findings.annotations.push((key.clone(), text));
                }
                Ok(Value::String(_) | Value::Null) => {}
                Ok(_) => {
                    let why = format!("valueExpression '{}' gives no string", expression.text());
                    findings.failures.push(Failure::broken(why));
                }
                Err(error) => {
                    findings.failures.push(Failure::broken(resulted(expression, &error)));
                }
            }
        }
        Some(findings)
    }
}

impl Validation {
    /// What the writer is told: what the message expression makes, if that is a line of text.
    fn message(&self, session: &Session<'_>) -> String {
        let made = self.message_expression.as_ref().and_then(|it| session.evaluate(it).ok());
        let made = made.as_ref().and_then(Value::as_str).unwrap_or_default().trim();
        let fits = !made.contains('\n') && made.len() <= MESSAGE_BYTES_MAX;
        match (made, self.message.as_str()) {
            (made, _) if !made.is_empty() && fits => made.to_owned(),
            (_, "") => format!("failed expression: {}", self.expression.text().trim()),
            (_, message) => message.to_owned(),
        }
    }
}

fn read(text: &str) -> Result<Expression, ExpressionError> {
    Expression::parse(text)?.with_parts(VARIABLES)
}

fn truth(session: &Session<'_>, expression: &Expression) -> Result<bool, String> {
    match session.evaluate(expression) {
        Ok(Value::Bool(truth)) => Ok(truth),
        Ok(_) => Err(format!("expression '{}' is not true or false", expression.text())),
        Err(error) => Err(resulted(expression, &error)),
    }
}

fn resulted(expression: &Expression, error: &ExpressionError) -> String {
    let (text, told) = (expression.text(), error.to_string());
    let why = told.strip_prefix(text).map_or(&*told, |rest| rest.trim_start_matches(": "));
    format!("expression '{text}' resulted in error: {why}")
}
