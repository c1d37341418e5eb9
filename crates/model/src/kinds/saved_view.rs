//! SavedView: a view of the page that somebody wants to come back to, or to share: its address, with all that is chosen in it.

use super::{PAGE, Resource, V1ALPHA1};
use crate::{Column, FieldError, FieldErrors, Kind, ObjectMeta, Scope, kind_info};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A view of the page.
pub type SavedView = Resource<SavedViewSpec, SavedViewStatus>;

/// Longest title, in letters: what a menu has room for.
const TITLE_CHARS_MAX: usize = 80;
/// Longest address: what browsers and proxies let through.
const PATH_BYTES_MAX: usize = 4_096;
/// Longest name of a user.
const OWNER_BYTES_MAX: usize = 512;

/// Which view, and whose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavedViewSpec {
    /// What it is called in menus.
    pub title: String,
    /// Where it is on the page, with its filters, order and columns: `/inventory/servers?sort=-status.phase`.
    pub path: String,
    /// Name of the user whose own it is. Without one, all who see the namespace share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A view has no state of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavedViewStatus {}

impl Kind for SavedView {
    const GROUP: &'static str = PAGE;
    const VERSION: &'static str = V1ALPHA1;
    const KIND: &'static str = "SavedView";
    const PLURAL: &'static str = "savedviews";
    const SINGULAR: &'static str = "savedview";
    const SHORT_NAMES: &'static [&'static str] = &["view"];
    const SCOPE: Scope = Scope::Namespaced;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("Title", "spec.title", "What it is called"),
        Column::new("Owner", "spec.owner", "Whose own it is; nobody's when it is shared"),
        Column::new("Path", "spec.path", "Where it is on the page").wide(),
    ];
    const INDEXED_FIELDS: &'static [&'static str] = &["spec.owner"];
    const DESCRIPTION: &'static str =
        "SavedView is a view of the page that somebody comes back to, or shares with a namespace.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn validate(&self, _: Option<&Self>, errors: &mut FieldErrors) {
        let SavedViewSpec { title, path, owner } = &self.spec;
        if title.trim().is_empty() {
            errors.push(FieldError::required("spec.title", "say what it is called in menus"));
        }
        if title.chars().count() > TITLE_CHARS_MAX {
            errors.push(FieldError::too_long("spec.title", TITLE_CHARS_MAX));
        }
        if path.len() > PATH_BYTES_MAX {
            errors.push(FieldError::too_long("spec.path", PATH_BYTES_MAX));
        }
        // What a browser takes for another host, or for a program, is no place on the page.
        let second = path.as_bytes().get(1);
        let here = path.starts_with('/') && second.is_none_or(|it| !b"/\\".contains(it));
        if !here || path.chars().any(|it| it.is_control() || it.is_whitespace()) {
            let why =
                "must be a path on the page, such as /inventory/servers, as its address has it";
            errors.push(FieldError::invalid("spec.path", format!("{path:?}"), why));
        }
        if owner.as_deref() == Some("") {
            let why = "name a user, or leave it out to share it";
            errors.push(FieldError::invalid("spec.owner", "\"\"", why));
        }
        if owner.as_ref().is_some_and(|owner| owner.len() > OWNER_BYTES_MAX) {
            errors.push(FieldError::too_long("spec.owner", OWNER_BYTES_MAX));
        }
    }

    kind_info!(SavedView);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(title: &str, path: &str, owner: Option<&str>) -> Vec<String> {
        let mut view = json!({
            "metadata": {"name": "quarantined", "namespace": "shop"},
            "spec": {"title": title, "path": path},
        });
        if let Some(owner) = owner {
            view["spec"]["owner"] = json!(owner);
        }
        let errors = (SavedView::info().admit)(&view, None).err().unwrap_or_default();
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_view_is_a_place_on_the_page_with_a_title() {
        let good = "/inventory/servers?f=%7B%22status.phase%22%3A%5B%22Quarantined%22%5D%7D";
        assert!(refused("Quarantined", good, None).is_empty());
        assert!(refused("Home", "/", Some("ann")).is_empty());
        for path in
            ["", "inventory", "//evil.example/a", "/\\evil.example", "javascript:alert(1)", "/a b"]
        {
            assert_eq!(refused("x", path, None), ["spec.path"], "{path:?}");
        }
        assert_eq!(refused("x", &format!("/{}", "a".repeat(4_096)), None), ["spec.path"]);
        assert_eq!(refused(" ", "/", None), ["spec.title"]);
        assert_eq!(refused(&"ä".repeat(81), "/", None), ["spec.title"]);
        assert_eq!(refused("x", "/", Some("")), ["spec.owner"]);
    }
}
