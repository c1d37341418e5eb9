//! What a verb that was done ends with, so that scripts can go by it.

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or what was followed succeeded.
    Done,
    /// The run or campaign that was followed failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Following was interrupted; what was followed goes on.
    Interrupted,
}

impl Outcome {
    /// What a process ends with. 1 and 2 are those of [`crate::Error`]; 130 is what shells give what was interrupted.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 3,
            Self::Cancelled => 4,
            Self::Interrupted => 130,
        }
    }
}
