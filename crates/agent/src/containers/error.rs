//! What can go wrong, by what the caller can do about it.

use std::path::PathBuf;

/// What went wrong with the containers of this host.
#[derive(Debug, thiserror::Error)]
pub enum ContainersError {
    /// A folder or file of the agent cannot be used.
    #[error("{what} {path:?}: {source}")]
    File {
        /// What was done.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The folder for secrets is on a disk.
    #[error(
        "the folder for secrets, {0:?}, is not in memory: name one on a tmpfs, such as below /dev/shm or /run"
    )]
    SecretsOnDisk(PathBuf),
    /// The engine does not answer. It is tried again.
    #[error("the container engine at {socket:?} does not answer: {why}; see that it runs")]
    EngineAway {
        /// Its socket.
        socket: PathBuf,
        /// What was seen.
        why: String,
    },
    /// The engine refuses.
    #[error("{0}")]
    Refused(String),
    /// There is no such instance or container here.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for is not allowed on this host, or lacks something.
    #[error("{0}")]
    Config(String),
}

impl ContainersError {
    pub(super) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
