//! Bodies for the log: kept while a request is read, and made fit to be logged. They are bounded, and
//! what looks like a Secret is never logged, wherever it was sent.

use crate::answer::Answer;
use bytes::Bytes;
use http::{Extensions, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// Largest body that is logged: a thousand lines wait in memory when the disk is slow.
const LOGGED_BYTES_MAX: usize = 32 * 1024;

/// Where a body is kept when it is read. In the extensions of a request, so that handlers need not know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap(Arc<OnceLock<Bytes>>);

/// What is logged of a body.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Logged {
    /// There is none, or it is not to be logged.
    #[default]
    Nothing,
    /// It is too large.
    TooLarge,
    /// This.
    Object(Value),
}

impl Tap {
    /// Keeps the body of a request that is tapped.
    pub(crate) fn keep(extensions: &Extensions, body: &Bytes) {
        if let Some(Self(place)) = extensions.get::<Self>() {
            // A body is read once.
            let _ = place.set(body.clone());
        }
    }

    /// What was kept, as a value.
    pub(crate) fn value(&self) -> Logged {
        self.0.get().map_or(Logged::Nothing, readable)
    }

    /// Whether the body asks that nothing be written (`DeleteOptions`).
    pub(crate) fn asks_dry_run(&self) -> bool {
        match self.value() {
            Logged::Object(value) => {
                let list = value.get("dryRun").and_then(Value::as_array);
                list.is_some_and(|list| list.iter().any(|it| it == "All"))
            }
            _ => false,
        }
    }
}

/// A body as JSON. Patches and objects come as JSON or YAML; other encodings are not logged.
fn readable(body: &Bytes) -> Logged {
    if body.len() > LOGGED_BYTES_MAX {
        return Logged::TooLarge;
    }
    let value = serde_json::from_slice(body).ok().or_else(|| crate::yaml::read(body).ok());
    value.filter(|value: &Value| !value.is_null()).map_or(Logged::Nothing, Logged::Object)
}

impl Logged {
    /// Without what must not be logged, or was asked not to be.
    pub(crate) fn fit(self, omit_managed_fields: bool) -> Self {
        let Self::Object(mut value) = self else { return self };
        let items = value.get("items").and_then(Value::as_array);
        if is_secret(&value) || items.is_some_and(|items| items.iter().any(is_secret)) {
            return Self::Nothing;
        }
        if omit_managed_fields {
            forget_managers(&mut value);
            let items = value.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(forget_managers);
        }
        Self::Object(value)
    }
}

/// Whether it says that it is a Secret.
fn is_secret(value: &Value) -> bool {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    ["Secret", "SecretList", "TokenRequest", "TokenReview", "JoinTokenRequest"].contains(&kind)
}

fn forget_managers(value: &mut Value) {
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
}

/// The body of an answer, which stays as it is. Only one of known, small size is read: the others are
/// made while they are sent.
pub(crate) async fn peek(answer: Answer) -> (Answer, Logged) {
    let json =
        answer.headers().get(header::CONTENT_TYPE).is_some_and(|it| it == "application/json");
    match answer.body().size_hint().exact() {
        Some(size) if json && size <= LOGGED_BYTES_MAX as u64 => {
            let (parts, body) = answer.into_parts();
            // Such a body is in memory, whole, and cannot fail.
            let bytes = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let logged = readable(&bytes);
            (Answer::from_parts(parts, Full::new(bytes).boxed_unsync()), logged)
        }
        _ if json => (answer, Logged::TooLarge),
        _ => (answer, Logged::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer;
    use serde_json::json;

    fn kept(body: impl Into<Bytes>) -> Tap {
        let (tap, mut extensions) = (Tap::default(), Extensions::new());
        extensions.insert(tap.clone());
        Tap::keep(&extensions, &body.into());
        tap
    }

    #[test]
    fn bodies_are_fit_to_be_logged() {
        assert_eq!(kept("").value(), Logged::Nothing);
        assert_eq!(kept("a: 1").value(), Logged::Object(json!({"a": 1})));
        assert_eq!(kept(vec![b' '; LOGGED_BYTES_MAX + 1]).value(), Logged::TooLarge);
        let managed = json!({"kind": "Rack", "metadata": {"name": "a", "managedFields": []}});
        let list = json!({"items": [managed]});
        let fit = |value: &Value, omit| Logged::Object(value.clone()).fit(omit);
        assert_eq!(fit(&managed, false), Logged::Object(managed.clone()));
        let without = json!({"kind": "Rack", "metadata": {"name": "a"}});
        assert_eq!(fit(&managed, true), Logged::Object(without.clone()));
        assert_eq!(fit(&list, true), Logged::Object(json!({"items": [without]})));
        assert_eq!(fit(&json!({"kind": "Secret", "data": {}}), false), Logged::Nothing);
        assert_eq!(fit(&json!({"items": [{"kind": "Secret"}]}), false), Logged::Nothing);
        assert!(kept(r#"{"dryRun":["All"]}"#).asks_dry_run());
        assert!(!kept(r#"{"dryRun":[]}"#).asks_dry_run());
    }

    #[tokio::test]
    async fn answers_stay_as_they_are() {
        let (answer, logged) = peek(answer::json(&json!({"a": 1}))).await;
        assert_eq!(logged, Logged::Object(json!({"a": 1})));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), r#"{"a":1}"#);
        let large = answer::bytes(vec![b' '; LOGGED_BYTES_MAX + 1].into());
        assert_eq!(peek(large).await.1, Logged::TooLarge);
        assert_eq!(peek(answer::text(http::StatusCode::OK, "ok")).await.1, Logged::Nothing);
    }
}
