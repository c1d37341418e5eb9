//! The container engine, asked over its socket: the only file that speaks its API, with [`super::body`], which says what
//! a container is made of. It must decide nothing.

use super::{
    error::ContainersError,
    labels,
    seen::{Ended, Seen, SeenContainer, SeenState},
};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    auth::DockerCredentials,
    container::LogOutput,
    errors::Error,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, CreateImageInfo,
        EventMessage, ImageInspect,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
        ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
        StopContainerOptionsBuilder,
    },
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use quarterdeck_model::kinds::container::{BoundPort, ImageReference, Protocol};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How long the engine may take to answer, besides what it is asked to wait for.
const ANSWER: Duration = Duration::from_secs(120);
/// Names of images remembered, more than a host has.
const NAMES_MAX: usize = 4096;

/// An image that is here.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// Its identity.
    pub(super) id: String,
    pub(super) bytes: u64,
    /// Somebody has a name for it.
    pub(super) named: bool,
}

/// The container engine of this host.
pub(super) struct Engine {
    socket: PathBuf,
    host: String,
    client: Mutex<Option<Docker>>,
    /// Names by digest of images, by their identity: neither changes.
    names: Mutex<BTreeMap<String, String>>,
}

impl Engine {
    pub(super) fn new(socket: &Path, host: &str) -> Self {
        let (client, names) = (Mutex::default(), Mutex::default());
        Self { socket: socket.into(), host: host.into(), client, names }
    }

    /// A client that speaks the version which both sides know.
    pub(super) async fn client(&self) -> Result<Docker, ContainersError> {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let client = Docker::connect_with_unix(
            &self.socket.to_string_lossy(),
            ANSWER.as_secs(),
            API_DEFAULT_VERSION,
        );
        let client = client.map_err(|error| self.told(error))?;
        let client = client.negotiate_version().await.map_err(|error| self.told(error))?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// What an answer says, for people. A connection that failed is not used again: the engine may be another one now.
    pub(super) fn told(&self, error: Error) -> ContainersError {
        match error {
            Error::DockerResponseServerError { status_code: 404, message } => {
                ContainersError::NotFound(message)
            }
            Error::DockerResponseServerError { message, .. } => ContainersError::Refused(message),
            Error::DockerStreamError { error } => ContainersError::Refused(error),
            error => {
                *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
                let why = match &error {
                    Error::SocketNotFoundError(_) => "its socket is not there".to_owned(),
                    error => causes(error),
                };
                ContainersError::EngineAway { socket: self.socket.clone(), why }
            }
        }
    }

    fn ours(&self, uid: Option<&str>) -> HashMap<String, Vec<String>> {
        let mut labels = vec![format!("{}={}", labels::HOST, self.host)];
        labels.extend(uid.map(|uid| format!("{}={uid}", labels::UID)));
        [("label".to_owned(), labels)].into()
    }

    /// All containers of one instance.
    pub(super) async fn look(&self, uid: &str) -> Result<Seen, ContainersError> {
        let client = self.client().await?;
        let options =
            ListContainersOptionsBuilder::default().all(true).filters(&self.ours(Some(uid)));
        let listed = client.list_containers(Some(options.build())).await;
        let mut seen = Vec::new();
        for summary in listed.map_err(|error| self.told(error))? {
            let Some(id) = summary.id else { continue };
            match client.inspect_container(&id, None).await {
                Ok(inspected) => seen.extend(self.container(&client, inspected).await),
                // It went meanwhile.
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
                Err(error) => return Err(self.told(error)),
            }
        }
        Ok(Seen::sorted(seen))
    }

    async fn container(
        &self,
        client: &Docker,
        it: ContainerInspectResponse,
    ) -> Option<SeenContainer> {
        let image = it.image.clone().unwrap_or_default();
        let known = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&image).cloned();
        let image_id = match known {
            Some(name) => name,
            None => {
                let Ok(found) = client.inspect_image(&image).await else {
                    // An engine that did not answer is asked again.
                    return Some(SeenContainer { image_id: image, ..container(it)? });
                };
                let name = by_digest(found).unwrap_or_else(|| image.clone());
                let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
                if names.len() >= NAMES_MAX {
                    names.clear();
                }
                names.insert(image, name.clone());
                name
            }
        };
        Some(SeenContainer { image_id, ..container(it)? })
    }

    /// Instances that have containers here, with their namespaces and names.
    pub(super) async fn instances(
        &self,
    ) -> Result<BTreeMap<String, (String, String)>, ContainersError> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&self.ours(None));
        let listed = self.client().await?.list_containers(Some(options.build())).await;
        let instance = |labels: HashMap<String, String>| {
            let of = |name| labels.get(name).cloned();
            Some((of(labels::UID)?, (of(labels::NAMESPACE)?, of(labels::NAME)?)))
        };
        let listed = listed.map_err(|error| self.told(error))?.into_iter();
        Ok(listed.filter_map(|it| instance(it.labels?)).collect())
    }

    /// Images that any container of the engine is of.
    pub(super) async fn images_in_use(&self) -> Result<BTreeSet<String>, ContainersError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let listed = self.client().await?.list_containers(Some(options)).await;
        Ok(listed
            .map_err(|error| self.told(error))?
            .into_iter()
            .filter_map(|it| it.image_id)
            .collect())
    }

    /// Identities of instances of whose containers something is heard.
    pub(super) async fn events(
        &self,
    ) -> Result<impl Stream<Item = Result<Option<String>, ContainersError>>, ContainersError> {
        let client = self.client().await?;
        let mut filters = self.ours(None);
        filters.insert("type".into(), vec!["container".into()]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let uid = |event: EventMessage| event.actor?.attributes?.remove(labels::UID);
        let events = client.events(Some(options));
        Ok(events.map_ok(uid).map_err(|error| self.told(error)))
    }

    /// An image, if it is here.
    pub(super) async fn image(&self, name: &str) -> Result<Option<Image>, ContainersError> {
        match self.client().await?.inspect_image(name).await {
            Ok(ImageInspect { id: Some(id), size, repo_tags, repo_digests, .. }) => {
                let bytes = size.and_then(|it| u64::try_from(it).ok()).unwrap_or_default();
                let named = repo_tags.into_iter().chain(repo_digests).any(|it| !it.is_empty());
                Ok(Some(Image { id, bytes, named }))
            }
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.told(error)),
        }
    }

    /// Pulls an image. What is told of it goes to `progress`; silence for `stall` ends it.
    pub(super) async fn pull(
        &self,
        image: &ImageReference,
        credentials: Option<DockerCredentials>,
        stall: Duration,
        mut progress: impl FnMut(CreateImageInfo),
    ) -> Result<(), ContainersError> {
        let client = self.client().await?;
        let from = format!("{}/{}", image.registry, image.repository);
        let tag = image.digest.as_ref().unwrap_or(&image.tag);
        let options = CreateImageOptionsBuilder::default().from_image(&from).tag(tag).build();
        let mut told = std::pin::pin!(client.create_image(Some(options), None, credentials));
        loop {
            match tokio::time::timeout(stall, told.next()).await {
                Ok(Some(Ok(info))) => progress(info),
                Ok(Some(Err(error))) => return Err(self.told(error)),
                Ok(None) => return Ok(()),
                Err(_) => {
                    let why = format!("nothing came of it for {} seconds", stall.as_secs());
                    return Err(ContainersError::Refused(why));
                }
            }
        }
    }

    /// Makes an image of an archive.
    pub(super) async fn import(
        &self,
        (name, tag, entry): (&str, &str, &str),
        archive: Vec<u8>,
    ) -> Result<(), ContainersError> {
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(name)
            .tag(tag)
            .changes(vec![format!("ENTRYPOINT [\"{entry}\"]")]);
        let body = bollard::body_full(archive.into());
        let client = self.client().await?;
        let mut told = std::pin::pin!(client.create_image(Some(options.build()), Some(body), None));
        while let Some(info) = told.next().await {
            info.map_err(|error| self.told(error))?;
        }
        Ok(())
    }

    /// Takes a name from an image; with its last one it goes, unless something was made of it.
    pub(super) async fn remove_image(&self, name: &str) -> Result<(), ContainersError> {
        let none = None::<RemoveImageOptions>;
        let removed = self.client().await?.remove_image(name, none, None).await;
        removed.map(drop).map_err(|error| self.told(error))
    }

    /// Makes a container.
    pub(super) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<(), ContainersError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let made = self.client().await?.create_container(Some(options), body).await;
        made.map(drop).map_err(|error| self.told(error))
    }

    /// Starts a container.
    pub(super) async fn start(&self, id: &str) -> Result<(), ContainersError> {
        let started = self.client().await?.start_container(id, None).await;
        started.map_err(|error| self.told(error))
    }

    /// Tells a container to end, and kills it when that takes longer.
    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<(), ContainersError> {
        // A part of a second is a whole one: nobody is killed before their time.
        let seconds = grace.as_millis().div_ceil(1_000);
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let client = self.client().await?.with_timeout(grace.saturating_add(ANSWER));
        self.done(client.stop_container(id, Some(options)).await)
    }

    /// Removes a container.
    pub(super) async fn remove(&self, id: &str) -> Result<(), ContainersError> {
        let options = RemoveContainerOptionsBuilder::default().v(true).build();
        self.done(self.client().await?.remove_container(id, Some(options)).await)
    }

    /// It is as well when somebody else was faster.
    fn done(&self, result: Result<(), Error>) -> Result<(), ContainersError> {
        match result {
            Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => Ok(()),
            result => result.map_err(|error| self.told(error)),
        }
    }

    /// Runs a command in a container: what it ended with, and the beginning of what it said.
    pub(super) async fn run(
        &self,
        id: &str,
        command: &[String],
        said_bytes_max: usize,
    ) -> Result<(i64, String), ContainersError> {
        let client = self.client().await?;
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let told = |error| self.told(error);
        let exec = client.create_exec(id, options).await.map_err(told)?.id;
        let mut said = Vec::new();
        let started = client.start_exec(&exec, None::<StartExecOptions>).await.map_err(told)?;
        // What could be written to it stays open until it has ended: it has nothing to read.
        if let StartExecResults::Attached { mut output, input: _input } = started {
            while let Some(part) = output.next().await {
                let part = part.map_err(told)?;
                let left = said_bytes_max.saturating_sub(said.len());
                said.extend(part.as_ref().iter().take(left));
            }
        }
        let ended = client.inspect_exec(&exec).await.map_err(told)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok((ended.exit_code.unwrap_or(-1), said))
    }
}

/// What a stream of the engine carries.
pub(super) fn bytes(output: LogOutput) -> bytes::Bytes {
    output.into_bytes()
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn by_digest(image: ImageInspect) -> Option<String> {
    image.repo_digests?.into_iter().next()
}

fn container(it: ContainerInspectResponse) -> Option<SeenContainer> {
    let labels = it.config?.labels?;
    let label = |name: &str| labels.get(name).cloned();
    let number = |name: &str| labels.get(name).and_then(|it| it.parse().ok());
    let state = it.state.unwrap_or_default();
    let at = |text: &Option<String>| {
        text.as_ref().and_then(|it| it.parse::<Timestamp>().ok()).unwrap_or_default()
    };
    let (started, finished) = (at(&state.started_at), at(&state.finished_at));
    let code = state.exit_code.and_then(|it| i32::try_from(it).ok()).unwrap_or_default();
    let ended = Ended {
        exit_code: code,
        out_of_memory: state.oom_killed.unwrap_or_default(),
        error: state.error.clone().unwrap_or_default(),
        started,
        finished: finished.max(started),
    };
    use ContainerStateStatusEnum as Status;
    let seen = match state.status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING) => {
            SeenState::Running { since: started }
        }
        Some(Status::EXITED | Status::DEAD) => SeenState::Ended(ended),
        Some(Status::REMOVING) => SeenState::Going,
        Some(Status::CREATED | Status::EMPTY) | None => SeenState::Created,
    };
    let network = it.network_settings.unwrap_or_default();
    let mut addresses = network.networks.into_iter().flatten().filter_map(|(_, it)| it.ip_address);
    Some(SeenContainer {
        id: it.id?,
        name: label(labels::CONTAINER)?,
        attempt: number(labels::ATTEMPT)?,
        streak: number(labels::STREAK).unwrap_or_default(),
        hash: label(labels::HASH).unwrap_or_default(),
        sandbox: label(labels::SANDBOX),
        image_id: it.image.unwrap_or_default(),
        state: seen,
        address: addresses.find(|it| !it.is_empty()),
        ports: ports(network.ports.unwrap_or_default()),
    })
}

fn ports(all: bollard::models::PortMap) -> Vec<BoundPort> {
    let mut ports: Vec<BoundPort> = Vec::new();
    for (key, bound) in all {
        let Some((port, protocol)) = key.split_once('/') else { continue };
        let Ok(container_port) = port.parse() else { continue };
        let protocol = if protocol == "udp" { Protocol::UDP } else { Protocol::TCP };
        for host_port in bound.into_iter().flatten().filter_map(|it| it.host_port?.parse().ok()) {
            let port = BoundPort { name: None, container_port, host_port, protocol };
            // It is bound for IPv4 and for IPv6.
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    ports.sort_by_key(|it| (it.container_port, it.protocol, it.host_port));
    ports
}
