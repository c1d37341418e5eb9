//! What a request is about, as an audit policy and an audit event name it: read from its method and its
//! address alone, so that what is refused or unknown is named too. Pure.
//! Source: k8s.io/apiserver, `RequestInfo`.

use crate::path;
use quarterdeck_model::{Key, KindRef};
use std::borrow::Cow;

/// What is asked, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    /// What is done: `create`, or for a path that is no resource the method, such as `post`.
    pub(crate) verb: &'static str,
    /// The path, as it was sent.
    pub(crate) path: Cow<'a, str>,
    /// The resource of the path, if it is one.
    pub(crate) resource: Option<Resource<'a>>,
    /// Nothing is to be written, as the query says.
    pub(crate) dry_run: bool,
}

/// A resource, or an object of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resource<'a> {
    pub(crate) group: Cow<'a, str>,
    pub(crate) version: Cow<'a, str>,
    pub(crate) namespace: Cow<'a, str>,
    pub(crate) resource: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) subresource: Cow<'a, str>,
}

/// Reads of every kind.
const READS: [&str; 7] = ["get", "list", "watch", "head", "options", "trace", "connect"];
/// Parts of a Namespace: what else follows its name is a resource in it.
const NAMESPACE_PARTS: [&str; 2] = ["status", "finalize"];

impl<'a> Attributes<'a> {
    /// Of a request.
    pub(crate) fn of(method: &http::Method, uri: &'a http::Uri) -> Self {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let (mut watch, mut dry_run) = (false, false);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "watch" => {
                    watch = !matches!(&*value, "0" | "false" | "False" | "FALSE" | "f" | "F")
                }
                "dryRun" => dry_run |= value == "All",
                _ => {}
            }
        }
        let resource = path::parts(path).ok().and_then(Resource::of);
        let verb = match &resource {
            // As it is authorised: it is a write, however it is asked for.
            Some(resource) if resource.runs_a_command() => "create",
            Some(resource) => resource_verb(method, &resource.name, watch),
            None => method_verb(method),
        };
        Self { verb, path: path.into(), resource, dry_run }
    }

    /// Of a write of the plane's own.
    pub(crate) fn of_own(verb: &'static str, kind: KindRef, key: &'a Key) -> Self {
        let root = if kind.group.is_empty() { "/api" } else { "/apis/" };
        let mut path = format!("{root}{}/{}", kind.group, kind.version);
        if !key.namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(&key.namespace);
        }
        for part in [kind.plural, &key.name] {
            path.push('/');
            path.push_str(part);
        }
        let resource = Resource {
            group: kind.group.into(),
            version: kind.version.into(),
            namespace: (&*key.namespace).into(),
            resource: kind.plural.into(),
            name: (&*key.name).into(),
            subresource: Cow::default(),
        };
        Self { verb, path: path.into(), resource: Some(resource), dry_run: false }
    }

    /// Whether it changes something, or would.
    pub(crate) fn is_write(&self) -> bool {
        !READS.contains(&self.verb)
    }
}

impl<'a> Resource<'a> {
    fn runs_a_command(&self) -> bool {
        (&*self.group, &*self.resource, &*self.subresource) == ("", "pods", "exec")
    }

    /// `/api/VERSION/…` and `/apis/GROUP/VERSION/…`, whether there is such a resource or not.
    fn of(parts: Vec<Cow<'a, str>>) -> Option<Self> {
        let mut parts = parts.into_iter().peekable();
        let group = match &*parts.next()? {
            "api" => Cow::default(),
            "apis" => parts.next()?,
            _ => return None,
        };
        let mut found = Self { group, version: parts.next()?, ..Self::default() };
        found.resource = parts.next()?;
        if found.resource == "namespaces"
            && let Some(namespace) = parts.next()
        {
            found.namespace = namespace;
            match parts.peek() {
                Some(part) if !NAMESPACE_PARTS.contains(&&**part) => {
                    found.resource = parts.next()?;
                }
                _ => found.name = found.namespace.clone(),
            }
        }
        if found.name.is_empty() {
            found.name = parts.next().unwrap_or_default();
        }
        found.subresource = parts.next().unwrap_or_default();
        Some(found)
    }
}

fn resource_verb(method: &http::Method, name: &str, watch: bool) -> &'static str {
    match (method.as_str(), name.is_empty()) {
        ("GET" | "HEAD", true) if watch => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => method_verb(method),
    }
}

fn method_verb(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        "TRACE" => "trace",
        "CONNECT" => "connect",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Uri};
    use proptest::prelude::*;

    fn said(method: Method, address: &str) -> String {
        let uri: Uri = address.parse().unwrap();
        let it = Attributes::of(&method, &uri);
        let dry = if it.dry_run { " dry" } else { "" };
        match it.resource {
            None => format!("{} {}{dry}", it.verb, it.path),
            Some(Resource { group, version, namespace, resource, name, subresource }) => format!(
                "{} {group}/{version} {namespace}:{resource}/{name}/{subresource}{dry}",
                it.verb
            ),
        }
    }

    #[test]
    fn requests_are_named() {
        let racks = "/apis/inventory.quarterdeck.dev/v1alpha1/racks";
        for (method, path, expected) in [
            (Method::GET, "/api/v1/secrets", "list /v1 :secrets//"),
            (Method::GET, "/api/v1/secrets?watch=1", "watch /v1 :secrets//"),
            (Method::GET, "/api/v1/secrets?watch=false", "list /v1 :secrets//"),
            (Method::GET, "/api/v1/namespaces/a/secrets/s?watch", "get /v1 a:secrets/s/"),
            // As it is served, so that no other spelling escapes a policy.
            (Method::GET, "//api/v1/namespaces/a/%73ecrets/s", "get /v1 a:secrets/s/"),
            (Method::POST, "/api/v1/namespaces/a/secrets?dryRun=All", "create /v1 a:secrets// dry"),
            (Method::PUT, "/api/v1/namespaces/a", "update /v1 a:namespaces/a/"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 a:namespaces/a/finalize"),
            (Method::POST, "/api/v1/namespaces", "create /v1 :namespaces//"),
            (
                Method::POST,
                "/api/v1/namespaces/a/serviceaccounts/s/token",
                "create /v1 a:serviceaccounts/s/token",
            ),
            (
                Method::PATCH,
                &format!("{racks}/r/status"),
                "patch inventory.quarterdeck.dev/v1alpha1 :racks/r/status",
            ),
            (Method::DELETE, racks, "deletecollection inventory.quarterdeck.dev/v1alpha1 :racks//"),
            (Method::DELETE, "/apis/none/v9/things/x", "delete none/v9 :things/x/"),
            (Method::GET, "/apis/none/v9", "get /apis/none/v9"),
            (Method::GET, "/livez", "get /livez"),
            (Method::POST, "/version", "post /version"),
            (Method::DELETE, "/api/v1/%zz/x", "delete /api/v1/%zz/x"),
        ] {
            assert_eq!(said(method, path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_it_panic(path in "[/%a-z0-9?&=.:-]{0,80}", method in "[A-Z]{1,8}") {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            if let Ok(uri) = format!("/{path}").parse::<Uri>() {
                let _ = Attributes::of(&method, &uri).is_write();
            }
        }
    }
}
