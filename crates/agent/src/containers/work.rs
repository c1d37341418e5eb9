//! Performs one act. Each can be cut off at any point and done again: what it led to is seen at the next look.

use super::{
    Host,
    assignment::Assignment,
    body::{self, Attempt, Volumes},
    credentials,
    decide::{Act, needs_sandbox},
    engine::Image,
    error::ContainersError,
    files, pause,
    seen::SANDBOX,
};
use bollard::models::CreateImageInfo;
use jiff::Timestamp;
use quarterdeck_model::kinds::container::{Container, ImagePullPolicy, ImageReference, PodSpec};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What a container has, at least, between the end of its preStop and being killed, as Kubernetes gives it.
const GRACE_MIN: Duration = Duration::from_secs(2);
/// What is told of a preStop that failed.
const SAID_BYTES_MAX: usize = 256;

/// What came of an act.
pub(super) enum Outcome {
    Prepared(Volumes),
    /// The image of a container, by its identity.
    Pulled(String, String),
    Created(String),
    Started(String),
    Stopped,
    Removed,
    Finished,
}

/// What failed: about which container, one word, and why.
pub(super) struct Failed {
    pub(super) name: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// How far it is, for people.
pub(super) type Progress = Arc<Mutex<Option<(String, String)>>>;

/// One instance that is acted on.
pub(super) struct Work {
    pub(super) host: Arc<Host>,
    /// Without it nobody knows what it was to be: it can only end.
    pub(super) assignment: Option<Arc<Assignment>>,
    pub(super) uid: String,
    pub(super) volumes: Arc<Volumes>,
    pub(super) images: BTreeMap<String, String>,
    pub(super) progress: Progress,
}

impl Work {
    fn pod(&self) -> Option<(&Assignment, &PodSpec)> {
        let assignment = self.assignment.as_deref()?;
        Some((assignment, assignment.spec.template.as_ref()?))
    }

    fn wanted(&self, name: &str) -> Option<(&Assignment, &PodSpec, &Container)> {
        let (assignment, pod) = self.pod()?;
        Some((assignment, pod, pod.containers.iter().find(|it| it.name == name)?))
    }

    /// Does it.
    pub(super) async fn perform(self, act: Act) -> Result<Outcome, Failed> {
        let (name, reason) = match &act {
            Act::Prepare | Act::Finish => (SANDBOX, "CreateContainerConfigError"),
            Act::Pull { name, .. } => (name.as_str(), "ErrImagePull"),
            Act::Create { name, .. } => (name.as_str(), "CreateContainerError"),
            Act::Start { name, .. } => (name.as_str(), "RunContainerError"),
            Act::Stop { .. } | Act::Remove { .. } => (SANDBOX, "KillContainerError"),
        };
        let name = name.to_owned();
        self.act(act).await.map_err(|error| {
            let reason = match &error {
                ContainersError::Config(_) if reason == "CreateContainerError" => {
                    "CreateContainerConfigError"
                }
                ContainersError::Config(_) if reason == "ErrImagePull" => "ErrImageNeverPull",
                ContainersError::EngineAway { .. } => "ContainerEngineAway",
                ContainersError::Refused(why) if is_conflict(why) => "HostPortConflict",
                _ => reason,
            };
            let message = match reason {
                "HostPortConflict" => {
                    format!("a port of the host is taken by another container or program: {error}")
                }
                _ => error.to_string(),
            };
            Failed { name, reason, message }
        })
    }

    async fn act(self, act: Act) -> Result<Outcome, ContainersError> {
        let Host { engine, settings, .. } = &*self.host;
        match act {
            Act::Prepare => {
                let Some((assignment, pod)) = self.pod() else { return Err(lost()) };
                Ok(Outcome::Prepared(files::prepare(settings, assignment, pod)?))
            }
            Act::Pull { name, again } => {
                let id = self.pull(&name, again).await?;
                Ok(Outcome::Pulled(name, id))
            }
            Act::Create { name, attempt, streak, sandbox } => {
                let attempt = Attempt { number: attempt, streak, sandbox: sandbox.as_deref() };
                self.create(&name, attempt).await?;
                Ok(Outcome::Created(name))
            }
            Act::Start { name, id } => engine.start(&id).await.map(|()| Outcome::Started(name)),
            Act::Stop { containers, deadline } => {
                let stops = containers.iter().map(|(name, id)| self.stop(name, id, deadline));
                let stopped = futures_util::future::join_all(stops).await;
                stopped.into_iter().collect::<Result<(), _>>().map(|()| Outcome::Stopped)
            }
            Act::Remove { id } => engine.remove(&id).await.map(|()| Outcome::Removed),
            Act::Finish => files::finish(settings, &self.uid).map(|()| Outcome::Finished),
        }
    }

    async fn create(&self, name: &str, attempt: Attempt<'_>) -> Result<(), ContainersError> {
        let Host { engine, settings, .. } = &*self.host;
        if name == SANDBOX {
            let Some((assignment, pod)) = self.pod() else { return Err(lost()) };
            let image = format!("{}:{}", pause::IMAGE, pause::TAG);
            if engine.image(&image).await?.is_none() {
                let archive = pause::archive().ok_or_else(|| {
                    let arch = std::env::consts::ARCH;
                    ContainersError::Config(format!(
                        "on {arch} an instance can have one container only, unless it has the host's network"
                    ))
                })?;
                engine.import((pause::IMAGE, pause::TAG, pause::PATH), archive).await?;
            }
            debug_assert!(needs_sandbox(pod), "it is made for those that share it");
            let body = body::sandbox(assignment, pod, settings, &image);
            // Another one may have been there before: it has a name of its own.
            let made = Timestamp::now().as_millisecond();
            return engine
                .create(&format!("{}_{made}", body::name(assignment, name, 0)), body)
                .await;
        }
        let Some((assignment, pod, wanted)) = self.wanted(name) else { return Err(lost()) };
        let Some(image) = self.images.get(name) else { return Err(lost()) };
        let env = files::environment(wanted, &assignment.secrets)?;
        let made = (settings, image.as_str());
        let body = body::container(assignment, pod, wanted, attempt, made, (env, &self.volumes));
        engine.create(&body::name(assignment, name, attempt.number), body).await
    }

    /// Identity of the image of a container, once it is there.
    async fn pull(&self, name: &str, again: bool) -> Result<String, ContainersError> {
        let Host { engine, .. } = &*self.host;
        let Some((assignment, pod, wanted)) = self.wanted(name) else { return Err(lost()) };
        let image = ImageReference::parse(&wanted.image);
        let image = image.map_err(|why| ContainersError::Refused(why.to_owned()))?;
        // A tag beside a digest says nothing.
        let local = match &image.digest {
            Some(digest) => {
                let name = wanted.image.split('@').next().unwrap_or_default();
                let tagged = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
                format!("{}@{digest}", tagged.map_or(name, |(name, _)| name))
            }
            None => wanted.image.clone(),
        };
        let policy = wanted.image_pull_policy.unwrap_or(ImagePullPolicy::IfNotPresent);
        let here = engine.image(&local).await?;
        match (policy, &here) {
            (ImagePullPolicy::Never | ImagePullPolicy::IfNotPresent, Some(image)) => {
                self.host.images.used(&image.id);
                return Ok(image.id.clone());
            }
            (ImagePullPolicy::Never, None) => {
                return Err(ContainersError::Config(format!(
                    "image {} is not on this host, and is never to be pulled; bring it here, or change imagePullPolicy",
                    wanted.image
                )));
            }
            _ => {}
        }
        let pulled =
            self.pull_with(&image, credentials::of(&image, pod, &assignment.secrets), name);
        if let Err(error) = pulled.await {
            // What died is started again though the registry is away.
            if let (true, Some(image)) = (again, here) {
                tracing::warn!(image = wanted.image, %error, "cannot be pulled; what is on the host is taken");
                return Ok(image.id);
            }
            return Err(ContainersError::Refused(format!("cannot pull {}: {error}", wanted.image)));
        }
        let found = match engine.image(&local).await? {
            Some(found) => Some(found),
            // Podman knows it by its full name only.
            None => {
                engine
                    .image(&format!("{}/{}:{}", image.registry, image.repository, image.tag))
                    .await?
            }
        };
        let Some(Image { id, bytes, .. }) = found else {
            return Err(ContainersError::Refused(format!(
                "{} was pulled, and is not there",
                wanted.image
            )));
        };
        if here.is_none_or(|before| before.id != id) {
            self.host.images.pulled(&id, &wanted.image, bytes);
        }
        self.host.images.used(&id);
        Ok(id)
    }

    async fn pull_with(
        &self,
        image: &ImageReference,
        credentials: Vec<bollard::auth::DockerCredentials>,
        name: &str,
    ) -> Result<(), ContainersError> {
        let Host { engine, settings, pulls, .. } = &*self.host;
        let tell = |text: String| {
            *self.progress.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((name.to_owned(), text));
        };
        let shown = format!("{}/{}", image.registry, image.repository);
        tell(format!("waits for other pulls, to pull {shown}"));
        // It is closed never.
        let _turn = pulls.acquire().await;
        let tries: Vec<_> = match credentials.is_empty() {
            true => vec![None],
            false => credentials.into_iter().map(Some).collect(),
        };
        let mut last = None;
        for credentials in tries {
            let mut layers = BTreeMap::new();
            tell(format!("pulls {shown}"));
            let told = |info: CreateImageInfo| {
                if let Some(text) = layer(&mut layers, info) {
                    tell(format!("pulls {shown}: {text}"));
                }
            };
            match engine.pull(image, credentials, settings.timings.pull_stall, told).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        last.map_or(Ok(()), Err)
    }

    async fn stop(&self, name: &str, id: &str, deadline: Timestamp) -> Result<(), ContainersError> {
        let engine = &self.host.engine;
        let left =
            || Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default();
        let handler = self.wanted(name).and_then(|(_, _, wanted)| wanted.lifecycle.as_ref());
        let mut least = Duration::ZERO;
        if let Some(stop) = handler.and_then(|it| it.pre_stop.as_ref())
            && !left().is_zero()
        {
            least = GRACE_MIN;
            let run = engine.run(id, &stop.exec.command, SAID_BYTES_MAX);
            match tokio::time::timeout(left(), run).await {
                Ok(Ok((0, _))) => {}
                Ok(Ok((code, said))) => {
                    tracing::warn!(
                        instance = self.uid,
                        container = name,
                        code,
                        said,
                        "preStop failed"
                    );
                }
                Ok(Err(error)) => {
                    tracing::warn!(instance = self.uid, container = name, %error, "preStop failed");
                }
                Err(_) => {
                    tracing::warn!(instance = self.uid, container = name, "preStop took too long")
                }
            }
        }
        engine.stop(id, left().max(least)).await
    }
}

fn lost() -> ContainersError {
    ContainersError::Refused(
        "what it was to be is not known any more; it is looked at again".into(),
    )
}

/// What Docker, Podman and the kernel say of a port that is taken.
fn is_conflict(why: &str) -> bool {
    ["port is already allocated", "address already in use", "failed to bind port"]
        .iter()
        .any(|text| why.to_ascii_lowercase().contains(text))
}

/// How far all layers together are.
fn layer(layers: &mut BTreeMap<String, (u64, u64)>, info: CreateImageInfo) -> Option<String> {
    let progress = info.progress_detail?;
    let (current, total) = (progress.current?, progress.total?);
    let (current, total) = (u64::try_from(current).ok()?, u64::try_from(total).ok()?);
    // Unpacking counts anew; only what is downloaded is told.
    if info.status.as_deref() != Some("Downloading") {
        return None;
    }
    layers.insert(info.id?, (current, total));
    let (current, total) = layers.values().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    Some(format!("{} of {} MB", current / 1_000_000, total.div_ceil(1_000_000)))
}
