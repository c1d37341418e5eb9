//! `/graphql`: questions over HTTP, answered for what their asker may see. Writes never come here.
//! Source: GraphQL over HTTP (draft), "Request".

use crate::{
    answer::{self, Answer},
    authorize::{Ask, Policy, Seen, Sight},
    body,
    identity::Caller,
    server::Api,
    status::ApiError,
};
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use quarterdeck_graphql::{Act, Question, Scope, Viewer};
use quarterdeck_model::KindRef;
use std::sync::Arc;

/// Largest question: a page's own are a few KB.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// How the answer is written.
const MEDIA: HeaderValue = HeaderValue::from_static("application/graphql-response+json");
/// The same for clients that do not know of that.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A caller, and the roles of that moment.
pub(crate) struct Asker {
    pub(crate) policy: Arc<Policy>,
    pub(crate) caller: Arc<Caller>,
}

impl Viewer for Asker {
    fn user(&self) -> &str {
        &self.caller.user
    }

    fn groups(&self) -> &[String] {
        &self.caller.groups
    }

    fn teams(&self) -> Vec<String> {
        self.policy.teams(&self.caller)
    }

    fn may(&self, act: &Act<'_>) -> bool {
        let ask = Ask::Resource {
            verb: act.verb,
            group: act.kind.group,
            resource: act.kind.plural,
            subresource: act.subresource,
            namespace: act.namespace,
            name: act.name,
        };
        self.policy.may(&self.caller, &ask)
    }

    fn scope(&self, kind: KindRef) -> Scope {
        match self.policy.sight(&self.caller, "list", kind, None, "") {
            None => Scope::Nothing,
            Some(Sight::All) => Scope::All,
            Some(Sight::Some(seen)) => Scope::Some(Box::new(seen)),
        }
    }
}

impl quarterdeck_graphql::Seen for Seen {
    fn sees_all_in(&self, namespace: &str) -> bool {
        self.is_whole(namespace)
    }

    fn sees(&self, namespace: &str, name: &str) -> bool {
        self.has(namespace, name)
    }
}

/// Answers a question.
pub(crate) async fn answer(
    api: &Api,
    asker: Asker,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let accept = request.headers().get(header::ACCEPT).and_then(|it| it.to_str().ok());
    let new = accept.is_some_and(|it| it.contains("application/graphql-response+json"));
    let question = match *request.method() {
        Method::GET | Method::HEAD => of_query(request.uri().query().unwrap_or_default())?,
        Method::POST => of_body(request).await?,
        _ => return Err(ApiError::method_not_allowed()),
    };
    let (text, asked) = api.graph.answer(question, Arc::new(asker)).await?;
    // What could not be asked at all is the client's mistake; as JSON it is told in an answer that went well.
    let status = if asked || !new { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok(answer::of(status, if new { MEDIA } else { JSON }, text))
}

fn of_query(query: &str) -> Result<Question, ApiError> {
    let mut question = Question::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "query" => question.query = value.into_owned(),
            "operationName" => question.operation_name = Some(value.into_owned()),
            "variables" if !value.is_empty() => {
                question.variables = serde_json::from_str(&value).map_err(|error| {
                    ApiError::bad_request(format!("variables is not JSON: {error}"))
                })?;
            }
            _ => {}
        }
    }
    whole(question)
}

async fn of_body(request: Request<Incoming>) -> Result<Question, ApiError> {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let media = media.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    // No other: what a form of another site can send must not count.
    if media != "application/json" {
        return Err(ApiError::unsupported_media_type(&["application/json"]));
    }
    let body = body::bytes(request).await?;
    if body.len() > BODY_BYTES_MAX {
        return Err(ApiError::too_large(BODY_BYTES_MAX));
    }
    let question = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request(format!(
            "the body is not {{\"query\": …, \"variables\": {{…}}}}: {error}"
        ))
    })?;
    whole(question)
}

fn whole(question: Question) -> Result<Question, ApiError> {
    if question.query.trim().is_empty() {
        let why =
            "there is no query; send {\"query\": \"{ me { name } }\"}, or ask for /graphql?query=…";
        return Err(ApiError::bad_request(why));
    }
    Ok(question)
}
