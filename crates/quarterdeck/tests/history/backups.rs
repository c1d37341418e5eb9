//! Backups while clients write, restored to either store: what is restored must be the state of everything at
//! one revision of the history that the clients have seen.

use super::{
    clients::{Clients, NAMESPACE},
    connect::Door,
};
use crate::{BINARY, DEADLINE, judge};
use futures_util::{StreamExt as _, pin_mut};
use kube::{
    ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use quarterdeck_testing::{
    history::{Revision, Span},
    plane::Plane,
    postgres::Postgres,
    process::run,
    random::Random,
    wait::wait_for,
};
use std::{path::Path, process::Command};

/// Runs `quarterdeck` and answers what it printed.
async fn quarterdeck(arguments: &[&str], store: &[&str], file: &Path) -> String {
    let mut command = Command::new(BINARY);
    command.args(arguments).args(store).arg(file);
    run(&command, "").await.unwrap_or_else(|error| panic!("{error}")).stdout
}

/// The number after a word.
fn number_after(text: &str, word: &str) -> u64 {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("{word:?} in {text:?}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

async fn more_writes(clients: &Clients, count: u64) {
    let goal = clients.acknowledged() + count;
    wait_for(DEADLINE, "writes to go on", async || {
        let done = clients.acknowledged();
        if done >= goal { Ok(()) } else { Err(format!("{done} of {goal}")) }
    })
    .await;
}

/// Starts a plane on what is restored, and notes what it shows.
async fn shown(
    clients: &Clients,
    source: &Plane,
    file: &Path,
    store: &[&str],
    (span, revision): (Span, Revision),
) {
    let mut plane = Plane::prepare(BINARY, store);
    plane.copy_identity(&source.data_folder());
    let folder = plane.data_folder();
    let said = quarterdeck(&["restore", "--data-dir", folder.to_str().unwrap()], store, file).await;
    let first = number_after(&said, "begin after ");
    assert!(first >= revision + 1_000_000_000, "{said}");
    plane.restart().await;
    let api = Door::new(&plane.kubeconfig(), plane.address()).secrets(NAMESPACE).await;
    let list = api.list(&ListParams::default()).await.unwrap();
    clients.listed(span, revision, &list.items);
    // Encrypted in the backup, and read with the key that was kept.
    for secret in list.items {
        let data = secret.data["data"]["password"].as_str().unwrap_or_default();
        assert!(!data.is_empty(), "{}", secret.name_any());
    }
    // Who watched the old store begins anew, from whatever it had reached.
    let watch = api.watch(&WatchParams::default(), &(revision + 1).to_string()).await.unwrap();
    pin_mut!(watch);
    match watch.next().await {
        Some(Ok(WatchEvent::Error(status))) => assert_eq!(status.code, 410, "{status:?}"),
        other => panic!("{other:?}"),
    }
}

async fn backups_of(source: Plane, store: &[&str], server: &Postgres) {
    let mut random = Random::new();
    source.kubectl(&["create", "namespace", NAMESPACE]).await;
    let door = Door::new(&source.kubeconfig(), source.address());
    let clients = Clients::start(&door, &mut random);
    let (files, folder) = (tempfile::tempdir().unwrap(), source.data_folder());
    for round in 0..2 {
        more_writes(&clients, 60).await;
        let file = files.path().join(format!("backup-{round}"));
        let invoked = clients.now();
        let from = ["backup", "--data-dir", folder.to_str().unwrap()];
        let said = quarterdeck(&from, store, &file).await;
        assert!(said.contains("secrets.key"), "{said}");
        let at = (Span { invoked, completed: clients.now() }, number_after(&said, "of revision "));
        more_writes(&clients, 30).await;
        shown(&clients, &source, &file, &[], at).await;
        let url = server.create_database(&format!("restored_{round}")).await;
        shown(&clients, &source, &file, &["--store", &url], at).await;
    }
    judge(clients, &[door], 0, "backups while clients write").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_plane_on_sqlite_is_its_state_at_one_revision() {
    let server = Postgres::start().await;
    backups_of(Plane::start(BINARY).await, &[], &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_plane_on_postgres_is_its_state_at_one_revision() {
    let server = Postgres::start().await;
    let url = server.url();
    let store = ["--store", url.as_str()];
    backups_of(Plane::start_with(BINARY, &store).await, &store, &server).await;
}
