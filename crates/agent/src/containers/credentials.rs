//! Which credentials a registry is shown: from Secrets of type `kubernetes.io/dockerconfigjson`, as Kubernetes takes them.
//! Pure. What is in them must never reach a log or an error.

use super::assignment::Secrets;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::auth::DockerCredentials;
use quarterdeck_model::kinds::container::{ImageReference, PodSpec};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Key of the Secret.
const KEY: &str = ".dockerconfigjson";

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// Credentials to try for an image, in order; none if no Secret is about its registry.
pub(super) fn of(
    image: &ImageReference,
    pod: &PodSpec,
    secrets: &Secrets,
) -> Vec<DockerCredentials> {
    let named = pod.image_pull_secrets.iter().filter_map(|it| secrets.get(&it.name)?.get(KEY));
    let configs = named.filter_map(|json| serde_json::from_slice::<DockerConfig>(json).ok());
    let matching = configs.flat_map(|config| config.auths).filter(|(at, _)| is_of(at, image));
    matching.filter_map(|(_, auth)| credentials(&image.registry, auth)).collect()
}

/// Whether an entry is about the registry of an image: by its host, and by the beginning of the path if it has one.
fn is_of(at: &str, image: &ImageReference) -> bool {
    let at = at.strip_prefix("https://").or_else(|| at.strip_prefix("http://")).unwrap_or(at);
    let (host, path) = at.split_once('/').unwrap_or((at, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    // What Docker writes behind a host is the version of the registry's protocol.
    let path = path.trim_end_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    host == image.registry
        && (path.is_empty() || image.repository.strip_prefix(path).is_some_and(below))
}

fn credentials(registry: &str, auth: Auth) -> Option<DockerCredentials> {
    let pair = auth.auth.and_then(|auth| String::from_utf8(STANDARD.decode(auth).ok()?).ok());
    let pair = pair.and_then(|pair| {
        let (user, password) = pair.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    });
    let (username, password) = match (auth.username, auth.password, pair) {
        (Some(user), Some(password), _) => (Some(user), Some(password)),
        (_, _, Some((user, password))) => (Some(user), Some(password)),
        _ if auth.identitytoken.is_some() => (None, None),
        _ => return None,
    };
    let serveraddress = Some(registry.to_owned());
    let identitytoken = auth.identitytoken;
    Some(DockerCredentials {
        username,
        password,
        serveraddress,
        identitytoken,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn users(image: &str, auths: serde_json::Value) -> Vec<String> {
        let pod: PodSpec = serde_json::from_value(
            json!({"containers": [], "imagePullSecrets": [{"name": "none"}, {"name": "s"}]}),
        )
        .unwrap();
        let config = serde_json::to_vec(&json!({"auths": auths})).unwrap();
        let secrets = [("s".to_owned(), [(KEY.to_owned(), config)].into())].into();
        let image = ImageReference::parse(image).unwrap();
        of(&image, &pod, &secrets).into_iter().filter_map(|it| it.username).collect()
    }

    #[test]
    fn the_registry_of_the_image_decides() {
        let entry = |user: &str| json!({"auth": STANDARD.encode(format!("{user}:p:w"))});
        let auths = json!({
            "registry.example.com": entry("all"),
            "registry.example.com/shop": entry("shop"),
            "https://index.docker.io/v1/": {"username": "hub", "password": "x"},
            "127.0.0.1:5000": entry("local"),
            "broken": {"auth": "%"},
        });
        assert_eq!(users("registry.example.com/shop/api", auths.clone()), ["all", "shop"]);
        assert_eq!(users("registry.example.com/shopping", auths.clone()), ["all"]);
        assert_eq!(users("busybox", auths.clone()), ["hub"]);
        assert_eq!(users("127.0.0.1:5000/a", auths.clone()), ["local"]);
        assert_eq!(users("127.0.0.1:5001/a", auths.clone()), [""; 0]);
        assert_eq!(users("evil.example.com/registry.example.com", auths), [""; 0]);
    }

    #[test]
    fn a_password_may_hold_colons() {
        let auth = Auth {
            username: None,
            password: None,
            auth: Some(STANDARD.encode("u:a:b")),
            identitytoken: None,
        };
        assert_eq!(credentials("r", auth).unwrap().password.as_deref(), Some("a:b"));
    }
}
