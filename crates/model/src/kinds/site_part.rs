//! Parts of a site: halls, rows of racks and power feeds. They are no kinds of their own: they have a name in their
//! site and nothing else, and come to be with the racks that name them.

use crate::{FieldError, FieldErrors};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A part of a site: a hall, a row of racks, or all that hangs on a power feed. With none of them, the whole site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SitePart {
    /// A hall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hall: Option<String>,
    /// A row of racks: of the hall that is named with it, or of those that stand in no hall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// A power feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_feed: Option<String>,
}

impl SitePart {
    /// It is the whole site.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it, wherever it is written.
    pub fn validate(&self, path: &str, errors: &mut FieldErrors) {
        let fields = [("hall", &self.hall), ("row", &self.row), ("powerFeed", &self.power_feed)];
        for (field, _) in fields.iter().filter(|(_, name)| name.as_deref() == Some("")) {
            let why = "name it as the racks do, or leave it out";
            errors.push(FieldError::invalid(format!("{path}.{field}"), "\"\"", why));
        }
        if self.power_feed.is_some() && (self.hall.is_some() || self.row.is_some()) {
            let why = "a power feed is one of the whole site; give it, or hall and row, not both";
            errors.push(FieldError::forbidden(format!("{path}.powerFeed"), why));
        }
    }
}

/// `row 3 of hall north`, `power feed A`; nothing for a whole site.
impl fmt::Display for SitePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.power_feed, &self.row, &self.hall) {
            (Some(feed), ..) => write!(f, "power feed {feed}"),
            (None, Some(row), Some(hall)) => write!(f, "row {row} of hall {hall}"),
            (None, Some(row), None) => write!(f, "row {row}"),
            (None, None, Some(hall)) => write!(f, "hall {hall}"),
            (None, None, None) => Ok(()),
        }
    }
}
