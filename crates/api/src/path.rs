//! What a request asks for, read from its method, path and query. Pure.

use crate::{
    agents::REPLICA_PATH,
    core_view::{self, PodPart, View},
    definitions,
    status::ApiError,
};
use http::Method;
use quarterdeck_model::{
    FieldError, FieldErrors, FieldSelector, Kind as _, KindRef, LabelSelector,
    agent::{JOIN_PATH, RENEW_PATH, STREAM_PATH, session::SESSION_PATH},
    kinds::{self, Machine, SERVICES, ServiceAccount, V1ALPHA1},
    selector::FieldRequirement,
};
use std::{borrow::Cow, time::Duration};

/// Longest query string that is read.
const QUERY_BYTES_MAX: usize = 16 * 1024;

/// A part of an object with its own endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subresource {
    Status,
    Scale,
}

impl Subresource {
    /// As it is written in a path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
        }
    }
}

/// An endpoint, by its path alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/livez` (and `/healthz`): the process answers.
    Live,
    /// `/readyz`: it can serve.
    Ready,
    /// `/metrics`.
    Metrics,
    /// `/version`.
    Version,
    /// `/`: the paths there are.
    Paths,
    /// `/api`: core group, and with aggregation its resources.
    CoreVersions,
    /// `/apis`: the other groups.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    Resources { group: String, version: String },
    /// `/openapi/v2`.
    OpenapiAll,
    /// `/openapi/v3`.
    OpenapiIndex,
    /// `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION`.
    Openapi { group: String, version: String },
    /// `/apis/authorization.k8s.io/v1/selfsubject…`, `/apis/authentication.k8s.io/v1/selfsubjectreviews`.
    Review { plural: String, namespace: Option<String> },
    /// `/.well-known/openid-configuration`: how tokens of service accounts are verified.
    TokenDiscovery,
    /// `/graphql`: questions that join, count and search.
    Graphql,
    /// `/stream/fleetmap`: the fleet map as it changes.
    FleetMap,
    /// `/stream/changes`: which objects change.
    Changes,
    /// `/openid/v1/jwks`: the keys for that.
    TokenKeys,
    /// `…/serviceaccounts/NAME/token`: a token to be made.
    Token { namespace: String, name: String },
    /// `…/machines/NAME/jointoken`: a token with which its agent joins, to be made.
    JoinToken { namespace: String, name: String },
    /// What agents ask for.
    Agent(AgentCall),
    /// What replicas ask each other for.
    Replica(ReplicaCall),
    /// `…/pods/NAME/log` and the like: what is done with a Pod.
    Pod { namespace: String, name: String, part: PodPart },
    /// A kind's objects, all or those of one namespace.
    Collection { kind: KindRef, namespace: Option<String> },
    /// One object, or a part of it.
    Object { kind: KindRef, namespace: String, name: String, part: Option<Subresource> },
}

/// What agents ask for, and nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentCall {
    /// The first certificate, for a token.
    Join,
    /// The next one.
    Renew,
    /// The stream.
    Stream,
    /// The stream of a session that somebody has with a container.
    Session,
}

/// What replicas ask each other for, and nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplicaCall {
    /// A session with a container of an agent that the other one holds.
    Session,
    /// What the hosts take whose agents the other one holds.
    Usage,
}

impl Endpoint {
    /// The resource it is about, as metrics and logs name it.
    pub(crate) fn resource(&self) -> &'static str {
        match self {
            Self::Collection { kind, .. } | Self::Object { kind, .. } => kind.plural,
            Self::Token { .. } => "serviceaccounts/token",
            Self::JoinToken { .. } => "machines/jointoken",
            Self::Agent(AgentCall::Join | AgentCall::Renew) => "agents/certificate",
            Self::Agent(AgentCall::Stream) => "agents/stream",
            Self::Agent(AgentCall::Session) => "agents/session",
            Self::Replica(ReplicaCall::Session) => "replicas/session",
            Self::Replica(ReplicaCall::Usage) => "replicas/usage",
            Self::Pod { part, .. } => part.resource(),
            _ => "",
        }
    }
}

/// The parts of a path between its slashes, decoded.
pub(crate) fn parts(path: &str) -> Result<Vec<Cow<'_, str>>, ApiError> {
    path.trim_matches('/')
        .split('/')
        .map(percent_decode)
        .collect::<Option<_>>()
        .ok_or_else(|| ApiError::bad_request("the path is not valid percent-encoded UTF-8"))
}

/// Finds the endpoint of a path.
pub(crate) fn endpoint(path: &str) -> Result<Endpoint, ApiError> {
    match path {
        JOIN_PATH => return Ok(Endpoint::Agent(AgentCall::Join)),
        RENEW_PATH => return Ok(Endpoint::Agent(AgentCall::Renew)),
        STREAM_PATH => return Ok(Endpoint::Agent(AgentCall::Stream)),
        path if path.starts_with(SESSION_PATH) => return Ok(Endpoint::Agent(AgentCall::Session)),
        _ => {}
    }
    match path.strip_prefix(REPLICA_PATH) {
        Some("session") => return Ok(Endpoint::Replica(ReplicaCall::Session)),
        Some("usage") => return Ok(Endpoint::Replica(ReplicaCall::Usage)),
        _ => {}
    }
    let decoded = parts(path)?;
    let parts: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [""] => Ok(Endpoint::Paths),
        ["livez" | "healthz", ..] => Ok(Endpoint::Live),
        ["readyz", ..] => Ok(Endpoint::Ready),
        ["metrics"] => Ok(Endpoint::Metrics),
        ["version"] => Ok(Endpoint::Version),
        [".well-known", "openid-configuration"] => Ok(Endpoint::TokenDiscovery),
        ["openid", "v1", "jwks"] => Ok(Endpoint::TokenKeys),
        ["graphql"] => Ok(Endpoint::Graphql),
        ["stream", "fleetmap"] => Ok(Endpoint::FleetMap),
        ["stream", "changes"] => Ok(Endpoint::Changes),
        ["openapi", "v2"] => Ok(Endpoint::OpenapiAll),
        ["openapi", "v3"] => Ok(Endpoint::OpenapiIndex),
        ["openapi", "v3", "api", version] => {
            Ok(Endpoint::Openapi { group: String::new(), version: (*version).into() })
        }
        ["openapi", "v3", "apis", group, version] => {
            Ok(Endpoint::Openapi { group: (*group).into(), version: (*version).into() })
        }
        ["api"] => Ok(Endpoint::CoreVersions),
        ["apis"] => Ok(Endpoint::Groups),
        ["api", version] => {
            Ok(Endpoint::Resources { group: String::new(), version: (*version).into() })
        }
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group] => Ok(Endpoint::Group((*group).into())),
        ["apis", group, version] => {
            Ok(Endpoint::Resources { group: (*group).into(), version: (*version).into() })
        }
        ["apis", "authorization.k8s.io" | "authentication.k8s.io", "v1", review] => {
            Ok(Endpoint::Review { plural: (*review).into(), namespace: None })
        }
        ["apis", "authorization.k8s.io", "v1", "namespaces", namespace, review] => {
            let namespace = Some((*namespace).into());
            Ok(Endpoint::Review { plural: (*review).into(), namespace })
        }
        ["apis", SERVICES, V1ALPHA1, review @ "impactreports"] => {
            Ok(Endpoint::Review { plural: (*review).into(), namespace: None })
        }
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => Err(ApiError::no_such_path()),
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Result<Endpoint, ApiError> {
    let kind = |plural: &str| {
        let defined = definitions::kind();
        let asked = (group, version, plural) == (defined.group, defined.version, defined.plural);
        let found = kinds::by_path(group, version, plural).or(asked.then_some(defined));
        let found = found.or_else(|| core_view::by_path(group, version, plural));
        found.ok_or_else(ApiError::no_such_path)
    };
    let (namespace, rest) = match rest {
        // `namespaces/NAME` and `namespaces/NAME/status` are the Namespace itself.
        ["namespaces", namespace, plural, rest @ ..] if *plural != "status" => {
            let kind = kind(plural)?;
            if !kind.namespaced() {
                return Err(ApiError::no_such_path());
            }
            (Some((kind, *namespace)), rest)
        }
        _ => (None, rest),
    };
    let (kind, namespace, rest) = match (namespace, rest) {
        (Some((kind, namespace)), rest) => (kind, Some(namespace), rest),
        (None, [plural, rest @ ..]) => (kind(plural)?, None, rest),
        (None, []) => return Err(ApiError::no_such_path()),
    };
    if rest.is_empty() {
        return Ok(Endpoint::Collection { kind, namespace: namespace.map(Into::into) });
    }
    // An object of a namespaced kind is found only in its namespace.
    if kind.namespaced() != namespace.is_some() {
        return Err(ApiError::no_such_path());
    }
    let namespace = namespace.unwrap_or_default().into();
    match rest {
        [name, "token"] if kind == ServiceAccount::info() => {
            Ok(Endpoint::Token { namespace, name: (*name).into() })
        }
        [name, "jointoken"] if kind == Machine::info() => {
            Ok(Endpoint::JoinToken { namespace, name: (*name).into() })
        }
        [name, part] if View::of(kind) == Some(View::Pods) => {
            let part = PodPart::of(part).ok_or_else(ApiError::no_such_path)?;
            Ok(Endpoint::Pod { namespace, name: (*name).into(), part })
        }
        [name] => Ok(Endpoint::Object { kind, namespace, name: (*name).into(), part: None }),
        [name, "status"] if kind.has_status => {
            let part = Some(Subresource::Status);
            Ok(Endpoint::Object { kind, namespace, name: (*name).into(), part })
        }
        [name, "scale"] if kind.scale.is_some() => {
            let part = Some(Subresource::Scale);
            Ok(Endpoint::Object { kind, namespace, name: (*name).into(), part })
        }
        _ => Err(ApiError::no_such_path()),
    }
}

pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Into::into)
}

/// How unknown fields in a written object are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Strict,
    #[default]
    Warn,
    Ignore,
}

/// How old an answer may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    /// The newest, as Kubernetes reads an absent `resourceVersion`.
    #[default]
    Newest,
    /// Whatever the cache has (`resourceVersion=0`).
    Any,
    /// That revision or a newer one.
    NotOlderThan(u64),
    /// Exactly that revision.
    Exact(u64),
}

/// The query parameters of all endpoints.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    pub(crate) limit: Option<usize>,
    pub(crate) next: Option<String>,
    pub(crate) version: VersionMatch,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    /// Whether a watch begins with what there is; decided by its version when not said.
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    pub(crate) propagation: Option<String>,
    /// Who writes; where it is not said, the name of the program that sends the request.
    pub(crate) manager: String,
    /// Whether an apply takes fields from others.
    pub(crate) force: Option<bool>,
    /// The older way to say whether dependents are cut loose.
    pub(crate) orphan: Option<bool>,
    pub(crate) include_object: Option<String>,
    pub(crate) pretty: bool,
    /// The caller may change nothing but what they approve; not said by the query.
    pub(crate) only_approves: bool,
}

fn is_true(value: &str) -> bool {
    matches!(value, "" | "1" | "true" | "True" | "TRUE" | "t" | "T")
}

impl Query {
    /// Puts in the paths of fields that Kubernetes lets be selected by another name.
    pub(crate) fn resolve_field_labels(&mut self, kind: KindRef) {
        if kind.group.is_empty() && kind.kind == "Event" {
            let source = self.fields.0.iter_mut().filter(|field| field.path == "source");
            source.for_each(|field| field.path = "source.component".into());
        }
    }

    /// Reads the query; unknown parameters are ignored, as Kubernetes does.
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(ApiError::bad_request(format!(
                "the query is longer than {QUERY_BYTES_MAX} bytes"
            )));
        }
        let mut parsed = Self::default();
        let (mut version, mut version_match) = (String::new(), String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = |why: &str| ApiError::bad_request(format!("invalid {name}={value}: {why}"));
            let flag = || match value.as_ref() {
                value if is_true(value) => Ok(true),
                "0" | "false" | "False" | "FALSE" | "f" | "F" => Ok(false),
                _ => Err(wrong("expected true or false")),
            };
            match name.as_ref() {
                "labelSelector" => {
                    parsed.labels = LabelSelector::parse(&value).map_err(|e| {
                        ApiError::bad_request(format!("unable to parse labelSelector: {e}"))
                    })?;
                }
                "fieldSelector" => {
                    parsed.fields = FieldSelector::parse(&value).map_err(|e| {
                        ApiError::bad_request(format!("unable to parse fieldSelector: {e}"))
                    })?;
                }
                "limit" => {
                    let limit: usize = value.parse().map_err(|_| wrong("expected a number"))?;
                    parsed.limit = (limit > 0).then_some(limit);
                }
                "continue" => parsed.next = (!value.is_empty()).then(|| value.into_owned()),
                "resourceVersion" => version = value.into_owned(),
                "resourceVersionMatch" => version_match = value.into_owned(),
                "watch" => parsed.watch = flag()?,
                "allowWatchBookmarks" => parsed.bookmarks = flag()?,
                "sendInitialEvents" => parsed.send_initial_events = Some(flag()?),
                "timeoutSeconds" => {
                    let seconds =
                        value.parse().map_err(|_| wrong("expected a number of seconds"))?;
                    parsed.timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
                }
                "dryRun" => match value.as_ref() {
                    "All" => parsed.dry_run = true,
                    "" => {}
                    _ => return Err(wrong("the only supported value is All")),
                },
                "fieldValidation" => {
                    parsed.validation = match value.as_ref() {
                        "Strict" => FieldValidation::Strict,
                        "Warn" | "" => FieldValidation::Warn,
                        "Ignore" => FieldValidation::Ignore,
                        _ => return Err(wrong("expected Strict, Warn or Ignore")),
                    }
                }
                "propagationPolicy" => parsed.propagation = Some(value.into_owned()),
                "fieldManager" => parsed.manager = value.into_owned(),
                "force" => parsed.force = Some(flag()?),
                "orphanDependents" => parsed.orphan = Some(flag()?),
                "includeObject" => parsed.include_object = Some(value.into_owned()),
                "pretty" => parsed.pretty = flag()?,
                _ => {}
            }
        }
        let errors = parsed.check_version_match(&version, &version_match);
        if !errors.is_empty() {
            return Err(ApiError::invalid_options("ListOptions", &errors));
        }
        parsed.version = parsed.version_match(&version, &version_match)?;
        Ok(parsed)
    }

    /// What of a query that cannot be read tells whether its caller may ask: only who may is told
    /// what is wrong with it.
    pub(crate) fn of_unreadable(query: &str) -> Self {
        let mut parameters = form_urlencoded::parse(query.as_bytes());
        let watch = parameters.any(|(name, value)| name == "watch" && is_true(&value));
        Self { watch, ..Self::default() }
    }

    /// The one name that fields are selected by, if they are.
    pub(crate) fn only_name(&self) -> Option<&str> {
        let name = |it: &&FieldRequirement| it.path == "metadata.name" && it.equal;
        self.fields.0.iter().find(name).map(|requirement| requirement.value.as_str())
    }

    /// Which parameters do not go together.
    /// Source: k8s.io/apimachinery, validation of `ListOptions`.
    fn check_version_match(&self, version: &str, how: &str) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let mut forbid = |field: &str, why: &str| errors.push(FieldError::forbidden(field, why));
        let given = !how.is_empty();
        match (self.watch, self.send_initial_events) {
            (true, None) if given => forbid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
            (true, Some(_)) if how != "NotOlderThan" => forbid(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (false, Some(_)) => {
                forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
            }
            _ => {}
        }
        if given && self.next.is_some() {
            forbid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            );
        }
        if given && !self.watch {
            if version.is_empty() {
                forbid(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if (how, version) == ("Exact", "0") {
                forbid(
                    "resourceVersionMatch",
                    "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
                );
            }
            if !matches!(how, "Exact" | "NotOlderThan") {
                let allowed = ["Exact", "NotOlderThan"];
                let shown = format!("{how:?}");
                errors.push(FieldError::not_supported("resourceVersionMatch", shown, &allowed));
            }
        }
        errors
    }

    /// Source: Kubernetes API concepts, "Resource versions", the tables for get, list and watch.
    fn version_match(&self, version: &str, how: &str) -> Result<VersionMatch, ApiError> {
        if version.is_empty() {
            return Ok(VersionMatch::Newest);
        }
        if self.next.is_some() && version != "0" {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let number: u64 = version.parse().map_err(|_| {
            ApiError::bad_request(format!("invalid resourceVersion {version:?}: expected a number"))
        })?;
        let exact = how == "Exact" || (how.is_empty() && self.limit.is_some() && !self.watch);
        Ok(match number {
            0 => VersionMatch::Any,
            number if exact => VersionMatch::Exact(number),
            number => VersionMatch::NotOlderThan(number),
        })
    }
}

/// The verb that authorisation and metrics know a request by.
pub(crate) fn verb(method: &Method, endpoint: &Endpoint, watch: bool) -> &'static str {
    let collection = matches!(endpoint, Endpoint::Collection { .. });
    match *method {
        Method::GET | Method::HEAD if collection && watch => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(path: &str) -> String {
        match endpoint(path) {
            Ok(Endpoint::Collection { kind, namespace }) => {
                format!("{}s of {}", kind.kind, namespace.unwrap_or_default())
            }
            Ok(Endpoint::Object { kind, namespace, name, part }) => {
                format!("{} {namespace}/{name} {part:?}", kind.kind)
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => error.code.as_str().to_owned(),
        }
    }

    #[test]
    fn endpoints() {
        for (path, expected) in [
            ("/api/v1/namespaces", "Namespaces of "),
            ("/api/v1/namespaces/a", "Namespace /a None"),
            ("/api/v1/namespaces/a/status", "Namespace /a Some(Status)"),
            ("/api/v1/namespaces/a/secrets", "Secrets of a"),
            ("/api/v1/secrets", "Secrets of "),
            ("/api/v1/namespaces/a/secrets/b", "Secret a/b None"),
            ("/api/v1/secrets/b", "404"),
            ("/apis/inventory.quarterdeck.dev/v1alpha1/servers", "Servers of "),
            ("/apis/inventory.quarterdeck.dev/v1alpha1/servers/s%31", "Server /s1 None"),
            ("/apis/inventory.quarterdeck.dev/v1alpha1/servers/s/status", "Server /s Some(Status)"),
            ("/apis/inventory.quarterdeck.dev/v1alpha1/namespaces/a/servers", "404"),
            ("/apis/inventory.quarterdeck.dev/v1/servers", "404"),
            ("/apis/inventory.quarterdeck.dev/v1alpha1/servers/s/scale", "404"),
            ("/api/v1/namespaces/a/secrets/b/status", "404"),
            ("/api/v1/namespaces/a/secrets/b/token", "404"),
            (
                "/api/v1/namespaces/a/serviceaccounts/b/token",
                r#"Token { namespace: "a", name: "b" }"#,
            ),
            ("/.well-known/openid-configuration", "TokenDiscovery"),
            (
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a.b",
                "CustomResourceDefinition /a.b None",
            ),
            ("/api/v1/namespaces/a/pods/b/log", r#"Pod { namespace: "a", name: "b", part: Log }"#),
            ("/api/v1/namespaces/a/pods/b/attach", "404"),
            ("/api/v1/nodes/b/log", "404"),
            ("/apis/metrics.k8s.io/v1beta1/nodes/b", "NodeMetrics /b None"),
            ("/apis/metrics.k8s.io/v1beta1/namespaces/a/nodes", "404"),
            ("/openapi/v2", "OpenapiAll"),
            ("/healthz/ping", "Live"),
            ("/nonsense", "404"),
            ("/api/v1/namespaces/%zz", "400"),
        ] {
            assert_eq!(kind_of(path), expected, "{path}");
        }
    }

    #[test]
    fn queries() {
        let query =
            Query::parse("limit=5&labelSelector=a%3Db&resourceVersion=0&watch=true&x=y").unwrap();
        assert_eq!(query.limit, Some(5));
        assert_eq!(query.version, VersionMatch::Any);
        assert!(query.watch && !query.labels.is_empty());
        for wrong in [
            "limit=-1",
            "watch=perhaps",
            "labelSelector=(",
            "fieldSelector=a",
            "resourceVersion=x",
            "dryRun=Some",
            "fieldValidation=Loose",
            "continue=abc&resourceVersion=7",
        ] {
            assert_eq!(Query::parse(wrong).unwrap_err().reason, "BadRequest", "{wrong}");
        }
        for wrong in [
            "resourceVersionMatch=Exact",
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersion=5&resourceVersionMatch=Roughly",
            "resourceVersion=0&resourceVersionMatch=NotOlderThan&continue=abc",
            "sendInitialEvents=true",
            "watch=true&sendInitialEvents=true",
            "watch=true&resourceVersion=5&resourceVersionMatch=NotOlderThan",
            "watch=true&sendInitialEvents=true&resourceVersion=5&resourceVersionMatch=Exact",
        ] {
            assert_eq!(Query::parse(wrong).unwrap_err().reason, "Invalid", "{wrong}");
        }
    }

    /// The tables of Kubernetes API concepts, "Resource versions".
    #[test]
    fn versions() {
        use VersionMatch::{Any, Exact, Newest, NotOlderThan};
        for (query, version) in [
            ("", Newest),
            ("limit=5", Newest),
            ("resourceVersion=0", Any),
            ("resourceVersion=0&limit=5", Any),
            ("resourceVersion=7", NotOlderThan(7)),
            ("resourceVersion=7&limit=5", Exact(7)),
            ("resourceVersion=7&resourceVersionMatch=Exact", Exact(7)),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=5", NotOlderThan(7)),
            ("resourceVersion=0&resourceVersionMatch=NotOlderThan", Any),
            ("resourceVersion=0&continue=abc", Any),
            ("watch=1&resourceVersion=7&limit=5", NotOlderThan(7)),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", Newest),
        ] {
            assert_eq!(Query::parse(query).unwrap().version, version, "{query}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_or_query_makes_it_panic(
            path in "/(api|apis)?(/[a-z0-9.%]{0,8}){0,6}", query in "\\PC{0,80}", any: String,
        ) {
            let _ = endpoint(&path);
            let _ = endpoint(&any);
            let _ = Query::parse(&query);
            let _ = Query::parse(&any);
        }
    }
}
