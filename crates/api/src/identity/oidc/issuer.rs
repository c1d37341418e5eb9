//! The keys of one issuer: fetched in the background, again and again, and kept when it is away.
//!
//! One task fetches. A token that no known key has signed makes it fetch anew, at most once in
//! [`PAUSE`], whoever sends how many of them: so a rotation is noticed soon, and nobody can turn the
//! plane against its issuer. Nothing here may keep the plane from starting.

use super::{OidcSettings, fetch::Fetch};
use crate::identity::{
    Caller, Refused,
    jose::{Key, Times, Token},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

/// Between two fetches, at least.
const PAUSE: Duration = Duration::from_secs(10);
/// How often keys are fetched when nobody asks. A key that is taken back counts no longer than this and
/// the fetch itself, unless the issuer is away: then what was known last counts on.
const EVERY: Duration = Duration::from_secs(300);
/// The pause after the first failure; it doubles up to [`PAUSE_MAX`].
const RETRY: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a request waits for keys that are being fetched.
const WAIT: Duration = Duration::from_secs(5);

/// An issuer, and its keys.
pub struct Issuer {
    settings: OidcSettings,
    fetch: Fetch,
    known: watch::Sender<Known>,
    wanted: Notify,
}

/// What is known of its keys.
#[derive(Clone, Default)]
struct Known {
    keys: Arc<[Key]>,
    /// When they were tried to be fetched last.
    tried: Option<Instant>,
    /// Whether they ever were.
    fetched: bool,
}

impl Issuer {
    /// An issuer by its settings; [`Issuer::keep`] must run for it to be of use.
    ///
    /// # Errors
    /// Says which setting cannot be.
    pub fn new(settings: OidcSettings) -> Result<Self, String> {
        settings.check()?;
        let fetch = Fetch::new(settings.ca_file.as_deref())?;
        let (known, wanted) = (watch::Sender::new(Known::default()), Notify::new());
        Ok(Self { settings, fetch, known, wanted })
    }

    /// Its URL.
    pub fn name(&self) -> &str {
        &self.settings.issuer
    }

    /// Whether its keys were ever fetched.
    pub(crate) fn has_keys(&self) -> bool {
        self.known.borrow().fetched
    }

    /// Whether it is one of its keys now, as far as is known.
    pub(crate) fn trusts(&self, key: &Key) -> bool {
        self.known.borrow().keys.contains(key)
    }

    /// Who a token of this issuer is, and which key says so.
    pub(crate) async fn verify(&self, token: &Token<'_>) -> Result<(Caller, Times, Key), Refused> {
        let mut seen = self.known.subscribe();
        let mut known = seen.borrow_and_update().clone();
        let allowed = &self.settings.algorithms;
        let recent = known.tried.is_some_and(|tried| tried.elapsed() < PAUSE);
        if token.verified(&known.keys, allowed).is_none() && !recent {
            self.wanted.notify_one();
            if timeout(WAIT, seen.changed()).await.is_ok() {
                known = seen.borrow().clone();
            }
        }
        match token.verified(&known.keys, allowed) {
            Some((claims, key)) => {
                let (caller, times) = self.settings.caller(claims)?;
                Ok((caller, times, key.clone()))
            }
            None if !known.fetched => Err(Refused::new(
                "the keys of the token's issuer could not be fetched yet; the plane tries again, and its log says why",
            )),
            None => Err(Refused::new("the token is not signed by a key of its issuer")),
        }
    }

    /// Fetches the keys again and again, until it is dropped.
    pub async fn keep(self: Arc<Self>) {
        let mut failures: u32 = 0;
        loop {
            let mut next = self.known.borrow().clone();
            let fetched = self.keys().await;
            let pause = match fetched {
                Ok(keys) => {
                    if failures > 0 || !next.fetched {
                        info!(issuer = self.name(), keys = keys.len(), "fetched an issuer's keys");
                    }
                    if keys.is_empty() {
                        // What it says of its keys counts, also that there is none any more.
                        warn!(
                            issuer = self.name(),
                            "an issuer's set of keys has none that is of use here: no token of it is accepted"
                        );
                    }
                    (next.keys, next.fetched) = (keys.into(), true);
                    failures = 0;
                    EVERY
                }
                Err(error) => {
                    let pause = RETRY.saturating_mul(1 << failures.min(6)).min(PAUSE_MAX);
                    failures = failures.saturating_add(1);
                    warn!(issuer = self.name(), error, ?pause, "cannot fetch an issuer's keys");
                    pause
                }
            };
            next.tried = Some(Instant::now());
            self.known.send_replace(next);
            let least = pause.min(PAUSE);
            sleep(least).await;
            tokio::select! {
                () = sleep(pause - least) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    async fn keys(&self) -> Result<Vec<Key>, String> {
        let issuer = self.name();
        let at = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = self.fetch.json(&at).await?;
        let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
        // Discovery 1.0 §4.3: else one issuer could speak for another.
        if text("issuer") != Some(issuer) {
            return Err(format!("{at}: it is of another issuer than {issuer}"));
        }
        let at = text("jwks_uri").ok_or_else(|| format!("{at}: it names no jwks_uri"))?;
        let keys = Key::of_set(&self.fetch.json(at).await?);
        keys.ok_or_else(|| format!("{at}: it is no set of keys"))
    }
}
