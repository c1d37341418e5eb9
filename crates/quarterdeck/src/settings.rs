//! Settings of the plane: what there are, and what each may be. A wrong one is refused in a sentence that
//! says which, where it was given, and what is allowed. Where they come from is [`sources`]'.

mod sources;

use clap::Args;
use quarterdeck_api::{AuditError, LogFile, OidcSettings, Policy};
use quarterdeck_store::KeyFile;
use sources::{Sources, gather, gather_alone};
use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};
use tracing_subscriber::EnvFilter;

/// Every setting: name, default (none when optional) and what it is.
const SETTINGS: [(&str, Option<&str>, &str); 16] = [
    ("data-dir", Some("./data"), "folder of the plane: store, certificates, kubeconfig"),
    ("listen", Some("127.0.0.1:6443"), "address and port; port 0 picks a free one"),
    ("store", None, "postgres://… ; SQLite in the data folder when not set"),
    (
        "encryption-key-file",
        None,
        "keys that encrypt Secrets in the store; secrets.key in the data folder when not set",
    ),
    (
        "audit-log",
        None,
        "file of the audit log, or none; audit/audit.log in the data folder when not set",
    ),
    ("audit-log-max-size", Some("100"), "megabytes of the audit log before it is set aside"),
    ("audit-log-max-files", Some("10"), "how many files of the audit log set aside are kept"),
    (
        "audit-policy-file",
        None,
        "what is logged, as an audit.k8s.io/v1 Policy; all writes when not set",
    ),
    (
        "service-account-key-file",
        None,
        "keys that sign tokens of service accounts; pki/service-accounts.key in the data folder when not set",
    ),
    (
        "service-account-issuer",
        Some("https://kubernetes.default.svc"),
        "who issues tokens of service accounts: a URL, and the audience of this plane",
    ),
    (
        "advertise",
        None,
        "address and port at which other replicas reach this one; that it listens on when not set",
    ),
    (
        "agent-silence",
        Some("40"),
        "seconds of silence of its agent after which a machine is unreachable",
    ),
    ("names", None, "more names and addresses for the server's certificate, with commas"),
    ("load", None, "folder of YAML files whose objects are created at start if absent"),
    (
        "log",
        Some("info"),
        "what is logged: a level, or filters such as info,quarterdeck_engine=debug",
    ),
    ("log-format", Some("text"), "text or json"),
];

/// Flags of `serve` and `config`.
#[derive(Debug, Default, Args)]
pub(crate) struct Flags {
    /// TOML file with settings [default: /etc/quarterdeck/config.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "QUARTERDECK_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of the plane: store, certificates, kubeconfig [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address and port; port 0 picks a free one [default: 127.0.0.1:6443]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// postgres://…; SQLite in the data folder when not set
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Keys that encrypt Secrets in the store [default: secrets.key in the data folder]
    #[arg(long, value_name = "FILE")]
    encryption_key_file: Option<String>,
    /// File of the audit log, or none [default: audit/audit.log in the data folder]
    #[arg(long, value_name = "FILE")]
    audit_log: Option<String>,
    /// Megabytes of the audit log before it is set aside [default: 100]
    #[arg(long, value_name = "MB")]
    audit_log_max_size: Option<String>,
    /// How many files of the audit log set aside are kept [default: 10]
    #[arg(long, value_name = "COUNT")]
    audit_log_max_files: Option<String>,
    /// What is logged, as an audit.k8s.io/v1 Policy [default: all writes]
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<String>,
    /// Keys that sign tokens of service accounts [default: pki/service-accounts.key in the data folder]
    #[arg(long, value_name = "FILE")]
    service_account_key_file: Option<String>,
    /// Who issues tokens of service accounts [default: https://kubernetes.default.svc]
    #[arg(long, value_name = "URL")]
    service_account_issuer: Option<String>,
    /// Address and port at which other replicas reach this one [default: that of --listen]
    #[arg(long, value_name = "ADDR:PORT")]
    advertise: Option<String>,
    /// Seconds of silence of its agent after which a machine is unreachable [default: 40]
    #[arg(long, value_name = "SECONDS")]
    agent_silence: Option<String>,
    /// More names and addresses for the server's certificate, with commas
    #[arg(long, value_name = "NAMES")]
    names: Option<String>,
    /// Folder of YAML files whose objects are created at start if absent
    #[arg(long, value_name = "DIR")]
    load: Option<String>,
    /// What is logged: a level, or filters such as info,quarterdeck_engine=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {}: {cause}", path.display())]
    File { path: PathBuf, cause: std::io::Error },
    #[error("{place} is not TOML: {cause}")]
    Syntax { place: String, cause: String },
    #[error("{place}: {cause}")]
    Oidc { place: String, cause: String },
    #[error("there is no setting {name:?} (from {origin}); there are: {}", names())]
    Unknown { name: String, origin: String },
    #[error("{name} (from {origin}) is a TOML {found}; it must be text in quotes or a number")]
    NoText { name: &'static str, found: &'static str, origin: String },
    #[error("{name} is {value:?} (from {origin}); it must be {allowed}")]
    Wrong { name: &'static str, value: String, origin: String, allowed: String },
    #[error(
        "advertise is not set, and listen is {0}: replicas that share a store ask each other, and nobody is reached at that address; set advertise (--advertise) to the address and port at which other replicas reach this one"
    )]
    NotReached(SocketAddr),
}

/// The effective settings.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) store: Option<String>,
    pub(crate) encryption_key_file: Option<PathBuf>,
    pub(crate) audit_log: Option<PathBuf>,
    pub(crate) audit_log_max_size: NonZeroU32,
    pub(crate) audit_log_max_files: NonZeroU32,
    pub(crate) audit_policy_file: Option<PathBuf>,
    pub(crate) service_account_key_file: Option<PathBuf>,
    pub(crate) service_account_issuer: String,
    /// Issuers of other tokens: `[[oidc]]` in the file, and nowhere else.
    pub(crate) oidc: Vec<OidcSettings>,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) agent_silence: Duration,
    pub(crate) names: Option<String>,
    pub(crate) load: Option<PathBuf>,
    pub(crate) log: EnvFilter,
    pub(crate) log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// Reads each from its text.
    fn of(given: &Sources) -> Result<Self, SettingsError> {
        let file = |name| setting(given, name, "a path", path);
        let optional_file = |name| optional(given, name, "a path", path);
        let number = |name, what| setting(given, name, what, |text| text.parse().ok());
        let listen = "an address and a port, such as 127.0.0.1:6443 or [::]:6443";
        let level = "a level (error, warn, info, debug, trace, off) or filters such as \
                     info,quarterdeck_engine=debug";
        let settings = Self {
            data_dir: file("data-dir")?,
            listen: setting(given, "listen", listen, |text| text.parse().ok())?,
            store: optional(
                given,
                "store",
                "a postgres:// URL, or not set for SQLite in the data folder",
                |text| is_postgres(text).then(|| text.into()),
            )?,
            encryption_key_file: optional_file("encryption-key-file")?,
            audit_log: optional_file("audit-log")?,
            audit_log_max_size: number(
                "audit-log-max-size",
                "a whole number of megabytes, at least 1",
            )?,
            audit_log_max_files: number("audit-log-max-files", "a whole number, at least 1")?,
            audit_policy_file: optional_file("audit-policy-file")?,
            service_account_key_file: optional_file("service-account-key-file")?,
            service_account_issuer: setting(given, "service-account-issuer", "a URL", |text| {
                (!text.is_empty()).then(|| text.into())
            })?,
            oidc: given.oidc.as_ref().map(|oidc| oidc.settings.clone()).unwrap_or_default(),
            advertise: optional(given, "advertise", listen, |text| text.parse().ok())?,
            agent_silence: setting(
                given,
                "agent-silence",
                "a number of seconds from 4 to 3600",
                |text| {
                    let seconds = text.parse().ok().filter(|seconds| (4..=3_600).contains(seconds));
                    seconds.map(Duration::from_secs)
                },
            )?,
            names: optional(given, "names", "host names and addresses, with commas", |text| {
                text.split(',').all(|name| !name.trim().is_empty()).then(|| text.into())
            })?,
            load: optional_file("load")?,
            log: setting(given, "log", level, |text| {
                Some(text)
                    .filter(|text| !text.is_empty())
                    .and_then(|text| EnvFilter::try_new(text).ok())
            })?,
            log_format: setting(given, "log-format", "text or json", |text| match text {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            })?,
        };
        match (&settings.store, settings.advertise) {
            (Some(_), None) if settings.listen.ip().is_unspecified() => {
                Err(SettingsError::NotReached(settings.listen))
            }
            _ => Ok(settings),
        }
    }

    /// The file with the keys that encrypt Secrets.
    pub(crate) fn key_file(&self) -> KeyFile {
        match &self.encryption_key_file {
            Some(file) => KeyFile::at(file),
            None => KeyFile::at(&self.data_dir.join("secrets.key")),
        }
    }

    /// The file with the keys that sign tokens of service accounts.
    pub(crate) fn token_key_file(&self) -> PathBuf {
        let usual = || self.data_dir.join("pki/service-accounts.key");
        self.service_account_key_file.clone().unwrap_or_else(usual)
    }

    /// The file of the audit log; none when there is to be none.
    pub(crate) fn audit_file(&self) -> Option<LogFile> {
        let path = match &self.audit_log {
            Some(none) if none.as_os_str() == "none" => return None,
            Some(path) => path.clone(),
            None => self.data_dir.join("audit/audit.log"),
        };
        Some(LogFile {
            path,
            bytes_max: u64::from(self.audit_log_max_size.get()) * 1024 * 1024,
            files_max: usize::try_from(self.audit_log_max_files.get()).unwrap_or(usize::MAX),
        })
    }

    /// What is written to it.
    pub(crate) fn audit_policy(&self) -> Result<Policy, AuditError> {
        match &self.audit_policy_file {
            Some(file) => Policy::read(file),
            None => Policy::usual(),
        }
    }
}

fn names() -> String {
    SETTINGS.map(|(name, _, _)| name).join(", ")
}

/// A setting that has a value, were it only its default.
fn setting<T>(
    given: &Sources,
    name: &'static str,
    allowed: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, SettingsError> {
    let (text, origin) =
        given.get(name).map_or(("", "nowhere"), |given| (&*given.text, &*given.origin));
    read(text).ok_or_else(|| SettingsError::Wrong {
        name,
        value: hide_password(text),
        origin: origin.into(),
        allowed: allowed.into(),
    })
}

/// A setting that may have none.
fn optional<T>(
    given: &Sources,
    name: &'static str,
    allowed: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, SettingsError> {
    given.get(name).map(|_| setting(given, name, allowed, read)).transpose()
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

fn is_postgres(url: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

impl Flags {
    /// The text of each flag, if it was given, by its setting.
    fn given(&self) -> [(&'static str, &Option<String>); SETTINGS.len()] {
        [
            ("data-dir", &self.data_dir),
            ("listen", &self.listen),
            ("store", &self.store),
            ("encryption-key-file", &self.encryption_key_file),
            ("audit-log", &self.audit_log),
            ("audit-log-max-size", &self.audit_log_max_size),
            ("audit-log-max-files", &self.audit_log_max_files),
            ("audit-policy-file", &self.audit_policy_file),
            ("service-account-key-file", &self.service_account_key_file),
            ("service-account-issuer", &self.service_account_issuer),
            ("advertise", &self.advertise),
            ("agent-silence", &self.agent_silence),
            ("names", &self.names),
            ("load", &self.load),
            ("log", &self.log),
            ("log-format", &self.log_format),
        ]
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads the settings.
pub(crate) fn read(flags: &Flags) -> Result<Settings, SettingsError> {
    Settings::of(&gather(flags, &environment)?)
}

/// The settings of a plane that is only for show. Neither the file nor the environment of this machine counts:
/// they may be those of a real plane, whose store must not be written to.
pub(crate) fn for_show(data_dir: &str, listen: &str, log: &str) -> Result<Settings, SettingsError> {
    let [data_dir, listen, log] = [data_dir, listen, log].map(|text| Some(text.to_owned()));
    Settings::of(&gather_alone(&Flags { data_dir, listen, log, ..Flags::default() }))
}

/// The effective settings as a TOML file, each with where it came from.
pub(crate) fn show(flags: &Flags) -> Result<String, SettingsError> {
    render(&gather(flags, &environment)?)
}

fn render(given: &Sources) -> Result<String, SettingsError> {
    // Refuses what `serve` would refuse.
    Settings::of(given)?;
    let mut text = String::new();
    for (name, _, description) in SETTINGS {
        let line = match given.get(name) {
            Some(value) => {
                let (shown, origin) = (hide_password(&value.text), &value.origin);
                format!("{name} = {shown:?}  # {description}; from {origin}\n")
            }
            None => format!("# {name} is not set  # {description}\n"),
        };
        text.push_str(&line);
    }
    if let Some(oidc) = &given.oidc {
        let head = format!("\n[[oidc]]  # from {}\n", oidc.origin);
        text.push_str(&oidc.text.replace("[[oidc]]\n", &head));
    }
    Ok(text)
}

/// What passwords are called where they have a name.
const PASSWORD: &str = "password";

/// What a connection is described by, a URL or `name=value …`, without its passwords: configuration is
/// shown and logged. What is no such thing is as it was.
pub(crate) fn hide_password(text: &str) -> String {
    let hidden = match text.split_once("://") {
        None => text.into(),
        // To the last @, since a password that should have been escaped may have any letter, / and ? too.
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((user, host)) => {
                let name = user.split([':', '/', '?']).next().unwrap_or_default();
                // Or it is in the query, and the @ is a letter of it.
                let named = user.to_ascii_lowercase().contains(PASSWORD);
                let host = if named { String::new() } else { format!("@{host}") };
                format!("{scheme}://{name}:***{host}")
            }
            None => text.into(),
        },
    };
    without_named(&hidden)
}

/// The same without the value of each `password=`: up to the next parameter, or the closing quote.
fn without_named(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    // Of the same length as the text, byte by byte.
    while let Some(at) = rest.to_ascii_lowercase().find(PASSWORD) {
        let (before, value) = rest.split_at(at + PASSWORD.len());
        shown.push_str(before);
        let spaces = value.trim_start();
        let Some(value) = spaces.strip_prefix('=') else {
            rest = value;
            continue;
        };
        shown.push_str("=***");
        let value = value.trim_start();
        rest = match value.strip_prefix('\'') {
            Some(quoted) => after_quote(quoted),
            None => {
                let end = value.find(|letter: char| letter == '&' || letter.is_whitespace());
                value.split_at(end.unwrap_or(value.len())).1
            }
        };
    }
    shown.push_str(rest);
    shown
}

/// What follows the closing quote; nothing when there is none.
fn after_quote(quoted: &str) -> &str {
    let mut escaped = false;
    let end = quoted.char_indices().find(|(_, letter)| {
        let closes = *letter == '\'' && !escaped;
        escaped = *letter == '\\' && !escaped;
        closes
    });
    end.map_or("", |(at, quote)| quoted.split_at(at + quote.len_utf8()).1)
}

#[cfg(test)]
mod tests;
