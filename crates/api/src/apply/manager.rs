//! Who writes, as the request says: the `fieldManager` parameter, or else the program that sends it.
//! Source: k8s.io/apimachinery, validation of `PatchOptions`, `CreateOptions` and `UpdateOptions`.

use crate::status::ApiError;
use quarterdeck_model::{FieldError, FieldErrors};

/// Longest name of a manager, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// What kind of write names its manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Options {
    Create,
    Update,
    Patch,
    Apply,
}

impl Options {
    fn kind(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch | Self::Apply => "PatchOptions",
        }
    }
}

/// The name of the manager: `said` by the parameter, or else the first part of the `agent` header.
pub(crate) fn name(
    options: Options,
    said: &str,
    force: Option<bool>,
    agent: &str,
) -> Result<String, ApiError> {
    let mut errors = FieldErrors::new();
    match options {
        Options::Apply if said.is_empty() => {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        Options::Patch if force.is_some() => {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        _ => {}
    }
    if said.len() > NAME_BYTES_MAX {
        errors.push(FieldError::too_long("fieldManager", NAME_BYTES_MAX));
    }
    for (at, letter) in said.char_indices().filter(|(_, letter)| letter.is_control()).take(1) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
        errors.push(FieldError::invalid("fieldManager", format!("{said:?}"), why));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid_options(options.kind(), &errors));
    }
    let program = agent.split('/').next().unwrap_or_default();
    let name: String = if said.is_empty() {
        let printable = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
        program.chars().filter(printable).take(NAME_BYTES_MAX).collect()
    } else {
        said.into()
    };
    Ok(if name.is_empty() { "unknown".into() } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_named_by_the_request_or_the_program() {
        let long = "x".repeat(200);
        for (said, agent, wanted) in [
            ("me", "kubectl/v1.32.4 (linux/amd64)", "me"),
            ("", "kubectl/v1.32.4 (linux/amd64)", "kubectl"),
            ("", "curl\u{7f} 8", "curl 8"),
            ("", "", "unknown"),
            ("", long.as_str(), &long[..128]),
        ] {
            assert_eq!(name(Options::Update, said, None, agent).unwrap(), wanted);
        }
    }

    #[test]
    fn options_that_do_not_fit_are_refused_as_kubernetes_does() {
        for (options, said, force, message) in [
            (
                Options::Apply,
                "",
                None,
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ),
            (
                Options::Patch,
                "a",
                Some(false),
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
            ),
            (
                Options::Create,
                "a\n",
                None,
                "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\n\": invalid character U+000A (at position 1)",
            ),
        ] {
            let error = name(options, said, force, "").unwrap_err();
            assert_eq!((error.code.as_u16(), error.message.as_str()), (422, message));
        }
        assert!(name(Options::Apply, &"x".repeat(129), None, "").is_err());
    }
}
