//! A real Kubernetes: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and, where it is asked for, a kubelet over
//! a Docker Engine, as `scripts/build-kubernetes.sh` builds them once. All listen on loopback, keep their files under a temporary folder and
//! end with the value.

use crate::{
    docker::{BUSYBOX, Docker},
    port::free_address,
    process::{Process, Signal, run},
    user::RunAs,
    wait::wait_for,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// The release that is built.
const VERSION: &str = "1.20.2";
/// How long a part may take to start while other tests have the processors.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long a part may take to end.
const END_DEADLINE: Duration = Duration::from_secs(20);
/// What holds the network of a pod.
const PAUSE: &str = "quarterdeck.local/pause:1";
/// Who the plane is there; it may all.
const TOKEN: &str = "a-token-of-the-tests";

/// Where Kubernetes is, if it is built.
#[must_use]
pub fn built() -> Option<PathBuf> {
    let cache = || {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
        Some(cache.join("quarterdeck").join(format!("kubernetes-{VERSION}")))
    };
    let folder = std::env::var_os("QUARTERDECK_KUBERNETES").map(PathBuf::from).or_else(cache)?;
    folder.join("kubelet").is_file().then_some(folder)
}

/// Says that a test is skipped since there is no Kubernetes to run it against.
#[expect(clippy::print_stderr, reason = "whoever runs the tests must see that one was not run")]
pub fn skipped(test: &str) {
    let why = "Kubernetes is not built; make test-kubernetes builds it and runs this test";
    eprintln!("SKIPPED {test}: {why}");
}

/// A Kubernetes cluster.
#[derive(Debug)]
pub struct Kubernetes {
    // Ended in this order.
    kubelet: Option<Process>,
    parts: Vec<Process>,
    apiserver: Process,
    apiserver_command: Command,
    #[expect(dead_code, reason = "it is there as long as the others")]
    etcd: Process,
    docker: Option<Docker>,
    address: SocketAddr,
    folder: TempDir,
}

impl Kubernetes {
    /// Starts one without nodes: what is not run there is not needed there.
    ///
    /// # Panics
    /// When it is not built, or a part does not start.
    pub async fn start() -> Self {
        let bin = built().expect("Kubernetes is built: make test-kubernetes");
        let folder = tempfile::Builder::new()
            .prefix("quarterdeck-kubernetes-")
            .tempdir()
            .expect("a temporary folder for a cluster");
        let at = folder.path();
        crate::certificate::create_certificate(at).await;
        let mut key = Command::new("openssl");
        key.args(["genrsa", "-out", "accounts.key", "2048"]).current_dir(at);
        run(&key, "").await.unwrap_or_else(|error| panic!("{error}"));
        write(at, "tokens.csv", &format!("{TOKEN},plane,plane,system:masters\n"));
        let etcd = etcd(at).await;
        let address = free_address();
        write(at, "kubeconfig", &kubeconfig(at, address).to_string());
        let apiserver_command = apiserver(&bin, at, address, &etcd.1);
        let apiserver = Process::start(
            "kube-apiserver",
            &apiserver_command,
            RunAs::Caller,
            &at.join("apiserver.log"),
        );
        let mut cluster = Self {
            kubelet: None,
            parts: Vec::new(),
            apiserver,
            apiserver_command,
            etcd: etcd.0,
            docker: None,
            address,
            folder,
        };
        cluster.wait_until_up().await;
        cluster.start_controllers(&bin);
        cluster
    }

    /// The same with a node, whose kubelet runs containers in a Docker Engine of its own.
    ///
    /// # Panics
    /// When a part does not start, or the node does not come to be ready.
    pub async fn start_with_node(name: &str) -> Self {
        let mut cluster = Self::start().await;
        let docker = Docker::start_for_kubelet().await;
        let sleeps = r#"ENTRYPOINT ["/bin/sleep", "2147483647"]"#;
        docker.client(&["create", "--name", "pause", BUSYBOX, "true"]).await;
        docker.client(&["commit", "--change", sleeps, "pause", PAUSE]).await;
        let bin = built().expect("it is started from there");
        let command = kubelet(&bin, cluster.folder.path(), &docker, name);
        let log = cluster.folder.path().join("kubelet.log");
        cluster.kubelet = Some(Process::start("kubelet", &command, RunAs::Caller, &log));
        cluster.docker = Some(docker);
        let what = format!("node {name} to be ready");
        wait_for(START_DEADLINE, &what, async || {
            let node = cluster.get(&format!("/api/v1/nodes/{name}")).await?;
            let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
            let ready =
                conditions.into_iter().flatten().find(|it| it.get("type") == Some(&json!("Ready")));
            match ready {
                Some(ready) if ready.get("status") == Some(&json!("True")) => Ok(()),
                other => Err(format!("{other:?}; {}", tail(&cluster.kubelet))),
            }
        })
        .await;
        cluster
    }

    /// A kubeconfig of somebody who may do all there.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        kubeconfig(self.folder.path(), self.address).to_string()
    }

    /// The same as the value of a Secret's key.
    #[must_use]
    pub fn kubeconfig_base64(&self) -> String {
        base64(self.kubeconfig().as_bytes())
    }

    /// What the API answers to a GET.
    ///
    /// # Errors
    /// What it says when it is no success.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        self.ask("GET", path, None, "application/json").await
    }

    /// What the API answers to a request.
    ///
    /// # Errors
    /// What it says when it is no success.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        content: &str,
    ) -> Result<Value, String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "30", "--request", method]);
        command.arg("--cacert").arg(self.folder.path().join("authority.pem"));
        command.arg("--header").arg(format!("Authorization: Bearer {TOKEN}"));
        command.arg("--header").arg(format!("Content-Type: {content}"));
        if body.is_some() {
            command.args(["--data-binary", "@-"]);
        }
        command.arg(format!("https://{}{path}", self.address));
        let body = body.map(Value::to_string).unwrap_or_default();
        let output = run(&command, &body).await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&output.stdout)
            .map_err(|error| format!("{error}: {}", output.stdout))?;
        match answer.get("status").and_then(Value::as_str) {
            Some("Failure") => Err(output.stdout),
            _ => Ok(answer),
        }
    }

    /// Ends the API; what runs goes on.
    pub async fn cut_off(&mut self) {
        self.apiserver.end(Signal::KILL, END_DEADLINE).await;
    }

    /// Starts the API again, at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn come_back(&mut self) {
        let log = self.folder.path().join("apiserver.log");
        self.apiserver =
            Process::start("kube-apiserver", &self.apiserver_command, RunAs::Caller, &log);
        self.wait_until_up().await;
    }

    async fn wait_until_up(&mut self) {
        let (authority, address) = (self.folder.path().join("authority.pem"), self.address);
        self.apiserver
            .wait_until_ready(START_DEADLINE, "it is ready", async |_| {
                let mut command = Command::new("curl");
                command.args(["--silent", "--fail", "--max-time", "5", "--cacert"]).arg(&authority);
                command.arg("--header").arg(format!("Authorization: Bearer {TOKEN}"));
                command.arg(format!("https://{address}/readyz"));
                run(&command, "").await
            })
            .await;
    }

    fn start_controllers(&mut self, bin: &Path) {
        let at = self.folder.path();
        let config = at.join("kubeconfig");
        let common = |name: &str| {
            let mut command = Command::new(bin.join(name));
            command.arg("--kubeconfig").arg(&config);
            command.args(["--leader-elect=false", "--port=0", "--bind-address=127.0.0.1"]);
            command.arg(format!("--secure-port={}", free_address().port()));
            command.arg("--cert-dir").arg(at.join(name));
            command
        };
        let mut controllers = common("kube-controller-manager");
        controllers.arg("--service-account-private-key-file").arg(at.join("accounts.key"));
        controllers.args([
            "--use-service-account-credentials=false",
            "--controllers=*,-ttl,-bootstrapsigner,-tokencleaner",
        ]);
        for (name, command) in
            [("kube-controller-manager", controllers), ("kube-scheduler", common("kube-scheduler"))]
        {
            let log = at.join(format!("{name}.log"));
            self.parts.push(Process::start(name, &command, RunAs::Caller, &log));
        }
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        // The kubelet first: it would start again what the engine stops.
        drop(self.kubelet.take());
    }
}

fn tail(process: &Option<Process>) -> String {
    let log = process.as_ref().map(Process::output).unwrap_or_default();
    let from = log.len().saturating_sub(2_000);
    log.get(from..).unwrap_or_default().to_owned()
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text)
        .unwrap_or_else(|error| panic!("cannot write {name} of a cluster: {error}"));
}

fn kubeconfig(folder: &Path, address: SocketAddr) -> Value {
    // Written out, so that it holds in the plane, which reads no files for it.
    let authority = std::fs::read(folder.join("authority.pem")).expect("it was made just now");
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {
            "server": format!("https://{address}"), "certificate-authority-data": base64(&authority)}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
    })
}

/// RFC 4648, section 4.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            let letter = LETTERS.get(letter).filter(|_| place <= three.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

async fn etcd(folder: &Path) -> (Process, String) {
    let (clients, peers) = (free_address(), free_address());
    let url = format!("http://{clients}");
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(folder.join("etcd"));
    // Nothing of a test is to outlive a power failure.
    command.arg("--unsafe-no-fsync");
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    let peers = format!("http://{peers}");
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("default={peers}")]);
    let mut process = Process::start("etcd", &command, RunAs::Caller, &folder.join("etcd.log"));
    process.wait_for_port(clients, START_DEADLINE).await;
    (process, url)
}

fn apiserver(bin: &Path, folder: &Path, address: SocketAddr, etcd: &str) -> Command {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(bin.join("kube-apiserver"));
    command.arg(format!("--etcd-servers={etcd}"));
    command.arg(format!("--bind-address={}", address.ip()));
    command.arg(format!("--advertise-address={}", address.ip()));
    command.arg(format!("--secure-port={}", address.port()));
    command.arg(format!("--tls-cert-file={}", file("service.pem")));
    command.arg(format!("--tls-private-key-file={}", file("service.key")));
    command.arg(format!("--token-auth-file={}", file("tokens.csv")));
    command.arg(format!("--service-account-key-file={}", file("accounts.key")));
    command.arg(format!("--service-account-signing-key-file={}", file("accounts.key")));
    command.args([
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--endpoint-reconciler-type=none",
        "--disable-admission-plugins=ServiceAccount",
        "--insecure-port=0",
    ]);
    command
}

fn kubelet(bin: &Path, folder: &Path, docker: &Docker, name: &str) -> Command {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": "127.0.0.1", "port": free_address().port(), "readOnlyPort": 0, "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false, "enforceNodeAllocatable": [],
        "failSwapOn": false, "makeIPTablesUtilChains": false, "hairpinMode": "none",
        "resolvConf": "",
        "evictionHard": {"imagefs.available": "0%", "memory.available": "1Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "nodeStatusUpdateFrequency": "2s", "syncFrequency": "1s",
        "featureGates": {"LocalStorageCapacityIsolation": false},
    });
    write(folder, "kubelet.json", &config.to_string());
    // It mounts its folder onto itself, and its pods' files: that goes with it in a mount namespace of its own.
    let mut command = Command::new("unshare");
    command.arg("--mount").arg(bin.join("kubelet"));
    command.arg(format!("--config={}", folder.join("kubelet.json").display()));
    command.arg(format!("--kubeconfig={}", folder.join("kubeconfig").display()));
    command.arg(format!("--root-dir={}", folder.join("kubelet").display()));
    command.arg(format!("--cert-dir={}", folder.join("kubelet-pki").display()));
    command.arg(format!("--docker-endpoint=unix://{}", docker.socket().display()));
    command.arg(format!("--pod-infra-container-image={PAUSE}"));
    command.arg(format!("--hostname-override={name}"));
    command.args(["--register-node=true", "--network-plugin="]);
    command
}
