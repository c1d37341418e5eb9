//! Conditions: one expression over one object, `target`, such as a remedy's `when`. Checked as the `when` of a
//! runbook's step is, and evaluated alike.

use crate::{
    Expression, ExpressionError, Scope,
    check::{
        expression::{Names, type_of},
        types::Type,
        values::place,
    },
};
use quarterdeck_model::KindRef;
use serde_json::Value;

/// A condition, ready to be asked.
#[derive(Debug, Clone)]
pub struct Condition(Expression);

impl Condition {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is no expression.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        Expression::parse(text).map(Self)
    }

    /// All that cannot work in it for objects of `kind`.
    pub fn mistakes(text: &str, kind: KindRef) -> Vec<String> {
        let expression = match Expression::parse(text) {
            Ok(expression) => expression,
            Err(error) => return vec![error.to_string()],
        };
        let mut names = Names::default();
        names.variables.insert("target", Type::of_schema((kind.schema)()));
        names.unknown.insert("params", "a condition is about the object alone");
        let (found, problems) = type_of(&expression, &names);
        if !problems.is_empty() {
            let told = problems.into_iter().map(|problem| {
                let at = problem.at.map_or_else(String::new, |at| place(text, at));
                format!("{at}{}", problem.message)
            });
            return told.collect();
        }
        if found.is_open() || found == Type::Bool {
            return Vec::new();
        }
        vec![format!("must be true or false, not {found}")]
    }

    /// Whether it is so of `target`. What is not there, or has no answer, is not so.
    pub fn holds(&self, target: &Value) -> bool {
        self.0.truth(&Scope::new().with_ref("target", target)).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_model::{Kind as _, kinds::Server};
    use serde_json::json;

    #[test]
    fn mistakes_are_told_where_they_are() {
        for (text, wanted) in [
            ("target.status.phase == \"Ready\"", ""),
            (
                "target.status.conditions.exists(c, c.type == \"Ready\" && c.status == \"False\")",
                "",
            ),
            ("target.status.powerstate == \"Off\"", "did you mean \"powerState\"?"),
            ("params.x == 1", "params is not known here: a condition is about the object alone"),
            ("target.status.powerState", "must be true or false, not"),
            ("target.status.", "not a CEL expression"),
            ("", "the expression is empty"),
        ] {
            let told = Condition::mistakes(text, Server::info()).join("; ");
            assert_eq!(told.is_empty(), wanted.is_empty(), "{text}: {told}");
            assert!(told.contains(wanted), "{text}: {told}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_so() {
        let condition = Condition::parse("target.status.powerState == \"Off\"").unwrap();
        assert!(condition.holds(&json!({"status": {"powerState": "Off"}})));
        assert!(!condition.holds(&json!({"status": {"powerState": "On"}})));
        assert!(!condition.holds(&json!({"status": {}})));
        assert!(!condition.holds(&json!(7)));
    }
}
