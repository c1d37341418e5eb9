//! One instance from its beginning to its end.

use crate::support::{DEADLINE, Host, STAYS, Secrets, only, pod, script, settings};
use quarterdeck_model::kinds::InstancePhase;
use quarterdeck_testing::{
    docker::{BUSYBOX, Docker},
    port::free_address,
    wait::wait_for,
};
use serde_json::json;
use std::process::Command;

async fn get(url: &str) -> Result<String, String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--max-time", "5", url]);
    quarterdeck_testing::process::run(&command, "")
        .await
        .map(|it| it.stdout)
        .map_err(|it| it.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_as_it_was_asked_for_and_ends_in_order_without_a_trace() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("life");
    let settings = settings(&engine, "life", &secrets);
    let host = Host::open(settings.clone());
    let port = free_address().port();
    std::fs::create_dir(engine.folder().join("shared")).unwrap();
    let mut it = script(
        "u1",
        "cd /web && echo $GREETING > index.html && hostname > name && trap 'echo ended > /shared/ended; exit 0' TERM; \
         httpd -p 80 -h /web; while :; do sleep 0.1; done",
        json!({
            "env": [{"name": "GREETING", "value": "hello $(HOME)"}],
            "ports": [{"name": "web", "containerPort": 80, "hostPort": port}],
            "resources": {"limits": {"cpu": "500m", "memory": "32Mi"}},
            "volumeMounts": [
                {"name": "web", "mountPath": "/web"}, {"name": "shared", "mountPath": "/shared"},
                {"name": "files", "mountPath": "/files"}],
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo prestop > /shared/prestop"]}}},
        }),
    );
    it.spec.template.as_mut().unwrap().volumes = serde_json::from_value(json!([
        {"name": "web", "emptyDir": {}},
        {"name": "shared", "hostPath": {"path": engine.folder().join("shared")}},
        {"name": "files", "config": {"files": {"app.conf": "a = 1\n"}, "defaultMode": 0o440}},
    ]))
    .unwrap();
    host.containers.assign(vec![it.clone()]).unwrap();
    let report = host.ready("u1").await;
    assert_eq!(
        report.status.ports.iter().map(|it| (it.container_port, it.host_port)).collect::<Vec<_>>(),
        [(80, port)]
    );
    assert!(report.status.address.as_deref().is_some_and(|it| it.starts_with("172.29.")));
    assert!(report.status.started_at.is_some());

    let greeting =
        wait_for(DEADLINE, "it serves", async || get(&format!("http://127.0.0.1:{port}/")).await)
            .await;
    assert_eq!(greeting, "hello $(HOME)\n", "nothing in a value is replaced");
    assert_eq!(get(&format!("http://127.0.0.1:{port}/name")).await.unwrap(), "api-u1\n");
    let id = only(&report).container_id.trim_start_matches("docker://").to_owned();
    let limits = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}";
    assert_eq!(
        engine.client(&["inspect", &id, "--format", limits]).await,
        "500000000 33554432 33554432"
    );
    let inside = engine
        .client(&[
            "exec",
            &id,
            "sh",
            "-c",
            "cat /files/app.conf; cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
        ])
        .await;
    assert_eq!(inside, "a = 1\n33554432");
    assert!(
        engine.try_client(&["exec", &id, "sh", "-c", "echo x > /files/app.conf"]).await.is_err()
    );

    host.end(&it, 20, &[]);
    host.wait("u1", "it ends", |it| it.status.phase == InstancePhase::Stopping).await;
    host.gone("u1").await;
    let read =
        |name: &str| std::fs::read_to_string(engine.folder().join("shared").join(name)).unwrap();
    assert_eq!((read("prestop").as_str(), read("ended").as_str()), ("prestop\n", "ended\n"));
    assert_eq!(engine.client(&["ps", "--all", "--quiet"]).await, "");
    for folder in ["volumes", "assigned", "noted"] {
        let left = std::fs::read_dir(settings.data.join(folder)).unwrap().count();
        assert_eq!(left, 0, "{folder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_containers_share_one_network() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("shared");
    let host = Host::open(settings(&engine, "shared", &secrets));
    let container = |name: &str, script: &str| json!({"name": name, "image": BUSYBOX, "command": ["sh", "-c", script]});
    let mut asks = container("asks", STAYS);
    asks["readinessProbe"] = json!({
        "exec": {"command": ["wget", "-q", "-O", "-", "http://127.0.0.1:80/hostname"]}, "periodSeconds": 1,
        "timeoutSeconds": 10});
    let serves = container(
        "serves",
        "hostname > /etc/hostname2; mkdir /w; echo x > /w/hostname; httpd -f -p 80 -h /w",
    );
    host.containers.assign(vec![pod("u1", json!({"containers": [serves, asks]}))]).unwrap();
    let report = host.ready("u1").await;
    assert_eq!(report.status.containers.len(), 2);
    assert!(report.status.address.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_does_not_allow_is_told() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("refuse");
    let host = Host::open(settings(&engine, "refuse", &secrets));
    let mut mounts =
        script("mounts", STAYS, json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
    mounts.spec.template.as_mut().unwrap().volumes =
        serde_json::from_value(json!([{"name": "v", "hostPath": {"path": "/etc"}}])).unwrap();
    let mut network = script("network", STAYS, json!({}));
    network.spec.template.as_mut().unwrap().host_network = true;
    let rights = script(
        "rights",
        STAYS,
        json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
    );
    host.containers.assign(vec![mounts, network, rights]).unwrap();
    for (uid, said) in [("mounts", "/etc"), ("network", "hostNetwork"), ("rights", "SYS_ADMIN")] {
        let told = |text: &Option<String>| text.as_ref().is_some_and(|it| it.contains(said));
        let report = host.wait(uid, said, |it| told(&it.status.message)).await;
        let waiting = only(&report).state.waiting.as_ref().unwrap();
        assert_eq!(waiting.reason, "CreateContainerConfigError");
    }
    assert_eq!(engine.client(&["ps", "--all", "--quiet"]).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_told_and_taken_once_it_is_free() {
    let engine = Docker::start().await;
    let secrets = Secrets::new("ports");
    let host = Host::open(settings(&engine, "ports", &secrets));
    let port = free_address().port();
    let with_port =
        |uid: &str| script(uid, STAYS, json!({"ports": [{"containerPort": 80, "hostPort": port}]}));
    let (first, second) = (with_port("first"), with_port("second"));
    host.containers.assign(vec![first.clone()]).unwrap();
    host.ready("first").await;
    host.containers.assign(vec![first.clone(), second.clone()]).unwrap();
    let conflict = |it: &quarterdeck_agent::containers::InstanceReport| {
        only(it).state.waiting.as_ref().is_some_and(|it| it.reason == "HostPortConflict")
    };
    let report = host.wait("second", "the conflict is told", conflict).await;
    assert!(report.status.message.unwrap().contains(&port.to_string()));
    host.end(&first, 5, &[&second]);
    host.gone("first").await;
    host.ready("second").await;
}
