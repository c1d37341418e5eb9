//! `quarterdeck machine join-token` and `user-data`: what a host needs so that its agent joins. Neither is kept anywhere here.

use crate::{Error, Outcome, plane::Plane, verbs::Common};
use quarterdeck_model::{Duration, Kind as _, kinds::Machine};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// Longest certificate file.
const AUTHORITY_BYTES_MAX: u64 = 64 << 10;

/// For which machine, and for how long.
#[derive(Debug, clap::Args)]
pub struct TokenArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// How long the token is good, such as 15m [default: 1h]
    #[arg(long = "for", value_name = "DURATION")]
    good_for: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

/// For which machine, and from where it gets the agent.
#[derive(Debug, clap::Args)]
pub struct UserDataArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Where the plane is, as the machine reaches it
    #[arg(long, value_name = "https://HOST:PORT")]
    server: String,
    /// Certificate of the plane's authority
    #[arg(long, value_name = "FILE")]
    ca_file: PathBuf,
    /// Where the machine fetches this program; it is there already, at /usr/local/bin/quarterdeck, when not set
    #[arg(long, value_name = "URL", requires = "binary_sha256")]
    binary_url: Option<String>,
    /// SHA-256 of it, in hexadecimal
    #[arg(long, value_name = "SHA256", requires = "binary_url")]
    binary_sha256: Option<String>,
    /// How long its token is good, such as 15m [default: 1h]
    #[arg(long = "for", value_name = "DURATION")]
    good_for: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

async fn made(
    plane: &Plane,
    name: &str,
    good_for: Option<&Duration>,
) -> Result<(String, Value), Error> {
    let seconds = good_for.map(|it| it.as_std().as_secs());
    let body = json!({
        "apiVersion": Machine::info().api_version(),
        "kind": "JoinTokenRequest",
        "spec": {"expirationSeconds": seconds},
    });
    let answer = plane.ask(Machine::info(), (&plane.namespace, name, "jointoken"), &body).await?;
    let token = answer.pointer("/status/token").and_then(Value::as_str).map(str::to_owned);
    let token =
        token.ok_or_else(|| Error::Connection("the plane answered without a token".into()))?;
    Ok((token, answer))
}

pub(super) async fn token(arguments: &TokenArguments) -> Result<Outcome, Error> {
    let TokenArguments { name, good_for, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let (token, answer) = made(&plane, name, good_for.as_ref()).await?;
    common.output.print(|| format!("{token}\n"), || answer.clone())?;
    Ok(Outcome::Done)
}

pub(super) async fn user_data(arguments: &UserDataArguments) -> Result<Outcome, Error> {
    let UserDataArguments { name, server, ca_file, good_for, common, .. } = arguments;
    let shown = ca_file.display();
    let large = fs::metadata(ca_file).is_ok_and(|file| file.len() > AUTHORITY_BYTES_MAX);
    let authority = fs::read_to_string(ca_file);
    let authority =
        authority.map_err(|error| Error::Usage(format!("cannot read {shown}: {error}")))?;
    if large || !authority.contains("BEGIN CERTIFICATE") || authority.contains("PRIVATE KEY") {
        return Err(Error::Usage(format!(
            "{shown} holds no certificate in PEM, or more than that; give pki/ca.crt of the plane's data folder"
        )));
    }
    let fetch = arguments.binary_url.as_deref().zip(arguments.binary_sha256.as_deref());
    if let Some((url, hash)) = fetch {
        let plain = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"\\`$".contains(&byte))
        };
        if !url.starts_with("https://") || !plain(url) {
            return Err(Error::Usage(format!(
                "--binary-url is {url:?}; it must be a plain https:// URL"
            )));
        }
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::Usage("--binary-sha256 must be 64 hexadecimal digits".into()));
        }
    }
    let plane = Plane::open(&common.connection).await?;
    let (token, _) = made(&plane, name, good_for.as_ref()).await?;
    let user_data = crate::view::user_data::user_data(&token, server, &authority, fetch);
    common.output.print(|| user_data.clone(), || json!({"userData": user_data}))?;
    Ok(Outcome::Done)
}
