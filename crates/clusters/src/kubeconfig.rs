//! What a kubeconfig of somebody else may say. One that people use on their own machine may name programs to run and files
//! to read; here it comes from whoever may write a Secret, so only what is in the text itself counts.

use crate::error::cut;
use kube::{
    Config,
    config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig},
};
use quarterdeck_providers::http::Reach;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Largest kubeconfig: one cluster's has a few certificates in it.
const BYTES_MAX: usize = 256 * 1024;

/// Where a cluster is, and as whom the plane asks there.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) config: Config,
    pub(crate) reach: Reach,
    fingerprint: [u8; 32],
}

// Keys and tokens are in it.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.config.cluster_url)
    }
}

impl Credentials {
    /// Takes in a kubeconfig, of which the current context counts.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence. It repeats nothing that could be confidential.
    pub async fn parse(kubeconfig: &[u8], reach: Reach) -> Result<Self, String> {
        if kubeconfig.len() > BYTES_MAX {
            return Err(format!("it has more than {BYTES_MAX} bytes; leave one cluster in it"));
        }
        let text = str::from_utf8(kubeconfig).map_err(|_| "it is not text".to_owned())?;
        // The parser's own words could repeat a key.
        let parsed = Kubeconfig::from_yaml(text).map_err(|_| {
            "it is not a kubeconfig in YAML; kubectl config view --flatten writes one".to_owned()
        })?;
        let (cluster, user) = current(&parsed)?;
        check_cluster(cluster)?;
        check_user(user)?;
        let options = KubeConfigOptions::default();
        let made = Config::from_custom_kubeconfig(parsed.clone(), &options);
        let mut config = made.await.map_err(|error| cut(&error.to_string()))?;
        if config.cluster_url.scheme_str() != Some("https") {
            return Err("its server must be an https:// address: credentials are sent there".into());
        }
        if reach.forbids(&config.cluster_url) {
            return Err(format!("its server {} may not be reached from here", config.cluster_url));
        }
        config.proxy_url = None;
        let fingerprint = Sha256::digest(kubeconfig).into();
        Ok(Self { config, reach, fingerprint })
    }

    /// The same for the same kubeconfig.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

fn current(config: &Kubeconfig) -> Result<(&Cluster, &AuthInfo), String> {
    let name = config.current_context.as_deref().ok_or("it has no current-context")?;
    let context = config.contexts.iter().find(|it| it.name == name);
    let context = context.and_then(|it| it.context.as_ref());
    let context = context.ok_or("its current-context names no context in it")?;
    let cluster = config.clusters.iter().find(|it| it.name == context.cluster);
    let cluster = cluster.and_then(|it| it.cluster.as_ref());
    let cluster = cluster.ok_or("its context names no cluster in it")?;
    let user = context.user.as_deref().ok_or("its context names no user")?;
    let user = config.auth_infos.iter().find(|it| it.name == user);
    let user =
        user.and_then(|it| it.auth_info.as_ref()).ok_or("its context names no user in it")?;
    Ok((cluster, user))
}

fn check_cluster(cluster: &Cluster) -> Result<(), String> {
    let says = [
        ("certificate-authority", cluster.certificate_authority.is_some()),
        ("proxy-url", cluster.proxy_url.is_some()),
        ("insecure-skip-tls-verify", cluster.insecure_skip_tls_verify == Some(true)),
    ];
    refuse(
        "cluster",
        &says,
        "give certificate-authority-data, and a server that is reached directly",
    )
}

fn check_user(user: &AuthInfo) -> Result<(), String> {
    let says = [
        ("exec", user.exec.is_some()),
        ("auth-provider", user.auth_provider.is_some()),
        ("tokenFile", user.token_file.is_some()),
        ("client-certificate", user.client_certificate.is_some()),
        ("client-key", user.client_key.is_some()),
        ("as", user.impersonate.is_some() || user.impersonate_uid.is_some()),
        ("as-groups", user.impersonate_groups.is_some()),
        ("as-user-extra", user.impersonate_user_extra.is_some()),
    ];
    refuse(
        "user",
        &says,
        "give a token, or client-certificate-data and client-key-data, of an account of the plane's own",
    )
}

fn refuse(of: &str, says: &[(&str, bool)], instead: &str) -> Result<(), String> {
    match says.iter().find(|(_, said)| *said) {
        Some((field, _)) => Err(format!(
            "its {of} has {field}, which names something outside of the Secret or weakens it; {instead}"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    async fn parse(change: impl Fn(&mut Value), reach: Reach) -> Result<Credentials, String> {
        let mut config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": "https://192.0.2.1:6443"}}],
            "users": [{"name": "u", "user": {"token": "t0k3n"}}],
        });
        change(&mut config);
        Credentials::parse(config.to_string().as_bytes(), reach).await
    }

    #[tokio::test]
    async fn only_what_is_in_the_text_counts() {
        parse(|_| {}, Reach::Network).await.unwrap();
        let cases: [(&str, Value, &str); 14] = [
            ("/users/0/user/exec", json!({"command": "sh", "apiVersion": "v1"}), "exec"),
            ("/users/0/user/auth-provider", json!({"name": "gcp", "config": {}}), "auth-provider"),
            ("/users/0/user/tokenFile", json!("/etc/shadow"), "tokenFile"),
            ("/users/0/user/client-certificate", json!("/etc/x"), "client-certificate"),
            ("/users/0/user/client-key", json!("/etc/x"), "client-key"),
            ("/users/0/user/as", json!("root"), "as"),
            ("/clusters/0/cluster/certificate-authority", json!("/etc/x"), "certificate-authority"),
            ("/clusters/0/cluster/proxy-url", json!("http://proxy"), "proxy-url"),
            (
                "/clusters/0/cluster/insecure-skip-tls-verify",
                json!(true),
                "insecure-skip-tls-verify",
            ),
            ("/clusters/0/cluster/server", json!("http://192.0.2.1"), "https"),
            ("/clusters/0/cluster/server", json!("https://127.0.0.1:6443"), "may not be reached"),
            ("/clusters/0/cluster/server", json!("https://169.254.169.254"), "may not be reached"),
            ("/current-context", json!("other"), "current-context"),
            ("/contexts/0/context/user", json!("other"), "no user"),
        ];
        for (path, value, says) in cases {
            let (parent, last) = path.rsplit_once('/').unwrap();
            let change =
                |config: &mut Value| config.pointer_mut(parent).unwrap()[last] = value.clone();
            let why = parse(change, Reach::Network).await.unwrap_err();
            assert!(why.contains(says), "{path}: {why}");
            assert!(!why.contains("t0k3n"), "{why}");
        }
    }

    #[tokio::test]
    async fn what_is_no_kubeconfig_is_refused_without_repeating_it() {
        for text in ["", "a: [", "s3cret", "{\"users\": 3}", &"x".repeat(BYTES_MAX + 1)] {
            let why = Credentials::parse(text.as_bytes(), Reach::Network).await.unwrap_err();
            assert!(!why.contains("s3cret"), "{why}");
        }
        Credentials::parse(b"\xff", Reach::Network).await.unwrap_err();
    }

    #[test]
    fn fuzz_kubeconfig() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        bolero::check!().for_each(|bytes: &[u8]| {
            let parsed = runtime.block_on(Credentials::parse(bytes, Reach::Network));
            // Whatever is taken goes over TLS, and to where it may.
            if let Ok(taken) = parsed {
                assert_eq!(taken.config.cluster_url.scheme_str(), Some("https"));
                assert!(!Reach::Network.forbids(&taken.config.cluster_url));
            }
        });
    }

    #[tokio::test]
    async fn loopback_is_reached_where_that_is_allowed() {
        let local = |config: &mut Value| {
            config["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1")
        };
        parse(local, Reach::NetworkAndLoopback).await.unwrap();
    }
}
