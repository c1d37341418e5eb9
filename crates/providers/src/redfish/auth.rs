//! Login to one BMC: a Redfish session where the BMC has them, else HTTP basic.
//!
//! A session is made once and shared; it is renewed when the BMC has ended it and deleted when the
//! client is closed. Refused credentials are not tried again for a while, so that a wrong password
//! in a Secret does not lock the account.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;
use tokio::sync::MutexGuard;

use super::bounded::Budget;
use super::client::{Bmc, X_AUTH_TOKEN, explanation};
use super::credentials::without_passwords;
use super::errors;
use super::limits::{CLOSE_TIMEOUT, REFUSED_FOR};
use super::quirks::Quirks;
use super::resource::Path;
use super::target::Credentials;
use crate::action::{ActionError, Reason};
use crate::transport::Reply;

/// What is known of the login to one BMC.
#[derive(Default)]
pub(super) enum Auth {
    #[default]
    Unknown,
    Known(Login),
    Refused {
        since: Instant,
        said: String,
    },
}

/// How requests say who sends them.
#[derive(Clone)]
pub(super) enum Login {
    /// The Server names no credentials.
    None,
    Basic(HeaderValue),
    Session {
        token: HeaderValue,
        /// Where the session is deleted.
        location: Option<Path>,
    },
}

impl Bmc {
    /// The login in force, made if there is none.
    pub(super) async fn login(&self, budget: &Budget) -> Result<Login, ActionError> {
        let mut auth = self.lock_auth(budget).await?;
        match &*auth {
            Auth::Known(login) => return Ok(login.clone()),
            Auth::Refused { since, said } if since.elapsed() < REFUSED_FOR => {
                return Err(self.refused(said));
            }
            Auth::Refused { .. } | Auth::Unknown => {}
        }
        let made = self.make_login(budget).await;
        self.remember(&mut auth, made)
    }

    /// A new login in place of `old`, unless another request has already renewed it.
    pub(super) async fn login_again(
        &self,
        old: &Login,
        budget: &Budget,
    ) -> Result<Login, ActionError> {
        let mut auth = self.lock_auth(budget).await?;
        if let (Auth::Known(Login::Session { token: now, .. }), Login::Session { token, .. }) =
            (&*auth, old)
            && now != token
        {
            return Ok(Login::Session { token: now.clone(), location: None });
        }
        *auth = Auth::Unknown;
        let made = self.make_login(budget).await;
        self.remember(&mut auth, made)
    }

    /// One login at a time: the others wait for its outcome.
    async fn lock_auth(&self, budget: &Budget) -> Result<MutexGuard<'_, Auth>, ActionError> {
        tokio::time::timeout(budget.remaining(), self.auth.lock()).await.map_err(|elapsed| {
            ActionError::retryable(
                Reason::Timeout,
                format!("BMC {}: the login is not finished", self.endpoint.authority),
            )
            .because(elapsed)
        })
    }

    fn remember(
        &self,
        auth: &mut Auth,
        made: Result<Login, LoginError>,
    ) -> Result<Login, ActionError> {
        match made {
            Ok(login) => {
                *auth = Auth::Known(login.clone());
                Ok(login)
            }
            Err(LoginError::Refused(said)) => {
                let error = self.refused(&said);
                *auth = Auth::Refused { since: Instant::now(), said };
                Err(error)
            }
            Err(LoginError::Failed(error)) => Err(error),
        }
    }

    /// Notes that the BMC does not take the login, and says so.
    pub(super) async fn refuse(&self, reply: &Reply) -> ActionError {
        let said = explanation(&reply.body);
        let error = self.refused(&said);
        *self.auth.lock().await = Auth::Refused { since: Instant::now(), said };
        error
    }

    pub(super) fn refused(&self, said: &str) -> ActionError {
        let user = self.endpoint.credentials.as_ref().map_or("", |c| c.username.as_str());
        let error = errors::refused(self.endpoint.authority.as_str(), user, said);
        // What a BMC says of a login that it refuses may repeat all that it was sent.
        without_passwords(error, self.endpoint.credentials.iter())
    }

    async fn make_login(&self, budget: &Budget) -> Result<Login, LoginError> {
        let Some(credentials) = &self.endpoint.credentials else { return Ok(Login::None) };
        let basic = Login::Basic(basic(credentials)?);
        let root = match self.root_as(None, budget).await {
            Ok(root) => root,
            // A BMC that asks for a login even here cannot tell where its sessions are.
            Err(error) if is_answer(&error) => return Ok(basic),
            Err(error) => return Err(LoginError::Failed(error)),
        };
        let doc = root.doc();
        let sessions = doc.link("/Links/Sessions");
        let Some(sessions) = sessions.filter(|_path| Quirks::of(doc, None).sessions) else {
            return Ok(basic);
        };
        let body = json!({"UserName": credentials.username, "Password": credentials.password});
        let reply = self
            .send(Method::POST, &sessions, Some(&body), None, budget)
            .await
            .map_err(LoginError::Failed)?;
        match reply.status {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(LoginError::Refused(explanation(&reply.body)));
            }
            // No sessions here, or their table is full: basic needs none.
            _ => return Ok(basic),
        }
        let Some(mut token) = reply.headers.get(X_AUTH_TOKEN).cloned() else { return Ok(basic) };
        token.set_sensitive(true);
        let location = reply
            .headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|text| Path::parse_location(text, self.endpoint.authority.as_str()));
        Ok(Login::Session { token, location })
    }

    /// Deletes the session, if there is one. Best effort: the BMC ends idle sessions by itself.
    pub(super) async fn close(&self) {
        let login = std::mem::take(&mut *self.auth.lock().await);
        let Auth::Known(login @ Login::Session { .. }) = login else { return };
        let Login::Session { location: Some(location), .. } = &login else { return };
        let budget = Budget::until(Instant::now() + CLOSE_TIMEOUT);
        let deleted =
            self.send_with(Method::DELETE, location, None, None, Some(&login), &budget).await;
        if let Err(error) = deleted {
            tracing::debug!(bmc = %self.endpoint.authority, %error, "session not deleted");
        }
    }
}

enum LoginError {
    /// The BMC said no to the credentials.
    Refused(String),
    Failed(ActionError),
}

impl From<ActionError> for LoginError {
    fn from(error: ActionError) -> Self {
        Self::Failed(error)
    }
}

/// The BMC answered, only not with what was asked for.
fn is_answer(error: &ActionError) -> bool {
    matches!(error.reason, Reason::BmcError | Reason::Unauthorized | Reason::NotFound)
}

fn basic(credentials: &Credentials) -> Result<HeaderValue, ActionError> {
    let Credentials { username, password } = credentials;
    // A colon would end the user name early (RFC 7617 §2).
    if username.contains(':') {
        return Err(ActionError::permanent(
            Reason::Unauthorized,
            "the BMC user name holds a colon, which HTTP basic cannot carry; rename the account",
        ));
    }
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).map_err(|error| {
        ActionError::permanent(Reason::Unauthorized, "the BMC credentials cannot be sent")
            .because(error)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
