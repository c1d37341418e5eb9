//! An OpenID Connect issuer of others' making (oidc-provider-mock, over authlib), to log in at as
//! people do: by the code flow. It speaks HTTPS with a certificate of its own authority. Must never
//! listen beyond loopback.
//!
//! What a test has to know (oidc-provider-mock 0.3):
//! - Its key (RS256) is made at its start and kept nowhere: after a restart it signs with another.
//! - It knows no passwords: whoever asks is who they say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::certificate::create_certificate;
use crate::port::free_address;
use crate::process::{Process, run};
use crate::user::RunAs;

/// How long a start may take: Python loads for about a second, more on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Serves it over TLS; its own command line speaks plain HTTP.
const SERVER: &str = "
import sys, werkzeug.serving, oidc_provider_mock
werkzeug.serving.run_simple(sys.argv[1], int(sys.argv[2]), oidc_provider_mock.app(),
                            threaded=True, ssl_context=('service.pem', 'service.key'))
";

/// An issuer of its own, gone when dropped.
#[derive(Debug)]
pub struct Issuer {
    /// `None` between a kill and a restart.
    process: Option<Process>,
    address: SocketAddr,
    folder: TempDir,
}

impl Issuer {
    /// Starts an issuer that knows nobody.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("quarterdeck-issuer-")
            .tempdir()
            .expect("a temporary folder for the issuer");
        create_certificate(folder.path()).await;
        let mut issuer = Self { process: None, address: free_address(), folder };
        issuer.restart().await;
        issuer
    }

    /// What its tokens say it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The file with the authority that signed its certificate.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Makes somebody known, with what tokens shall say of them.
    ///
    /// # Panics
    /// When the issuer does not answer.
    pub async fn add_user(&self, name: &str, claims: &Value) {
        let header = "Content-Type: application/json";
        self.curl(
            &["--request", "PUT", "--header", header, "--data", &claims.to_string()],
            &format!("users/{name}"),
        )
        .await;
    }

    /// The ID token that somebody gets who logs in for a client.
    ///
    /// # Panics
    /// When the issuer does not answer as it should.
    pub async fn token(&self, name: &str, client: &str) -> String {
        let back = "https://client.example.com/back";
        let ask = format!(
            "oauth2/authorize?response_type=code&scope=openid%20email%20profile&client_id={client}&redirect_uri={back}"
        );
        let login = format!("sub={name}");
        let redirected = ["--data", &login, "--write-out", "%{redirect_url}", "--output", "page"];
        let code = self.curl(&redirected, &ask).await;
        let (_, code) = code.split_once("code=").unwrap_or_else(|| panic!("no code in {code:?}"));
        let code = code.split('&').next().unwrap_or_default();
        let form = format!("grant_type=authorization_code&code={code}&redirect_uri={back}");
        let user = format!("{client}:any");
        let answer = self.curl(&["--data", &form, "--user", &user], "oauth2/token").await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON with tokens");
        let token = answer.get("id_token").and_then(Value::as_str);
        token.unwrap_or_else(|| panic!("no ID token in {answer}")).to_owned()
    }

    /// Kills the issuer: nobody can log in, and its keys cannot be fetched.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Starts it again at the same address with a new key, killing it first if it runs.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.kill9();
        let mut command = Command::new(python());
        command.args(["-c", SERVER, &self.address.ip().to_string()]);
        command.arg(self.address.port().to_string()).current_dir(self.folder.path());
        let log = self.folder.path().join("issuer.log");
        let mut process = Process::start("oidc-provider-mock", &command, RunAs::Caller, &log);
        process.wait_for_port(self.address, START_DEADLINE).await;
        self.process = Some(process);
    }

    async fn curl(&self, arguments: &[&str], path: &str) -> String {
        let mut command = Command::new("curl");
        command.current_dir(self.folder.path());
        command.args(["--silent", "--show-error", "--fail", "--cacert", "authority.pem"]);
        command.args(arguments).arg(format!("{}/{path}", self.url()));
        run(&command, "").await.unwrap_or_else(|error| panic!("{error}")).stdout
    }
}

/// Where `make setup` installs it.
fn python() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = variable("QUARTERDECK_ISSUER").unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_default()
            .join("quarterdeck/issuer")
    });
    let python = folder.join("bin/python3");
    assert!(python.exists(), "no {python:?}: run `make setup`");
    python
}
