//! One line of the log: an `audit.k8s.io/v1` Event, as Kubernetes writes it, so that what reads its logs
//! reads these. Pure.

use super::{
    attributes::Attributes,
    policy::{Level, Stage},
};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

/// Longest address that is logged; a caller chooses its length.
const URI_BYTES_MAX: usize = 2_048;
/// Longest name of a client; Kubernetes cuts there too.
const AGENT_BYTES_MAX: usize = 1_024;
/// Longest sentence of a refusal.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// An event. What is absent is left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    pub(crate) level: Level,
    #[serde(rename = "auditID")]
    pub(crate) id: &'a str,
    pub(crate) stage: Stage,
    #[serde(rename = "requestURI", serialize_with = "uri")]
    pub(crate) uri: Cow<'a, str>,
    pub(crate) verb: &'a str,
    pub(crate) user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) impersonated_user: Option<User<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<[IpAddr; 1]>,
    #[serde(skip_serializing_if = "str::is_empty", serialize_with = "agent")]
    pub(crate) user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_ref: Option<ObjectRef<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_status: Option<ResponseStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_object: Option<Value>,
    #[serde(serialize_with = "micros")]
    pub(crate) request_received_timestamp: Timestamp,
    #[serde(serialize_with = "micros")]
    pub(crate) stage_timestamp: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// Who asked.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct User<'a> {
    pub(crate) username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<&'a str>,
    pub(crate) groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra: Option<&'a BTreeMap<String, Vec<String>>>,
}

/// What it was about.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectRef<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) uid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) api_version: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) resource_version: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) subresource: &'a str,
}

/// How it was answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ResponseStatus<'a> {
    metadata: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty", serialize_with = "message")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    code: u16,
}

#[derive(Debug, Clone, Serialize)]
struct Empty {}

impl<'a> Event<'a> {
    /// An event with what every one has.
    pub(crate) fn new(
        id: &'a str,
        attributes: &'a Attributes<'_>,
        user: User<'a>,
        received: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: Level::Metadata,
            id,
            stage: Stage::ResponseComplete,
            uri: attributes.path.as_ref().into(),
            verb: attributes.verb,
            user,
            impersonated_user: None,
            source: None,
            user_agent: "",
            object_ref: ObjectRef::of(attributes),
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: received,
            stage_timestamp: now,
            annotations: BTreeMap::new(),
        }
    }

    /// As a line of the log. Text that is not ASCII or is a control character cannot end it: JSON escapes.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(1_024);
        // All its maps have text as keys, so it is always JSON.
        if serde_json::to_writer(&mut line, self).is_err() {
            line.clear();
        }
        line.push(b'\n');
        line
    }
}

impl<'a> ObjectRef<'a> {
    fn of(attributes: &'a Attributes<'_>) -> Option<Self> {
        let resource = attributes.resource.as_ref()?;
        Some(Self {
            resource: &resource.resource,
            namespace: &resource.namespace,
            name: &resource.name,
            api_group: &resource.group,
            api_version: &resource.version,
            subresource: &resource.subresource,
            ..Self::default()
        })
    }
}

impl<'a> ResponseStatus<'a> {
    /// With that status of HTTP; `reason` and `message` are those of a refusal.
    pub(crate) fn new(code: StatusCode, reason: &'a str, message: &'a str) -> Self {
        let status = (!reason.is_empty()).then_some("Failure");
        Self { metadata: Empty {}, status, message, reason, code: code.as_u16() }
    }
}

/// Text of at most so many bytes.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default()).into()
}

fn uri<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&cut(text, URI_BYTES_MAX))
}

fn agent<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&cut(text, AGENT_BYTES_MAX))
}

fn message<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&cut(text, MESSAGE_BYTES_MAX))
}

/// `metav1.MicroTime`.
fn micros<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Uri};
    use proptest::prelude::*;

    #[test]
    fn it_is_written_as_kubernetes_writes_it() {
        let address = Uri::from_static("/api/v1/namespaces/team/secrets/s?x=1");
        let attributes = Attributes::of(&Method::PUT, &address);
        let groups = ["ops".to_owned()];
        let user = User { username: "ann", uid: None, groups: &groups, extra: None };
        let received: Timestamp = "2026-03-14T09:26:53.1Z".parse().unwrap();
        let now: Timestamp = "2026-03-14T09:26:53.123456789Z".parse().unwrap();
        let mut event = Event::new("id-1", &attributes, user, received, now);
        event.uri = address.to_string().into();
        event.source = Some(["192.0.2.7".parse().unwrap()]);
        event.user_agent = "kubectl/v1.32";
        event.response_status =
            Some(ResponseStatus::new(StatusCode::CONFLICT, "Conflict", "it changed"));
        event.annotations.insert("authorization.k8s.io/decision".into(), "allow".into());
        assert_eq!(
            String::from_utf8(event.line()).unwrap(),
            concat!(
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id-1","#,
                r#""stage":"ResponseComplete","requestURI":"/api/v1/namespaces/team/secrets/s?x=1","#,
                r#""verb":"update","user":{"username":"ann","groups":["ops"]},"sourceIPs":["192.0.2.7"],"#,
                r#""userAgent":"kubectl/v1.32","objectRef":{"resource":"secrets","namespace":"team","#,
                r#""name":"s","apiVersion":"v1"},"responseStatus":{"metadata":{},"status":"Failure","#,
                r#""message":"it changed","reason":"Conflict","code":409},"#,
                r#""requestReceivedTimestamp":"2026-03-14T09:26:53.100000Z","#,
                r#""stageTimestamp":"2026-03-14T09:26:53.123456Z","#,
                r#""annotations":{"authorization.k8s.io/decision":"allow"}}"#,
                "\n"
            )
        );
    }

    proptest! {
        #[test]
        fn it_is_always_one_line_of_bounded_length(agent: String, message: String, many in 1..3_000_usize) {
            let uri = Uri::from_static("/livez");
            let attributes = Attributes::of(&Method::GET, &uri);
            let user = User { username: "\n", uid: None, groups: &[], extra: None };
            let mut event =
                Event::new("id", &attributes, user, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
            let (agent, message) = (agent.repeat(many), message.repeat(many));
            event.user_agent = &agent;
            event.response_status = Some(ResponseStatus::new(StatusCode::OK, "a", &message));
            let line = event.line();
            // A control character takes six bytes.
            prop_assert!(line.len() < 6 * (URI_BYTES_MAX + AGENT_BYTES_MAX + MESSAGE_BYTES_MAX) + 2_048);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert!(serde_json::from_slice::<Value>(&line).is_ok());
        }
    }
}
