//! A write as policies see it: what is done to what, by whom, and the values their expressions read. Pure.
//! Source: `admission.k8s.io/v1 AdmissionRequest`.

use crate::{identity::Caller, scale::SCALE};
use quarterdeck_model::{Kind as _, KindRef, kinds::Namespace};
use quarterdeck_runbook::Scope;
use quarterdeck_store::World;
use serde_json::{Map, Value, json};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    Create,
    Update,
    Delete,
}

/// The part of a service account that makes tokens: what is written to it is a TokenRequest.
pub(crate) const TOKEN: &str = "token";

/// A write that somebody attempts.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) doing: Doing,
    pub(crate) kind: KindRef,
    /// The part of it that is written, such as its status; empty for the object itself.
    pub(crate) part: &'static str,
    /// Empty for objects in no namespace.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) dry_run: bool,
    /// As it would be; none when it is deleted.
    pub(crate) new: Option<&'a Value>,
    /// As it is; none when it is made.
    pub(crate) old: Option<&'a Value>,
}

impl Attempt<'_> {
    /// The object as it would be and as it is.
    pub(super) fn objects(&self) -> Vec<&Value> {
        self.new.into_iter().chain(self.old).collect()
    }
}

/// The namespace a write is in. That of a Namespace is itself, as it would be.
pub(super) fn namespace(world: &World, attempt: &Attempt<'_>) -> Option<Value> {
    if attempt.kind == Namespace::info() {
        return attempt.new.or(attempt.old).cloned();
    }
    let object = world.get(Namespace::info(), "", attempt.namespace)?;
    Some(object.value())
}

/// The variable `request`.
pub(super) fn request(attempt: &Attempt<'_>) -> Value {
    let Attempt { caller, doing, kind, part, namespace, name, dry_run, .. } = *attempt;
    let (group, version, of) = match part {
        TOKEN => ("authentication.k8s.io", "v1", "TokenRequest"),
        "scale" => SCALE,
        _ => (kind.group, kind.version, kind.kind),
    };
    let of_kind = json!({"group": group, "version": version, "kind": of});
    let resource = json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
    let operation = match doing {
        Doing::Create => "CREATE",
        Doing::Update => "UPDATE",
        Doing::Delete => "DELETE",
    };
    let mut user = json!({"username": caller.user, "groups": caller.groups, "extra": caller.extra});
    if let (Some(uid), Some(user)) = (&caller.uid, user.as_object_mut()) {
        user.insert("uid".into(), uid.clone().into());
    }
    let mut request = json!({
        "uid": uuid::Uuid::new_v4().to_string(),
        "kind": of_kind,
        "resource": resource,
        "requestKind": of_kind,
        "requestResource": resource,
        "operation": operation,
        "userInfo": user,
        "dryRun": dry_run,
        "options": {},
    });
    // What is empty is not there, as Kubernetes writes it.
    let given = [
        ("name", name),
        ("namespace", namespace),
        ("subResource", part),
        ("requestSubResource", part),
    ];
    let given = given.into_iter().filter(|(_, text)| !text.is_empty());
    if let Some(fields) = request.as_object_mut() {
        fields.extend(given.map(|(name, text)| (name.into(), text.into())).collect::<Map<_, _>>());
    }
    request
}

/// All that expressions read.
pub(super) fn scope<'a>(
    attempt: &'a Attempt<'_>,
    request: &'a Value,
    namespace: Option<&'a Value>,
    params: Option<&'a Value>,
) -> Scope<'a> {
    const NOTHING: &Value = &Value::Null;
    let namespace = namespace.filter(|_| !attempt.namespace.is_empty());
    Scope::new()
        .with_ref("object", attempt.new.unwrap_or(NOTHING))
        .with_ref("oldObject", attempt.old.unwrap_or(NOTHING))
        .with_ref("request", request)
        .with_ref("namespaceObject", namespace.unwrap_or(NOTHING))
        .with_ref("params", params.unwrap_or(NOTHING))
}
