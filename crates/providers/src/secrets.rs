//! Reading what a Secret holds, with errors that say which Secret and what to do.
//!
//! Must never put a value in a message.

use quarterdeck_model::kinds::SecretReference;

use crate::action::{ActionContext, ActionError, Reason, SecretData};

/// The Secret. Retryable when it is not there: it may be applied a moment after what names it.
pub(crate) fn read(
    context: &ActionContext,
    reference: &SecretReference,
) -> Result<SecretData, ActionError> {
    let SecretReference { namespace, name } = reference;
    context.secrets.get(namespace, name).ok_or_else(|| {
        ActionError::retryable(
            Reason::SecretNotFound,
            format!("Secret {namespace}/{name} does not exist; create it"),
        )
    })
}

/// The value of one key.
pub(crate) fn value<'a>(
    secret: &'a SecretData,
    reference: &SecretReference,
    key: &str,
) -> Result<&'a [u8], ActionError> {
    let SecretReference { namespace, name } = reference;
    secret.get(key).map(Vec::as_slice).ok_or_else(|| {
        ActionError::permanent(
            Reason::SecretNotFound,
            format!("Secret {namespace}/{name} has no key {key}; add it"),
        )
    })
}

/// The value of one key, as text.
pub(crate) fn text(
    secret: &SecretData,
    reference: &SecretReference,
    key: &str,
) -> Result<String, ActionError> {
    let bytes = value(secret, reference, key)?;
    String::from_utf8(bytes.to_vec()).map_err(|_not_text| {
        let SecretReference { namespace, name } = reference;
        ActionError::permanent(
            Reason::Unauthorized,
            format!("Secret {namespace}/{name}: the key {key} is not UTF-8 text; correct it"),
        )
    })
}
