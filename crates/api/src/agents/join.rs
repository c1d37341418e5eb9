//! How an agent joins: a token that is shown once and kept as a hash, bound to one Machine by its uid; and certificates, which
//! are signed for a key that never leaves its host. A token is for one key: who was not answered asks again with the same
//! key, and nobody else can.

use super::{Agent, Agents, identity};
use crate::{
    answer::{self, Answer},
    identity::IssuedCredential,
    server::Api,
    status::ApiError,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    FieldError, Key, Kind as _, Time,
    agent::{Certified, JOIN_BYTES_MAX, JoinRequest, RenewRequest},
    kinds::{JoinTokenStatus, Machine, machine_agent::IDENTITY_CONFLICT},
    object,
};
use quarterdeck_store::{Mutation, Outcome, Precondition, Write};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What tokens begin with, so that one that got somewhere it should not be is found.
const PREFIX: &str = "quarterdeck-join";
/// Random bytes of a token.
const SECRET_BYTES: usize = 32;
/// How long a token is good when nothing else is asked for: a machine is installed within an hour.
const SECONDS: i64 = 3_600;
const SECONDS_MIN: i64 = 60;
/// A token waits in user data and on disks: not for longer than a week.
const SECONDS_MAX: i64 = 7 * 24 * 3_600;
const KIND: &str = "JoinTokenRequest";
/// How often a change is tried on a newer version of the Machine.
const TRIES: usize = 8;

/// `POST …/machines/NAME/jointoken`: makes a token, which takes the place of the one before.
pub(crate) async fn join_token(
    api: &Api,
    (namespace, name): (&str, &str),
    dry_run: bool,
    body: &Value,
) -> Result<Answer, ApiError> {
    api.agents.as_ref().ok_or_else(ApiError::no_such_path)?;
    let info = Machine::info();
    let said = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    if !["", KIND].contains(&said("kind"))
        || !["", &info.api_version()].contains(&said("apiVersion"))
    {
        return Err(ApiError::bad_request(format!(
            "the object provided is a {:?} of {:?}; a {KIND} of {} is expected",
            said("kind"),
            said("apiVersion"),
            info.api_version()
        )));
    }
    let seconds = match body.pointer("/spec/expirationSeconds") {
        None | Some(Value::Null) => SECONDS,
        Some(seconds) => seconds
            .as_i64()
            .filter(|it| (SECONDS_MIN..=SECONDS_MAX).contains(it))
            .ok_or_else(|| {
                let why =
                    format!("must be a number of seconds from {SECONDS_MIN} to {SECONDS_MAX}");
                let field = FieldError::invalid("spec.expirationSeconds", seconds.to_string(), why);
                ApiError::invalid_fields(info.group, KIND, name, &vec![field])
            })?,
    };
    let mut secret = [0; SECRET_BYTES];
    let random = SystemRandom::new().fill(&mut secret);
    random.map_err(|_| ApiError::internal("the system has no random bytes".to_owned()))?;
    let secret = URL_SAFE_NO_PAD.encode(secret);
    for _ in 0..TRIES {
        let world = api.store.fresh().await?;
        let found =
            world.get(info, namespace, name).ok_or_else(|| ApiError::not_found(info, name))?;
        if found.deleting() {
            return Err(ApiError::conflict(info, name, "it is being deleted"));
        }
        let mut machine: Machine =
            found.decode().map_err(|error| ApiError::internal(error.to_string()))?;
        let token = [PREFIX, namespace, name, found.uid(), &secret].join(".");
        let expires = Timestamp::now() + SignedDuration::from_secs(seconds);
        let status = machine.status.agent.get_or_insert_default();
        status.join_token = Some(JoinTokenStatus {
            sha256: hex(token.as_bytes()),
            creation_timestamp: Some(Time::new(whole_millis(Timestamp::now()))),
            expiration_timestamp: Some(Time::seconds(expires)),
            used_by: None,
        });
        if !dry_run && !written(api, &found.key, found.revision, &machine).await? {
            continue;
        }
        let mut answer = answer::json(&json!({
            "kind": KIND,
            "apiVersion": info.api_version(),
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"expirationSeconds": seconds},
            "status": {
                // What is only tried leaves nothing behind that can be used.
                "token": if dry_run { "" } else { &token },
                "expirationTimestamp": Time::seconds(expires),
            },
        }));
        *answer.status_mut() = StatusCode::CREATED;
        return Ok(answer);
    }
    Err(ApiError::conflict(info, name, "it changes too often; try again"))
}

/// A token in its parts.
struct Token<'t> {
    namespace: &'t str,
    name: &'t str,
    uid: &'t str,
}

impl<'t> Token<'t> {
    fn read(token: &'t str) -> Option<Self> {
        let mut parts = token.split('.');
        let mut part = || parts.next();
        let (prefix, namespace, name, uid, secret) = (part()?, part()?, part()?, part()?, part()?);
        let whole = prefix == PREFIX && !secret.is_empty() && parts.next().is_none();
        whole.then_some(Self { namespace, name, uid })
    }
}

/// `POST /agent/v1alpha1/join`: a certificate for the key of who shows a token.
pub(crate) async fn join(
    api: &Api,
    agents: &Agents,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let JoinRequest { token, certificate_signing_request } = read(request).await?;
    let key = agents.authority.key_of(&certificate_signing_request).map_err(wrong_request)?;
    let parts = Token::read(token.trim()).ok_or_else(|| {
        ApiError::unauthorized(
            "the join token is none; make one: quarterdeck machine join-token NAME",
        )
    })?;
    let Token { namespace, name, uid } = parts;
    let refuse = |why: &str| {
        Err(ApiError::unauthorized(&format!(
            "{why}; make another: quarterdeck machine join-token {name} -n {namespace}"
        )))
    };
    for _ in 0..TRIES {
        let world = api.store.fresh().await?;
        let Some(found) = world.get(Machine::info(), namespace, name) else {
            return refuse("the machine that the join token is for is not there");
        };
        if found.uid() != uid {
            return refuse("the join token is for a machine of that name which is gone");
        }
        if found.deleting() {
            return refuse("the machine that the join token is for is being deleted");
        }
        let mut machine: Machine =
            found.decode().map_err(|error| ApiError::internal(error.to_string()))?;
        let revoked = machine.spec.agent.as_ref().and_then(|agent| agent.revoked_before);
        let now = whole_millis(Timestamp::now());
        let status = machine.status.agent.get_or_insert_default();
        let Some(kept) = &mut status.join_token else {
            return refuse("the join token is not the one that was made last for its machine");
        };
        // Of hashes: how long it takes tells nothing of the token.
        if kept.sha256 != hex(token.trim().as_bytes()) {
            return refuse("the join token is not the one that was made last for its machine");
        }
        if kept.expiration_timestamp.is_none_or(|end| end.timestamp() <= now) {
            return refuse("the join token has expired");
        }
        // What was revoked comes back by no token from before: neither by one that was kept unused, nor by the one that it
        // joined with.
        let since = if kept.used_by.is_some() { status.joined } else { kept.creation_timestamp };
        if revoked.is_some_and(|revoked| since.is_none_or(|since| since < revoked)) {
            return refuse("the join token is from before spec.agent.revokedBefore of its machine");
        }
        match &kept.used_by {
            Some(used_by) if *used_by == key.hash => {}
            Some(_) => {
                return refuse("the join token was used before, by another host or data folder");
            }
            None => {
                kept.used_by = Some(key.hash.clone());
                status.joined = Some(Time::new(now));
                // It is another agent from now on, which numbers its streams as it likes.
                (status.stream, status.host, status.host_before) = (None, None, None);
                status.conflict_seen = None;
                machine.status.conditions.retain(|it| it.kind != IDENTITY_CONFLICT);
                if !written(api, &found.key, found.revision, &machine).await? {
                    continue;
                }
            }
        }
        let agent = (namespace, name, uid);
        return certified(agents, agent, &key, now);
    }
    Err(ApiError::conflict(Machine::info(), name, "it changes too often; try again"))
}

/// `POST /agent/v1alpha1/renew`: the next certificate, for who has one that counts.
pub(crate) async fn renew(
    api: &Api,
    agents: &Agents,
    agent: &Agent,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let RenewRequest { certificate_signing_request } = read(request).await?;
    let key = agents.authority.key_of(&certificate_signing_request).map_err(wrong_request)?;
    agent.machine(&*api.store.fresh().await?)?;
    let identity::Agent { namespace, name, uid, .. } = agent;
    certified(agents, (namespace, name, uid), &key, whole_millis(Timestamp::now()))
}

fn certified(
    agents: &Agents,
    (namespace, name, uid): (&str, &str, &str),
    key: &crate::pki::AgentKey,
    now: Timestamp,
) -> Result<Answer, ApiError> {
    let (certificate, not_after) = agents
        .authority
        .agent((namespace, name, uid), key, now)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    let certified = Certified {
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
        certificate,
        not_after: Time::new(not_after),
    };
    let value =
        serde_json::to_value(certified).map_err(|error| ApiError::internal(error.to_string()))?;
    let mut answer = answer::json(&value);
    *answer.status_mut() = StatusCode::CREATED;
    answer.extensions_mut().insert(IssuedCredential(format!("X509SHA256={}", key.hash)));
    Ok(answer)
}

/// As certificates say when they were issued.
fn whole_millis(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

fn wrong_request(why: String) -> ApiError {
    ApiError::bad_request(format!("certificateSigningRequest is not one in PEM (PKCS #10): {why}"))
}

/// The body. It is not kept for the audit log: it may hold a token.
async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, ApiError> {
    let body = Limited::new(request.into_body(), JOIN_BYTES_MAX).collect().await;
    let body = body.map_err(|error| {
        ApiError::bad_request(format!(
            "the request body could not be read, or is larger than {JOIN_BYTES_MAX} bytes: {error}"
        ))
    })?;
    // What is wrong with it may repeat it.
    serde_json::from_slice(&body.to_bytes()).map_err(|_| {
        ApiError::bad_request("the request body is not what an agent sends".to_owned())
    })
}

/// Writes a machine over that version of it; false when another was written meanwhile.
async fn written(
    api: &Api,
    key: &Key,
    at: quarterdeck_model::Revision,
    machine: &Machine,
) -> Result<bool, ApiError> {
    let body =
        object::encode_typed(machine).map_err(|error| ApiError::internal(error.to_string()))?;
    let (write, precondition) = (Write::Put(body.into()), Precondition::At(at));
    let mutation = Mutation { key: key.clone(), write, precondition, fence: None };
    let outcomes = api.store.commit(vec![mutation]).await?;
    Ok(matches!(outcomes.first(), Some(Outcome::Committed(_))))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
