//! Rules shared by all kinds: names, labels, annotations, limits.
//! Source: Kubernetes "Object Names and IDs", RFC 1123 (host names), RFC 1035 §2.3.4 (lengths).

use crate::{FieldError, FieldErrors, ObjectMeta, Scope};

/// Longest subdomain name (RFC 1123 as Kubernetes applies it).
pub const SUBDOMAIN_BYTES_MAX: usize = 253;
/// Longest label name or value, and longest namespace name.
pub const LABEL_BYTES_MAX: usize = 63;
/// All annotations of an object together, as Kubernetes limits them.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
/// Labels on one object: each is an index entry.
pub const LABELS_MAX: usize = 64;
/// Finalizers and owners on one object.
pub const REFERENCES_MAX: usize = 64;

/// Whether `name` is a lower-case RFC 1123 subdomain; the error says what is expected.
///
/// # Errors
/// A sentence that says what such a name looks like.
pub fn subdomain(name: &str) -> Result<(), String> {
    let good = !name.is_empty()
        && name.len() <= SUBDOMAIN_BYTES_MAX
        && name.split('.').all(|part| dns_label_letters(part.as_bytes()));
    if good {
        return Ok(());
    }
    Err("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
         and must start and end with an alphanumeric character (e.g. 'rack-7.example.com'), at most 253 characters"
        .into())
}

/// Whether `name` is a lower-case RFC 1123 label.
///
/// # Errors
/// A sentence that says what such a name looks like.
pub fn dns_label(name: &str) -> Result<(), String> {
    if name.len() <= LABEL_BYTES_MAX && dns_label_letters(name.as_bytes()) {
        return Ok(());
    }
    Err("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
         and must start and end with an alphanumeric character (e.g. 'my-name'), at most 63 characters"
        .into())
}

/// Whether `name` is the name or the address of a host, without a port.
///
/// # Errors
/// A sentence that says what is expected.
pub fn host(name: &str) -> Result<(), String> {
    if name.parse::<std::net::IpAddr>().is_ok() || subdomain(name).is_ok() {
        return Ok(());
    }
    Err("must be an IP address, or a host name of lower case alphanumeric characters, '-' and '.', without a port"
        .into())
}

/// Whether `name` can stand between two slashes of a path: all that names of roles must be.
///
/// # Errors
/// What the name must not be or hold.
pub fn path_segment(name: &str) -> Result<(), String> {
    if matches!(name, "." | "..") {
        return Err(format!("may not be '{name}'"));
    }
    if name.len() > SUBDOMAIN_BYTES_MAX {
        return Err(format!("may not be longer than {SUBDOMAIN_BYTES_MAX} bytes"));
    }
    match name.chars().find(|letter| matches!(letter, '/' | '%') || letter.is_control()) {
        Some(letter) => Err(format!("may not contain {letter:?}")),
        None => Ok(()),
    }
}

fn dns_label_letters(name: &[u8]) -> bool {
    let edge = |letter: Option<&u8>| {
        letter.is_some_and(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    edge(name.first())
        && edge(name.last())
        && name.iter().all(|l| l.is_ascii_lowercase() || l.is_ascii_digit() || *l == b'-')
}

fn label_letters(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |letter: Option<&u8>| letter.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= LABEL_BYTES_MAX
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|l| l.is_ascii_alphanumeric() || matches!(l, b'-' | b'_' | b'.'))
}

/// Whether `name` is a label or annotation name: `[prefix/]name`.
///
/// # Errors
/// A sentence that says what such a name looks like.
pub fn qualified_name(name: &str) -> Result<(), String> {
    let (prefix, name) = match name.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, name),
    };
    if let Some(prefix) = prefix {
        subdomain(prefix).map_err(|why| format!("prefix part {why}"))?;
    }
    if label_letters(name) {
        return Ok(());
    }
    Err("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
         with an alphanumeric character (e.g. 'MyName' or 'example.com/MyName'), at most 63 characters"
        .into())
}

/// Whether `value` can be a label's value; empty is allowed.
///
/// # Errors
/// A sentence that says what such a value looks like.
pub fn label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || label_letters(value) {
        return Ok(());
    }
    Err("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
         must start and end with an alphanumeric character (e.g. 'MyValue' or '12345'), at most 63 characters"
        .into())
}

/// Checks what every object's metadata must obey.
pub fn metadata(
    meta: &ObjectMeta,
    scope: Scope,
    name: fn(&str) -> Result<(), String>,
    errors: &mut FieldErrors,
) {
    if meta.name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else if let Err(why) = name(&meta.name) {
        errors.push(FieldError::invalid("metadata.name", format!("{:?}", meta.name), why));
    }
    match (&meta.namespace, scope) {
        (Some(namespace), Scope::Cluster) if !namespace.is_empty() => {
            errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
        }
        (Some(namespace), Scope::Namespaced) => {
            if let Err(why) = dns_label(namespace) {
                errors.push(FieldError::invalid(
                    "metadata.namespace",
                    format!("{namespace:?}"),
                    why,
                ));
            }
        }
        (None, Scope::Namespaced) => errors.push(FieldError::required("metadata.namespace", "")),
        _ => {}
    }
    if meta.labels.len() > LABELS_MAX {
        errors.push(FieldError::too_many("metadata.labels", meta.labels.len(), LABELS_MAX));
    }
    for (name, value) in &meta.labels {
        if let Err(why) = qualified_name(name) {
            errors.push(FieldError::invalid("metadata.labels", format!("{name:?}"), why));
        }
        if let Err(why) = label_value(value) {
            errors.push(FieldError::invalid("metadata.labels", format!("{value:?}"), why));
        }
    }
    let mut bytes = 0;
    for (name, value) in &meta.annotations {
        bytes += name.len() + value.len();
        if let Err(why) = qualified_name(&name.to_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", format!("{name:?}"), why));
        }
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long("metadata.annotations", ANNOTATIONS_BYTES_MAX));
    }
    if meta.finalizers.len() > REFERENCES_MAX {
        errors.push(FieldError::too_many(
            "metadata.finalizers",
            meta.finalizers.len(),
            REFERENCES_MAX,
        ));
    }
    for finalizer in &meta.finalizers {
        if let Err(why) = qualified_name(finalizer) {
            errors.push(FieldError::invalid("metadata.finalizers", format!("{finalizer:?}"), why));
        }
    }
    if meta.owner_references.len() > REFERENCES_MAX {
        let count = meta.owner_references.len();
        errors.push(FieldError::too_many("metadata.ownerReferences", count, REFERENCES_MAX));
    }
    let controllers = meta.owner_references.iter().filter(|o| o.controller == Some(true)).count();
    if controllers > 1 {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            controllers,
            "only one reference can have controller set to true",
        ));
    }
    for (at, owner) in meta.owner_references.iter().enumerate() {
        for (field, value) in [
            ("apiVersion", &owner.api_version),
            ("kind", &owner.kind),
            ("name", &owner.name),
            ("uid", &owner.uid),
        ] {
            if value.is_empty() {
                let field = format!("metadata.ownerReferences[{at}].{field}");
                errors.push(FieldError::required(field, "must not be empty"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "rack-7", "a.b-c.d0", "0"] {
            assert!(subdomain(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a/b", "é"] {
            assert!(subdomain(bad).is_err(), "{bad}");
        }
        assert!(subdomain(&"a".repeat(254)).is_err());
        assert!(dns_label("a.b").is_err());
        assert!(qualified_name("example.com/My_Name.1").is_ok());
        assert!(qualified_name("a/b/c").is_err());
        assert!(label_value("").is_ok());
        assert!(label_value(&"a".repeat(64)).is_err());
    }

    #[test]
    fn metadata_names_every_wrong_field() {
        let meta = ObjectMeta {
            name: "Bad".into(),
            namespace: Some("x".into()),
            labels: [("k".into(), "no spaces".into())].into(),
            finalizers: vec!["?".into()],
            ..ObjectMeta::default()
        };
        let mut errors = FieldErrors::new();
        metadata(&meta, Scope::Cluster, subdomain, &mut errors);
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            ["metadata.name", "metadata.namespace", "metadata.labels", "metadata.finalizers"]
        );
    }
}
