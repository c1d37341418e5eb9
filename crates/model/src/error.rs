//! What is wrong with an object, field by field, in the words of `metav1.Status` causes.

use std::fmt;

/// The machine-readable kind of a field error (`metav1.CauseType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value that is wrong.
    Invalid,
    /// A value that is missing.
    Required,
    /// A value that is not one of the allowed.
    NotSupported,
    /// A value or change that is not allowed here.
    Forbidden,
    /// A value that must be unique and is not.
    Duplicate,
    /// A reference to something that does not exist.
    NotFound,
    /// Too many items.
    TooMany,
    /// Too long.
    TooLong,
    /// A value of the wrong JSON type.
    TypeInvalid,
}

impl FieldErrorKind {
    /// The word clients match on.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooMany => "FieldValueTooMany",
            Self::TooLong => "FieldValueTooLong",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One thing wrong with one field. `Display` reads as Kubernetes writes it:
/// `spec.units: Invalid value: 0: must be at least 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path such as `spec.bmc.address` or `spec.steps[2].with`.
    pub field: String,
    /// What kind of mistake it is.
    pub kind: FieldErrorKind,
    /// Everything after the field's name.
    pub message: String,
}

impl FieldError {
    /// A value that is wrong; `value` is shown (cut to a readable length), `why` says what is expected.
    pub fn invalid(
        field: impl Into<String>,
        value: impl fmt::Display,
        why: impl fmt::Display,
    ) -> Self {
        Self::new(
            field,
            FieldErrorKind::Invalid,
            format!("Invalid value: {}: {why}", shorten(value)),
        )
    }

    /// A value of the wrong JSON type, as Kubernetes says it of custom resources.
    pub fn wrong_type(field: impl Into<String>, found: &str, wanted: &str) -> Self {
        let field = field.into();
        let message = format!(
            "Invalid value: {found:?}: {field} in body must be of type {wanted}: {found:?}"
        );
        Self::new(field, FieldErrorKind::TypeInvalid, message)
    }

    /// A value that must be given.
    pub fn required(field: impl Into<String>, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        let message =
            if why.is_empty() { "Required value".into() } else { format!("Required value: {why}") };
        Self::new(field, FieldErrorKind::Required, message)
    }

    /// A value outside a closed list.
    pub fn not_supported(
        field: impl Into<String>,
        value: impl fmt::Display,
        allowed: &[&str],
    ) -> Self {
        let allowed: Vec<String> = allowed.iter().map(|name| format!("{name:?}")).collect();
        Self::new(
            field,
            FieldErrorKind::NotSupported,
            format!(
                "Unsupported value: {}: supported values: {}",
                shorten(value),
                allowed.join(", ")
            ),
        )
    }

    /// A change or field that is not allowed.
    pub fn forbidden(field: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(field, FieldErrorKind::Forbidden, format!("Forbidden: {why}"))
    }

    /// A value that stands twice.
    pub fn duplicate(field: impl Into<String>, value: impl fmt::Display) -> Self {
        Self::new(field, FieldErrorKind::Duplicate, format!("Duplicate value: {}", shorten(value)))
    }

    /// A reference to nothing.
    pub fn not_found(field: impl Into<String>, value: impl fmt::Display) -> Self {
        Self::new(field, FieldErrorKind::NotFound, format!("Not found: {}", shorten(value)))
    }

    /// More items than allowed.
    pub fn too_many(field: impl Into<String>, count: usize, most: usize) -> Self {
        Self::new(
            field,
            FieldErrorKind::TooMany,
            format!("Too many: {count}: must have at most {most} items"),
        )
    }

    /// More bytes than allowed.
    pub fn too_long(field: impl Into<String>, most: usize) -> Self {
        Self::new(
            field,
            FieldErrorKind::TooLong,
            format!("Too long: may not be more than {most} bytes"),
        )
    }

    fn new(field: impl Into<String>, kind: FieldErrorKind, message: String) -> Self {
        Self { field: field.into(), kind, message }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Longest value repeated in a message: enough to recognise it, too short to flood a log.
const SHOWN_VALUE_CHARS_MAX: usize = 128;

fn shorten(value: impl fmt::Display) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// All that is wrong with an object.
pub type FieldErrors = Vec<FieldError>;
