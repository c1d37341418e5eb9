//! Two replicas of the plane on one PostgreSQL server: what one acknowledges, the other shows.

use quarterdeck_testing::{plane::Plane, postgres::Postgres, wait::wait_until};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_quarterdeck");
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn replicas_on_one_postgres_server_are_one_plane() {
    let mut server = Postgres::start().await;
    let url = server.url();
    let mut first = Plane::start_with(BINARY, &["--store", &url]).await;
    let key = first.data_folder().join("pki/service-accounts.key");
    let shared = ["--store", &url, "--service-account-key-file", key.to_str().expect("UTF-8")];
    let second = Plane::start_with(BINARY, &shared).await;

    first.kubectl(&["create", "namespace", "payments"]).await;
    // A read that asks for no older version is never behind, on any replica.
    second.kubectl(&["get", "namespace", "payments"]).await;
    second.kubectl(&["label", "namespace", "payments", "tier=gold"]).await;
    let tier = ["get", "namespace", "payments", "--output", "jsonpath={.metadata.labels.tier}"];
    assert_eq!(first.kubectl(&tier).await, "gold");

    // A token that one made is taken by the other, at once, and ends at both.
    first.kubectl(&["create", "serviceaccount", "bot"]).await;
    let token = first.kubectl(&["create", "token", "bot"]).await;
    let who = ["auth", "whoami", "--token", token.trim()];
    assert!(second.kubectl(&who).await.contains("system:serviceaccount:default:bot"));
    first.kubectl(&["delete", "serviceaccount", "bot"]).await;
    wait_until(DEADLINE, "the token to end", async || second.try_kubectl(&who).await.is_err())
        .await;

    // The server goes down hard, and one replica with it; the other goes on by itself.
    server.kill9();
    first.kill9();
    server.restart().await;
    wait_until(DEADLINE, "the replica to serve again", async || {
        second.try_kubectl(&tier).await.is_ok_and(|tier| tier == "gold")
    })
    .await;
    second.kubectl(&["create", "namespace", "search"]).await;
    first.restart().await;
    first.kubectl(&["get", "namespace", "payments", "search"]).await;
}
