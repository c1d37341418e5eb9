//! Who may do what, through HTTP with client certificates and tokens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod agents;
mod pages;
mod questions;
mod reviews;
mod seeing;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tokens;
mod writing;

use bytes::Bytes;
use http::header;
use http_body_util::Full;
use serde_json::{Value, json};
use support::{Answer, Caller, Plane, whole};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Somebody with a certificate of their own.
struct Person<'p> {
    plane: &'p Plane,
    caller: Caller,
    headers: Vec<(&'static str, String)>,
}

impl<'p> Person<'p> {
    fn new(plane: &'p Plane, user: &str, groups: &[&str]) -> Self {
        let identity = plane.authority.client(user, groups).unwrap();
        Self { plane, caller: plane.caller(Some(&identity)), headers: Vec::new() }
    }

    fn anonymous(plane: &'p Plane) -> Self {
        Self { plane, caller: plane.caller(None), headers: Vec::new() }
    }

    /// Somebody who shows a token, and nothing else.
    fn with_token(plane: &'p Plane, token: &str) -> Self {
        Self::anonymous(plane).acting("authorization", &format!("Bearer {token}"))
    }

    /// The same, acting as somebody else.
    fn acting(mut self, header: &'static str, value: &str) -> Self {
        self.headers.push((header, value.into()));
        self
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> http::Request<Full<Bytes>> {
        let kind = match (method, body) {
            ("PATCH", Value::Array(_)) => "application/json-patch+json",
            ("PATCH", _) => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut request = self.plane.request(method, path).header(header::CONTENT_TYPE, kind);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        request.body(Full::new(text.into())).unwrap()
    }

    async fn send(&self, method: &str, path: &str) -> http::Response<hyper::body::Incoming> {
        self.caller.request(self.request(method, path, &Value::Null)).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        whole(self.caller.request(self.request(method, path, &body)).await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Value::Null).await
    }

    /// What it is told when it is refused.
    async fn refused(&self, method: &str, path: &str, body: Value) -> String {
        let answer = self.ask(method, path, body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {:#}", answer.body);
        answer.body["message"].as_str().unwrap().into()
    }

    async fn must(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask(method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {:#}", answer.body);
        answer.body
    }
}

async fn namespaces(plane: &Plane, names: &[&str]) {
    for name in names {
        plane.must("POST", "/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
    }
}

/// A role with those rules in a namespace, or a ClusterRole where that is empty.
async fn role(plane: &Plane, namespace: &str, name: &str, rules: Value) {
    let path = match namespace {
        "" => format!("{RBAC}/clusterroles"),
        namespace => format!("{RBAC}/namespaces/{namespace}/roles"),
    };
    plane.must("POST", &path, json!({"metadata": {"name": name}, "rules": rules})).await;
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name})
}

/// Binds a role of that kind and name; everywhere where the namespace is empty. The binding has the
/// name of the role and its subject.
async fn bind(plane: &Plane, namespace: &str, (kind, role): (&str, &str), subject: Value) {
    let path = bindings(namespace);
    let name = format!("{role}-{}", subject["name"].as_str().unwrap().replace(':', "-"));
    let binding = json!({
        "metadata": {"name": name}, "roleRef": {"kind": kind, "name": role}, "subjects": [subject],
    });
    plane.must("POST", &path, binding).await;
}

fn bindings(namespace: &str) -> String {
    match namespace {
        "" => format!("{RBAC}/clusterrolebindings"),
        namespace => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
    }
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    let place = |item: &Value| {
        let text = |name: &str| item["metadata"][name].as_str().unwrap_or_default().to_owned();
        match text("namespace").as_str() {
            "" => text("name"),
            namespace => format!("{namespace}/{}", text("name")),
        }
    };
    items.iter().map(place).collect()
}
