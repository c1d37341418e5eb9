//! What is too much is refused, in short time.

use super::*;
use crate::testing::{Held, Sees};
use quarterdeck_model::{
    Kind as _,
    kinds::{ImpactReportStatus, ImpactVerdict, Server, Service},
};
use serde_json::json;
use std::{fmt::Write as _, time::Duration};
use tokio::time::timeout;

async fn answered(held: &Held, query: String) -> Value {
    let graph = Graph::new(held.store.clone());
    let question = Question { query, ..Question::default() };
    let answer = graph.answer(question, Arc::new(Sees(None)));
    let (text, _) = timeout(Duration::from_secs(60), answer).await.unwrap().unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn told(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn fragments_that_spread_each_other_are_refused_at_once() {
    let held = Held::new().await;
    let mut bomb = String::from("{ me { ...f0 } } fragment f60 on Me { name }");
    for at in 0..60 {
        let _ = write!(bomb, " fragment f{at} on Me {{ ...f{0} ...f{0} }}", at + 1);
    }
    let answer = answered(&held, bomb).await;
    assert!(told(&answer).contains("more than 2000 fields"), "{answer}");
    let deep = answered(&held, "{me".repeat(80_000)).await;
    assert!(told(&deep).contains("nested too deep"), "{deep}");
    let good = answered(&held, "{ me { ...a } } fragment a on Me { name }".into()).await;
    assert_eq!(good, json!({"data": {"me": {"name": "ann"}}}));
}

#[tokio::test]
async fn what_is_asked_for_again_by_another_name_counts_again() {
    let held = Held::new().await;
    for at in 0..40 {
        let note = "x".repeat(16 * 1024);
        let spec = json!({"spec": {"note": note}});
        held.put(Server::info(), "", &format!("s{at:02}"), spec).await;
    }
    let query = |aliases: usize| {
        let all: String = (0..aliases).map(|at| format!("j{at}: json ")).collect();
        format!("{{ search(kinds: [\"Server\"]) {{ edges {{ node {{ {all} }} }} }} }}")
    };
    let some = answered(&held, query(2)).await;
    assert_eq!(
        some["data"]["search"]["edges"].as_array().map(Vec::len),
        Some(40),
        "{}",
        told(&some)
    );
    let many = answered(&held, query(200)).await;
    assert!(told(&many).contains("16 MiB"), "{}", told(&many));
    assert!(many.to_string().len() < 10_000);
}

#[tokio::test]
async fn what_breaks_is_asked_as_a_report_is_and_refused_in_the_same_words() {
    let held = Held::new().await;
    let asked = |query: &str| {
        let impacts: AnswerImpact = Arc::new(|spec| {
            let hit = json!({
                "service": "shop/web", "verdict": "Down", "why": "it loses 2 of 2", "instances": 2, "lost": 2,
                "left": 0, "needed": 1, "through": "shop/db", "owner": "shop", "tier": 1,
            });
            let servers = u32::try_from(spec.targets.len()).unwrap();
            let services = vec![serde_json::from_value(hit).unwrap()];
            let (services_hit, verdict) = (1, Some(ImpactVerdict::Down));
            Ok(ImpactReportStatus {
                servers,
                services_hit,
                verdict,
                services,
                ..Default::default()
            })
        });
        let graph = Graph::new(held.store.clone()).with_impacts(impacts);
        let question = Question { query: query.to_owned(), ..Question::default() };
        async move {
            let (text, _) = graph.answer(question, Arc::new(Sees(Some("nothing")))).await.unwrap();
            serde_json::from_slice::<Value>(&text).unwrap()
        }
    };
    let answer = asked(
        r#"{ impact(targets: [{kind: "Rack", name: "r-17"}, {kind: "Site", name: "a", powerFeed: "A"}]) {
            servers verdict services { verdict lost service { namespace name } through { name } owner } } }"#,
    )
    .await;
    let hit = json!({
        "verdict": "DOWN", "lost": 2, "service": {"namespace": "shop", "name": "web"},
        "through": {"name": "db"}, "owner": "shop",
    });
    let impact = json!({"servers": 2, "verdict": "DOWN", "services": [hit]});
    assert_eq!(answer, json!({"data": {"impact": impact}}));
    for (targets, why) in [
        (r#"[{kind: "Run", name: "a"}]"#, "spec.targets[0].kind"),
        (r#"[{kind: "Machine", name: "a"}]"#, "spec.targets[0].namespace"),
        (r#"[{kind: "Site", name: "a", hall: ""}]"#, "spec.targets[0].hall"),
        ("[]", "spec.targets: "),
    ] {
        let answer = asked(&format!("{{ impact(targets: {targets}) {{ servers }} }}")).await;
        assert!(told(&answer).starts_with(why), "{targets}: {answer}");
    }
}

#[tokio::test]
async fn a_service_tells_what_it_uses_and_what_uses_it() {
    let held = Held::new().await;
    let on = json!({"spec": {"dependsOn": [{"name": "db"}, {"name": "gone", "type": "Soft"}]}});
    held.put(Service::info(), "shop", "web", on).await;
    held.put(Service::info(), "shop", "db", json!({"spec": {}})).await;
    let query = |name: &str| {
        format!(
            "{{ service(namespace: \"shop\", name: \"{name}\") {{ dependsOn {{ type service {{ name object {{ name }} }} }}
             usedBy {{ type service {{ name }} }} }} }}"
        )
    };
    let web = answered(&held, query("web")).await;
    let uses = json!([
        {"type": "HARD", "service": {"name": "db", "object": {"name": "db"}}},
        {"type": "SOFT", "service": {"name": "gone", "object": null}},
    ]);
    assert_eq!(web["data"]["service"], json!({"dependsOn": uses, "usedBy": []}), "{web}");
    let db = answered(&held, query("db")).await;
    let used = json!([{"type": "HARD", "service": {"name": "web"}}]);
    assert_eq!(db["data"]["service"], json!({"dependsOn": [], "usedBy": used}), "{db}");
}
