//! Callers who show tokens, with the real `kubectl`, the official Python client and a real issuer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_testing::{
    issuer::Issuer,
    plane::Plane,
    process::run,
    wait::{wait_for, wait_until},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use support::{DEADLINE, gone, object, other_kubectls, plane};

/// How long a new key of an issuer may take to be followed: twice what lies between two fetches.
const ROTATION: Duration = Duration::from_secs(40);

/// `kubectl` of somebody who has a token, and nothing else.
async fn kubectl(
    plane: &Plane,
    kubectl: &Path,
    token: &str,
    arguments: &[&str],
) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(kubectl);
    command.env("HOME", folder.path()).env("KUBECONFIG", "/dev/null");
    command.args(["--server", &format!("https://{}", plane.address())]);
    command.arg("--certificate-authority").arg(plane.data_folder().join("pki/ca.crt"));
    command.args(["--token", token]).args(arguments);
    run(&command, "").await.map(|output| output.stdout).map_err(|error| error.reason)
}

/// Who the plane says it is.
async fn who(plane: &Plane, token: &str) -> Result<Value, String> {
    let said =
        kubectl(plane, Path::new("kubectl"), token, &["auth", "whoami", "-o", "json"]).await?;
    let said: Value = serde_json::from_str(&said).unwrap();
    Ok(said["status"]["userInfo"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn service_accounts_get_tokens() {
    let plane = plane().await;
    let mut releases = other_kubectls();
    if let [oldest, .., newest] = releases.as_slice() {
        releases = vec![oldest.clone(), newest.clone()];
    }
    releases.push(PathBuf::from("kubectl"));
    for (number, release) in releases.iter().enumerate() {
        let team = &format!("team-{number}");
        plane.kubectl(&["create", "namespace", team]).await;
        plane.kubectl(&["create", "serviceaccount", "bot", "-n", team]).await;
        plane.kubectl(&["create", "secret", "generic", "s", "-n", team]).await;
        let bind = ["create", "rolebinding", "b", "--clusterrole=view", "-n", team];
        plane.kubectl(&[&bind[..], &[&format!("--serviceaccount={team}:bot")]].concat()).await;
        let create = async |more: &[&str]| {
            let mut command = Command::new(release);
            command.args(["create", "token", "bot", "-n", team]).args(more);
            command.env("KUBECONFIG", plane.kubeconfig()).env("HOME", plane.data_folder());
            run(&command, "").await.map(|output| output.stdout.trim().to_owned())
        };
        let token = create(&["--duration=10m"]).await.unwrap();
        let user = format!("system:serviceaccount:{team}:bot");
        let said = kubectl(&plane, release, &token, &["auth", "whoami"]).await.unwrap();
        for part in [&user, "system:serviceaccounts:team", "system:authenticated", "JTI="] {
            assert!(said.contains(part), "{part} in {said}");
        }
        kubectl(&plane, release, &token, &["get", "events", "-n", team]).await.unwrap();
        let told = kubectl(&plane, release, &token, &["get", "secrets", "-n", team]).await;
        assert!(told.unwrap_err().contains(&format!("User \"{user}\" cannot list")));
        // A token decides also where the kubeconfig has the administrator's certificate.
        let both = plane.kubectl(&["auth", "whoami", "--token", &token]).await;
        assert!(both.contains(&user), "{both}");

        let vault = create(&["--audience=vault"]).await.unwrap();
        assert!(kubectl(&plane, release, &vault, &["get", "events"]).await.is_err());
        let bound = ["--bound-object-kind=Secret", "--bound-object-name=s"];
        let bound = create(&bound).await.unwrap();
        assert!(kubectl(&plane, release, &bound, &["auth", "whoami"]).await.is_ok());
        plane.kubectl(&["delete", "secret", "s", "-n", team]).await;
        assert!(kubectl(&plane, release, &bound, &["auth", "whoami"]).await.is_err());
        let short = create(&["--duration=1m"]).await.unwrap_err().reason;
        assert!(short.contains("may not specify a duration less than 10 minutes"), "{short}");
        plane.kubectl(&["delete", "serviceaccount", "bot", "-n", team]).await;
        let told = kubectl(&plane, release, &token, &["auth", "whoami"]).await.unwrap_err();
        assert!(told.contains("Unauthorized") || told.contains("logged in"), "{told}");
        let missing = create(&[]).await.unwrap_err().reason;
        assert!(missing.contains("serviceaccounts \"bot\" not found"), "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_namespace_has_a_default_service_account() {
    let plane = plane().await;
    plane.kubectl(&["create", "namespace", "team"]).await;
    let uid = async |namespace: &str| {
        wait_for(DEADLINE, "the default service account", async || {
            let get = ["get", "serviceaccount", "default", "-n", namespace, "-o"];
            let get = [&get[..], &["jsonpath={.metadata.uid}"]].concat();
            plane.try_kubectl(&get).await
        })
        .await
    };
    for namespace in ["default", "quarterdeck-system", "team"] {
        uid(namespace).await;
    }
    let first = uid("team").await;
    plane.kubectl(&["delete", "serviceaccount", "default", "-n", "team"]).await;
    assert_ne!(uid("team").await, first);
    plane.kubectl(&["delete", "namespace", "team"]).await;
    gone(&plane, &["namespace", "team"]).await;
    let left = object(&plane, &["serviceaccounts", "-A"]).await;
    let left = left["items"].as_array().unwrap();
    assert!(left.iter().all(|one| one["metadata"]["namespace"] != "team"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_shows_a_token() {
    let plane = plane().await;
    plane.kubectl(&["create", "serviceaccount", "bot"]).await;
    let bind = ["create", "clusterrolebinding", "bot", "--clusterrole=view"];
    plane.kubectl(&[&bind[..], &["--serviceaccount=default:bot"]].concat()).await;
    let token = plane.kubectl(&["create", "token", "bot"]).await;
    let mut command = Command::new(support::python());
    command.arg(format!("{}/tests/clients/shows_token.py", env!("CARGO_MANIFEST_DIR")));
    command.arg(format!("https://{}", plane.address())).arg(plane.data_folder().join("pki/ca.crt"));
    let said = run(&command, token.trim()).await.unwrap_or_else(|error| panic!("{error}")).stdout;
    assert_eq!(said, "system:serviceaccount:default:bot\n401 when shortened\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_while_the_plane_runs() {
    let plane = plane().await;
    plane.kubectl(&["create", "serviceaccount", "bot"]).await;
    let token = async || plane.kubectl(&["create", "token", "bot"]).await.trim().to_owned();
    let key = |token: &str| token.split('.').next().unwrap().to_owned();
    let old = token().await;
    let mut rotate = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
    rotate.args(["rotate-service-account-key", "--data-dir"]).arg(plane.data_folder());
    let said = run(&rotate, "").await.unwrap_or_else(|error| panic!("{error}")).stdout;
    assert!(said.contains("is the first of"), "{said}");
    let new = wait_for(DEADLINE, "a token by the new key", async || {
        let new = token().await;
        if key(&new) == key(&old) { Err("the old key signs") } else { Ok(new) }
    })
    .await;
    who(&plane, &old).await.unwrap();
    who(&plane, &new).await.unwrap();
    // The old key is taken out: the last block of the file.
    let file = plane.data_folder().join("pki/service-accounts.key");
    let text = std::fs::read_to_string(&file).unwrap();
    let last = text.rfind("-----BEGIN").unwrap();
    std::fs::write(&file, &text[..last]).unwrap();
    wait_until(ROTATION, "the old token to end", async || who(&plane, &old).await.is_err()).await;
    who(&plane, &new).await.unwrap();
}

/// A plane that trusts an issuer, with its own file of settings.
async fn trusting(issuer: &Issuer) -> (Plane, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let settings = format!(
        "[[oidc]]\nissuer = {:?}\naudiences = [\"quarterdeck\"]\nca-file = {:?}\n\
         username-claim = \"email\"\ngroups-claim = \"groups\"\ngroups-prefix = \"oidc:\"\n\
         [oidc.required-claims]\norganisation = \"example\"\n",
        issuer.url(),
        issuer.authority_file(),
    );
    std::fs::write(&file, settings).unwrap();
    let settings = ["--config", file.to_str().unwrap()];
    (Plane::start_with(env!("CARGO_BIN_EXE_quarterdeck"), &settings).await, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_an_issuer_come_in() {
    let mut issuer = Issuer::start().await;
    let ann = json!({"email": "ann@example.com", "groups": ["ops"], "organisation": "example"});
    issuer.add_user("ann", &ann).await;
    let bob = json!({"email": "bob@example.org", "organisation": "other"});
    issuer.add_user("bob", &bob).await;
    let eve = json!({"email": "eve@example.com", "groups": ["system:masters"], "organisation": "example"});
    issuer.add_user("eve", &eve).await;
    let (mut plane, _settings) = trusting(&issuer).await;
    let token = issuer.token("ann", "quarterdeck").await;
    let info = who(&plane, &token).await.unwrap();
    assert_eq!(info["username"], "ann@example.com");
    assert_eq!(info["groups"], json!(["oidc:ops", "system:authenticated"]));
    let can = ["auth", "can-i", "list", "servers"];
    let kubectl = async |plane: &Plane, token: &str, arguments: &[&str]| {
        kubectl(plane, Path::new("kubectl"), token, arguments).await
    };
    assert!(kubectl(&plane, &token, &can).await.is_err());
    let bind = ["create", "clusterrolebinding", "ops", "--clusterrole=edit", "--group=oidc:ops"];
    plane.kubectl(&bind).await;
    assert_eq!(kubectl(&plane, &token, &can).await.unwrap(), "yes\n");
    let make = ["create", "secret", "generic", "s", "--from-literal=a=b"];
    kubectl(&plane, &token, &make).await.unwrap();

    // Another client's, somebody who lacks what is required, and one who would be a master.
    assert!(who(&plane, &issuer.token("ann", "another").await).await.is_err());
    assert!(who(&plane, &issuer.token("bob", "quarterdeck").await).await.is_err());
    let eve = who(&plane, &issuer.token("eve", "quarterdeck").await).await.unwrap();
    assert_eq!(eve["groups"], json!(["oidc:system:masters", "system:authenticated"]));

    // New keys are followed without a restart.
    issuer.restart().await;
    issuer.add_user("ann", &ann).await;
    let new = issuer.token("ann", "quarterdeck").await;
    wait_for(ROTATION, "the issuer's new key to be followed", async || who(&plane, &new).await)
        .await;
    wait_until(ROTATION, "the old key to count no more", async || {
        who(&plane, &token).await.is_err()
    })
    .await;

    // While the issuer is away, who came in stays in; a plane that starts then starts.
    issuer.kill9();
    who(&plane, &new).await.unwrap();
    plane.restart().await;
    assert!(who(&plane, &new).await.is_err());
    let ready = plane.kubectl(&["get", "--raw", "/readyz"]).await;
    assert!(ready.starts_with("ok\n[-] oidc "), "{ready}");
    plane.kubectl(&["get", "servers"]).await;
    let log = plane.process().unwrap().output();
    assert!(log.contains("cannot fetch an issuer's keys"), "{log}");
    assert!(!log.contains(new.split('.').nth(1).unwrap()), "a token in the log");
    let audit = std::fs::read_to_string(plane.data_folder().join("audit/audit.log")).unwrap();
    assert!(audit.contains("\"username\":\"ann@example.com\""));
    assert!(!audit.contains(token.split('.').nth(1).unwrap()), "a token in the audit log");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_issuers_are_shown_and_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let command = async |verb: &str, text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_quarterdeck"));
        command.arg(verb).arg("--config").arg(&file).args(["--listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(folder.path().join("data"));
        run(&command, "").await.map(|output| output.stdout).map_err(|error| error.reason)
    };
    let good = "[[oidc]]\nissuer = \"https://a.example.com\"\naudiences = [\"q\"]\n";
    let shown = command("config", good).await.unwrap();
    let wanted = "[[oidc]]  # from ";
    assert!(shown.contains(wanted) && shown.contains("audiences = [\"q\"]"), "{shown}");
    for (text, part) in [
        (good.replace("https:", "http:"), "oidc[0].issuer"),
        (good.replace("[\"q\"]", "[]"), "oidc[0].audiences"),
        (format!("{good}ca-file = \"/no/such/file\"\n"), "oidc[0].ca-file: /no/such/file"),
        (format!("{good}{good}"), "https://a.example.com stands twice"),
        (format!("{good}audience = \"q\"\n"), "audience"),
        (format!("{good}algorithms = [\"none\"]\n"), "none"),
        ("service-account-issuer = \"here\"\n".into(), "service-account-issuer"),
    ] {
        let told = command("serve", &text).await.unwrap_err();
        assert!(told.contains(part), "{part} in {told}");
    }
}
