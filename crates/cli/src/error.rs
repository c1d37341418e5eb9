//! Why a verb could not be done, in sentences for people. How a run or a campaign ended is no error: see
//! [`crate::Outcome`].

use std::io;

/// What went wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Ask otherwise: something was written that is not, or a file is not what it should be.
    #[error("{0}")]
    Usage(String),
    /// There is no such object; the sentence names near ones, or how to list them.
    #[error("{0}")]
    NotFound(String),
    /// The plane was not reached, or it does not know who we are; or it is not known where it is.
    #[error("{0}")]
    Connection(String),
    /// The plane said no to this one thing, in its own words.
    #[error("{0}")]
    Refused(String),
    /// This machine does not let us.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

impl Error {
    /// What a process ends with: 2 when it was asked wrongly, as for a flag that there is not; else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
