//! What a kind is: a Rust type that says its names, columns, indexed fields and rules.
//! Its REST surface, OpenAPI, discovery, table, validation, defaulting and indexes follow.

use crate::{FieldErrors, ObjectMeta, scan::Paths, schema};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One for the whole plane.
    Cluster,
    /// In a namespace, that is, a team.
    Namespaced,
}

/// How a column is shown (`metav1.TableColumnDefinition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// How many entries a list or map has; none is 0.
    Count,
    /// A yes or no.
    Boolean,
    /// A time, shown as an age.
    Date,
    /// How much of each thing is used: of an object's maps `used` and `hard`.
    Usage,
}

/// One printer column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// How it is shown.
    pub kind: ColumnType,
    /// Dotted path of the field, such as `status.phase`; `[type=Ready]` picks from a list of objects.
    pub path: &'static str,
    /// Shown only with `-o wide`.
    pub wide: bool,
    /// What it says.
    pub description: &'static str,
}

impl Column {
    /// A column shown always.
    pub const fn new(name: &'static str, path: &'static str, description: &'static str) -> Self {
        Self { name, kind: ColumnType::String, path, wide: false, description }
    }

    /// The same, shown only with `-o wide`.
    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// The same, of another type.
    #[must_use]
    pub const fn of(mut self, kind: ColumnType) -> Self {
        self.kind = kind;
        self
    }
}

/// Where a kind says how many of something there are: what its subresource `/scale` reads and writes, as dotted paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// How many are wanted; the one field that is written.
    pub wanted: &'static str,
    /// How many there are.
    pub seen: &'static str,
    /// The label selector, as a text, of those.
    pub selector: &'static str,
}

/// A kind's rules, written once in its file under `kinds/`.
pub trait Kind: Serialize + DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static {
    /// API group, empty for the core.
    const GROUP: &'static str;
    /// API version.
    const VERSION: &'static str;
    /// Name of the kind.
    const KIND: &'static str;
    /// Plural, lower case: the resource's name in paths.
    const PLURAL: &'static str;
    /// Singular, lower case.
    const SINGULAR: &'static str;
    /// Short names.
    const SHORT_NAMES: &'static [&'static str];
    /// Categories, such as `fleet`.
    const CATEGORIES: &'static [&'static str] = &["fleet"];
    /// Scope.
    const SCOPE: Scope;
    /// Has a `/status` subresource, so that writes of the object leave `status` alone.
    const STATUS: bool = true;
    /// Has a `/scale` subresource, so that autoscalers and `kubectl scale` need to know nothing else of the kind.
    const SCALE: Option<Scale> = None;
    /// Printer columns between NAME and AGE.
    const COLUMNS: &'static [Column];
    /// Dotted paths of fields that can be selected on and are indexed.
    const INDEXED_FIELDS: &'static [&'static str] = &[];
    /// Those of them that can be selected on and are in no index: a good part of all objects has the same value, so
    /// that it finds nothing faster than looking at each, and keeping so long a list of them in order costs the most.
    const COMMON_FIELDS: &'static [&'static str] = &[];
    /// What names must look like.
    const NAME: fn(&str) -> Result<(), String> = crate::validate::subdomain;
    /// One sentence that `kubectl explain` shows.
    const DESCRIPTION: &'static str;

    /// The metadata.
    fn meta(&self) -> &ObjectMeta;

    /// Fills in what was left out. Runs on every write, before validation; must be idempotent.
    fn set_defaults(&mut self) {}

    /// Finds everything wrong with the object that its schema cannot say; `old` is the version it replaces.
    fn validate(&self, old: Option<&Self>, errors: &mut FieldErrors) {
        let _ = (old, errors);
    }

    /// What the kind is, for code that knows it only by name.
    fn info() -> KindRef;
}

/// A kind as a value. Made once by [`crate::kind_info!`].
pub struct KindInfo {
    /// API group, empty for the core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Name of the kind.
    pub kind: &'static str,
    /// Plural, lower case.
    pub plural: &'static str,
    /// Singular, lower case.
    pub singular: &'static str,
    /// Short names.
    pub short_names: &'static [&'static str],
    /// Categories.
    pub categories: &'static [&'static str],
    /// Scope.
    pub scope: Scope,
    /// Has `/status`.
    pub has_status: bool,
    /// Has `/scale`.
    pub scale: Option<Scale>,
    /// Printer columns.
    pub columns: &'static [Column],
    /// Indexed fields.
    pub indexed_fields: &'static [&'static str],
    /// Those of them that are selected on by looking.
    pub common_fields: &'static [&'static str],
    /// One sentence.
    pub description: &'static str,
    /// Structural OpenAPI v3 schema, `$ref`-free.
    pub schema: fn() -> &'static Value,
    /// Defaults and validates a whole object; returns it as its type writes it.
    pub admit: fn(new: &Value, old: Option<&Value>) -> Result<Value, FieldErrors>,
    /// The resource's full name, made on first use.
    pub resource_name: OnceLock<Arc<str>>,
    /// The indexed fields as they are scanned for, made on first use.
    pub paths: OnceLock<Paths>,
}

/// Kinds are compared by name.
pub type KindRef = &'static KindInfo;

impl KindInfo {
    /// `group/version`, or `version` for the core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.into()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `plural.group`, or `plural` for the core: the kind's name in the store and in messages.
    pub fn resource_name(&self) -> Arc<str> {
        self.resource_name
            .get_or_init(|| {
                if self.group.is_empty() {
                    self.plural.into()
                } else {
                    format!("{}.{}", self.plural, self.group).into()
                }
            })
            .clone()
    }

    pub(crate) fn paths(&self) -> &Paths {
        self.paths.get_or_init(|| {
            let common = |path| self.common_fields.contains(path);
            let common = self.indexed_fields.iter().map(common).collect();
            Paths { common, ..Paths::of(self.indexed_fields) }
        })
    }

    /// Whether the field at that place among the indexed ones is in no index all the same.
    pub fn is_common(&self, at: usize) -> bool {
        self.paths().common.get(at).copied().unwrap_or(false)
    }

    /// Whether objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

impl std::fmt::Debug for KindInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.resource_name())
    }
}

impl PartialEq for KindInfo {
    fn eq(&self, other: &Self) -> bool {
        self.group == other.group && self.plural == other.plural
    }
}

impl Eq for KindInfo {}

/// Builds the [`KindInfo`] of `K`. Used by [`crate::kind_info!`] only.
pub const fn describe<K: Kind>(
    schema: fn() -> &'static Value,
    admit: fn(&Value, Option<&Value>) -> Result<Value, FieldErrors>,
) -> KindInfo {
    KindInfo {
        group: K::GROUP,
        version: K::VERSION,
        kind: K::KIND,
        plural: K::PLURAL,
        singular: K::SINGULAR,
        short_names: K::SHORT_NAMES,
        categories: K::CATEGORIES,
        scope: K::SCOPE,
        has_status: K::STATUS,
        scale: K::SCALE,
        columns: K::COLUMNS,
        indexed_fields: K::INDEXED_FIELDS,
        common_fields: K::COMMON_FIELDS,
        description: K::DESCRIPTION,
        schema,
        admit,
        resource_name: OnceLock::new(),
        paths: OnceLock::new(),
    }
}

/// Defaults and validates `new` as a `K`: shape first, by the schema, so that a mistake is named by
/// its field; then the kind's own rules.
///
/// # Errors
/// Everything that is wrong, field by field.
pub fn admit<K: Kind>(new: &Value, old: Option<&Value>) -> Result<Value, FieldErrors> {
    let mut errors = schema::check((K::info().schema)(), new);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut typed = K::deserialize(new)
        .map_err(|error| vec![crate::FieldError::invalid("", K::KIND, error)])?;
    // An old version that no longer fits its type cannot be compared with; the new one stands alone.
    let old: Option<K> = old.and_then(|old| K::deserialize(old).ok());
    typed.set_defaults();
    crate::validate::metadata(typed.meta(), K::SCOPE, K::NAME, &mut errors);
    typed.validate(old.as_ref(), &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut value = serde_json::to_value(&typed)
        .map_err(|error| vec![crate::FieldError::invalid("", K::KIND, error)])?;
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".into(), K::info().api_version().into());
        object.insert("kind".into(), K::KIND.into());
    }
    Ok(value)
}

/// Declares `$type` a kind: gives it `info()` from its constants. Goes inside the `impl Kind` block.
#[macro_export]
macro_rules! kind_info {
    ($type:ty) => {
        fn info() -> $crate::KindRef {
            static INFO: $crate::KindInfo = $crate::kind::describe::<$type>(
                || {
                    static SCHEMA: std::sync::OnceLock<serde_json::Value> =
                        std::sync::OnceLock::new();
                    SCHEMA.get_or_init($crate::schema::of::<$type>)
                },
                $crate::kind::admit::<$type>,
            );
            &INFO
        }
    };
}
