//! Parts of the plane that a benchmark switches off, to see what each costs. Only in builds with the
//! feature `bench`. A release is built by its package, without the feature (`make build`): there every
//! part is at work, and nothing of this file is left.

#![cfg_attr(not(feature = "bench"), allow(unreachable_pub, reason = "seen by benchmarks only"))]

/// A part that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Who may do what: roles, and what an object lets the plane do for its writer.
    Authorization,
    /// Schemas, the rules of kinds, and policies.
    Validation,
}

#[cfg(feature = "bench")]
mod switched {
    use super::Part;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// A bit for each part that is off.
    static OFF: AtomicU8 = AtomicU8::new(0);

    /// Switches a part off, for the whole process.
    pub fn without(part: Part) {
        OFF.fetch_or(1 << part as u8, Ordering::Relaxed);
    }

    pub(crate) fn is_off(part: Part) -> bool {
        OFF.load(Ordering::Relaxed) & 1 << part as u8 != 0
    }
}

/// A key that simulated agents share.
#[cfg(feature = "bench")]
pub struct AgentKey {
    key: crate::pki::AgentKey,
    pem: String,
}

#[cfg(feature = "bench")]
impl AgentKey {
    /// Makes one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self, rcgen::Error> {
        let pair = rcgen::KeyPair::generate()?;
        Ok(Self { key: crate::pki::AgentKey::of(&pair)?, pem: pair.serialize_pem() })
    }

    /// The identity of a machine's agent, by namespace, name and uid, as it gets one that joins.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn certified(
        &self,
        authority: &crate::pki::Authority,
        machine: (&str, &str, &str),
    ) -> Result<crate::pki::Identity, crate::pki::PkiError> {
        let (certificate, _) = authority.agent(machine, &self.key, jiff::Timestamp::now())?;
        Ok(crate::pki::Identity { certificate, key: self.pem.clone() })
    }
}

#[cfg(not(feature = "bench"))]
mod switched {
    pub(crate) const fn is_off(_: super::Part) -> bool {
        false
    }
}

pub(crate) use switched::is_off;
#[cfg(feature = "bench")]
pub use switched::without;
