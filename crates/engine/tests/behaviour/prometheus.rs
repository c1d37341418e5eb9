//! Rollouts whose checks are queries of a real Prometheus, in real time: it scrapes a server of the test's own, which is healthy and
//! then sick.

use crate::{
    scenario::Plane,
    workloads::{change, pod, says, shop_of, stable, until, workload},
};
use jiff::Timestamp;
use quarterdeck_model::kinds::{WorkloadPhase, WorkloadStatus};
use quarterdeck_testing::prometheus::Prometheus;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, timeout},
};

/// How long a test may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// A shop that says how many of its orders fail: none of ten, or half of them once it is sick.
async fn counter() -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, sick) = (listener.local_addr().unwrap(), Arc::<AtomicBool>::default());
    let is_sick = sick.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let share = if is_sick.load(Ordering::Relaxed) { "0.5" } else { "0" };
            let body = format!(
                "shop_errors_share{{shop=\"a\"}} {share}\nshop_errors_share{{shop=\"b\"}} {share}\n"
            );
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    (address, sick)
}

async fn plane() -> Plane {
    Plane::start(Arc::default(), Arc::default(), (Timestamp::now(), Instant::now())).await
}

fn check(name: &str, url: &str, query: &str, allowed: u32) -> Value {
    json!({"name": name, "prometheus": {"url": url, "query": query, "max": 0.05},
        "interval": "1s", "failuresAllowed": allowed})
}

/// A workload of three at its first revision, whose canary has those checks.
async fn canary(plane: &Plane, checks: &[Value]) {
    let steps = json!([{"instances": 1, "checks": checks, "pause": {"duration": "1h"}}]);
    let strategy = json!({"type": "Canary", "canary": {"steps": steps}});
    workload(plane, "web", json!({"replicas": 3, "strategy": strategy})).await;
    stable(plane, "web", 1).await;
    change(plane, "web", "/spec/template/spec", pod("web:2", "1")).await;
}

/// What is said of a check.
fn said<'s>(status: &'s WorkloadStatus, name: &str) -> Option<&'s str> {
    let rollout = status.rollout.as_ref()?;
    rollout.checks.iter().find(|check| check.name == name)?.message.as_deref()
}

#[tokio::test]
async fn a_canary_returns_by_itself_when_prometheus_says_that_it_is_sick() {
    let story = async {
        let (target, sick) = counter().await;
        let prometheus = Prometheus::start(target).await;
        let (plane, _agents) = shop_of(plane().await, 1, 2, 1).await;
        let query = "max(shop_errors_share)";
        canary(&plane, &[check("errors", &prometheus.url(), query, 1)]).await;
        let healthy = |it: &WorkloadStatus| said(it, "errors") == Some("the answer is 0");
        let status = until(&plane, "web", "healthy as Prometheus says", healthy).await;
        assert_eq!(status.updated_replicas, 1);
        sick.store(true, Ordering::Relaxed);
        let returned = |it: &WorkloadStatus| {
            it.phase == WorkloadPhase::RolledBack
                && it.available_replicas == 3
                && it.updated_replicas == 0
        };
        until(&plane, "web", "returned", returned).await;
        let said = says(&plane, "web", "Progressing");
        let why = "check errors failed 2 times in sequence: the answer is 0.5, more than 0.05";
        assert!(said.contains(why), "{said}");
    };
    timeout(DEADLINE, story).await.expect("it is done in time");
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said() {
    let story = async {
        let (target, _sick) = counter().await;
        let prometheus = Prometheus::start(target).await;
        let (plane, _agents) = shop_of(plane().await, 1, 2, 1).await;
        let url = prometheus.url();
        let nobody = "http://127.0.0.1:1";
        let wrong = [
            ("bad", &*url, "max(shop_errors_share", "does not understand the query"),
            ("none", &url, "max(no_such_series)", "no series is there"),
            ("nan", &url, "max(shop_errors_share) / 0", "no number (NaN)"),
            ("several", &url, "shop_errors_share", "2 answers; aggregate it to one"),
            ("matrix", &url, "max(shop_errors_share)[1m:1s]", "answers with a matrix"),
            (
                "many",
                &url,
                "label_replace(vector(1), \"a\", \"$1\", \"b\", \"(\")",
                "cannot answer it",
            ),
            ("other", &format!("http://{target}"), "up", "does not answer as a Prometheus does"),
            ("away", nobody, "up", "check url and that the service is up"),
        ];
        // As long as it is there at all.
        let checks = wrong.map(|(name, url, query, _)| check(name, url, query, 1_000));
        canary(&plane, &checks).await;
        let all = |it: &WorkloadStatus| {
            wrong.iter().all(|(name, _, _, wanted)| {
                said(it, name).is_some_and(|said| said.contains(wanted))
            })
        };
        let last = std::cell::RefCell::new(String::new());
        let seen = until(&plane, "web", "told what is wrong", |it| {
            *last.borrow_mut() = format!("{:#?}", it.rollout);
            all(it)
        });
        if timeout(DEADLINE / 2, seen).await.is_err() {
            panic!("{}", last.borrow());
        }
    };
    timeout(DEADLINE, story).await.expect("it is done in time");
}
