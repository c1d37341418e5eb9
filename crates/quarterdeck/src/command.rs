//! What can be asked of the binary.

use crate::{agent, backup, demo, logs, serve, settings};
use quarterdeck_api::{AuditError, SigningKeys, pki::PkiError};
use quarterdeck_store::StoreError;
use std::{io::Write as _, net::SocketAddr, path::PathBuf};

/// One management plane for all the compute a company runs.
#[derive(Debug, clap::Parser)]
#[command(name = "quarterdeck", version, arg_required_else_help = true)]
pub(crate) enum Command {
    /// Run the plane
    Serve(settings::Flags),
    /// Run a plane over a simulated fleet, in a folder of its own: to look around without hardware
    Demo(demo::Flags),
    /// Run the agent of a machine, on that machine
    Agent(agent::Flags),
    /// Print the effective settings as TOML, each with where it came from
    Config(settings::Flags),
    /// Put a new key into the file with the keys that encrypt Secrets; the plane writes them anew with it
    RotateKey(settings::Flags),
    /// Put a new key into the file with the keys that sign tokens of service accounts; the plane signs with it
    RotateServiceAccountKey(settings::Flags),
    /// Write the store to a file, as it is at one moment; the plane may run meanwhile
    Backup {
        #[command(flatten)]
        flags: settings::Flags,
        /// The file to write
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Make a store from a backup, where there is none yet: in the data folder, or the database of --store
    Restore {
        #[command(flatten)]
        flags: settings::Flags,
        /// The file that `quarterdeck backup` has written
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    #[command(flatten)]
    Verb(quarterdeck_cli::Verb),
}

/// Why the binary ends with a failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("settings: {0}")]
    Settings(#[from] settings::SettingsError),
    #[error("settings: {setting}: {cause}")]
    Audit { setting: &'static str, cause: AuditError },
    #[error("settings: {0}")]
    Authentication(String),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Pki(#[from] PkiError),
    #[error("{0}")]
    Manifest(#[from] crate::manifests::ManifestError),
    #[error("{0}")]
    Demo(#[from] demo::DemoError),
    #[error("{object} of {file} is refused: {cause}")]
    Refused { file: String, object: String, cause: String },
    #[error(
        "cannot listen on {address}: {cause}; choose another with --listen (port 0 picks a free one)"
    )]
    Listen { address: SocketAddr, cause: std::io::Error },
    #[error(
        "cannot serve the simulated BMCs at {address} and beside: {cause}; choose another port with --serve-bmcs"
    )]
    Bmcs { address: SocketAddr, cause: std::io::Error },
    #[error("cannot {action} {}: {cause}", path.display())]
    File { action: &'static str, path: PathBuf, cause: std::io::Error },
    #[error("the system refuses: {0}")]
    System(std::io::Error),
    #[error("{0}")]
    Agent(#[from] quarterdeck_agent::AgentError),
    #[error("{0}")]
    Verb(#[from] quarterdeck_cli::Error),
}

impl Error {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Verb(error) => error.exit_code(),
            _ => 1,
        }
    }
}

/// Does what was asked, and answers what the process ends with.
pub(crate) fn run(command: Command) -> Result<u8, Error> {
    match command {
        Command::Verb(verb) => {
            let outcome = quarterdeck_cli::run(verb)?;
            return Ok(outcome.exit_code());
        }
        Command::Serve(flags) => {
            let mut settings = settings::read(&flags)?;
            logs::start(std::mem::take(&mut settings.log), settings.log_format);
            runtime()?.block_on(serve::serve(settings))
        }
        Command::Demo(flags) => {
            let mut settings = flags.settings()?;
            logs::start(std::mem::take(&mut settings.log), settings.log_format);
            runtime()?.block_on(demo::demo(settings, &flags))
        }
        Command::Agent(flags) => agent::run(flags),
        Command::Config(flags) => print(&settings::show(&flags)?),
        Command::RotateKey(flags) => {
            let file = settings::read(&flags)?.key_file();
            let key = file.rotate(&jiff::Timestamp::now().to_string())?;
            print(&format!(
                "Key {key} is the first of {file}. Each plane that reads this file encrypts all Secrets with it within a minute.\n\
                 Copy the file to every replica, and keep a copy apart from backups of the store. Older keys open older\n\
                 revisions and backups: they stay until neither is needed.\n"
            ))
        }
        Command::RotateServiceAccountKey(flags) => {
            let file = settings::read(&flags)?.token_key_file();
            let key = SigningKeys::rotate(&file)?;
            print(&format!(
                "Key {key} is the first of {}. Each plane that reads this file signs with it within a second.\n\
                 A replica that has its own copy of the file refuses these tokens until it has the new key: copy the\n\
                 file to it now. The older keys verify the tokens they signed: remove one when those have expired,\n\
                 or before to end them: tokens within a second, open watches within a minute.\n",
                file.display()
            ))
        }
        Command::Backup { flags, to } => backup::backup(&settings::read(&flags)?, &to),
        Command::Restore { flags, from } => backup::restore(&settings::read(&flags)?, &from),
    }?;
    Ok(0)
}

/// What runs tasks.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    quarterdeck_api::runtime().build().map_err(Error::System)
}

/// Prints on standard output.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::System)
}
