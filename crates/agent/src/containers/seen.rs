//! What the engine shows of one instance's containers, as plain values. Pure.

use jiff::Timestamp;
use quarterdeck_model::kinds::container::BoundPort;

/// Name, among an instance's containers, of the one that only holds the network which they share.
pub(super) const SANDBOX: &str = "";

/// All that the engine has of one instance, older attempts first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) containers: Vec<SeenContainer>,
}

/// One container of the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SeenContainer {
    /// Identity in the engine.
    pub(super) id: String,
    /// Which of the instance's containers; [`SANDBOX`] for the one that holds the network.
    pub(super) name: String,
    /// Counts how often that container was made.
    pub(super) attempt: u32,
    /// Restarts in a row, each sooner than the reset: what the wait before the next one follows from.
    pub(super) streak: u32,
    /// Of what was asked for when it was made.
    pub(super) hash: String,
    /// The sandbox whose network it has.
    pub(super) sandbox: Option<String>,
    /// The image it is of.
    pub(super) image_id: String,
    /// Where it is.
    pub(super) state: SeenState,
    /// Its own address.
    pub(super) address: Option<String>,
    /// Ports of the host that are its own.
    pub(super) ports: Vec<BoundPort>,
}

/// Where a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum SeenState {
    /// Made, and never started; or it could not be.
    #[default]
    Created,
    /// Runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Has ended.
    Ended(Ended),
    /// Is being removed.
    Going,
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) exit_code: i32,
    /// The kernel killed it, since it took more memory than its limit.
    pub(super) out_of_memory: bool,
    /// Why it could not run, as the engine says.
    pub(super) error: String,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
}

impl Ended {
    /// Whether it did what it was for.
    pub(super) fn is_success(&self) -> bool {
        self.exit_code == 0 && !self.out_of_memory
    }
}

impl SeenContainer {
    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, SeenState::Running { .. })
    }
}

impl Seen {
    /// Those of one name, older attempts first.
    pub(super) fn of<'s>(
        &'s self,
        name: &'s str,
    ) -> impl DoubleEndedIterator<Item = &'s SeenContainer> {
        self.containers.iter().filter(move |it| it.name == name)
    }

    /// The newest of one name.
    pub(super) fn newest(&self, name: &str) -> Option<&SeenContainer> {
        self.containers.iter().rfind(|it| it.name == name)
    }

    /// The one of one name before the newest, if it has ended.
    pub(super) fn previous<'s>(&'s self, name: &'s str) -> Option<&'s SeenContainer> {
        self.of(name).rev().nth(1)
    }

    /// Puts them in order.
    pub(super) fn sorted(mut containers: Vec<SeenContainer>) -> Self {
        containers.sort_by(|a, b| (&a.name, a.attempt, &a.id).cmp(&(&b.name, b.attempt, &b.id)));
        Self { containers }
    }
}
