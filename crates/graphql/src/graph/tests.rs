//! What is too much is refused, in short time.

use super::*;
use crate::testing::{Held, Sees};
use quarterdeck_model::{Kind as _, kinds::Server};
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
