//! The password of a BMC's account: a new one is made, set and taken into force, one step after the other, so that at
//! no moment the plane knows less than it needs to log in.
//! Source: DSP0268, AccountService, ManagerAccount: `Password`.
//!
//! Passwords are in Secrets and in requests to the BMC, and nowhere else: no message, output or log has one.

use std::time::Duration;

use quarterdeck_model::kinds::SecretReference;
use serde_json::json;

use super::Redfish;
use super::resource::{Doc, Path, Resource};
use super::system::System;
use super::target::{Credentials, PENDING_PASSWORD, Target};
use crate::action::{ActionContext, ActionError, Reason, SecretChange, SecretData};
use crate::secrets;

/// Accounts of one BMC that are looked through; iDRACs have 16 slots.
const ACCOUNTS_MAX: usize = 64;
/// Looks at a new password that was set: some BMCs take a few seconds to know it, and lock an account after five or so.
const LOOKS: u32 = 3;
/// Pause between those.
const LOOK_PAUSE: Duration = Duration::from_secs(4);
/// A password that any BMC takes: IPMI 2.0 §22.30 ends at 20.
pub(super) const LENGTH: u8 = 20;
/// Shortest and longest that may be asked for.
pub(super) const LENGTHS: std::ops::RangeInclusive<u8> = 12..=64;
/// What a password is made of, one of each at least. Letters that look alike are left out: people read it over the
/// phone when all else fails.
const CLASSES: [&[u8]; 4] =
    [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnopqrstuvwxyz", b"23456789", b"-_.+"];

/// What a server's Secrets say of its credentials.
pub struct Held {
    target: Target,
    current: Credentials,
    /// The Secret that is the server's alone.
    pub own: SecretReference,
    own_data: SecretData,
}

impl Held {
    /// Reads them.
    ///
    /// # Errors
    /// When the server has none, or a Secret lacks what is needed.
    pub fn read(context: &ActionContext) -> Result<Self, ActionError> {
        let target = Target::read(context)?;
        let name = context.require_target()?.pointer("/metadata/name").cloned();
        let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or_default();
        let (Some(named), Some(current)) =
            (&target.credentials_secret, &target.endpoint.credentials)
        else {
            let message = format!(
                "Server {name} has no credentials to begin with; set spec.bmc.credentialsSecretRef, or that of its Site"
            );
            return Err(ActionError::permanent(Reason::InvalidInput, message));
        };
        let own = SecretReference::of_bmc(name, named);
        let own_data = context.secrets.get(&own.namespace, &own.name).unwrap_or_default();
        let current = current.clone();
        Ok(Self { target, current, own, own_data })
    }

    /// What may be in force, likeliest first: a Server whose reference was set back to the Secret it had before a
    /// rotation names a password that its BMC does not take any more, and its own Secret has the one it does.
    pub fn may_be_in_force(&self) -> impl Iterator<Item = Credentials> + '_ {
        let text = |key: &str| String::from_utf8(self.own_data.get(key)?.clone()).ok();
        let own = text("username").zip(text("password"));
        let own = own.map(|(username, password)| Credentials { username, password });
        let own = own.filter(|own| *own != self.current);
        std::iter::once(self.current.clone()).chain(own)
    }

    /// The password that is to be set.
    ///
    /// # Errors
    /// When it is not text.
    pub fn pending(&self) -> Result<Option<Credentials>, ActionError> {
        if !self.own_data.contains_key(PENDING_PASSWORD) {
            return Ok(None);
        }
        let password = secrets::text(&self.own_data, &self.own, PENDING_PASSWORD)?;
        Ok(Some(Credentials { username: self.current.username.clone(), password }))
    }

    /// The credentials in force, as far as is known.
    #[must_use]
    pub const fn current(&self) -> &Credentials {
        &self.current
    }

    /// How messages name the Secret.
    #[must_use]
    pub fn secret(&self) -> String {
        format!("{}/{}", self.own.namespace, self.own.name)
    }

    /// Keeps a password that is to be set.
    #[must_use]
    pub fn keep_pending(&self, password: String) -> SecretChange {
        let set = [("username", self.current.username.clone()), (PENDING_PASSWORD, password)];
        let set = set.map(|(key, value)| (key.to_owned(), value.into_bytes()));
        SecretChange { secret: self.own.clone(), set: set.into(), remove: Vec::new() }
    }

    /// Takes the password that was set into force; nothing when that was done before.
    ///
    /// # Errors
    /// When no password was made.
    pub fn adopt(&self) -> Result<Option<SecretChange>, ActionError> {
        if let Some(pending) = self.own_data.get(PENDING_PASSWORD) {
            let set = [("password".to_owned(), pending.clone())].into();
            let remove = vec![PENDING_PASSWORD.to_owned()];
            return Ok(Some(SecretChange { secret: self.own.clone(), set, remove }));
        }
        if self.own_data.contains_key("password") {
            return Ok(None);
        }
        Err(self.none_made())
    }

    /// No password was made yet.
    fn none_made(&self) -> ActionError {
        let message = format!(
            "Secret {} holds no password to be set; run credentials.generate before this step",
            self.secret()
        );
        ActionError::permanent(Reason::InvalidInput, message)
    }

    /// Neither password is taken.
    #[must_use]
    pub fn neither(&self, authority: &str) -> ActionError {
        let message = format!(
            "BMC {authority} takes neither the password in force nor the one that was to be set, of user {:?}; log in \
             by other means and set one of those in Secret {}",
            self.current.username,
            self.secret()
        );
        ActionError::permanent(Reason::Unauthorized, message)
    }
}

impl Redfish {
    /// Whether the password to be set has a length that the BMC takes none of: then [`set_password`] sent it to nobody.
    /// Not known of a BMC that takes no password known to be in force.
    pub(super) async fn was_never_sent(
        &self,
        context: &ActionContext,
        held: &Held,
        pending: &Credentials,
    ) -> Result<bool, ActionError> {
        let Some(system) = self.log_in(context, held).await? else { return Ok(false) };
        let service = account_service(&system).await;
        system.bmc.close().await;
        Ok(length_refused(service?.doc(), &pending.password).is_some())
    }

    /// The system by what is in force, as far as is known; none when the BMC refuses all of that.
    async fn log_in(
        &self,
        context: &ActionContext,
        held: &Held,
    ) -> Result<Option<System>, ActionError> {
        for credentials in held.may_be_in_force() {
            if let Some(system) = self.try_login(context, &held.target, &credentials).await? {
                return Ok(Some(system));
            }
        }
        Ok(None)
    }

    /// Sets the password that is to be set, and makes sure that the BMC takes it. Answers whether there was anything
    /// to do.
    pub(super) async fn set_pending(
        &self,
        context: &ActionContext,
        held: &Held,
    ) -> Result<bool, ActionError> {
        let Some(new) = held.pending()? else {
            // It was set and taken into force by a call before this one.
            return held.adopt().map(|_nothing| false);
        };
        let authority = held.target.endpoint.authority.as_str();
        let Some(system) = self.log_in(context, held).await? else {
            let taken = self.try_login(context, &held.target, &new).await?;
            let system = taken.ok_or_else(|| held.neither(authority))?;
            system.bmc.close().await;
            return Ok(false);
        };
        let set = set_password(&system, &new).await;
        system.bmc.close().await;
        set?;
        for look in 1..=LOOKS {
            if let Some(system) = self.try_login(context, &held.target, &new).await? {
                system.bmc.close().await;
                return Ok(true);
            }
            if look < LOOKS {
                tokio::time::sleep(LOOK_PAUSE.min(context.remaining() / 4)).await;
            }
        }
        let message = format!(
            "BMC {authority} said that it has the new password of user {:?} and does not take it; both are in Secrets, \
             the new one in {}: retry the run, which finds out which is in force",
            new.username,
            held.secret()
        );
        Err(ActionError::permanent(Reason::BmcError, message).effect_unknown())
    }
}

async fn set_password(system: &System, new: &Credentials) -> Result<(), ActionError> {
    let service = account_service(system).await?;
    if let Some(why) = length_refused(service.doc(), &new.password) {
        let message = format!("{}: {why}; start again with another length", system.name());
        return Err(ActionError::permanent(Reason::InvalidInput, message));
    }
    let accounts = service.doc().link("/Accounts");
    let accounts = accounts.ok_or_else(|| system.unsupported("it lists no accounts"))?;
    let account = find(system, &accounts, &new.username).await?;
    let body = json!({"Password": new.password});
    let set = system.bmc.patch(&account, &body, &system.quirks, &system.budget).await;
    set.map_err(|error| {
        // Messages of the Base registry repeat the value (DSP0266 §8.6), such as PropertyValueFormatError.
        let known = system.bmc.endpoint.credentials.iter().chain([new]);
        without_passwords(error, known)
    })
}

/// The error without passwords in its message, whatever the BMC made of them.
pub(super) fn without_passwords<'a>(
    mut error: ActionError,
    known: impl Iterator<Item = &'a Credentials>,
) -> ActionError {
    let mut passwords: Vec<&str> = known.map(|it| it.password.as_str()).collect();
    // One may be the beginning of another.
    passwords.sort_by_key(|it| std::cmp::Reverse(it.len()));
    for password in passwords.into_iter().filter(|it| !it.is_empty()) {
        error.message = error.message.replace(password, "(password)");
    }
    error
}

async fn account_service(system: &System) -> Result<Resource, ActionError> {
    let root = system.bmc.root(&system.budget).await?;
    let service = root.doc().link("/AccountService");
    let service = service.ok_or_else(|| system.unsupported("it has no account service"))?;
    system.bmc.get(&service, &system.budget).await
}

/// Why the account service takes no password of that length.
fn length_refused(service: Doc<'_>, password: &str) -> Option<String> {
    let length = u64::try_from(password.len()).unwrap_or(u64::MAX);
    let most = service.unsigned("/MaxPasswordLength").filter(|most| *most > 0);
    let least = service.unsigned("/MinPasswordLength").unwrap_or_default();
    (most.is_some_and(|most| length > most) || length < least).then(|| {
        let most = most.map_or_else(|| "any number of".to_owned(), |most| most.to_string());
        format!("it takes passwords of {least} to {most} characters, and the new one has {length}")
    })
}

async fn find(system: &System, accounts: &Path, username: &str) -> Result<Resource, ActionError> {
    let all = system.bmc.members(accounts, ACCOUNTS_MAX, &system.quirks, &system.budget).await?;
    let found = all.into_iter().find(|it| it.doc().text("/UserName").as_deref() == Some(username));
    found.ok_or_else(|| {
        let message = format!("{}: it lists no account of user {username:?}", system.name());
        ActionError::permanent(Reason::NotFound, message)
    })
}

/// A password of so many characters, of all classes. `random` gives bytes that nobody can foresee.
///
/// # Errors
/// What `random` fails with.
pub fn password<E>(length: u8, mut random: impl FnMut() -> Result<u8, E>) -> Result<String, E> {
    let letters: Vec<u8> = CLASSES.concat();
    // Bytes above the last whole round would make the first letters likelier.
    let count = letters.len();
    let bound = 256 - 256 % count;
    loop {
        let mut password = Vec::with_capacity(usize::from(length));
        while password.len() < usize::from(length) {
            let byte = usize::from(random()?);
            password.extend((byte < bound).then(|| letters.get(byte % count).copied()).flatten());
        }
        let has = |class: &[u8]| password.iter().any(|letter| class.contains(letter));
        if CLASSES.into_iter().all(has) {
            return Ok(password.into_iter().map(char::from).collect());
        }
    }
}

/// A password out of the system's randomness.
pub(super) fn random_password(length: u8) -> Result<String, ActionError> {
    let provider = rustls::crypto::ring::default_provider();
    password(length, || {
        let mut byte = [0];
        provider.secure_random.fill(&mut byte).map(|()| byte[0])
    })
    .map_err(|_no_randomness| {
        ActionError::retryable(Reason::BmcError, "the plane's system gives no randomness")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn passwords_are_of_all_classes_and_of_the_length(seed in any::<u64>(), length in LENGTHS) {
            let mut state = seed;
            let made = password(length, || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                Ok::<u8, ()>(u8::try_from(state >> 56).unwrap())
            });
            let made = made.unwrap();
            prop_assert_eq!(made.len(), usize::from(length));
            for class in CLASSES {
                prop_assert!(made.bytes().any(|letter| class.contains(&letter)), "{}", made);
            }
        }
    }

    #[test]
    fn no_two_are_the_same() {
        assert_ne!(random_password(LENGTH).unwrap(), random_password(LENGTH).unwrap());
    }
}
