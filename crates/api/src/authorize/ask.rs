//! What a request asks to do, as authorisation sees it, read from method, path and query alone:
//! also of paths that are not there. Pure.
//! Source: Kubernetes "Authorization", "Review your request attributes"; the rules of
//! k8s.io/apiserver `RequestInfo`.

use crate::path::Query;
use http::Method;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask<'a> {
    /// Something of a resource.
    Resource {
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        /// Empty for the object itself.
        subresource: &'a str,
        /// Empty at the cluster scope. That of a Namespace is its own name.
        namespace: &'a str,
        /// Empty for all.
        name: &'a str,
    },
    /// Any other path.
    Path { verb: &'a str, path: &'a str },
}

impl<'a> Ask<'a> {
    /// What a request of `method` asks; `parts` are those of `path`, decoded.
    pub(crate) fn of(
        method: &Method,
        path: &'a str,
        parts: &'a [impl AsRef<str>],
        query: &'a Query,
    ) -> Self {
        let mut rest = parts.iter().map(AsRef::as_ref);
        let group = match (rest.next(), parts.len()) {
            (Some("api"), 3..) => "",
            (Some("apis"), 4..) => rest.next().unwrap_or_default(),
            _ => return Self::Path { verb: path_verb(method), path },
        };
        let mut rest = rest.skip(1).peekable();
        let first = rest.next().unwrap_or_default();
        let (namespace, resource, name) = match (first, rest.next()) {
            ("namespaces", Some(namespace)) => match rest.peek().copied() {
                None | Some("status" | "finalize") => (namespace, first, namespace),
                Some(resource) => {
                    rest.next();
                    (namespace, resource, rest.next().unwrap_or_default())
                }
            },
            (resource, name) => ("", resource, name.unwrap_or_default()),
        };
        let subresource = rest.next().unwrap_or_default();
        let all = name.is_empty();
        let verb = match *method {
            // However it is asked for: whoever may only read runs nothing. (So does Kubernetes since 1.35.)
            Method::GET | Method::HEAD
                if (group, resource, subresource) == ("", "pods", "exec") =>
            {
                "create"
            }
            Method::GET | Method::HEAD if all && query.watch => "watch",
            Method::GET | Method::HEAD if all => "list",
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if all => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        };
        // A list of one name is about that name.
        let name = match verb {
            "list" | "watch" => query.only_name().unwrap_or_default(),
            _ => name,
        };
        Self::Resource { verb, group, resource, subresource, namespace, name }
    }

    /// Where it is asked for; empty at the cluster scope.
    pub(crate) fn namespace(&self) -> &'a str {
        match self {
            Self::Resource { namespace, .. } => namespace,
            Self::Path { .. } => "",
        }
    }

    /// The same for people, after "cannot".
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Path { verb, path } => format!("{verb} path {path:?}"),
            Self::Resource { verb, group, resource, subresource, namespace, .. } => {
                let resource = match *subresource {
                    "" => format!("{resource:?}"),
                    part => format!("{:?}", format!("{resource}/{part}")),
                };
                let place = match *namespace {
                    "" => "at the cluster scope".into(),
                    namespace => format!("in the namespace {namespace:?}"),
                };
                format!("{verb} resource {resource} in API group {group:?} {place}")
            }
        }
    }
}

fn path_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;

    #[test]
    fn requests_read_as_kubernetes_reads_them() {
        for (method, url, wanted) in [
            ("GET", "/api", r#"get path "/api""#),
            ("GET", "/api/v1", r#"get path "/api/v1""#),
            ("GET", "/apis/x/v1", r#"get path "/apis/x/v1""#),
            ("POST", "/nonsense/a/b/c", r#"post path "/nonsense/a/b/c""#),
            (
                "GET",
                "/api/v1/secrets",
                r#"list resource "secrets" in API group "" at the cluster scope"#,
            ),
            (
                "GET",
                "/api/v1/namespaces",
                r#"list resource "namespaces" in API group "" at the cluster scope"#,
            ),
            (
                "GET",
                "/api/v1/namespaces/a",
                r#"get resource "namespaces" in API group "" in the namespace "a""#,
            ),
            (
                "PUT",
                "/api/v1/namespaces/a/status",
                r#"update resource "namespaces/status" in API group "" in the namespace "a""#,
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p/log?follow=true",
                r#"get resource "pods/log" in API group "" in the namespace "a""#,
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p/exec?command=ls",
                r#"create resource "pods/exec" in API group "" in the namespace "a""#,
            ),
            (
                "GET",
                "/api/v1/namespaces/a/secrets?watch=1",
                r#"watch resource "secrets" in API group "" in the namespace "a""#,
            ),
            (
                "DELETE",
                "/api/v1/namespaces/a/secrets",
                r#"deletecollection resource "secrets" in API group "" in the namespace "a""#,
            ),
            (
                "PATCH",
                "/apis/x/v1/things/t/scale",
                r#"patch resource "things/scale" in API group "x" at the cluster scope"#,
            ),
        ] {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let parts = path::parts(path).unwrap();
            let query = Query::parse(query).unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Ask::of(&method, path, &parts, &query).text(), wanted, "{method} {url}");
        }
        let parts = path::parts("/api/v1/secrets").unwrap();
        let query = Query::parse("fieldSelector=metadata.name%3Da").unwrap();
        let ask = Ask::of(&Method::GET, "", &parts, &query);
        assert!(matches!(ask, Ask::Resource { verb: "list", name: "a", .. }), "{ask:?}");
    }
}
