//! Where a server is in its life, and where it may go from there. Pure rules; who makes a step and why is
//! decided by controllers and runbooks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ServerPhase {
    /// Known by name; nothing has been seen of it yet.
    #[default]
    Registered,
    /// Being reached and looked at.
    Inspecting,
    /// Inspected and free.
    Ready,
    /// Being given an operating system.
    Provisioning,
    /// Carrying a machine.
    InUse,
    /// Being wiped.
    Cleaning,
    /// Failed or suspected; nothing new is placed on it.
    Quarantined,
    /// Being mended.
    Repairing,
    /// Gone for good.
    Retired,
}

impl ServerPhase {
    /// All of them, in the order of a life without trouble.
    pub const ALL: [Self; 9] = [
        Self::Registered,
        Self::Inspecting,
        Self::Ready,
        Self::Provisioning,
        Self::InUse,
        Self::Cleaning,
        Self::Quarantined,
        Self::Repairing,
        Self::Retired,
    ];

    /// Its name, as objects have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "Registered",
            Self::Inspecting => "Inspecting",
            Self::Ready => "Ready",
            Self::Provisioning => "Provisioning",
            Self::InUse => "InUse",
            Self::Cleaning => "Cleaning",
            Self::Quarantined => "Quarantined",
            Self::Repairing => "Repairing",
            Self::Retired => "Retired",
        }
    }

    /// Where a server may go from here. What has failed, is mended or is retired can be so from anywhere, and
    /// whatever held it before.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use ServerPhase as P;
        if self == next || matches!(next, P::Quarantined | P::Repairing | P::Retired) {
            return true;
        }
        match self {
            P::Registered => next == P::Inspecting,
            P::Inspecting => next == P::Ready,
            P::Ready => matches!(next, P::Provisioning | P::Cleaning),
            P::Provisioning => matches!(next, P::InUse | P::Cleaning),
            // Installed anew, or wiped.
            P::InUse => matches!(next, P::Provisioning | P::Cleaning),
            P::Cleaning => next == P::Ready,
            // A machine that it still carries is there when it is back; without one it may need to be wiped.
            P::Quarantined | P::Repairing => {
                matches!(next, P::Ready | P::InUse | P::Provisioning | P::Cleaning)
            }
            // It is met anew.
            P::Retired => next == P::Registered,
        }
    }

    /// Where a server may go from here, for a message.
    #[must_use]
    pub fn next(self) -> Vec<Self> {
        Self::ALL.into_iter().filter(|next| *next != self && self.may_become(*next)).collect()
    }

    /// Whether the plane leaves it to people or runs what becomes of the server: it is not looked after by
    /// itself.
    #[must_use]
    pub const fn out_of_service(self) -> bool {
        matches!(self, Self::Quarantined | Self::Repairing | Self::Retired)
    }
}

impl fmt::Display for ServerPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServerPhase as P;

    #[test]
    fn a_life_without_trouble_goes_round() {
        let life = [
            P::Registered,
            P::Inspecting,
            P::Ready,
            P::Provisioning,
            P::InUse,
            P::Cleaning,
            P::Ready,
        ];
        for step in life.windows(2) {
            assert!(step[0].may_become(step[1]), "{step:?}");
        }
    }

    #[test]
    fn trouble_comes_from_anywhere_and_nothing_else_is_skipped() {
        for from in P::ALL {
            for trouble in [P::Quarantined, P::Repairing, P::Retired] {
                assert!(from.may_become(trouble), "{from} to {trouble}");
            }
            assert!(from.may_become(from), "a repeated step finds the work done");
        }
        for (from, to) in [
            (P::Registered, P::Ready),
            (P::Ready, P::InUse),
            (P::InUse, P::Ready),
            (P::Retired, P::Ready),
            (P::Cleaning, P::InUse),
        ] {
            assert!(!from.may_become(to), "{from} to {to}");
        }
        assert_eq!(P::Retired.next(), [P::Registered, P::Quarantined, P::Repairing]);
    }

    #[test]
    fn names_are_those_on_the_wire() {
        for phase in P::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
    }
}
