//! Images: from a registry that asks who one is, by digest, and away again.

use crate::support::{DEADLINE, Host, STAYS, Secrets, only, script, settings};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quarterdeck_agent::containers::{Assignment, ImageRules, InstanceReport};
use quarterdeck_testing::{
    docker::{BUSYBOX, Docker},
    port::free_address,
    process::Process,
    user::RunAs,
    wait::wait_for,
};
use serde_json::json;
use std::{net::SocketAddr, process::Command, time::Duration};

const PASSWORD: &str = "registry-password";

/// A registry that only `shop` may use.
async fn registry(engine: &Docker) -> (Process, SocketAddr) {
    let address = free_address();
    let folder = engine.folder().join("registry");
    std::fs::create_dir(&folder).unwrap();
    // `openssl passwd` knows no bcrypt, which is all that the registry takes: Python's crypt does.
    let mut hash = Command::new("/usr/bin/python3");
    hash.args(["-W", "ignore", "-c", "import crypt,sys; print('shop:'+crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)).replace('$2b$','$2y$'))", PASSWORD]);
    let line = quarterdeck_testing::process::run(&hash, "").await.unwrap().stdout;
    std::fs::write(folder.join("htpasswd"), line).unwrap();
    let configuration = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {at}/data}}}}\n\
         http: {{addr: '{address}'}}\nauth: {{htpasswd: {{realm: test, path: {at}/htpasswd}}}}\n",
        at = folder.display()
    );
    std::fs::write(folder.join("config.yml"), configuration).unwrap();
    let mut command = Command::new("/usr/bin/docker-registry");
    command.arg("serve").arg(folder.join("config.yml"));
    let mut process = Process::start("the registry", &command, RunAs::Caller, &folder.join("log"));
    process.wait_for_port(address, DEADLINE).await;
    (process, address)
}

/// Brings busybox into the registry, and takes it away from the engine; its digest.
async fn push(engine: &Docker, image: &str, registry: SocketAddr) -> String {
    let config = engine.folder().join("client");
    std::fs::create_dir_all(&config).unwrap();
    let auth = STANDARD.encode(format!("shop:{PASSWORD}"));
    std::fs::write(
        config.join("config.json"),
        json!({"auths": {registry.to_string(): {"auth": auth}}}).to_string(),
    )
    .unwrap();
    let config = config.display().to_string();
    engine.client(&["tag", BUSYBOX, image]).await;
    let said = engine.client(&["--config", &config, "push", image]).await;
    engine.client(&["rmi", image]).await;
    let (_, rest) = said.split_once("digest: ").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

fn from(uid: &str, image: &str, policy: &str, pull: Option<serde_json::Value>) -> Assignment {
    let mut it = script(uid, STAYS, json!({"image": image, "imagePullPolicy": policy}));
    it.spec.template.as_mut().unwrap().image_pull_secrets =
        serde_json::from_value(json!([{"name": "pull"}])).unwrap();
    let data =
        pull.map(|it| [(".dockerconfigjson".to_owned(), it.to_string().into_bytes())].into());
    it.secrets = data.map(|data| ("pull".to_owned(), data)).into_iter().collect();
    it
}

fn refused(it: &InstanceReport) -> bool {
    only(it)
        .state
        .waiting
        .as_ref()
        .is_some_and(|it| matches!(it.reason.as_str(), "ErrImagePull" | "ImagePullBackOff"))
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_pulled_with_credentials_pinned_by_digest_and_go_when_nothing_uses_them() {
    let engine = Docker::start().await;
    let (mut registry, address) = registry(&engine).await;
    let secrets = Secrets::new("images");
    let mut settings = settings(&engine, "images", &secrets);
    settings.images = ImageRules {
        every: Duration::from_millis(100),
        unused_max: Duration::ZERO,
        unused_min: Duration::ZERO,
        ..ImageRules::default()
    };
    let host = Host::open(settings);
    let image = format!("{address}/shop/api:1");
    let digest = push(&engine, &image, address).await;
    // Otherwise its layers would be there already, under another name.
    let right = json!({"auths": {address.to_string(): {"auth": STANDARD.encode(format!("shop:{PASSWORD}"))}}});
    let wrong =
        json!({"auths": {address.to_string(): {"auth": STANDARD.encode("shop:wrong-password")}}});

    host.containers
        .assign(vec![
            from("none", &image, "IfNotPresent", None),
            from("wrong", &image, "IfNotPresent", Some(wrong)),
        ])
        .unwrap();
    for uid in ["none", "wrong"] {
        let report = host.wait(uid, "it is refused", refused).await;
        let told = format!("{report:?}");
        assert!(!told.contains("wrong-password") && told.contains("shop/api"), "{told}");
    }
    let by_digest = format!("{address}/shop/api@{digest}");
    let (tagged, pinned) = (
        from("tagged", &image, "Always", Some(right.clone())),
        from("pinned", &by_digest, "IfNotPresent", Some(right)),
    );
    host.containers.assign(vec![tagged.clone(), pinned.clone()]).unwrap();
    let report = host.ready("tagged").await;
    assert_eq!(only(&report).image_id, by_digest);
    assert_eq!(only(&host.ready("pinned").await).image_id, by_digest);

    // What died is started again though the registry is away.
    registry.kill();
    let id = only(&report).container_id.trim_start_matches("docker://").to_owned();
    engine.client(&["kill", &id]).await;
    host.wait("tagged", "it runs again", |it| only(it).restart_count == 1 && only(it).ready).await;

    let there = async || {
        engine.client(&["images", "--all", "--no-trunc", "--format", "{{.Repository}}"]).await
    };
    assert!(there().await.contains("shop/api"), "it is in use, however long ago it was pulled");
    host.containers.assign(Vec::new()).unwrap();
    wait_for(DEADLINE, "the image goes", async || {
        let there = there().await;
        if there.contains("shop/api") { Err(there) } else { Ok(()) }
    })
    .await;
    assert!(there().await.contains("quarterdeck.local/busybox"), "it was brought by somebody else");
}
