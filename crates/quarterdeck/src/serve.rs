//! Running a plane: opens the store, starts every part, and stops them in order. `quarterdeck serve` does it
//! with the real providers; who else does brings providers and objects of its own.

use crate::{
    acts,
    command::{self, Error},
    manifests,
    settings::Settings,
};
use quarterdeck_api::{
    Agents, Api, ApiError, Audit, AuditError, Authentication, Installed, Issuer, Rules,
    SigningKeys, pki,
};
use quarterdeck_engine::{Actions, Engine, Impacts, SYSTEM_NAMESPACE};
use quarterdeck_model::{Kind as _, Time, kinds::Secret};
use quarterdeck_providers::{Providers, http::Reach};
use quarterdeck_store::{Backend, FolderLock, Postgres, Sealed, Sqlite, Store};
use serde_json::{Value, json};
use std::{
    fs, net::SocketAddr, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc, time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{info, warn};

/// Procedures that come with the binary, each after those it calls.
const RUNBOOKS: [(&str, &str); 20] = [
    ("inspect-server.yaml", include_str!("../../../runbooks/inspect-server.yaml")),
    ("power-on-server.yaml", include_str!("../../../runbooks/power-on-server.yaml")),
    ("power-off-server.yaml", include_str!("../../../runbooks/power-off-server.yaml")),
    ("power-cycle-server.yaml", include_str!("../../../runbooks/power-cycle-server.yaml")),
    ("network-boot-server.yaml", include_str!("../../../runbooks/network-boot-server.yaml")),
    ("quarantine-server.yaml", include_str!("../../../runbooks/quarantine-server.yaml")),
    ("detach-server.yaml", include_str!("../../../runbooks/detach-server.yaml")),
    ("return-server.yaml", include_str!("../../../runbooks/return-server.yaml")),
    ("provision-server.yaml", include_str!("../../../runbooks/provision-server.yaml")),
    ("reinstall-server.yaml", include_str!("../../../runbooks/reinstall-server.yaml")),
    ("clean-server.yaml", include_str!("../../../runbooks/clean-server.yaml")),
    ("repair-server.yaml", include_str!("../../../runbooks/repair-server.yaml")),
    ("retire-server.yaml", include_str!("../../../runbooks/retire-server.yaml")),
    ("rotate-bmc-credentials.yaml", include_str!("../../../runbooks/rotate-bmc-credentials.yaml")),
    ("move-server.yaml", include_str!("../../../runbooks/move-server.yaml")),
    ("scan-bmcs.yaml", include_str!("../../../runbooks/scan-bmcs.yaml")),
    ("update-firmware.yaml", include_str!("../../../runbooks/update-firmware.yaml")),
    ("drain-machine.yaml", include_str!("../../../runbooks/drain-machine.yaml")),
    ("reboot-machine.yaml", include_str!("../../../runbooks/reboot-machine.yaml")),
    ("patch-machine.yaml", include_str!("../../../runbooks/patch-machine.yaml")),
];

/// How long the audit log may take for what is left when the plane stops.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What is said once the plane is ready, after where it is.
#[derive(Default)]
pub(crate) struct Hints {
    /// Sentences, each with its line's end.
    pub(crate) about: String,
    /// What to try.
    pub(crate) commands: Vec<String>,
}

/// Runs the plane with the real providers until it is asked to stop.
pub(crate) async fn serve(settings: Settings) -> Result<(), Error> {
    let load = settings.load.clone();
    let mut hints = Hints::default();
    if load.is_some() {
        hints.commands = vec!["kubectl get fleet".into(), "kubectl describe server".into()];
    }
    let bring = async |api: Arc<Api>, _: Arc<Store>| match &load {
        Some(folder) => load_folder(&api, folder).await,
        None => Ok(()),
    };
    run(settings, Providers::new(Reach::default()), bring, hints).await
}

/// Runs a plane that acts through `providers`, and begins with what `bring` writes besides what every plane
/// begins with.
pub(crate) async fn run(
    settings: Settings,
    providers: Providers,
    bring: impl AsyncFnOnce(Arc<Api>, Arc<Store>) -> Result<(), Error>,
    hints: Hints,
) -> Result<(), Error> {
    let signals = Signals::new()?;
    let folder = &settings.data_dir;
    make_folder(folder)?;
    let (backend, _owned) = open(&settings).await?;
    let keys = settings.key_file();
    keys.make(&jiff::Timestamp::now().to_string())?;
    let backend = Arc::new(Sealed::new(backend, keys, vec![Secret::info().resource_name()])?);
    let store = Arc::new(Store::open(backend.clone()).await?);
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|cause| Error::Listen { address: settings.listen, cause })?;
    let address = listener.local_addr().map_err(Error::System)?;

    let (stop, stopping) = watch::channel(false);
    let actions = Arc::new(Actions::new(providers.catalog().clone()));
    let mut rules = Rules::default();
    for (kind, rule) in quarterdeck_engine::rules(&actions) {
        rules.add(kind, rule);
    }
    for (kind, rule) in quarterdeck_engine::deletion_rules() {
        rules.add_deletion(kind, rule);
    }
    for (kind, preview) in quarterdeck_engine::previews() {
        rules.add_preview(kind, preview);
    }
    let mut engine =
        Engine::new(store.clone(), actions, stopping.clone()).silent_after(settings.agent_silence);
    let authority = Arc::new(pki::Authority::open(&folder.join("pki"))?);
    let issuers = issuers(&settings)?;
    let authentication = authentication(&settings, issuers.clone())?;
    let impacts = Impacts::new(store.clone());
    let answer = move |spec: &_| impacts.report(spec, Time::new(jiff::Timestamp::now()));
    let audit = audit(&settings)?;
    let reached = settings.advertise.unwrap_or(address).to_string();
    let reached = (reached, settings.agent_silence);
    let agents =
        Agents::new(store.clone(), authority.clone(), audit.clone(), reached, stopping.clone());
    let mut api = Api::new(store.clone(), rules, stopping)
        .with_authentication(authentication)
        .with_agents(agents.clone())
        .with_impacts(Arc::new(answer));
    let mut telling = None;
    if let Some(audit) = &audit {
        let (told, acts) = mpsc::channel(acts::WAITING_MAX);
        (engine, api) = (engine.telling(told), api.with_audit(audit.clone()));
        telling = Some(tokio::spawn(acts::log(acts, audit.clone())));
    }
    let api = Arc::new(api);
    let engine = engine.judged_by({
        let api = api.clone();
        move |world, controller, kind, object| api.judge(world, controller, kind, object)
    });
    install(&api).await?;
    bring(api.clone(), store.clone()).await?;

    let names: Vec<String> = settings
        .names
        .iter()
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().into())
        .collect();
    let tls = pki::tls(&authority, &authority.server(address, &names)?)?;
    let kubeconfig = folder.join("kubeconfig");
    pki::write_private(&kubeconfig, &pki::kubeconfig(&authority, &authority.admin()?, address))?;

    let sealing = tokio::spawn(backend.keep_resealed(store.clone()));
    // They end with the process: what they fetch is kept nowhere.
    issuers.into_iter().for_each(|issuer| drop(tokio::spawn(issuer.keep())));
    let acting = tokio::spawn(engine.run());
    let keeping = tokio::spawn(agents.keep());
    let serving = tokio::spawn(api.serve(listener, tls));
    announce(address, &kubeconfig, &hints)?;
    info!(%address, revision = %store.world().revision(), "ready");
    signals.wait().await;
    info!("stopping");
    stop.send_replace(true);
    // No step begins any more; then open requests end, then sessions at BMCs.
    if let Err(error) = acting.await {
        warn!(%error, "the engine did not stop in order");
    }
    if let Err(error) = keeping.await {
        warn!(%error, "the streams of agents did not end in order");
    }
    if let Err(error) = serving.await {
        warn!(%error, "the API did not stop in order");
    }
    // What was written last is in the audit log before the process ends.
    if let (Some(telling), Some(audit)) = (telling, audit) {
        if timeout(LAST_LINES, telling).await.is_err() {
            warn!("the engine's last writes may be missing from the audit log");
        }
        audit.flush().await;
    }
    sealing.abort();
    providers.close().await;
    info!("stopped");
    Ok(())
}

/// Makes a data folder, unless it is there, that nobody else can look into.
pub(crate) fn make_folder(folder: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|cause| Error::File { action: "create", path: folder.into(), cause })
}

/// The issuers of the settings.
fn issuers(settings: &Settings) -> Result<Vec<Arc<Issuer>>, Error> {
    let each = settings.oidc.iter().enumerate().map(|(number, settings)| {
        let wrong = |why| Error::Authentication(format!("oidc[{number}].{why}"));
        Issuer::new(settings.clone()).map(Arc::new).map_err(wrong)
    });
    each.collect()
}

/// How callers show who they are, besides certificates.
fn authentication(
    settings: &Settings,
    issuers: Vec<Arc<Issuer>>,
) -> Result<Arc<Authentication>, Error> {
    let own = &settings.service_account_issuer;
    if !own.starts_with("https://") || own.ends_with('/') {
        return Err(Error::Authentication(format!(
            "service-account-issuer: {own:?} must be a URL that begins with https:// and does not end with /"
        )));
    }
    let keys = SigningKeys::open(&settings.token_key_file())?;
    let made = Authentication::new(keys, own, issuers);
    made.map(Arc::new).map_err(|why| Error::Authentication(format!("oidc: issuer: {why}")))
}

/// Opens the audit log, if there is to be one.
fn audit(settings: &Settings) -> Result<Option<Arc<Audit>>, Error> {
    let Some(file) = settings.audit_file() else {
        warn!("there is no audit log, as the settings ask");
        return Ok(None);
    };
    let wrong = |setting| move |cause: AuditError| Error::Audit { setting, cause };
    let policy = settings.audit_policy().map_err(wrong("audit-policy-file"))?;
    Ok(Some(Arc::new(Audit::open(policy, file).map_err(wrong("audit-log"))?)))
}

/// Where the store is.
pub(crate) enum Place<'s> {
    /// In the data folder.
    Folder,
    /// In the PostgreSQL database of that URL.
    Database(&'s str),
}

/// Where the settings say that the store is.
pub(crate) fn place(settings: &Settings) -> Place<'_> {
    settings.store.as_deref().map_or(Place::Folder, Place::Database)
}

/// Opens the store. The data folder has one owner: SQLite locks it itself, otherwise the lock comes
/// with the answer.
async fn open(settings: &Settings) -> Result<(Arc<dyn Backend>, Option<FolderLock>), Error> {
    match place(settings) {
        Place::Folder => Ok((Arc::new(Sqlite::open(&settings.data_dir)?), None)),
        Place::Database(url) => {
            let owned = FolderLock::take(&settings.data_dir)?;
            Ok((Arc::new(Postgres::open(url).await?), Some(owned)))
        }
    }
}

/// Why a plane does not begin: an object of `file` was refused.
pub(crate) fn refused(file: &str, object: &Value, cause: ApiError) -> Error {
    Error::Refused {
        file: file.into(),
        object: format!(
            "{} {}",
            object.pointer("/kind").and_then(Value::as_str).unwrap_or("object"),
            object.pointer("/metadata/name").unwrap_or(&Value::Null)
        ),
        cause: cause.message,
    }
}

/// Writes what every plane begins with: its namespaces and roles, and the shipped runbooks.
async fn install(api: &Api) -> Result<(), Error> {
    for name in ["default", SYSTEM_NAMESPACE] {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        api.ensure(namespace.clone())
            .await
            .map_err(|cause| refused("the plane itself", &namespace, cause))?;
    }
    api.bootstrap().await.map_err(|cause| refused("the plane itself", &Value::Null, cause))?;
    for (file, text) in RUNBOOKS {
        for object in manifests::parse(file, text)? {
            match api.ship(object.clone()).await {
                Ok(Installed::Kept) => {}
                Ok(done) => info!(file, ?done, "shipped runbook"),
                // As when an operator has changed a runbook that this one calls: no reason not to start.
                Err(cause) => warn!("{}", refused(file, &object, cause)),
            }
        }
    }
    Ok(())
}

/// Writes the objects of a folder that are not there.
pub(crate) async fn load_folder(api: &Api, folder: &Path) -> Result<(), Error> {
    let objects = manifests::folder(folder)?;
    let mut created = 0;
    for (file, object) in &objects {
        let done =
            api.ensure(object.clone()).await.map_err(|cause| refused(file, object, cause))?;
        created += usize::from(done == Installed::Created);
    }
    info!(folder = %folder.display(), created, there = objects.len() - created, "loaded");
    Ok(())
}

/// Says where the plane is, and what to try when it was started with something to look at.
fn announce(address: SocketAddr, kubeconfig: &Path, hints: &Hints) -> Result<(), Error> {
    let kubeconfig = fs::canonicalize(kubeconfig).unwrap_or_else(|_| kubeconfig.into());
    let kubeconfig = kubeconfig.display();
    let mut text =
        format!("Quarterdeck is ready at https://{address} (kubeconfig: {kubeconfig})\n");
    text.push_str(&hints.about);
    if !hints.commands.is_empty() {
        text.push_str(&format!("Try next:\n  export KUBECONFIG={kubeconfig}\n"));
    }
    for command in &hints.commands {
        text.push_str(&format!("  {command}\n"));
    }
    command::print(&text)
}

/// The signals that ask the plane to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::System);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Returns at the first signal; a second one ends the process at once.
    async fn wait(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            warn!("stopping at once, as asked twice");
            std::process::exit(1);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
