//! What people are told when a BMC does not do as it should: each sentence once, for the client and
//! for a simulated BMC alike. Pure. It decides nothing: who calls knows what happened.

use crate::action::{ActionError, Reason};
use crate::transport::TransportError;

/// How messages name a system: by its BMC's `host:port` and its id there.
#[must_use]
pub fn system_name(authority: &str, system: &str) -> String {
    format!("BMC {authority}, system {system}")
}

/// No whole answer came to `request`, such as `GET /redfish/v1/`; one that only reads has no effect.
pub fn no_answer(
    authority: &str,
    request: impl std::fmt::Display,
    error: TransportError,
    read_only: bool,
) -> ActionError {
    let what = format!("BMC {authority}: {request}: {error}");
    let failed = match &error {
        TransportError::NotConnected { .. } => ActionError::retryable(
            Reason::Unreachable,
            format!("{what}; check the address, the network and that the BMC is powered"),
        ),
        TransportError::Certificate { .. } => ActionError::permanent(
            Reason::CertificateInvalid,
            format!("{what}; correct the BMC's certificate or spec.bmc.tls"),
        ),
        TransportError::OutOfReach(_) => ActionError::permanent(Reason::Forbidden, what),
        TransportError::Lost { .. } => ActionError::retryable(Reason::Unreachable, what),
        TransportError::TimedOut { .. } => ActionError::retryable(Reason::Timeout, what),
        TransportError::TooLarge { .. } => ActionError::permanent(Reason::BmcError, what),
    };
    let unsent =
        matches!(error, TransportError::NotConnected { .. } | TransportError::Certificate { .. });
    let failed = if read_only || unsent { failed } else { failed.effect_unknown() };
    failed.because(error)
}

/// The BMC asks for a login, and the Server names no credentials.
#[must_use]
pub fn login_wanted(authority: &str) -> ActionError {
    ActionError::permanent(
        Reason::Unauthorized,
        format!(
            "BMC {authority} asks for a login; set spec.bmc.credentialsSecretRef, or that of its Site"
        ),
    )
}

/// The BMC does not take the credentials, and `said` why.
#[must_use]
pub fn refused(authority: &str, user: &str, said: &str) -> ActionError {
    ActionError::permanent(
        Reason::Unauthorized,
        format!(
            "BMC {authority} does not accept the user {user:?}: {said}; correct the Secret that \
             spec.bmc.credentialsSecretRef names, of the Server or else of its Site"
        ),
    )
}

/// The BMC is in the machine with the serial `found`.
#[must_use]
pub fn another_machine(authority: &str, found: &str, declared: &str) -> ActionError {
    ActionError::permanent(
        Reason::SerialMismatch,
        format!(
            "BMC {authority} belongs to {found:?}, not to {declared:?}; \
             correct spec.serial or spec.bmc.address"
        ),
    )
}

/// A system that is not in the power state wanted: why a drive is [`not_in_time`].
#[must_use]
pub fn not_yet(seen: &str, wanted: &str) -> String {
    format!("it is {seen} and not yet {wanted}")
}

/// What a command should have brought about is not seen; `why` says what is.
#[must_use]
pub fn not_in_time(system: &str, why: &str) -> ActionError {
    ActionError::retryable(Reason::Timeout, format!("{system}: {why} when the time was up"))
        .effect_unknown()
}

/// No firmware of that name is shown; `names` are those that are.
#[must_use]
pub fn no_such_firmware(system: &str, wanted: &str, names: &[String]) -> ActionError {
    let shown = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    ActionError::permanent(
        Reason::NotFound,
        format!("{system}: it shows no firmware {wanted:?}, it shows {shown}; correct the name"),
    )
}

/// Why a wait for a version of firmware is [`not_in_time`].
#[must_use]
pub fn not_that_firmware(name: &str, wanted: &str, seen: Option<&str>) -> String {
    let seen = seen.map_or_else(|| "it shows none".to_owned(), |seen| format!("it is {seen}"));
    format!("firmware {name} should be {wanted}, and {seen}")
}
