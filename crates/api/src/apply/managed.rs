//! `metadata.managedFields`: who manages which fields of an object, as it is stored and sent.
//! Source: `metav1.ManagedFieldsEntry`; order and cap as kube-apiserver has them.

use super::{encode, fields::FieldSet};
use quarterdeck_model::Time;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Managers that wrote without applying, one entry each; the oldest beyond it are taken together.
/// As many as Kubernetes keeps: entries must not grow with the number of programs that ever wrote.
const UPDATERS_MAX: usize = 10;
/// Who the oldest writers are taken together as.
const ANCIENT: &str = "ancient-changes";

/// How a manager came by its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// By applying a configuration: what it leaves out next time goes away.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One manager of fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: Operation,
    pub(crate) api_version: String,
    /// `status`, or empty for the object itself.
    pub(crate) subresource: String,
}

impl Manager {
    /// What tells managers apart. An applier is the same whichever version it applies.
    fn id(&self) -> (&str, Operation, &str, &str) {
        let version = match self.operation {
            Operation::Apply => "",
            Operation::Update => &self.api_version,
        };
        (&self.name, self.operation, version, &self.subresource)
    }

    /// Whether both are one manager.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

/// Names the manager as conflicts do.
impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.name)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == Operation::Update {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

/// A manager and its fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Owner {
    pub(crate) manager: Manager,
    /// Fields of its own version.
    pub(crate) fields: FieldSet,
    /// When it last changed one of them.
    pub(crate) time: Option<Time>,
}

impl Owner {
    fn seconds(&self) -> i64 {
        self.time.map_or(0, |time| time.timestamp().as_second())
    }
}

/// All managers of one object, each once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Managed(pub(crate) Vec<Owner>);

impl Managed {
    /// Reads `metadata.managedFields`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let mut owners = Vec::new();
        for entry in value.as_array().into_iter().flatten() {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".into()),
            };
            if text("apiVersion").is_empty() {
                return Err("apiVersion must not be empty".into());
            }
            if text("fieldsType") != "FieldsV1" {
                return Err(format!("invalid fieldsType {:?}", text("fieldsType")));
            }
            let time = match text("time") {
                "" => None,
                time => Some(Time::seconds(time.parse().map_err(|_| format!("time {time:?}"))?)),
            };
            let owner = Owner {
                manager: Manager {
                    name: text("manager").into(),
                    operation,
                    api_version: text("apiVersion").into(),
                    subresource: text("subresource").into(),
                },
                fields: encode::from_value(entry.get("fieldsV1").unwrap_or(&Value::Null))?,
                time,
            };
            owners.push(owner);
        }
        // Of entries for one manager, the last counts.
        owners.sort_by(|a, b| a.manager.id().cmp(&b.manager.id()));
        owners.reverse();
        owners.dedup_by(|later, kept| later.manager.is(&kept.manager));
        owners.retain(|owner| !owner.fields.is_empty());
        Ok(Self(owners))
    }

    /// Writes `metadata.managedFields`; none when nobody manages anything.
    pub(crate) fn write(mut self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by(|a, b| {
            let place = |owner: &Owner| (owner.manager.operation, owner.seconds());
            let name = |owner: &Owner| {
                let Manager { name, api_version, subresource, .. } = &owner.manager;
                (name.clone(), api_version.clone(), subresource.clone())
            };
            place(a).cmp(&place(b)).then_with(|| name(a).cmp(&name(b)))
        });
        let entry = |owner: Owner| {
            let mut entry = Map::new();
            let Manager { name, operation, api_version, subresource } = owner.manager;
            entry.insert("manager".into(), name.into());
            entry.insert("operation".into(), operation.name().into());
            entry.insert("apiVersion".into(), api_version.into());
            if let Some(time) = owner.time {
                entry.insert("time".into(), time.to_string().into());
            }
            entry.insert("fieldsType".into(), "FieldsV1".into());
            entry.insert("fieldsV1".into(), encode::to_value(&owner.fields));
            if !subresource.is_empty() {
                entry.insert("subresource".into(), subresource.into());
            }
            Value::from(entry)
        };
        Some(self.0.into_iter().map(entry).collect())
    }

    /// Whether nobody manages anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The owner that is `manager`, if it has any fields.
    pub(crate) fn owner_mut(&mut self, manager: &Manager) -> Option<&mut Owner> {
        self.0.iter_mut().find(|owner| owner.manager.is(manager))
    }

    /// Whether the same managers have the same fields, whenever they got them.
    pub(crate) fn same_fields(&self, other: &Self) -> bool {
        fn by_manager(managed: &Managed) -> BTreeMap<&Manager, &FieldSet> {
            managed.0.iter().map(|owner| (&owner.manager, &owner.fields)).collect()
        }
        self.0.len() == other.0.len() && by_manager(self) == by_manager(other)
    }

    /// Takes the oldest writers together while there are too many of them.
    pub(crate) fn cap(&mut self) {
        let updater = |owner: &Owner| owner.manager.operation == Operation::Update;
        let mut excess = self.0.iter().filter(|owner| updater(owner)).count();
        if excess <= UPDATERS_MAX {
            return;
        }
        let (mut updaters, appliers): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(updater);
        self.0 = appliers;
        updaters.sort_by(|a, b| {
            let name = |owner: &Owner| (owner.seconds(), owner.manager.name.clone());
            name(a).cmp(&name(b))
        });
        let mut ancient: Vec<Owner> = Vec::new();
        for owner in updaters {
            let version = &owner.manager.api_version;
            let bucket = ancient.iter_mut().find(|old| old.manager.api_version == *version);
            match bucket {
                Some(bucket) if excess > UPDATERS_MAX => {
                    bucket.fields.unite(owner.fields);
                    bucket.manager.name = ANCIENT.into();
                    bucket.manager.subresource.clear();
                    bucket.time = owner.time;
                    excess -= 1;
                }
                // The first of each version is what others are added to.
                None => ancient.push(owner),
                Some(_) => self.0.push(owner),
            }
        }
        self.0.extend(ancient);
    }
}
