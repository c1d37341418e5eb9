//! Which endpoint answers a request that may be asked. Nothing is decided here about who calls.

use super::{Access, Api, Asked, readable, too_many};
use crate::{
    agents,
    answer::{self, Answer},
    apply::manager::{self, Options},
    authorize::Guard,
    body,
    change::ChangeType,
    core_view::{self, Lasting, PodPart, View, usage},
    definitions,
    delete::{self, DeleteOptions},
    discovery,
    graphql::{self, Asker},
    identity::{self, Caller},
    negotiate::{self, Form},
    openapi,
    path::{Endpoint, Query, Subresource},
    read, review, scale,
    status::ApiError,
    stream::{self, Looker},
    watch,
    write::{self, Target},
};
use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::Instant;

impl Api {
    pub(super) async fn dispatch(
        &self,
        asked: Asked,
        request: Request<Incoming>,
    ) -> Result<Answer, ApiError> {
        let Asked { endpoint, query, access } = asked;
        let form = match &endpoint {
            // Probes and Prometheus ask for text, and get text.
            Endpoint::Live | Endpoint::Ready | Endpoint::Metrics => Form::Json,
            // Have forms of their own.
            Endpoint::OpenapiAll | Endpoint::TokenDiscovery | Endpoint::TokenKeys => Form::Json,
            Endpoint::Graphql | Endpoint::FleetMap | Endpoint::Changes | Endpoint::Agent(_) => {
                Form::Json
            }
            Endpoint::Pod { .. } | Endpoint::Replica(_) => Form::Json,
            _ => {
                let accept = request.headers().get(header::ACCEPT);
                let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
                negotiate::form(accept).ok_or_else(ApiError::not_acceptable)?
            }
        };
        let found = |value: Option<serde_json::Value>| {
            value.map(|value| answer::json(&value)).ok_or_else(ApiError::no_such_path)
        };
        let readable = readable(request.method());
        match endpoint {
            Endpoint::Collection { kind, namespace } => {
                self.collection((kind, namespace.as_deref()), query, form, access, request).await
            }
            Endpoint::Object { kind, namespace, name, part } => {
                let target = Target { kind, namespace: &namespace, name: &name, part };
                self.object(&target, query, form, &access.caller, request).await
            }
            Endpoint::Review { plural, namespace } if *request.method() == Method::POST => {
                let body = body::object(request).await?;
                let asked = (plural.as_str(), namespace.as_deref());
                let Access { policy, caller, .. } = &access;
                review::answer(self, policy, caller, asked, query.validation, &body).await
            }
            Endpoint::Token { namespace, name } if *request.method() == Method::POST => {
                let body = body::object(request).await?;
                let account = (&*namespace, &*name);
                identity::request_token(self, &access.caller, account, query.dry_run, body).await
            }
            Endpoint::JoinToken { namespace, name } if *request.method() == Method::POST => {
                let body = body::optional_object(request).await?.unwrap_or_default();
                agents::join_token(self, (&*namespace, &*name), query.dry_run, &body).await
            }
            Endpoint::Agent(call) if *request.method() == Method::POST => {
                self.agent(call, &access.caller, request).await
            }
            Endpoint::Graphql => {
                let asker = Asker { policy: access.policy, caller: access.caller };
                graphql::answer(self, asker, request).await
            }
            Endpoint::Pod { namespace, name, part } => {
                let lasting = || self.lasting(&access, (&namespace, &name, part));
                core_view::pod(self, (&namespace, &name, part), &query, request, lasting).await
            }
            Endpoint::Replica(call) => self.replica(call, request).await,
            _ if !readable => Err(ApiError::method_not_allowed()),
            Endpoint::Review { .. }
            | Endpoint::Token { .. }
            | Endpoint::JoinToken { .. }
            | Endpoint::Agent(_) => Err(ApiError::method_not_allowed()),
            Endpoint::TokenDiscovery => {
                found(self.authentication.as_ref().map(|it| it.discovery()))
            }
            Endpoint::TokenKeys => {
                let keys = found(self.authentication.as_ref().map(|it| it.published_keys()));
                keys.map(answer::as_keys)
            }
            Endpoint::FleetMap | Endpoint::Changes => {
                let known = access.caller.is_known();
                let open = self.watches.open(&access.payer, known);
                let open = open.map_err(|refused| too_many("watches", refused))?;
                let looker = Looker {
                    store: self.store.clone(),
                    authorizer: self.authorizer.clone(),
                    caller: access.caller,
                    shown: access.shown,
                    policy: access.policy,
                    _open: open,
                };
                let text = request.uri().query().unwrap_or_default();
                match endpoint {
                    Endpoint::FleetMap => stream::map(self, text, looker).await,
                    _ => stream::changes(self, text, looker),
                }
            }
            Endpoint::Live => Ok(answer::text(StatusCode::OK, "ok")),
            Endpoint::Ready => match self.store.fresh().await {
                // One issuer that is away keeps nobody else out.
                Ok(_) if !*self.stop.borrow() => {
                    let problems = self.authentication.as_ref().map(|it| it.problems());
                    let text = format!("ok{}", problems.unwrap_or_default());
                    Ok(answer::text(StatusCode::OK, text))
                }
                Ok(_) => Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, "stopping")),
                Err(error) => {
                    Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("store: {error}")))
                }
            },
            Endpoint::Metrics => self
                .metrics
                .text(&self.store)
                .map(|text| answer::text(StatusCode::OK, text))
                .map_err(|error| ApiError::internal(error.to_string())),
            Endpoint::Version => Ok(answer::json(&version())),
            Endpoint::Paths => Ok(answer::json(&discovery::paths())),
            Endpoint::CoreVersions => Ok(match form {
                Form::Aggregated(version) => aggregated(true, version),
                _ => answer::json(&discovery::core_versions()),
            }),
            Endpoint::Groups => Ok(match form {
                Form::Aggregated(version) => aggregated(false, version),
                _ => answer::json(&discovery::groups()),
            }),
            Endpoint::Group(group) => found(discovery::one_group(&group)),
            Endpoint::Resources { group, version } => found(discovery::resources(&group, &version)),
            Endpoint::OpenapiIndex => Ok(answer::json(&openapi::index())),
            Endpoint::Openapi { group, version } => {
                openapi::group(&group, &version, request.uri().query(), request.headers())
            }
            Endpoint::OpenapiAll => openapi::all(request.headers()),
        }
    }

    /// What a session with a Pod's container is bound to; it counts as a watch does.
    fn lasting(
        &self,
        access: &Access,
        (namespace, name, part): (&str, &str, PodPart),
    ) -> Result<Lasting, ApiError> {
        let open = self.watches.open(&access.payer, access.caller.is_known());
        let verb = if part == PodPart::Exec { "create" } else { "get" };
        Ok(Lasting {
            store: self.store.clone(),
            authorizer: self.authorizer.clone(),
            policy: access.policy.clone(),
            caller: access.caller.clone(),
            shown: access.shown.clone(),
            namespace: namespace.into(),
            name: name.into(),
            asks: (verb, part.name()),
            stop: self.stopping(),
            _open: open.map_err(|refused| too_many("sessions and watches", refused))?,
            began: Instant::now(),
        })
    }

    async fn collection(
        &self,
        (kind, namespace): (quarterdeck_model::KindRef, Option<&str>),
        query: Query,
        form: Form,
        access: Access,
        request: Request<Incoming>,
    ) -> Result<Answer, ApiError> {
        if kind == definitions::kind() {
            return definitions::answer(self, request.method(), None, &query, form).await;
        }
        if let Some(view) = usage::of(kind) {
            return match readable(request.method()) && !query.watch {
                true => usage::list(self, kind, view, (namespace, &query), &access.sight).await,
                false => Err(ApiError::method_not_allowed()),
            };
        }
        if View::of(kind).is_some() && !readable(request.method()) {
            return Err(ApiError::only_a_view(kind));
        }
        match *request.method() {
            Method::GET | Method::HEAD if query.watch => {
                let known = access.caller.is_known();
                let open = self.watches.open(&access.payer, known);
                let open = open.map_err(|refused| too_many("watches", refused))?;
                let guard = Guard {
                    store: self.store.clone(),
                    authorizer: self.authorizer.clone(),
                    caller: access.caller,
                    shown: access.shown,
                    kind,
                    namespace: namespace.map(Into::into),
                    name: query.only_name().unwrap_or_default().into(),
                    sight: access.sight,
                    policy: access.policy,
                    _open: open,
                };
                watch::watch(self, kind, namespace, &query, form, guard).await
            }
            Method::GET | Method::HEAD => {
                read::list(self, kind, namespace, &query, form, &access.sight).await
            }
            Method::POST => {
                let query = named(query, Options::Create, &request)?;
                let body = body::written(request).await?;
                // A namespaced object is created in the namespace of the path only.
                if kind.namespaced() && namespace.is_none() {
                    return Err(ApiError::method_not_allowed());
                }
                let namespace = namespace.unwrap_or_default();
                write::create(self, kind, namespace, &query, body, form, &access.caller).await
            }
            Method::DELETE => {
                let options = delete_options(request).await?;
                // All namespaces are not emptied in one request.
                if kind.namespaced() && namespace.is_none() {
                    return Err(ApiError::method_not_allowed());
                }
                let caller = &access.caller;
                delete::collection(self, kind, namespace, query, &options, caller).await
            }
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    async fn object(
        &self,
        target: &Target<'_>,
        query: Query,
        form: Form,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Result<Answer, ApiError> {
        if target.kind == definitions::kind() {
            return definitions::answer(self, request.method(), Some(target.name), &query, form)
                .await;
        }
        if let Some(view) = usage::of(target.kind) {
            let named = (target.namespace, target.name);
            return match readable(request.method()) {
                true => usage::get(self, target.kind, view, named).await,
                false => Err(ApiError::method_not_allowed()),
            };
        }
        match (View::of(target.kind), request.method()) {
            (Some(View::Nodes), &(Method::PATCH | Method::PUT)) => {
                let query = named(query, Options::Patch, &request)?;
                return core_view::write_node(self, target.name, &query, form, caller, request)
                    .await;
            }
            (Some(_), method) if !readable(method) => {
                return Err(ApiError::only_a_view(target.kind));
            }
            _ => {}
        }
        match *request.method() {
            Method::GET | Method::HEAD if target.part == Some(Subresource::Scale) => {
                scale::get(self, target).await
            }
            Method::GET | Method::HEAD => {
                let Target { kind, namespace, name, .. } = *target;
                read::get(self, kind, namespace, name, &query, form).await
            }
            Method::PUT => {
                let query = named(query, Options::Update, &request)?;
                let body = body::written(request).await?;
                if target.part == Some(Subresource::Scale) {
                    return scale::replace(self, target, &query, body, caller).await;
                }
                write::replace(self, target, &query, body, form, caller).await
            }
            Method::PATCH => {
                let content_type = request.headers().get(header::CONTENT_TYPE);
                let content_type = content_type.and_then(|value| value.to_str().ok());
                let media = ChangeType::of(content_type.unwrap_or_default(), target.kind)?;
                let options =
                    if media == ChangeType::Apply { Options::Apply } else { Options::Patch };
                let query = named(query, options, &request)?;
                let body = body::bytes(request).await?;
                if target.part == Some(Subresource::Scale) {
                    return scale::patch(self, target, &query, (media, &body), caller).await;
                }
                let change = media.read(target.kind, target.part, &body)?;
                write::patch(self, target, &query, &change, form, caller).await
            }
            Method::DELETE if target.part.is_none() => {
                let options = delete_options(request).await?;
                delete::object(self, target, &query, &options, form, caller).await
            }
            _ => Err(ApiError::method_not_allowed()),
        }
    }
}

/// The query, with the name of whoever writes.
fn named(
    mut query: Query,
    options: Options,
    request: &Request<Incoming>,
) -> Result<Query, ApiError> {
    let agent = request.headers().get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    query.manager = manager::name(options, &query.manager, query.force, agent)?;
    Ok(query)
}

async fn delete_options(request: Request<Incoming>) -> Result<DeleteOptions, ApiError> {
    let Some(body) = body::optional_object(request).await? else {
        return Ok(DeleteOptions::default());
    };
    serde_json::from_value(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding DeleteOptions: {error}")))
}

fn aggregated(core: bool, version: &str) -> Answer {
    let mut answer = answer::json(&discovery::aggregated(core, version));
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    if let Ok(media) = http::HeaderValue::from_str(&media) {
        answer.headers_mut().insert(header::CONTENT_TYPE, media);
    }
    answer
}

/// The Kubernetes version whose API conventions are followed, and the release of this binary.
fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": "32",
        "gitVersion": concat!("v1.32.0+quarterdeck.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The processor's name as Go, and so kubectl, knows it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
