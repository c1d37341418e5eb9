//! Why an agent cannot go on, for whoever started it.

use std::path::PathBuf;

/// Why an agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {cause}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// Another agent runs there.
    #[error(
        "another agent runs in {}; stop that one, or give this one a folder of its own with --data-dir",
        .0.display()
    )]
    Running(PathBuf),
    /// A file does not hold what it should.
    #[error("{} is not usable: {cause}", path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Why not, and what to do.
        cause: String,
    },
    /// A setting is missing or wrong.
    #[error("{0}")]
    Setting(String),
    /// Containers cannot be run.
    #[error(transparent)]
    Containers(#[from] crate::containers::ContainersError),
    /// The plane refuses.
    #[error("the plane refuses: {0}")]
    Refused(String),
    /// It has joined as a machine that was made anew.
    #[error(
        "the agent has joined machine {0}, which was made anew; start it again, to begin with what that is to run"
    )]
    AnotherMachine(String),
    /// The plane is not whom the agent was told to trust.
    #[error("{0}")]
    Untrusted(String),
}
