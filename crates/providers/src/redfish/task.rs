//! Tasks: what a service does later than it answers (DSP0266 §13.6; DSP0268, Task).

use super::resource::{Path, Resource};
use super::system::System;
use crate::action::{ActionError, Reason};

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Runs,
    /// It is held until something else happens, such as a restart: the state it is in.
    Held(String),
    /// It ended well.
    Done,
    /// It did not, and why.
    Failed(String),
}

impl Progress {
    /// What a task's document says.
    pub(super) fn of(task: &Resource) -> Self {
        let doc = task.doc();
        let state = doc.text("/TaskState").unwrap_or_default();
        let well = doc.text("/TaskStatus").is_none_or(|status| status == "OK");
        match state.as_str() {
            "Completed" if well => Self::Done,
            "Completed" | "Exception" | "Killed" | "Cancelled" => {
                // The last message says what came of it.
                let said = doc.list("/Messages").filter_map(|it| it.text("/Message")).last();
                let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
                Self::Failed(format!("task {} is {state}{said}", task.path.last_segment()))
            }
            "Interrupted" | "Suspended" | "Pending" => Self::Held(state),
            _ => Self::Runs,
        }
    }
}

/// How far a task is; none when the service knows no such task any more.
pub(super) async fn look(system: &System, task: &Path) -> Result<Option<Progress>, ActionError> {
    match system.bmc.get(task, &system.budget).await {
        Ok(read) => Ok(Some(Progress::of(&read))),
        Err(error) if error.reason == Reason::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
