//! Secrets in containers, and nowhere else.

use crate::support::{DEADLINE, Host, STAYS, Secrets, only, script, settings};
use quarterdeck_agent::containers::Assignment;
use quarterdeck_testing::{docker::Docker, wait::wait_for};
use serde_json::json;
use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command};

const PASSWORD: &str = "correct-horse-battery-staple";

fn holds(folder: &Path, text: &str) -> bool {
    let found = Command::new("grep").args(["--recursive", "--quiet", text]).arg(folder).status();
    found.unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_files_and_variables_follow_changes_and_are_kept_in_memory_only() {
    let engine = Docker::start().await;
    let kept = Secrets::new("secrets");
    let settings = settings(&engine, "secrets", &kept);
    let host = Host::open(settings.clone());
    let mut it = script(
        "u1",
        STAYS,
        json!({
            "env": [
                {"name": "USER", "valueFrom": {"secretKeyRef": {"name": "db", "key": "user"}}},
                {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "db", "key": "none", "optional": true}}}],
            "volumeMounts": [{"name": "db", "mountPath": "/db"}],
            "securityContext": {"runAsUser": 1000, "readOnlyRootFilesystem": true},
        }),
    );
    it.spec.template.as_mut().unwrap().volumes = serde_json::from_value(
        json!([{"name": "db", "secret": {"secretName": "db", "defaultMode": 0o444}}]),
    )
    .unwrap();
    host.containers.assign(vec![it.clone()]).unwrap();
    let report =
        host.wait("u1", "it is told what is missing", |it| it.status.message.is_some()).await;
    let report = match report.status.message.as_deref() {
        Some(told) if told.contains("Secret db is not there") => report,
        _ => {
            host.wait("u1", "it is told", |it| {
                it.status.message.as_deref().is_some_and(|it| it.contains("Secret db is not there"))
            })
            .await
        }
    };
    assert_eq!(only(&report).state.waiting.as_ref().unwrap().reason, "CreateContainerConfigError");

    let with = |password: &str| {
        let data = [("user", "shop"), ("password", password)];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        Assignment { secrets: [("db".to_owned(), data.into())].into(), ..it.clone() }
    };
    host.containers.assign(vec![with(PASSWORD)]).unwrap();
    let report = host.ready("u1").await;
    let id = only(&report).container_id.trim_start_matches("docker://").to_owned();
    let inside = async |script: &str| engine.client(&["exec", &id, "sh", "-c", script]).await;
    assert_eq!(
        inside("cat /db/password; echo; echo $USER; id -u").await,
        format!("{PASSWORD}\nshop\n1000")
    );
    assert_eq!(inside("ls /db; stat -L -c %a /db/password").await, "password\nuser\n444");
    assert!(
        engine.try_client(&["exec", &id, "sh", "-c", "echo x > /x"]).await.is_err(),
        "it is read-only"
    );

    // What is mounted follows the Secret, and nothing is started again for it.
    host.containers.assign(vec![with("another-one")]).unwrap();
    wait_for(DEADLINE, "the file follows", async || match inside("cat /db/password").await {
        text if text == "another-one" => Ok(()),
        text => Err(text),
    })
    .await;
    assert_eq!(only(&host.ready("u1").await).restart_count, 0);

    host.containers.assign(vec![with(PASSWORD)]).unwrap();
    wait_for(DEADLINE, "the file follows", async || match inside("cat /db/password").await {
        text if text == PASSWORD => Ok(()),
        text => Err(text),
    })
    .await;
    assert!(holds(&settings.secrets, PASSWORD), "the search finds what is there");
    assert!(!holds(&settings.data, PASSWORD));
    for folder in [&settings.secrets, &settings.data] {
        let mode = std::fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder:?}");
    }
    host.end(&with(PASSWORD), 5, &[]);
    host.gone("u1").await;
    wait_for(DEADLINE, "nothing is left", async || {
        if holds(&settings.secrets, PASSWORD) { Err("it is there") } else { Ok(()) }
    })
    .await;
}
