//! What is admitted and what is refused, and how the refusal reads.

use crate::support::{Known, runbook};
use quarterdeck_runbook::{check, check_frozen};
use std::fmt::Write as _;

/// A runbook with these steps, a target and a parameter of each type.
fn with(steps: &str) -> String {
    format!(
        "target: {{kind: Server}}
parameters:
  - {{name: image, type: string, required: true}}
  - {{name: mode, type: string, enum: [fast, safe], default: safe}}
  - {{name: power, type: string, enum: ['On', 'Off', Dim], default: 'On'}}
  - {{name: count, type: integer, default: 1}}
  - {{name: ratio, type: number}}
  - {{name: force, type: boolean, default: false}}
  - {{name: names, type: array, default: []}}
  - {{name: extra, type: object}}
steps:
{steps}
"
    )
}

/// Runbooks that others call.
fn known() -> Known {
    Known::new()
        .with(
            "restart",
            "target: {kind: Server}
parameters:
  - {name: state, type: string, enum: [soft, hard], required: true, description: How to restart.}
  - {name: times, type: integer, default: 1}
steps: [{name: off, action: power.set, with: {state: 'Off'}}]
outputs: {done: '${ steps.off.output.changed }'}",
        )
        .with("note", "steps: [{name: write, action: note.write, with: {text: hi}}]")
        .with("on-rack", "target: {kind: Rack}\nsteps: [{name: wait, pause: 1s}]")
        .with("ping", "steps: [{name: pong, call: pong}]")
        .with("pong", "steps: [{name: ping, call: ping}]")
}

fn errors_of(yaml: &str) -> Vec<String> {
    check("main", &runbook(yaml), &known()).iter().map(ToString::to_string).collect()
}

/// The snippets with what is told of each.
fn told(snippets: &[&str]) -> String {
    let mut text = String::new();
    for snippet in snippets {
        let errors = errors_of(&with(snippet));
        assert!(!errors.is_empty(), "admitted:\n{snippet}");
        let _ = writeln!(text, "{}", snippet.trim_end());
        for error in errors {
            let _ = writeln!(text, "    → {error}");
        }
        text.push('\n');
    }
    text
}

#[test]
fn mistakes_in_what_steps_are_given() {
    let text = told(&[
        "- {name: off, action: power.sett, with: {state: 'Off'}}",
        "- {name: off, action: power.set, with: {state: Of}}",
        "- {name: off, action: power.set}",
        "- {name: off, action: power.set, with: {state: 'Off', delay: 3s, graze: 60s}}",
        "- {name: off, action: power.set, with: {state: 'Off', grace: soon}}",
        "- {name: off, action: power.set, with: {state: off}}",
        "- {name: off, action: power.set, with: {state: '${ params.count }'}}",
        "- {name: off, action: power.set, with: {state: '${ params.power }'}}",
        "- {name: off, action: power.set, with: {state: '${ params.mode == \"fast\" ? \"Off\" : \"Of\" }'}}",
        "- {name: off, action: power.set, disruptive: false, with: {state: 'Off'}}",
        "- {name: n, action: note.write, with: {text: 3}}",
        "- {name: n, action: note.write, with: {text: a, count: -1}}",
        "- {name: n, action: note.write, with: {text: a, count: '${ params.count / 2.0 }'}}",
        "- {name: n, action: note.write, with: {text: a, count: '${ double(params.count) }'}}",
        "- {name: n, action: note.write, with: {text: a, tags: one}}",
        "- {name: n, action: note.write, with: {text: a, tags: [one, 2, '${ params.force }']}}",
        "- {name: n, action: note.write, with: {text: a, tags: '${ [1, 2].map(n, n + 1) }'}}",
        "- {name: n, action: note.write, with: {text: a, labels: {a: b, c: [d]}}}",
        "- {name: n, action: note.write, with: {text: a, place: {unit: one, row: 3}}}",
        "- {name: n, action: note.write, with: {text: a, place: '${ {\"rack\": 7} }'}}",
        "- {name: n, action: note.write, with: {text: '${ null }', urgent: '${ params.?extra }'}}",
        "- {name: n, action: note.write, with: {text: 'a ${ params.imag } b ${ params.cuont }'}}",
        "- {name: n, action: note.write, with: {text: '${ params.image'}}",
        "- {name: n, action: note.write, with: {text: '${ params.image + }'}}",
        "- {name: again, call: restrat}",
        "- {name: again, call: restart}",
        "- {name: again, call: restart, with: {state: sofd, tmes: 2}}",
        "- {name: again, call: restart, with: {state: '${ params.mode }', times: '${ params.image }'}}",
        "- {name: rack, call: on-rack}",
        "- {name: me, call: main}",
        "- {name: circle, call: ping}",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn mistakes_in_expressions() {
    let text = told(&[
        "- {name: w, waitFor: 'target.status.powerstate == \"On\"'}",
        "- {name: w, waitFor: 'target.status.powerState'}",
        "- {name: w, waitFor: 'target.status.phase == \"Redy\"'}",
        "- {name: w, waitFor: 'target.status.phase in [\"redy\"]'}",
        "- {name: w, waitFor: 'target.spec.location.unit == \"12\"'}",
        "- {name: w, waitFor: 'target.spec.location.unit + 1.5 > 2.0'}",
        "- {name: w, waitFor: 'target.spec.location.unit > \"3\"'}",
        "- {name: w, waitFor: 'params.image && params.force'}",
        "- {name: w, waitFor: '!params.count'}",
        "- {name: w, waitFor: 'params.force ? 1 : 2'}",
        "- {name: w, waitFor: 'params.count ? true : false'}",
        "- {name: w, waitFor: 'tarqet.status.phase == \"Ready\"'}",
        "- {name: w, waitFor: 'item == 3 || error.reason == \"x\" || output.id == \"y\"'}",
        "- {name: w, waitFor: 'has(target.status.powered)'}",
        "- {name: w, waitFor: 'has(target)'}",
        "- {name: w, waitFor: 'params.names.exists(n, m == n)'}",
        "- {name: w, waitFor: 'params.names.exists(n)'}",
        "- {name: w, waitFor: 'params.image.exists(n, n == \"a\")'}",
        "- {name: w, waitFor: 'target.status.conditions.all(c, c.stats == \"True\")'}",
        "- {name: w, waitFor: 'target.status.conditions.filter(c, c.type).size() > 0'}",
        "- {name: w, waitFor: 'target.status.conditions.map(c, c.type)[0] == 3'}",
        "- {name: w, waitFor: 'params.image.startWith(\"a\")'}",
        "- {name: w, waitFor: 'params.image.startsWith(3)'}",
        "- {name: w, waitFor: 'params.count.startsWith(\"a\")'}",
        "- {name: w, waitFor: 'startsWith(params.image, \"a\")'}",
        "- {name: w, waitFor: 'params.image.size(3) == 1'}",
        "- {name: w, waitFor: 'size(params.count) == 1'}",
        "- {name: w, waitFor: 'len(params.names) == 1'}",
        "- {name: w, waitFor: 'timestamp(params.count) < timestamp(true)'}",
        "- {name: w, waitFor: 'timestamp(\"2026-01-01T00:00:00Z\") + 60 < timestamp(\"2026-01-01T00:00:00Z\")'}",
        "- {name: w, waitFor: 'duration(\"1h\").getDayOfWeek() == 1'}",
        "- {name: w, waitFor: 'params.names[\"a\"] == 1'}",
        "- {name: w, waitFor: 'params.image[0] == \"a\"'}",
        "- {name: w, waitFor: '{\"a\": 1}.b == 1'}",
        "- {name: w, waitFor: 'params.image =='}",
        "- {name: w, waitFor: ''}",
        "- name: w\n  waitFor: |\n    params.force &&\n    params.contt > 3",
        "- {name: w, when: params.count, pause: 3s}",
        "- {name: w, forEach: {in: params.image, steps: [{name: p, pause: 1s}]}}",
        "- {name: w, approve: {message: 'Reimage with ${ params.imge }?'}}",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn mistakes_in_what_steps_see_of_each_other() {
    let text = told(&[
        "- {name: a, waitFor: 'steps.b.output.id == \"x\"'}\n- {name: b, action: note.write, with: {text: hi}}",
        "- {name: a, waitFor: 'steps.a.attempts > 1'}",
        "- {name: a, waitFor: 'steps.nowhere.attempts > 1'}",
        "- {name: power-off, pause: 1s}\n- {name: b, waitFor: 'steps.power-off.phase == \"Succeeded\"'}",
        "- {name: a, action: note.write, with: {text: hi}}\n- {name: b, waitFor: 'steps.a.output.ids == \"\"'}",
        "- {name: a, action: note.write, with: {text: hi}}\n- {name: b, waitFor: 'steps.a.phase == \"Done\"'}",
        "- {name: a, action: note.write, with: {text: hi}}\n- {name: b, waitFor: 'steps.a.outputs.id == \"\"'}",
        "- {name: a, pause: 1s}\n- {name: b, waitFor: 'steps.a.output.id == 1'}",
        "- {name: a, call: restart, with: {state: soft}}\n- {name: b, waitFor: 'steps.a.output.don'}",
        "- name: both
  parallel:
    - {name: a, action: note.write, with: {text: hi}}
    - {name: b, action: note.write, with: {text: '${ steps.a.output.id }'}}
- {name: after, waitFor: steps.a.output.id == ''}",
        "- name: each
  forEach:
    in: params.names
    steps:
      - {name: a, action: note.write, with: {text: '${ steps.b.output.id }'}}
      - {name: b, action: note.write, with: {text: '${ string(index) + item }'}}
- {name: after, waitFor: 'item == 1 && steps.each.output == 1'}",
        "- name: each
  forEach:
    in: '[1, 2]'
    steps: [{name: a, action: note.write, with: {text: '${ item }'}}]",
        "- {name: a, action: note.write, with: {text: hi}, outputs: {id: '${ steps.a.output.id }', n: '${ output.nme }'}}",
        "- {name: a, action: note.write, with: {text: hi}, onFailure: {action: note.write, with: {text: '${ error.why }'}}}",
        "- {name: a, action: note.write, with: {text: hi}, compensate: {action: note.write, with: {txt: '${ output.id }'}}}",
        "- {name: a, action: note.write, with: {text: hi}, compensate: {call: nothing}}",
        "- {name: a, action: note.write, with: {text: hi}, onTimeout: {call: restart, then: Continue}}",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn mistakes_in_the_shape_of_steps() {
    let text = told(&[
        "- {name: a}",
        "- {name: a, pause: 1s, waitFor: 'true'}",
        "- {name: 'a b', pause: 1s}\n- {name: a/b, pause: 1s}\n- {name: onFailure, pause: 1s}\n- {name: '', pause: 1s}",
        "- {name: a, pause: 1s}\n- {name: a, pause: 1s}",
        "- {name: a, pause: 1s, with: {a: b}, retry: {attempts: 2}, timeout: 3s, disruptive: true}",
        "- {name: a, waitFor: 'true', retry: {attempts: 2}, disruptive: true}",
        "- {name: a, pause: 0s}",
        "- {name: a, waitFor: 'true', timeout: 0s}",
        "- {name: a, action: server.read, retry: {attempts: 0, backoff: 5m, maxBackoff: 1m}}",
        "- {name: a, action: server.read, retry: {attempts: 1000}}",
        "- {name: a, parallel: []}\n- {name: b, forEach: {in: '[]', concurrency: 0, steps: []}}",
        "- {name: a, waitFor: 'true', onFailure: {}, onTimeout: {action: server.read, call: note}}",
        "- {name: a, waitFor: 'true', compensate: {}, onFailure: {then: Continue, with: {a: b}}}",
        "- {name: a, pause: 1s, outputs: {a-b: 1}}",
        "- {name: a, parallel: [{name: b, parallel: [{name: c, parallel: [{name: d, parallel: [{name: e, pause: 1s}]}]}]}]}",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn mistakes_in_parameters_target_and_outputs() {
    let bad = "target: {kind: Toaster}
timeout: 0s
parameters:
  - {name: a-b, type: string}
  - {name: n, type: integer, default: many}
  - {name: n, type: integer, enum: [1, two], default: 3}
  - {name: r, type: string, required: true, default: x}
steps: [{name: a, pause: 1s}]
outputs: {the-end: 1}";
    let bare = "steps:
  - {name: a, action: server.read}
  - {name: b, waitFor: 'target.status.phase == \"Ready\" && params.x == 1'}
  - {name: c, call: restart, with: {state: soft}}
outputs: {id: '${ steps.c.output.id }', late: '${ steps.d.phase }'}";
    let text = [bad, bare].map(|yaml| errors_of(yaml).join("\n")).join("\n\n");
    insta::assert_snapshot!(text);
}

#[test]
fn what_might_work_is_admitted() {
    let steps = r#"
- {name: read, action: server.read, when: "has(target.status.powerState) && target.status.powerState != 'Off'"}
- name: power-off
  action: power.set
  with: {state: 'Off', grace: '${ params.mode == "fast" ? "5s" : "2m" }'}
  disruptive: true
  retry: {attempts: 4, backoff: 5s, maxBackoff: 1m}
  outputs: {changed: '${ output.changed }', both: {state: '${ output.powerState }', list: ['${ params.count }']}}
  compensate: {action: power.set, with: {state: 'On', grace: '${ steps["power-off"].outputs.changed ? "1s" : "2s" }'}}
  onFailure: {action: note.write, with: {text: '${ error.step }: ${ error.message }'}, then: Continue}
  onTimeout: {then: Continue}
- name: ask
  approve: {message: 'Go on with ${ params.image }? ${ params.names } ${ steps["power-off"].outputs }'}
  timeout: 8h
- name: is-off
  waitFor: target.status.powerState == 'Off' || steps["power-off"].outputs.changed
- name: each
  forEach:
    in: '[{"name": "a", "n": 1}, {"name": "b", "n": 2}].filter(x, x.n > 1)'
    concurrency: 5
    steps:
      - {name: write, action: note.write, with: {text: '${ item.name + string(index) }', count: '${ item.n }', tags: '${ params.names }'}}
      - name: inner
        parallel:
          - {name: one, action: note.write, with: {text: '${ steps.write.output.id }', ratio: '${ params.ratio }'}}
          - {name: two, action: note.write, with: {text: '${ steps.read.?output.serial.orValue("none") }'}}
        outputs: {ids: ['${ output.one.id }', '${ output.two.id }']}
  outputs: {counts: '${ output.map(o, o.write.count + 1) }'}
- {name: call, call: restart, with: {state: '${ params.mode == "fast" ? "hard" : "soft" }', times: '${ params.count * 2 }'}, when: 'steps.each.outputs.counts.all(c, c > 0)'}
- name: http
  action: http.request
  with: {url: 'https://example.com/${ steps.each.outputs.counts[0] }', body: {any: ['${ params.extra }', {deep: '${ steps.call.output }'}]}}
  when: 'steps.call.output.done == true && size(params.extra.list) + params.extra.n > 2'
- {name: json, waitFor: 'steps.http.output.body.items[0].ready && steps.http.output.headers["etag"] == "x" && "etag" in steps.http.output.headers'}
- {name: time, waitFor: 'timestamp(target.metadata.creationTimestamp) + duration("1h") < timestamp("2030-01-01T00:00:00Z") && timestamp("2030-01-01T00:00:00Z").getDayOfWeek("Europe/Amsterdam") == 1'}
- {name: numbers, waitFor: 'params.ratio * 2.0 > 1.5 && params.ratio + 1 > 0 && double(params.count) / 2.0 > 0.5 && params.count % 2 == 0 && -params.count < 0'}
- {name: types, waitFor: 'type(params.extra.x) == string && string(params.count) == "1" && int("3") > 2'}
- {name: nulls, waitFor: 'params.extra.x != null && target.status.powerState != null'}
- {name: regex, waitFor: 'params.image.matches("^[a-z]+$") && params.image.contains("a")'}
- {name: conditions, waitFor: 'target.status.conditions.exists(c, c.type == "Ready" && c.status == "True") && target.status.conditions.exists_one(c, c.type == "Ready")'}
- {name: labels, waitFor: 'target.metadata.labels["tier"] == "gold" || target.metadata.labels.tier == "x"'}
- {name: run, waitFor: 'run.attempt > 1 || run.target.name == target.metadata.name || run.uid == run.runbook'}
- {name: literal, action: note.write, with: {text: 'costs $${ params.image }', labels: {a: '${ params.image }'}, place: {rack: r1}}}
"#;
    assert_eq!(errors_of(&with(steps)), Vec::<String>::new());
}

#[test]
fn errors_are_bounded_in_number_and_length() {
    let mut steps = String::new();
    for at in 0..150 {
        steps.push_str(&format!("- {{name: s{at}, waitFor: 'a{at} + {}'}}\n", "x".repeat(500)));
    }
    let errors = errors_of(&with(&steps));
    assert_eq!(errors.len(), 51);
    assert!(errors[50].contains("more mistakes"), "{}", errors[50]);
    assert!(errors.iter().all(|error| error.len() < 2_000), "{errors:#?}");
}

#[test]
fn a_step_too_many_and_calls_too_deep_are_refused() {
    let mut steps = String::new();
    for at in 0..201 {
        steps.push_str(&format!("- {{name: s{at}, pause: 1s}}\n"));
    }
    let errors = errors_of(&with(&steps));
    assert_eq!(errors, ["spec.steps: Too many: 201: must have at most 200 items"]);

    // main → c1 → … → cN, and a shortcut that is seen first must not hide the long way.
    let chain = |length: usize| {
        let mut known = Known::new();
        for at in 1..length {
            known =
                known.with(&format!("c{at}"), &format!("steps: [{{name: s, call: c{}}}]", at + 1));
        }
        known = known.with(&format!("c{length}"), "steps: [{name: s, pause: 1s}]");
        let main = runbook(&format!(
            "steps: [{{name: short, call: c{}}}, {{name: long, call: c1}}]",
            length / 2
        ));
        let errors = check("main", &main, &known);
        let mut all = known.runbooks.clone();
        all.insert("main".into(), main);
        let compiled = quarterdeck_runbook::Definition::compile("main", &all);
        assert_eq!(errors.is_empty(), compiled.is_ok(), "{errors:?} {compiled:?}");
        errors
    };
    assert_eq!(chain(8), []);
    let errors = chain(9);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].field, "spec.steps[1].call");
    assert!(errors[0].message.contains("more than 8 levels deep"), "{}", errors[0]);
}

#[test]
fn frozen_runbooks_are_checked_together() {
    let mut runbooks = known().runbooks;
    runbooks.retain(|name, _| name == "restart" || name == "note");
    runbooks.insert(
        "main".into(),
        runbook("target: {kind: Server}\nsteps: [{name: r, call: restart, with: {state: soft}}]"),
    );
    assert_eq!(check_frozen(&runbooks, &Known::new()), []);

    // What is called changed after the caller was admitted.
    runbooks.get_mut("restart").unwrap().parameters[0].name = "how".into();
    let errors = check_frozen(&runbooks, &Known::new());
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "runbooks[main].spec.steps[0].with.state: Invalid value: \"state\": step \"r\": \
             runbook restart takes no \"state\"; there is \"how\" or \"times\"",
            "runbooks[main].spec.steps[0].with.how: Required value: step \"r\": \
             runbook restart needs it: How to restart.",
        ]
    );

    // A release without an action.
    let errors = check_frozen(&known().runbooks, &Known::new().without_action("note.write"));
    assert!(
        errors.iter().any(|error| error.field == "runbooks[note].spec.steps[0].action"),
        "{errors:?}"
    );
}
