//! Logs, and commands run for people.

use crate::support::{DEADLINE, Host, Secrets, only, script, settings};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use quarterdeck_agent::containers::{
    ContainersError, ExecOptions, ExecOutput, ExecSession, LogOptions,
};
use quarterdeck_testing::{docker::Docker, wait::wait_for};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

async fn text(stream: impl Stream<Item = Result<Bytes, ContainersError>>) -> String {
    let parts: Vec<Bytes> = stream.map(|it| it.unwrap()).collect().await;
    String::from_utf8(parts.concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_what_was_asked_for() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("logs");
    let host = Host::open(settings(&engine, "logs", &secrets));
    // The first one ends; the second one says something more when it is told.
    let it = script(
        "u1",
        "if [ ! -e /v/again ]; then touch /v/again; echo first life; exit 1; fi; \
         for i in 1 2 3; do echo line $i; done; echo oops >&2; trap 'exit 0' TERM; \
         while [ ! -e /v/more ]; do sleep 0.05; done; echo more; while :; do sleep 0.1; done",
        json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
    );
    let mut it = it;
    it.spec.template.as_mut().unwrap().volumes =
        serde_json::from_value(json!([{"name": "v", "emptyDir": {}}])).unwrap();
    host.containers.assign(vec![it.clone()]).unwrap();
    let report = host
        .wait("u1", "its second life", |it| only(it).restart_count == 1 && only(it).ready)
        .await;
    let logs = async |options: LogOptions| {
        text(host.containers.logs("u1", "main", options).await.unwrap()).await
    };
    wait_for(DEADLINE, "all is written", async || {
        let all = logs(LogOptions::default()).await;
        if all.contains("oops") { Ok(()) } else { Err(all) }
    })
    .await;
    let all = logs(LogOptions::default()).await;
    assert_eq!(all.lines().filter(|it| it.starts_with("line")).count(), 3, "{all}");
    assert_eq!(logs(LogOptions { previous: true, ..LogOptions::default() }).await, "first life\n");
    assert_eq!(
        logs(LogOptions { tail: Some(1), ..LogOptions::default() }).await.lines().count(),
        1
    );
    assert_eq!(logs(LogOptions { limit_bytes: Some(6), ..LogOptions::default() }).await.len(), 6);
    let stamped = logs(LogOptions { timestamps: true, ..LogOptions::default() }).await;
    let first = stamped.split(' ').next().unwrap();
    assert!(first.parse::<jiff::Timestamp>().is_ok(), "{stamped}");
    let later = jiff::Timestamp::now().saturating_add(jiff::SignedDuration::from_hours(1)).unwrap();
    assert_eq!(logs(LogOptions { since: Some(later.into()), ..LogOptions::default() }).await, "");

    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let mut followed = Box::pin(host.containers.logs("u1", "main", follow).await.unwrap());
    let id = only(&report).container_id.trim_start_matches("docker://").to_owned();
    let mut read = String::new();
    while !read.contains("more") {
        let part = tokio::time::timeout(DEADLINE, followed.next()).await.unwrap().unwrap();
        read += std::str::from_utf8(&part.unwrap()).unwrap();
        if read.contains("oops") {
            // It says more only when it is told to, which is after all that was there.
            engine.client(&["exec", &id, "touch", "/v/more"]).await;
        }
    }
    host.end(&it, 5, &[]);
    // What is followed ends with the container.
    tokio::time::timeout(DEADLINE, async { while followed.next().await.is_some() {} })
        .await
        .unwrap();

    let wrong = host.containers.logs("u1", "other", LogOptions::default()).await;
    assert!(matches!(wrong.map(drop), Err(ContainersError::NotFound(_))));
}

async fn said(session: &mut ExecSession) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(part) = tokio::time::timeout(DEADLINE, session.output.next()).await.unwrap() {
        match part.unwrap() {
            ExecOutput::Stdout(bytes) => out.extend(bytes),
            ExecOutput::Stderr(bytes) => err.extend(bytes),
        }
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_read_write_and_end() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("exec");
    let host = Host::open(settings(&engine, "exec", &secrets));
    host.containers.assign(vec![script("u1", crate::support::STAYS, json!({}))]).unwrap();
    host.ready("u1").await;
    let exec = async |command: &[&str], stdin: bool, tty: bool| {
        let command = command.iter().map(|it| (*it).to_owned()).collect();
        let options = ExecOptions { command, stdin, stdout: true, stderr: true, tty };
        host.containers.exec("u1", "main", options).await.unwrap()
    };
    let mut session = exec(&["sh", "-c", "echo out; echo err >&2; exit 7"], false, false).await;
    assert_eq!(said(&mut session).await, ("out\n".into(), "err\n".into()));
    assert_eq!(session.control().exit_code().await.unwrap(), 7);

    // What it reads ends when the one who writes says so.
    let mut session = exec(&["cat"], true, false).await;
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    stdin.shutdown().await.unwrap();
    assert_eq!(said(&mut session).await.0, "hello\n");
    assert_eq!(session.control().exit_code().await.unwrap(), 0);

    let mut session = exec(&["sh", "-c", "read go; stty size"], true, true).await;
    session.control().resize(101, 31).await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
    let (out, err) = said(&mut session).await;
    assert!(out.contains("31 101"), "{out:?}");
    assert_eq!(err, "");

    let missing = ExecOptions { command: vec!["true".into()], ..ExecOptions::default() };
    assert!(host.containers.exec("u2", "main", missing).await.is_err());
}
