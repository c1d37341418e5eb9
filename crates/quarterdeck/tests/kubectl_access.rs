//! Roles, bindings and service accounts with the real `kubectl`, as people with certificates of
//! their own see them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use quarterdeck_api::pki::{Authority, kubeconfig};
use quarterdeck_testing::{plane::Plane, process::run};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use support::{other_kubectls, plane, rows};

/// Somebody with a kubeconfig of their own.
struct Person {
    folder: tempfile::TempDir,
    kubectl: PathBuf,
}

impl Person {
    fn new(plane: &Plane, kubectl: &Path, user: &str, groups: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&plane.data_folder().join("pki")).unwrap();
        let identity = authority.client(user, groups).unwrap();
        let text = kubeconfig(&authority, &identity, plane.address());
        std::fs::write(folder.path().join("config"), text).unwrap();
        Self { folder, kubectl: kubectl.into() }
    }

    async fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.kubectl);
        command.args(arguments).env("HOME", self.folder.path());
        command.env("KUBECONFIG", self.folder.path().join("config"));
        run(&command, "").await.map(|output| output.stdout).map_err(|error| error.reason)
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        let printed = self.try_kubectl(arguments).await;
        printed.unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }
}

/// What `kubectl create` has for access, and what it shows of it, with each release of kubectl.
#[tokio::test(flavor = "multi_thread")]
async fn roles_are_made_and_shown() {
    let plane = plane().await;
    let mut releases = other_kubectls();
    if let [oldest, .., newest] = releases.as_slice() {
        releases = vec![oldest.clone(), newest.clone()];
    }
    releases.push("kubectl".into());
    for (number, kubectl) in releases.iter().enumerate() {
        let team = &format!("team-{number}");
        let admin = Person::new(&plane, kubectl, "root", &["system:masters"]);
        let everywhere = &format!("reader-{number}");
        let ann = &format!("ann-{number}");
        for arguments in [
            &["namespace", team][..],
            &["serviceaccount", "bot", "-n", team],
            &[
                "role",
                "r",
                "--verb=get,list",
                "--resource=secrets,runs.workflows.quarterdeck.dev/status",
                "--resource-name=a",
                "-n",
                team,
            ],
            &["clusterrole", everywhere, "--verb=get", "--non-resource-url=/metrics"],
            &["clusterrole", &format!("whole-{number}"), "--aggregation-rule=team=x"],
            &[
                "rolebinding",
                "b",
                "--clusterrole=view",
                &format!("--user={ann}"),
                "--group=g",
                &format!("--serviceaccount={team}:bot"),
                "-n",
                team,
            ],
            &[
                "clusterrolebinding",
                everywhere,
                &format!("--clusterrole={everywhere}"),
                &format!("--user={ann}"),
            ],
        ] {
            let mut all = vec!["create"];
            all.extend(arguments);
            assert!(admin.kubectl(&all).await.ends_with("created\n"), "{arguments:?}");
        }
        let bindings = admin.kubectl(&["get", "rolebindings", "-n", team]).await;
        assert_eq!(
            rows(&bindings)[..2].iter().map(|row| row[..2].to_vec()).collect::<Vec<_>>(),
            [["NAME", "ROLE"], ["b", "ClusterRole/view"]]
        );
        let roles = admin.kubectl(&["get", "role,sa", "-n", team]).await;
        assert!(roles.contains("CREATED AT") && roles.contains("serviceaccount/bot"), "{roles}");
        let role = admin.kubectl(&["describe", "role", "r", "-n", team]).await;
        assert!(role.contains("runs.workflows.quarterdeck.dev/status  []                 [a]             [get list]"), "{role}");
        let binding = admin.kubectl(&["describe", "rolebinding", "b", "-n", team]).await;
        for part in ["ClusterRole", "view", ann, "ServiceAccount", "bot"] {
            assert!(binding.contains(part), "{part} in {binding}");
        }
        let view = admin.kubectl(&["describe", "clusterrole", "view"]).await;
        assert!(view.contains("servers.inventory.quarterdeck.dev "), "{view}");

        let person = Person::new(&plane, kubectl, ann, &[]);
        let whoami = person.kubectl(&["auth", "whoami"]).await;
        assert!(whoami.contains(ann.as_str()) && whoami.contains("system:authenticated"));
        let can = ["auth", "can-i", "list", "runs"];
        assert_eq!(person.kubectl(&[&can[..], &["-n", team]].concat()).await, "yes\n");
        assert!(person.try_kubectl(&can).await.is_err());
        assert_eq!(person.kubectl(&["auth", "can-i", "get", "/metrics"]).await, "yes\n");
        let list = person.kubectl(&["auth", "can-i", "--list", "-n", team]).await;
        assert!(list.contains("servers.inventory.quarterdeck.dev"), "{list}");
        assert!(!list.contains("secrets "), "{list}");
        let bot = format!("system:serviceaccount:{team}:bot");
        let as_bot = ["auth", "can-i", "list", "runs", "-n", team, "--as", &bot];
        assert_eq!(admin.kubectl(&as_bot).await, "yes\n");
        assert_eq!(
            admin
                .kubectl(&["auth", "can-i", "list", "runs", "-n", team, "--as=x", "--as-group=g"])
                .await,
            "yes\n"
        );
        assert!(person.try_kubectl(&as_bot).await.unwrap_err().contains("cannot impersonate"));
        // What may be seen of all is the one namespace.
        assert_eq!(
            person.kubectl(&["get", "namespaces", "-o", "name"]).await,
            format!("namespace/{team}\n")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_has_its_namespace_and_no_more() {
    let plane = plane().await;
    for arguments in [
        &["create", "namespace", "payments"][..],
        &["create", "namespace", "other"],
        &["create", "secret", "generic", "theirs", "--from-literal=a=b", "-n", "other"],
        &[
            "create",
            "rolebinding",
            "team",
            "--clusterrole=admin",
            "--group=payments",
            "-n",
            "payments",
        ],
    ] {
        plane.kubectl(arguments).await;
    }
    let ann = Person::new(&plane, Path::new("kubectl"), "ann", &["payments"]);
    ann.kubectl(&["create", "secret", "generic", "ours", "--from-literal=a=b", "-n", "payments"])
        .await;
    assert_eq!(ann.kubectl(&["get", "secrets", "-A", "-o", "name"]).await, "secret/ours\n");
    let told = ann.try_kubectl(&["get", "secret", "theirs", "-n", "other"]).await.unwrap_err();
    let wanted = r#"Error from server (Forbidden): secrets "theirs" is forbidden: User "ann" cannot get resource "secrets" in API group "" in the namespace "other""#;
    assert!(told.trim_end().ends_with(wanted), "{told}");
    let told = ann.try_kubectl(&["get", "servers"]).await.unwrap_err();
    assert!(told.contains("servers.inventory.quarterdeck.dev is forbidden: User \"ann\" cannot list resource \"servers\" in API group \"inventory.quarterdeck.dev\" at the cluster scope"), "{told}");
    // She grants what she holds, and no more.
    let bind = ["create", "rolebinding", "bob", "--user=bob", "-n", "payments"];
    ann.kubectl(&[&bind[..], &["--clusterrole=edit"]].concat()).await;
    ann.kubectl(&["delete", "rolebinding", "bob", "-n", "payments"]).await;
    let told = ann.try_kubectl(&[&bind[..], &["--clusterrole=cluster-admin"]].concat()).await;
    let told = told.unwrap_err();
    assert!(told.contains("is attempting to grant RBAC permissions not currently held"), "{told}");
}
