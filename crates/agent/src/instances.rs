//! Between the stream and the containers: what the plane says is to run becomes the whole assignment that containers are given.
//! Until all of it was said on a stream, what was assigned before stays.

use crate::{
    AgentError,
    containers::{self, Assignment, Containers, HostPath},
    folder::Folder,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quarterdeck_model::agent::{Assigned, InstanceReport, Instances, Secrets};
use std::{collections::BTreeMap, path::PathBuf};

/// Where the container engine is heard, and what containers may do on this host.
#[derive(Debug, Clone)]
pub struct ContainerSettings {
    /// Socket of the engine.
    pub engine: PathBuf,
    /// Folder in memory for Secrets; each machine has one of its own in it.
    pub secrets: PathBuf,
    /// Paths of the host that may be mounted, and whether they may be written.
    pub host_paths: Vec<(PathBuf, bool)>,
    /// Capabilities that may be added.
    pub capabilities: Vec<String>,
    /// They may have the network of the host.
    pub host_network: bool,
}

impl ContainerSettings {
    /// The containers of a machine.
    pub(crate) fn open(&self, folder: &Folder, uid: &str) -> Result<Containers, AgentError> {
        let paths = self.host_paths.iter();
        let settings = containers::Settings {
            engine: self.engine.clone(),
            secrets: self.secrets.join(uid),
            host_paths: paths
                .map(|(path, writable)| HostPath { path: path.clone(), writable: *writable })
                .collect(),
            capabilities: self.capabilities.iter().cloned().collect(),
            host_network: self.host_network,
            ..containers::Settings::new(uid, folder.folder("containers")?)
        };
        Ok(Containers::open(settings)?)
    }
}

/// What is to run, as far as it was said on one stream.
#[derive(Debug, Default)]
pub(crate) struct Wanted(BTreeMap<String, Assignment>);

impl Wanted {
    /// Takes in a frame, and assigns all when it was the last of its kind.
    pub(crate) fn take(
        &mut self,
        namespace: &str,
        said: Instances,
        containers: &Containers,
    ) -> Result<(), String> {
        if said.complete {
            self.0.clear();
        }
        for uid in &said.removed {
            self.0.remove(uid);
        }
        for assigned in said.set {
            self.0.insert(assigned.uid.clone(), assignment(namespace, assigned)?);
        }
        if said.more {
            return Ok(());
        }
        containers.assign(self.0.values().cloned().collect()).map_err(|error| error.to_string())
    }
}

fn assignment(namespace: &str, assigned: Assigned) -> Result<Assignment, String> {
    let Assigned { name, uid, spec, deleting_grace, secrets } = assigned;
    let secrets = decoded(secrets)?;
    Ok(Assignment { namespace: namespace.to_owned(), name, uid, spec, deleting_grace, secrets })
}

fn decoded(secrets: Secrets) -> Result<containers::Secrets, String> {
    let value = |value: String| {
        // What is wrong with it must not repeat it.
        STANDARD.decode(value).map_err(|_| "a Secret is not Base64".to_owned())
    };
    let mut all = containers::Secrets::new();
    for (name, data) in secrets {
        let mut values = BTreeMap::new();
        for (key, text) in data {
            values.insert(key, value(text)?);
        }
        all.insert(name, values);
    }
    Ok(all)
}

/// As it is told.
pub(crate) fn report(seen: containers::InstanceReport) -> InstanceReport {
    let containers::InstanceReport { name, uid, status, gone, .. } = seen;
    InstanceReport { name, uid, status, gone }
}
