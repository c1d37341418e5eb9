//! Settings of the plane: defaults, then one TOML file, then the environment, then flags; each value
//! knows where it came from.

use clap::Args;
use config::{Config, ConfigError, File, FileFormat, Map, Source, Value};
use quarterdeck_api::{AuditError, LogFile, Policy};
use quarterdeck_store::KeyFile;
use serde::Deserialize;
use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

/// Where the file is looked for when `--config` is not given.
const DEFAULT_FILE: &str = "/etc/quarterdeck/config.toml";
/// What environment variables begin with: `QUARTERDECK_LISTEN`.
const PREFIX: &str = "QUARTERDECK_";

/// Every setting: name, default (none when optional) and what it is.
const SETTINGS: [(&str, Option<&str>, &str); 12] = [
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

/// The effective settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) store: Option<String>,
    pub(crate) encryption_key_file: Option<PathBuf>,
    pub(crate) audit_log: Option<PathBuf>,
    pub(crate) audit_log_max_size: NonZeroU32,
    pub(crate) audit_log_max_files: NonZeroU32,
    pub(crate) audit_policy_file: Option<PathBuf>,
    pub(crate) names: Option<String>,
    pub(crate) load: Option<PathBuf>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// The file with the keys that encrypt Secrets.
    pub(crate) fn key_file(&self) -> KeyFile {
        match &self.encryption_key_file {
            Some(file) => KeyFile::at(file),
            None => KeyFile::at(&self.data_dir.join("secrets.key")),
        }
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

/// A source whose values say where each came from.
#[derive(Debug, Clone)]
struct Named(Vec<(String, String, String)>);

impl Source for Named {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let value = |(name, text, origin): &(String, String, String)| {
            (name.clone(), Value::new(Some(origin), text.clone()))
        };
        Ok(self.0.iter().map(value).collect())
    }
}

/// The TOML file, whose values say its path as it was given.
#[derive(Debug, Clone)]
struct TomlFile {
    path: PathBuf,
    required: bool,
}

impl Source for TomlFile {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let file = File::from(self.path.clone()).format(FileFormat::Toml).required(self.required);
        let origin = self.path.display().to_string();
        let named = |(name, value): (String, Value)| (name, Value::new(Some(&origin), value.kind));
        Ok(file.collect()?.into_iter().map(named).collect())
    }
}

impl Flags {
    fn given(&self) -> Named {
        let flags = [
            ("data-dir", &self.data_dir),
            ("listen", &self.listen),
            ("store", &self.store),
            ("encryption-key-file", &self.encryption_key_file),
            ("audit-log", &self.audit_log),
            ("audit-log-max-size", &self.audit_log_max_size),
            ("audit-log-max-files", &self.audit_log_max_files),
            ("audit-policy-file", &self.audit_policy_file),
            ("names", &self.names),
            ("load", &self.load),
            ("log", &self.log),
            ("log-format", &self.log_format),
        ];
        let given = flags.into_iter().filter_map(|(name, text)| {
            Some((name.to_owned(), text.clone()?, format!("flag --{name}")))
        });
        Named(given.collect())
    }
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"))
}

fn merged(
    flags: &Flags,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let defaults = SETTINGS.iter().filter_map(|(name, default, _)| {
        Some(((*name).to_owned(), (*default)?.to_owned(), "default".to_owned()))
    });
    let variables = SETTINGS.iter().filter_map(|(name, _, _)| {
        let variable = variable(name);
        let text = environment(&variable).filter(|text| !text.is_empty())?;
        Some(((*name).to_owned(), text, format!("environment {variable}")))
    });
    let file = match &flags.config {
        Some(path) => TomlFile { path: path.clone(), required: true },
        None => TomlFile { path: DEFAULT_FILE.into(), required: false },
    };
    Config::builder()
        .add_source(Named(defaults.collect()))
        .add_source(file)
        .add_source(Named(variables.collect()))
        .add_source(flags.given())
        .build()
}

/// Reads the settings.
pub(crate) fn read(flags: &Flags) -> Result<Settings, ConfigError> {
    merged(flags, &|name| std::env::var(name).ok())?.try_deserialize()
}

/// The effective settings as a TOML file, each with where it came from.
pub(crate) fn show(flags: &Flags) -> Result<String, ConfigError> {
    render(&merged(flags, &|name| std::env::var(name).ok())?)
}

fn render(config: &Config) -> Result<String, ConfigError> {
    // Refuses what `serve` would refuse.
    config.clone().try_deserialize::<Settings>()?;
    // Reading a value through serde would lose where it came from.
    let values = config.collect()?;
    let mut text = String::new();
    for (name, _, description) in SETTINGS {
        let line = match values.get(name) {
            Some(value) => {
                let origin = value.origin().unwrap_or("default").to_owned();
                let shown = hide_password(&value.clone().into_string()?);
                format!("{name} = {shown:?}  # {description}; from {origin}\n")
            }
            None => format!("# {name} is not set  # {description}\n"),
        };
        text.push_str(&line);
    }
    Ok(text)
}

/// A URL without its password: configuration is shown and logged.
pub(crate) fn hide_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}{path}")
        }
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_sources_win_and_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\nlog = \"debug\"\n").unwrap();
        let flags = Flags {
            config: Some(file.clone()),
            store: Some("postgres://qd:secret@db:5432/qd".into()),
            ..Flags::default()
        };
        let environment =
            |name: &str| (name == "QUARTERDECK_LISTEN").then(|| "127.0.0.1:2".to_owned());
        let text = render(&merged(&flags, &environment).unwrap()).unwrap();
        let has = |part: &str| assert!(text.contains(part), "{part} in\n{text}");
        has(
            "listen = \"127.0.0.1:2\"  # address and port; port 0 picks a free one; from environment QUARTERDECK_LISTEN",
        );
        has(&format!("from {}", file.display()));
        has("postgres://qd:***@db:5432/qd");
        has("from flag --store");
        has("# load is not set");
        assert!(!text.contains("qd:secret"));
    }

    #[test]
    fn mistakes_are_refused() {
        let flag = |listen: &str| Flags { listen: Some(listen.into()), ..Flags::default() };
        assert!(render(&merged(&flag("nowhere"), &|_| None).unwrap()).is_err());
        for size in ["0", "-1", "many"] {
            let flags = Flags { audit_log_max_size: Some(size.into()), ..Flags::default() };
            let error = render(&merged(&flags, &|_| None).unwrap()).unwrap_err().to_string();
            assert!(error.contains("audit-log-max-size"), "{error}");
        }
        let missing = Flags { config: Some("/no/such/file.toml".into()), ..Flags::default() };
        assert!(merged(&missing, &|_| None).is_err());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, "lissen = \"127.0.0.1:1\"\n").unwrap();
        let typo = Flags { config: Some(file), ..Flags::default() };
        assert!(render(&merged(&typo, &|_| None).unwrap()).is_err());
    }
}
