//! Policies of admission: what their expressions come to, and what is told of those that cannot work.

use quarterdeck_model::kinds::admission_policy::{ValidatingAdmissionPolicySpec, ValidationReason};
use quarterdeck_runbook::{
    Budget, Scope,
    policy::{Failure, Findings, Program, check, warnings},
};
use serde_json::{Value, json};

fn spec(value: Value) -> ValidatingAdmissionPolicySpec {
    serde_json::from_value(value).unwrap()
}

fn evaluate(policy: Value, object: Value) -> Option<Findings> {
    let spec = spec(policy);
    assert_eq!(check(&spec), []);
    let request = json!({"operation": "CREATE"});
    let scope = Scope::new().with("object", object).with("request", request);
    Program::compile(&spec).unwrap().evaluate(&scope, &Budget::default())
}

fn told(findings: &Findings) -> Vec<&str> {
    findings.failures.iter().map(|failure| failure.message.as_str()).collect()
}

#[test]
fn variables_are_evaluated_when_they_are_read_and_once() {
    let variables = json!([
        {"name": "broken", "expression": "object.none.at.all == 1"},
        {"name": "names", "expression": "object.list.map(x, x.name)"},
        {"name": "first", "expression": "variables.names[0]"},
        {"name": "age", "expression": "duration('90s')"},
    ]);
    let check = |expression: &str| {
        let policy = json!({"variables": variables, "validations": [{"expression": expression}]});
        let object = json!({"list": [{"name": "a"}, {"name": "b"}]});
        told(&evaluate(policy, object).unwrap()).join("; ")
    };
    for good in [
        "true || variables.broken",
        "variables.first == 'a'",
        "variables['first'] == 'a'",
        "variables.names.exists(name, name == variables.first)",
        "[1].all(variables, variables == 1)",
        "has(variables.first)",
        "variables.age > duration('1m')",
        "variables.names.size() == 2 && variables.names == ['a', 'b']",
    ] {
        assert_eq!(check(good), "", "{good}");
    }
    let why = check("variables.broken");
    assert_eq!(
        why,
        "expression 'variables.broken' resulted in error: variables.broken: object.none.at.all == 1: no field \"none\""
    );
}

#[test]
fn messages_are_lines_of_text() {
    for (validation, message, reason) in [
        (json!({"expression": "false"}), "failed expression: false", ValidationReason::Invalid),
        (
            json!({"expression": "false", "message": " no ", "reason": "Forbidden"}),
            "no",
            ValidationReason::Forbidden,
        ),
        (
            json!({"expression": "false", "message": "no", "messageExpression": "'not ' + object.a"}),
            "not b",
            ValidationReason::Invalid,
        ),
        (
            json!({"expression": "false", "message": "no", "messageExpression": "'a\\nb'"}),
            "no",
            ValidationReason::Invalid,
        ),
        (
            json!({"expression": "false", "message": "no", "messageExpression": "object.none"}),
            "no",
            ValidationReason::Invalid,
        ),
    ] {
        let found = evaluate(json!({"validations": [validation]}), json!({"a": "b"})).unwrap();
        let (index, message) = (Some(0), message.to_owned());
        assert_eq!(found.failures, [Failure { index, message, reason, broken: false }]);
    }
}

#[test]
fn conditions_decide_before_they_fail() {
    let with = |conditions: &[&str]| {
        let conditions: Vec<Value> = conditions
            .iter()
            .enumerate()
            .map(|(at, text)| json!({"name": format!("c{at}"), "expression": text}))
            .collect();
        evaluate(
            json!({"matchConditions": conditions, "validations": [{"expression": "false"}]}),
            json!({}),
        )
    };
    assert!(with(&["object.none == 1", "false"]).is_none(), "one that is false decides");
    let broken = with(&["true", "object.none == 1"]).unwrap();
    assert!(broken.failures[0].broken && broken.failures[0].index.is_none());
    assert_eq!(told(&with(&["true"]).unwrap()), ["failed expression: false"]);
}

#[test]
fn all_of_a_policy_has_one_budget() {
    let list: Vec<u32> = (0..1_000).collect();
    let heavy = json!({"expression": "object.list.all(a, object.list.exists(b, a == b))"});
    let mut policy = json!({"validations": [{"expression": "object.list.size() == 1000"}]});
    assert_eq!(told(&evaluate(policy.clone(), json!({"list": list})).unwrap()), [""; 0]);
    policy["validations"] = json!([heavy, {"expression": "true"}]);
    let found = evaluate(policy, json!({"list": list})).unwrap();
    assert!(found.failures.iter().all(|failure| failure.broken), "{found:?}");
    assert!(told(&found)[0].contains("costs too much"), "{found:?}");
}

#[test]
fn what_cannot_work_for_a_kind_is_warned_of() {
    let policy = |expression: &str, resources: &[&str]| {
        spec(json!({
            "paramKind": {"apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Site"},
            "matchConstraints": {"resourceRules": [{"apiGroups": ["inventory.quarterdeck.dev"],
                "apiVersions": ["*"], "operations": ["*"], "resources": resources}]},
            "validations": [{"expression": expression}],
        }))
    };
    let both = policy("object.spec.region == 'eu'", &["sites", "racks/status"]);
    assert_eq!(check(&both), []);
    let found = warnings(&both);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].field_ref, "spec.validations[0].expression");
    let why = &found[0].warning;
    assert!(
        why.starts_with("inventory.quarterdeck.dev/v1alpha1, Kind=Rack: column 13: object.spec has no field \"region\""),
        "{why}"
    );
    let params = warnings(&policy("params.spec.regin == 'eu'", &["sites"]));
    assert!(params[0].warning.contains("did you mean \"region\"?"), "{params:?}");
    assert_eq!(warnings(&policy("object.spec.region == 'eu'", &["*"])), []);
    // What is written to a part may be of another kind.
    assert_eq!(warnings(&policy("object.anything == 1", &["sites/token"])), []);
    assert_ne!(warnings(&policy("object.anything == 1", &["sites/status"])), []);
}
