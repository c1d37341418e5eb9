//! Expressions and templates: their values, their bounds, and that no text harms the engine.

use proptest::prelude::*;
use quarterdeck_runbook::{Expression, Scope, Template};
use serde_json::{Value, json};
use std::time::Duration;

fn evaluate(text: &str) -> Result<Value, String> {
    let target =
        json!({"name": "a", "list": [3, 1, 2], "map": {"x": 1}, "time": "2026-03-01T00:00:00Z"});
    let scope = Scope::new().with("target", target).with("n", json!(7)).with("r", json!(1.5));
    let expression = Expression::parse(text).map_err(|error| error.to_string())?;
    expression.evaluate(&scope).map_err(|error| error.to_string())
}

#[test]
fn expressions_have_the_values_that_cel_says() {
    let table = [
        ("1 + 2 * 3", json!(7)),
        ("7 / 2 == 3 && -7 % 3 == -1", json!(true)),
        ("r * 2.0", json!(3.0)),
        ("'a' + target.name", json!("aa")),
        ("target.list + [9]", json!([3, 1, 2, 9])),
        ("target.list.map(x, x * 2)", json!([6, 2, 4])),
        ("target.list.filter(x, x > 1)", json!([3, 2])),
        ("target.list.map(x, x > 1, x + 1)", json!([4, 3])),
        ("target.list.all(x, x > 0)", json!(true)),
        ("target.list.exists(x, x > 2)", json!(true)),
        ("target.list.exists_one(x, x > 1)", json!(false)),
        ("target.list.map(x, target.list.map(y, x * y))", json!([[9, 3, 6], [3, 1, 2], [6, 2, 4]])),
        ("target.map.map(k, k)", json!(["x"])),
        ("2 in target.list && 'x' in target.map && !('y' in target.map)", json!(true)),
        ("has(target.map.x) && !has(target.map.y)", json!(true)),
        ("target.?map.?y.orValue(5)", json!(5)),
        ("target[?'name'].value()", json!("a")),
        ("n > 5 ? 'big' : 'small'", json!("big")),
        ("{'b': 1, 'a': [n]}", json!({"a": [7], "b": 1})),
        ("size('hé') + size([1]) + target.map.size()", json!(4)),
        (
            "'power-off'.startsWith('power') && 'x'.endsWith('x') && 'abc'.contains('b')",
            json!(true),
        ),
        ("'r7-u12'.matches('^r[0-9]+-u[0-9]+$')", json!(true)),
        ("string(3) + string(true) + string(1.5)", json!("3true1.5")),
        ("int('3') + int(2.9)", json!(5)),
        ("timestamp(target.time) + duration('90m')", json!("2026-03-01T01:30:00Z")),
        ("timestamp(target.time) - timestamp('2026-02-28T23:00:00Z')", json!("1h")),
        ("timestamp(target.time).getFullYear()", json!(2026)),
        ("n == 7.0 && null == null && target.list == [3, 1, 2]", json!(true)),
        ("false && target.nothing || true", json!(true)),
    ];
    for (text, value) in table {
        let found = evaluate(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        // `+00:00` and `Z` say the same.
        let found = found.as_str().map_or(found.clone(), |text| text.replace("+00:00", "Z").into());
        assert_eq!(found, value, "{text}");
    }
}

#[test]
fn what_has_no_value_says_why() {
    let table = [
        ("target.nothing", "no field"),
        ("target.list[9]", "no such item"),
        ("1 / 0", "zero"),
        ("9223372036854775807 + 1", "verflow"),
        ("nobody", "unknown name"),
        ("'a'.nothing()", "nothing"),
        ("'a'.matches('(')", "regex"),
        ("duration('-1h')", "negative"),
        ("int('x')", "int"),
        ("b'abc' + 'abc'", "add"),
    ];
    for (text, why) in table {
        let error = evaluate(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn templates_keep_types_and_texts() {
    let scope = Scope::new().with("n", json!(7)).with("s", json!("x")).with("l", json!([1]));
    let table = [
        (json!("${ n }"), json!(7)),
        (json!("${n}${s}"), json!("7x")),
        (json!("a ${ n } b ${ l } c"), json!("a 7 b [1] c")),
        (json!("$${ n }"), json!("${ n }")),
        (json!("cost: $5"), json!("cost: $5")),
        (
            json!({"a": ["${ s }", 1, null], "b": {"c": "${ {'}': n} }"}}),
            json!({"a": ["x", 1, null], "b": {"c": {"}": 7}}}),
        ),
        (json!("${ '}' + \"}\" }"), json!("}}")),
        (json!(true), json!(true)),
    ];
    for (text, value) in table {
        let template = Template::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(template.render(&scope).as_ref(), Ok(&value), "{text}");
    }
    for text in ["${ n", "${ }", "${ n + }", "a ${ 'x } b"] {
        assert!(Template::parse(&json!(text)).is_err(), "{text}");
    }
}

/// Runs on less stack than any of our threads has.
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(work);
    thread.expect("a thread").join().expect("no panic and no overflow")
}

/// What this thread has had of a processor, whatever else the machine is doing.
fn processor_time() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn no_expression_runs_long_or_grows_without_bound() {
    let long = "x".repeat(200);
    let items = (0..40).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let bombs = [
        format!("['{long}']{}", ".map(x, x+x+x)".repeat(20)),
        format!("[1]{}", ".map(x, [x,x,x])".repeat(15)),
        format!("[{{'a': 1}}]{}", ".map(x, {'a': x, 'b': x, 'c': x})".repeat(15)),
        format!("[{items}].map(a, [{items}].map(b, [{items}].map(c, [{items}].map(d, a + b))))"),
        format!("[{items}].all(a, [{items}].all(b, [{items}].all(c, [{items}].all(d, a >= 0))))"),
        "big.map(a, big.map(b, a + b))".to_owned(),
        "big.all(a, big.exists(b, a == b))".to_owned(),
        "big.all(a, big.all(b, [a, b].size() == 2 && big == big))".to_owned(),
        "big.exists(a, big.exists(b, a.matches('(a|b|ab)*[a-f]{5}' + b)))".to_owned(),
        "big.map(a, big).map(b, b)".to_owned(),
        "big.filter(a, a in big && !(a in big))".to_owned(),
        "big.map(a, big.join('-').replace('-', big.join('+')))".to_owned(),
        "big.all(a, !big.join('').contains('none of it') && big.join('').size() > 1)".to_owned(),
        "big.all(a, big.all(b, b.lowerAscii().upperAscii().indexOf(a + 'none') == -1))".to_owned(),
        "big.map(a, big.join('').split(''))".to_owned(),
    ];
    let big = json!((0..2_000).map(|n| format!("{n}-{long}")).collect::<Vec<_>>());
    for bomb in bombs {
        let shown = bomb.clone();
        let big = big.clone();
        let (result, took) = on_a_small_stack(move || {
            let scope = Scope::new().with("big", big);
            let result =
                Expression::parse(&bomb).and_then(|expression| expression.evaluate(&scope));
            (result, processor_time())
        });
        assert!(result.is_err(), "{shown}: {result:?}");
        // Far above what it takes, far below what would hold up a run.
        assert!(took < Duration::from_secs(10), "{shown}: {took:?}");
    }
}

#[test]
fn work_that_people_write_is_within_the_bound() {
    let big = json!(
        (0..1_000).map(|n| json!({"name": format!("m-{n}"), "ok": n % 7 == 0})).collect::<Vec<_>>()
    );
    let scope = Scope::new().with("big", big);
    for (text, value) in [
        ("big.filter(m, m.ok && m.name.startsWith('m-')).size()", json!(143)),
        ("big.map(m, m.name).exists(name, name == 'm-999')", json!(true)),
        ("big.all(m, m.name in ['m-1', 'm-2'] || has(m.ok))", json!(true)),
    ] {
        let found = Expression::parse(text).and_then(|expression| expression.evaluate(&scope));
        assert_eq!(found, Ok(value), "{text}");
    }
}

#[test]
fn deep_and_long_texts_are_refused_without_harm() {
    let texts = [
        "(".repeat(1_000),
        format!("{}1{}", "(".repeat(64), ")".repeat(64)),
        format!("{}1{}", "[".repeat(31), "]".repeat(31)),
        format!("{}1{}", "{1: ".repeat(31), "}".repeat(31)),
        format!("{}1{}", "[1].map(x, ".repeat(10), ")".repeat(10)),
        format!("[1]{}", ".map(x, x)".repeat(31)),
        format!("1{}", " + 1".repeat(250)),
        format!("a{}", ".b".repeat(250)),
        format!("{}true", "!".repeat(250)),
        format!("{}1", "- ".repeat(250)),
        format!("a{}", " ? a : a".repeat(100)),
        format!("a{}", "[0]".repeat(63)),
        format!("true{}", " && true".repeat(120)),
        format!("'{}'", "x".repeat(3_000)),
        "a ".repeat(900),
        "in ".repeat(500),
        "\"".repeat(1_500),
        "\\".repeat(1_500),
    ];
    for text in texts {
        // A stack that overflows ends the process: the last line printed names the text.
        println!("{} bytes: {:.60}", text.len(), text);
        on_a_small_stack(move || {
            let scope = Scope::new().with("a", json!(1));
            let _ = Expression::parse(&text).and_then(|expression| expression.evaluate(&scope));
        });
    }
}

/// Texts that look like expressions.
fn near_expressions() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        proptest::sample::select(vec![
            "target", "params", "steps", "item", "a", "has", "map", "all", "size", "type",
            "optional", "in", "true", "null", "1", "1u", "0x1F", "1.5e9", "'s'", "\"t\"", "b'x'",
            "r'\\'", "'''", "\"\"\"", ".", ".?", "[", "]", "[?", "(", ")", "{", "}", ",", ":", "?",
            "+", "-", "*", "/", "%", "!", "&&", "||", "==", "!=", "<", "<=", ">", ">=", "=", "&",
            "|", "`", "@", "#", "$", "\\", "//", "\n", "…",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9_.'\"(){}$ -]{1,6}",
    ];
    proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.join(" "))
}

fn survives(text: String) {
    on_a_small_stack(move || {
        let scope = Scope::new()
            .with("target", json!({"a": [1]}))
            .with("params", json!({}))
            .with("a", json!(1));
        if let Ok(expression) = Expression::parse(&text) {
            let _ = expression.evaluate(&scope);
        }
        if let Ok(template) = Template::parse(&json!({"a": [format!("x ${{ {text} }} y"), text]})) {
            let _ = template.render(&scope);
        }
        // As an expression of a runbook that is to be admitted.
        let mut spec = crate::support::runbook("steps: [{name: a, waitFor: 'true', when: 'true'}]");
        spec.steps[0].wait_for = Some(text.clone());
        spec.steps[0].outputs.insert("x".into(), format!("${{{text}}}").into());
        quarterdeck_runbook::check("main", &spec, &crate::support::Known::new());
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_near_an_expression_harms(text in near_expressions()) {
        survives(text);
    }

    #[test]
    fn no_text_at_all_harms(text in "\\PC{0,60}|[\\x00-\\x7f]{0,60}") {
        survives(text);
    }

    /// What is admitted as a condition gives true or false, or says that it is not there: never a
    /// wrong type.
    #[test]
    fn what_is_well_typed_does_not_fail_on_types(text in typed_expressions()) {
        let known = crate::support::Known::new();
        let mut spec = crate::support::runbook(
            "target: {kind: Server}\nparameters: [{name: n, type: integer, required: true}, \
             {name: s, type: string, required: true}, {name: b, type: boolean, required: true}, \
             {name: l, type: array, required: true}]\nsteps: [{name: a, waitFor: 'true'}]",
        );
        spec.steps[0].wait_for = Some(text.clone());
        let errors = quarterdeck_runbook::check("main", &spec, &known);
        if errors.is_empty() {
            let scope = Scope::new()
                .with("params", json!({"n": 3, "s": "text", "b": true, "l": ["a", "b"]}))
                .with("target", json!({"status": {"powerState": "On"}, "spec": {}, "metadata": {}}));
            let value = Expression::parse(&text).unwrap().evaluate(&scope);
            match value {
                Ok(value) => prop_assert!(value.is_boolean(), "{} gave {}", text, value),
                Err(error) => prop_assert!(
                    error.is_missing() || is_of_values(&error.to_string()),
                    "{}: {}", text, error
                ),
            }
        }
    }
}

/// Errors that depend on values, which no check of types can foresee.
fn is_of_values(error: &str) -> bool {
    ["zero", "verflow", "regex", "costs too much", "Error executing function", "out of range"]
        .iter()
        .any(|told| error.contains(told))
}

/// Expressions of all types over a small scope, most of them well typed.
fn typed_expressions() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(vec![
        "params.n",
        "params.s",
        "params.b",
        "params.l",
        "target.status.powerState",
        "target.status.phase",
        "1",
        "2.5",
        "'a'",
        "true",
        "null",
        "[1, 2]",
        "['a']",
        "{'k': 1}",
        "duration('1h')",
        "timestamp('2026-01-01T00:00:00Z')",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 24, 3, |inner| {
        let operator = proptest::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in",
        ]);
        let method = proptest::sample::select(vec![
            "size()",
            "startsWith('a')",
            "contains('a')",
            "getHours()",
            "map(x, x)",
            "filter(x, x == 1)",
            "all(x, x == 'a')",
            "exists(x, x != 1)",
        ]);
        let function = proptest::sample::select(vec![
            "string", "int", "double", "size", "type", "bool", "!", "-",
        ]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), method).prop_map(|(a, method)| format!("{a}.{method}")),
            (inner.clone(), function).prop_map(|(a, function)| format!("{function}({a})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a} ? {b} : {b})")),
        ]
    })
}

#[test]
fn texts_have_the_functions_that_kubernetes_has() {
    let evaluate = |text: &str| {
        let scope = Scope::new().with("long", json!("ab".repeat(20_000)));
        Expression::parse(text).and_then(|expression| expression.evaluate(&scope))
    };
    for (text, value) in [
        ("'AbÉ'.lowerAscii() + 'aé'.upperAscii()", json!("abÉAé")),
        ("'  a b '.trim()", json!("a b")),
        ("'héllo'.charAt(1) + 'a'.charAt(1)", json!("é")),
        ("'héllo'.substring(1) + 'héllo'.substring(1, 3)", json!("élloél")),
        ("['héllo'.indexOf('l'), 'héllo'.lastIndexOf('l'), 'a'.indexOf('b')]", json!([2, 3, -1])),
        ("'a.b.c'.split('.') + 'ab'.split('')", json!(["a", "b", "c", "a", "b"])),
        ("['a', 'b'].join('-') + ['a', 'b'].join()", json!("a-bab")),
        ("'a.b.c'.replace('.', '::')", json!("a::b::c")),
    ] {
        assert_eq!(evaluate(text), Ok(value), "{text}");
    }
    for wrong in [
        "'abc'.substring(2, 1)",
        "'abc'.substring(4)",
        "'abc'.charAt(-1)",
        "'abc'.charAt(4)",
        "[1].join()",
        "long.replace('a', long)",
        "long.split('')",
    ] {
        assert!(evaluate(wrong).is_err(), "{wrong}");
    }
}
