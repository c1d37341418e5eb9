//! What is done with a Pod besides reading it, each at its own path; and which container of which Pod it is done with.

use super::View;
use crate::{agents::Place, status::ApiError};
use quarterdeck_model::{
    Kind as _, Object,
    kinds::{HostKind, Instance},
};
use quarterdeck_store::World;
use std::sync::Arc;

/// What is done with a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodPart {
    /// What a container has written is read.
    Log,
    /// A command is run in a container.
    Exec,
    /// It is to go elsewhere, as far as the ledger lets it.
    Eviction,
}

impl PodPart {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Log, Self::Exec, Self::Eviction];

    /// As it is written in a path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Eviction => "eviction",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// As metrics and discovery name it.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Log => "pods/log",
            Self::Exec => "pods/exec",
            Self::Eviction => "pods/eviction",
        }
    }

    /// Group, version and kind of what it takes or answers.
    pub(crate) fn kind(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Log => ("", "v1", "Pod"),
            Self::Exec => ("", "v1", "PodExecOptions"),
            Self::Eviction => ("policy", "v1", "Eviction"),
        }
    }

    /// What may be done at its path.
    pub(crate) fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Log => &["get"],
            Self::Exec => &["create", "get"],
            Self::Eviction => &["create"],
        }
    }

    /// Whether it goes on after it was answered.
    pub(crate) fn goes_on(self) -> bool {
        matches!(self, Self::Log | Self::Exec)
    }
}

/// The Instance that a Pod is.
pub(super) fn instance(
    world: &World,
    namespace: &str,
    name: &str,
) -> Result<(Arc<Object>, Instance), ApiError> {
    let gone = || ApiError::not_found(View::Pods.kind(), name);
    let object = world.get(Instance::info(), namespace, name).ok_or_else(gone)?;
    let instance: Instance =
        object.decode().map_err(|error| ApiError::internal(error.to_string()))?;
    // What something else runs is no Pod.
    if instance.spec.template.is_none() {
        return Err(gone());
    }
    Ok((object, instance))
}

/// Where a container of a Pod is: the one of that name, or the only one.
pub(super) fn place(
    world: &World,
    (namespace, name): (&str, &str),
    container: Option<&str>,
) -> Result<Place, ApiError> {
    let (object, instance) = instance(world, namespace, name)?;
    let containers = instance.spec.template.map(|it| it.containers).unwrap_or_default();
    let names: Vec<&str> = containers.iter().map(|it| it.name.as_str()).collect();
    let all = names.join(" ");
    let container = match (container.filter(|it| !it.is_empty()), names.as_slice()) {
        (Some(asked), names) if names.contains(&asked) => asked,
        (Some(asked), _) => {
            return Err(ApiError::bad_request(format!(
                "container {asked} is not valid for pod {name}: it has [{all}]"
            )));
        }
        (None, [only]) => only,
        (None, _) => {
            return Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{all}]"
            )));
        }
    };
    let host = &instance.spec.host;
    if host.kind != HostKind::Machine {
        let why = format!("pod {name} is on Server {}, which has no agent", host.name);
        return Err(ApiError::bad_request(why));
    }
    Ok(Place {
        namespace: namespace.into(),
        machine: host.name.clone(),
        uid: object.uid().into(),
        container: container.into(),
    })
}
