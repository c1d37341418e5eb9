//! Fuzz targets: expressions and templates, which people write into objects. The tests run each for a
//! moment; `make fuzz` goes on.

use bolero::check;
use quarterdeck_model::kinds::admission_policy::ValidatingAdmissionPolicySpec;
use quarterdeck_runbook::{Budget, Expression, Scope, Template, policy};
use serde::Deserialize as _;
use serde_json::{Value, json};

fn scope() -> Scope<'static> {
    Scope::new()
        .with("params", json!({"n": 3, "s": "text", "b": true, "l": ["a", "b"]}))
        .with("target", json!({"status": {"phase": "Ready"}, "spec": {}, "metadata": {}}))
}

#[test]
fn fuzz_expressions() {
    check!().for_each(|bytes: &[u8]| {
        if let Ok(expression) = Expression::parse(&String::from_utf8_lossy(bytes)) {
            let _ = expression.evaluate(&scope());
        }
    });
}

#[test]
fn fuzz_policies() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        // As a validation, and as a variable that a validation reads.
        let policy = json!({
            "variables": [{"name": "v", "expression": text}],
            "validations": [{"expression": text}, {"expression": "variables.v == 1"}],
        });
        let Ok(spec) = ValidatingAdmissionPolicySpec::deserialize(policy) else { return };
        let _ = (policy::check(&spec), policy::warnings(&spec));
        if let Ok(program) = policy::Program::compile(&spec) {
            let _ = program.evaluate(&scope(), &Budget::default());
        }
    });
}

#[test]
fn fuzz_templates() {
    check!().for_each(|bytes: &[u8]| {
        let text = Value::from(String::from_utf8_lossy(bytes).into_owned());
        if let Ok(template) = Template::parse(&text) {
            let _ = template.render(&scope());
        }
    });
}
