//! Asks the probes of running containers, one task for each container. What they say comes back as verdicts.

use super::{
    checks::Row,
    decide::Verdict,
    engine::Engine,
    seen::{Seen, SeenState},
    status,
};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::kinds::container::{
    Container, HttpGetAction, HttpScheme, PodSpec, PortReference, Probe,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{net::TcpStream, sync::mpsc, task::AbortHandle};

/// What a probe's command may say of why it failed, in bytes.
const SAID_BYTES_MAX: usize = 256;

/// Probes of one instance's containers, by identity of the container.
pub(super) struct Probes {
    engine: Arc<Engine>,
    tasks: BTreeMap<String, AbortHandle>,
    verdicts: mpsc::Sender<(String, Verdict)>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

impl Probes {
    /// Probes whose verdicts come out of the receiver.
    pub(super) fn new(engine: Arc<Engine>) -> (Self, mpsc::Receiver<(String, Verdict)>) {
        // Each container has one to say at a time; who is slow to listen slows the asking.
        let (verdicts, received) = mpsc::channel(16);
        (Self { engine, tasks: BTreeMap::new(), verdicts }, received)
    }

    /// Asks those that run, going on from what is known of them; and no others. Without a pod nobody is asked.
    pub(super) fn follow(
        &mut self,
        pod: Option<&PodSpec>,
        seen: &Seen,
        known: &BTreeMap<String, Verdict>,
    ) {
        let mut run = Vec::new();
        for wanted in pod.into_iter().flat_map(|pod| &pod.containers) {
            let Some(newest) = seen.newest(&wanted.name) else { continue };
            let SeenState::Running { since } = newest.state else { continue };
            run.push(newest.id.clone());
            if self.tasks.contains_key(&newest.id) || !is_probed(wanted) {
                continue;
            }
            let shared = newest.sandbox.as_ref();
            let network = shared.and_then(|id| seen.containers.iter().find(|it| it.id == *id));
            let address = network.unwrap_or(newest).address.clone();
            let asked = Asked {
                engine: Arc::clone(&self.engine),
                id: newest.id.clone(),
                // With the network of the host it is where the host is.
                address: address.unwrap_or_else(|| "127.0.0.1".into()),
                since,
                container: wanted.clone(),
                verdicts: self.verdicts.clone(),
            };
            let known = known.get(&newest.id).cloned();
            let known = known.unwrap_or_else(|| status::first(wanted));
            self.tasks.insert(newest.id.clone(), tokio::spawn(asked.ask(known)).abort_handle());
        }
        self.tasks.retain(|id, task| {
            let stays = run.contains(id);
            if !stays {
                task.abort();
            }
            stays
        });
    }
}

fn is_probed(it: &Container) -> bool {
    it.startup_probe.is_some() || it.liveness_probe.is_some() || it.readiness_probe.is_some()
}

/// One container that is asked.
struct Asked {
    engine: Arc<Engine>,
    id: String,
    address: String,
    since: Timestamp,
    container: Container,
    verdicts: mpsc::Sender<(String, Verdict)>,
}

impl Asked {
    /// Ask until it fails for good, or nobody listens.
    async fn ask(self, mut verdict: Verdict) {
        if let Some(probe) = self.container.startup_probe.as_ref().filter(|_| !verdict.started) {
            match self.until(probe, |_| true).await {
                (true, _) => {
                    verdict.started = true;
                    verdict.ready = self.container.readiness_probe.is_none();
                }
                (false, why) => {
                    verdict.failed = Some(format!("its startup probe failed: {why}"));
                    self.tell(&verdict).await;
                    return;
                }
            }
        }
        self.tell(&verdict).await;
        let verdict = tokio::sync::Mutex::new(verdict);
        let live = async {
            let Some(probe) = &self.container.liveness_probe else {
                return std::future::pending().await;
            };
            let (_, why) = self.until(probe, |good| !good).await;
            let mut verdict = verdict.lock().await;
            verdict.failed = Some(format!("its liveness probe failed: {why}"));
            self.tell(&verdict).await;
        };
        let ready = async {
            let Some(probe) = &self.container.readiness_probe else {
                return std::future::pending::<()>().await;
            };
            let mut wanted = !verdict.lock().await.ready;
            loop {
                let (good, why) = self.until(probe, |good| good == wanted).await;
                wanted = !good;
                let mut verdict = verdict.lock().await;
                verdict.ready = good;
                verdict.unready = (!good).then(|| format!("its readiness probe failed: {why}"));
                self.tell(&verdict).await;
            }
        };
        // Once it is to be started again, nothing else matters.
        tokio::select! {
            () = live => {}
            () = ready => {}
        }
    }

    async fn tell(&self, verdict: &Verdict) {
        // Nobody listens any more, when the instance is gone.
        let _ = self.verdicts.send((self.id.clone(), verdict.clone())).await;
    }

    /// Asks until the answers decide something that is waited for, and what was said last.
    async fn until(&self, probe: &Probe, decides: impl Fn(bool) -> bool) -> (bool, String) {
        let delay = SignedDuration::from_secs(probe.initial_delay_seconds.into());
        let begin = self.since.saturating_add(delay).unwrap_or(self.since);
        let left = begin.duration_since(Timestamp::now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
        let mut every = tokio::time::interval(Duration::from_secs(probe.period_seconds.into()));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut row = Row::default();
        loop {
            every.tick().await;
            let allowed = Duration::from_secs(probe.timeout_seconds.into());
            let answer = match tokio::time::timeout(allowed, self.once(probe)).await {
                Ok(answer) => answer,
                Err(_) => Answer::Bad(format!("no answer within {}s", probe.timeout_seconds)),
            };
            let (good, why) = match answer {
                Answer::Good => (true, String::new()),
                Answer::Bad(why) => (false, why),
                // The engine is asked again when it is back: that says nothing about the container.
                Answer::Unknown => continue,
            };
            if let Some(decided) = row.answer(good, probe).filter(|it| decides(*it)) {
                return (decided, why);
            }
        }
    }

    async fn once(&self, probe: &Probe) -> Answer {
        let result = if let Some(http) = &probe.http_get {
            self.http(http).await
        } else if let Some(tcp) = &probe.tcp_socket {
            self.connect(&tcp.port).await.map(drop)
        } else if let Some(exec) = &probe.exec {
            match self.engine.run(&self.id, &exec.command, SAID_BYTES_MAX).await {
                Ok((0, _)) => Ok(()),
                Ok((code, said)) => Err(format!("its command ended with {code}: {}", said.trim())
                    .trim_end_matches(": ")
                    .into()),
                Err(_) => return Answer::Unknown,
            }
        } else {
            // Admission sees to it that there is one.
            return Answer::Unknown;
        };
        match result {
            Ok(()) => Answer::Good,
            Err(why) => Answer::Bad(why),
        }
    }

    async fn connect(&self, port: &PortReference) -> Result<TcpStream, String> {
        let port = match port {
            PortReference::Number(port) => *port,
            PortReference::Name(name) => {
                let mut named = self.container.ports.iter();
                let port = named.find(|it| it.name.as_ref() == Some(name));
                port.ok_or_else(|| format!("it has no port {name}"))?.container_port
            }
        };
        let told = |error| format!("cannot connect to {}:{port}: {error}", self.address);
        TcpStream::connect((self.address.as_str(), port)).await.map_err(told)
    }

    async fn http(&self, asked: &HttpGetAction) -> Result<(), String> {
        let stream = self.connect(&asked.port).await?;
        let mut request = http::Request::get(&asked.path).header("User-Agent", "quarterdeck-probe");
        if !asked.http_headers.iter().any(|it| it.name.eq_ignore_ascii_case("host")) {
            request = request.header("Host", &self.address);
        }
        for header in &asked.http_headers {
            request = request.header(&header.name, &header.value);
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|it| it.to_string())?;
        let status = match asked.scheme {
            HttpScheme::HTTP => answer(TokioIo::new(stream), request).await?,
            HttpScheme::HTTPS => {
                let name = tls::server_name(&self.address)?;
                let stream = tls::connector()?.connect(name, stream).await;
                answer(TokioIo::new(stream.map_err(|it| it.to_string())?), request).await?
            }
        };
        match status.as_u16() {
            200..400 => Ok(()),
            code => Err(format!("GET {} answers {code}", asked.path)),
        }
    }
}

enum Answer {
    Good,
    Bad(String),
    Unknown,
}

async fn answer<S>(
    stream: S,
    request: http::Request<Empty<bytes::Bytes>>,
) -> Result<http::StatusCode, String>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let told = |error: hyper::Error| format!("no answer: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(told)?;
    let answered = async { sender.send_request(request).await.map(|it| it.status()).map_err(told) };
    tokio::select! {
        status = answered => status,
        closed = connection => Err(closed.err().map_or_else(|| "it closes the connection".into(), told)),
    }
}

/// TLS that checks no certificate, as Kubernetes' probes do: it is the container that is asked, not who it says it is.
mod tls {
    use super::{Arc, OnceLock};
    use rustls::{
        ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };
    use tokio_rustls::TlsConnector;

    #[derive(Debug)]
    struct Anyone(Arc<CryptoProvider>);

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    pub(super) fn server_name(address: &str) -> Result<ServerName<'static>, String> {
        ServerName::try_from(address.to_owned()).map_err(|error| error.to_string())
    }

    pub(super) fn connector() -> Result<TlsConnector, String> {
        static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
        if let Some(connector) = CONNECTOR.get() {
            return Ok(connector.clone());
        }
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        Ok(CONNECTOR.get_or_init(|| TlsConnector::from(Arc::new(config))).clone())
    }
}
