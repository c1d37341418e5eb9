//! Documents a BMC answers with, and the paths between them.
//!
//! Firmwares leave out required properties and mistype others, so a document is read property by
//! property: what is missing or of the wrong type reads as absent, never as a failed document.
//! Nothing read is trusted: texts are cut and cleaned, paths stay on the same host.

use http::Uri;
use http::uri::PathAndQuery;
use serde_json::Value;

use super::limits::{PATH_BYTES_MAX, TEXT_CHARS_MAX};

/// A path on the BMC, with its query if it has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Path(String);

impl Path {
    /// The service root (DSP0266 §6.4).
    pub(super) fn root() -> Self {
        Self("/redfish/v1/".to_owned())
    }

    /// Reads an `@odata.id`. A fragment is dropped: it points into the document.
    /// `None` when it is not a path on the same host.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let path = text.split('#').next().unwrap_or_default();
        let local = path.starts_with('/') && !path.starts_with("//");
        if !local || path.len() > PATH_BYTES_MAX {
            return None;
        }
        path.parse::<PathAndQuery>().ok().map(|parsed| Self(parsed.as_str().to_owned()))
    }

    /// Reads a `Location`: a path, or a URL whose authority is `authority`.
    pub(super) fn parse_location(text: &str, authority: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Self::parse(text);
        }
        let uri: Uri = text.parse().ok()?;
        let same = uri.authority()?.as_str().eq_ignore_ascii_case(authority);
        if same { Self::parse(uri.path_and_query()?.as_str()) } else { None }
    }

    /// The same path with a query in place of its own.
    pub(super) fn with_query(&self, query: &str) -> Self {
        let path = self.0.split('?').next().unwrap_or_default();
        Self(format!("{path}?{query}"))
    }

    /// Where a collection keeps its member `id`, by the URIs that DSP0268 fixes. Older services
    /// may keep it elsewhere. `None` for an id that a path cannot hold as it is.
    pub(super) fn child(&self, id: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let dots = id.bytes().all(|byte| byte == b'.');
        if dots || !id.bytes().all(plain) {
            return None;
        }
        let path = self.0.split('?').next().unwrap_or_default().trim_end_matches('/');
        Self::parse(&format!("{path}/{id}"))
    }

    /// The last segment, which is the resource's `Id` by convention.
    pub(super) fn last_segment(&self) -> &str {
        let path = self.0.split('?').next().unwrap_or_default();
        path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document with where it was read and its ETag.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) path: Path,
    pub(super) etag: Option<String>,
    pub(super) json: Value,
}

impl Resource {
    /// The view of the whole document.
    pub(super) fn doc(&self) -> Doc<'_> {
        Doc(&self.json)
    }
}

/// A view of one JSON object in a document. Arguments are JSON pointers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doc<'a>(pub(super) &'a Value);

impl<'a> Doc<'a> {
    /// A text, cleaned; empty ones read as absent.
    pub(super) fn text(self, pointer: &str) -> Option<String> {
        self.0.pointer(pointer)?.as_str().and_then(clean)
    }

    /// A whole number that is not negative. Firmwares write some as `32.0` or as `"32"`.
    pub(super) fn unsigned(self, pointer: &str) -> Option<u64> {
        let value = self.0.pointer(pointer)?;
        value.as_u64().or_else(|| {
            let float = self.float(pointer)?;
            // Above 2^53 a float is not exact; no count or size in MiB is that large.
            let whole = (0.0..9.0e15).contains(&float);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be in range"
            )]
            whole.then_some(float as u64)
        })
    }

    /// The same, where it fits.
    pub(super) fn unsigned32(self, pointer: &str) -> Option<u32> {
        self.unsigned(pointer).and_then(|number| u32::try_from(number).ok())
    }

    /// Any number.
    pub(super) fn float(self, pointer: &str) -> Option<f64> {
        let value = self.0.pointer(pointer)?;
        value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|f| f.is_finite())
    }

    pub(super) fn flag(self, pointer: &str) -> Option<bool> {
        self.0.pointer(pointer)?.as_bool()
    }

    /// The resource that a navigation property leads to.
    pub(super) fn link(self, pointer: &str) -> Option<Path> {
        Path::parse(self.0.pointer(pointer)?.get("@odata.id")?.as_str()?)
    }

    /// The members of a list; not a list reads as empty.
    pub(super) fn list(self, pointer: &str) -> impl Iterator<Item = Doc<'a>> {
        self.0.pointer(pointer).and_then(Value::as_array).into_iter().flatten().map(Doc)
    }

    /// The resources that a list of links leads to.
    pub(super) fn links(self, pointer: &str) -> Vec<Path> {
        self.list(pointer).filter_map(|member| member.link("")).collect()
    }

    /// A list of texts, such as allowable values.
    pub(super) fn texts(self, pointer: &str) -> Vec<String> {
        self.list(pointer).filter_map(|member| clean(member.0.as_str()?)).collect()
    }
}

/// Without control characters and surrounding space, cut to [`TEXT_CHARS_MAX`]; `None` if empty.
pub(super) fn clean(text: &str) -> Option<String> {
    let cleaned: String = text
        .trim()
        .chars()
        .filter(|character| !character.is_control())
        .take(TEXT_CHARS_MAX)
        .collect();
    let cleaned = cleaned.trim_end();
    (!cleaned.is_empty()).then(|| cleaned.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn paths_stay_on_the_host() {
        assert_eq!(Path::parse("/redfish/v1/Systems/1").unwrap().last_segment(), "1");
        assert_eq!(Path::parse("/redfish/v1/Systems/a/").unwrap().last_segment(), "a");
        assert_eq!(Path::parse("/a/Thermal#/Fans/0").unwrap().as_str(), "/a/Thermal");
        for foreign in ["", "x", "//evil/redfish", "https://evil/redfish", "/a b", "/\u{7f}"] {
            assert_eq!(Path::parse(foreign), None, "{foreign}");
        }
        let same = Path::parse_location("https://BMC:443/redfish/v1/S/1", "bmc:443").unwrap();
        assert_eq!(same.as_str(), "/redfish/v1/S/1");
        assert_eq!(Path::parse_location("https://evil/redfish", "bmc"), None);
        let systems = Path::parse("/redfish/v1/Systems/").unwrap();
        assert_eq!(
            systems.child("System.Embedded.1").unwrap().as_str(),
            "/redfish/v1/Systems/System.Embedded.1"
        );
        for outside in ["", "..", ".", "a/b", "a%2fb", "a?b", "a b"] {
            assert_eq!(systems.child(outside), None, "{outside}");
        }
    }

    #[test]
    fn mistyped_properties_read_as_absent() {
        let json = json!({
            "Count": "4", "Float": 2.0, "Negative": -1, "Huge": 1e300, "Text": 5,
            "Empty": "  ", "Bell": "a\u{7}b ", "Links": [{"@odata.id": "/a"}, {"x": 1}, 3],
        });
        let doc = Doc(&json);
        assert_eq!(doc.unsigned("/Count"), Some(4));
        assert_eq!(doc.unsigned("/Float"), Some(2));
        assert_eq!(doc.unsigned("/Negative"), None);
        assert_eq!(doc.unsigned("/Huge"), None);
        assert_eq!(doc.text("/Text"), None);
        assert_eq!(doc.text("/Empty"), None);
        assert_eq!(doc.text("/Bell").as_deref(), Some("ab"));
        assert_eq!(doc.links("/Links").len(), 1);
        assert_eq!(doc.links("/Text").len(), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,600}") {
            if let Some(path) = Path::parse(&text) {
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(!path.as_str().starts_with("//"));
            }
            if let Some(clean) = clean(&text) {
                prop_assert!(clean.chars().count() <= TEXT_CHARS_MAX);
            }
        }
    }
}
