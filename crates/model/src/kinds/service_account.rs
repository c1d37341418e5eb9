//! ServiceAccount: who a program is (`v1`). Its user name is `system:serviceaccount:NAMESPACE:NAME`.

use crate::{Column, ColumnType, Kind, ObjectMeta, ObjectReference, Scope, kind_info};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An identity for programs, to which roles can be granted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccount {
    /// Standard object's metadata.
    pub metadata: ObjectMeta,
    /// Secrets the program may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<ObjectReference>,
    /// Secrets for pulling images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalReference>,
    /// Whether a token is given to programs by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
}

/// A link to an object in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LocalReference {
    /// Name.
    pub name: String,
}

impl Kind for ServiceAccount {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "ServiceAccount";
    const PLURAL: &'static str = "serviceaccounts";
    const SINGULAR: &'static str = "serviceaccount";
    const SHORT_NAMES: &'static [&'static str] = &["sa"];
    const CATEGORIES: &'static [&'static str] = &[];
    const SCOPE: Scope = Scope::Namespaced;
    const STATUS: bool = false;
    const COLUMNS: &'static [Column] =
        &[Column::new("Secrets", "secrets", "How many Secrets the program may use")
            .of(ColumnType::Count)];
    const DESCRIPTION: &'static str =
        "ServiceAccount is who a program is; roles can be granted to it.";

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    kind_info!(ServiceAccount);
}
