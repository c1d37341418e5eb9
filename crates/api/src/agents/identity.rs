//! Which machine's agent calls, by its certificate, and whether that still counts. It names the machine by namespace, name
//! and uid, and says when it was issued; the Machine says since when certificates count. So a machine that is deleted,
//! that joined anew or whose certificates were revoked has none that is good, and nobody keeps a list of them. What is revoked
//! is a joining, with all that was issued since for it: whoever renews without end gets nothing newer than that.

use crate::{
    identity::Caller,
    pki::{AGENT_ENDS, AGENT_ISSUED},
    status::ApiError,
};
use jiff::Timestamp;
use quarterdeck_model::{
    Kind as _,
    agent::{AGENTS_GROUP, USER_PREFIX},
    kinds::Machine,
};
use quarterdeck_store::World;

/// The agent of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    issued: Timestamp,
    ends: Timestamp,
}

/// Whether a caller is an agent: then it may do what agents may, and nothing else.
pub(crate) fn is_agent(caller: &Caller) -> bool {
    caller.groups.iter().any(|group| group == AGENTS_GROUP)
}

impl Agent {
    /// The agent that a caller is.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn of(caller: &Caller) -> Result<Self, ApiError> {
        Self::read(caller).ok_or_else(|| {
            ApiError::forbidden(format!(
                "user {:?} is not the agent of a machine: only one that joined has such a certificate",
                caller.user
            ))
        })
    }

    fn read(caller: &Caller) -> Option<Self> {
        let (namespace, name) = caller.user.strip_prefix(USER_PREFIX)?.split_once(':')?;
        let uid = caller.uid.clone().filter(|_| is_agent(caller))?;
        let said = |what| caller.extra.get(what)?.first();
        let issued = said(AGENT_ISSUED)?.parse().ok()?;
        let ends = Timestamp::from_second(said(AGENT_ENDS)?.parse().ok()?).ok()?;
        Some(Self { namespace: namespace.into(), name: name.into(), uid, issued, ends })
    }

    /// Whether the certificate has ended: it was good when the connection began, and does not go on with that.
    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.ends <= now
    }

    /// Its machine, if its certificate still counts.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn machine(&self, world: &World) -> Result<Machine, ApiError> {
        let Self { namespace, name, .. } = self;
        let refuse = |why: String| Err(ApiError::unauthorized(&why));
        let Some(object) = world.get(Machine::info(), namespace, name) else {
            return refuse(format!("there is no machine {namespace}/{name} any more"));
        };
        if object.uid() != self.uid {
            return refuse(format!(
                "machine {namespace}/{name} was made anew; its agent has to join with a new token"
            ));
        }
        let machine: Machine =
            object.decode().map_err(|error| ApiError::internal(error.to_string()))?;
        match self.counts(&machine) {
            Ok(()) => Ok(machine),
            Err(why) => refuse(why),
        }
    }

    /// Whether the certificate still counts for its machine.
    pub(crate) fn counts(&self, machine: &Machine) -> Result<(), String> {
        let Self { namespace, name, .. } = self;
        let revoked = machine.spec.agent.as_ref().and_then(|agent| agent.revoked_before);
        let joined = machine.status.agent.as_ref().and_then(|agent| agent.joined);
        let since = joined.map_or(self.issued, |joined| joined.timestamp().min(self.issued));
        if revoked.is_some_and(|revoked| since < revoked.timestamp()) {
            return Err(format!(
                "the certificates of machine {namespace}/{name} were revoked (spec.agent.revokedBefore); its agent has to join with a new token"
            ));
        }
        if joined.is_some_and(|joined| self.issued < joined.timestamp()) {
            return Err(format!(
                "machine {namespace}/{name} has joined anew since then; this certificate counts no more"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
impl Agent {
    /// One whose machine has the uid `u`, by a certificate that was always good.
    pub(super) fn of_test(namespace: &str, name: &str) -> Self {
        let (issued, ends) = (Timestamp::MIN, Timestamp::MAX);
        Self { namespace: namespace.into(), name: name.into(), uid: "u".into(), issued, ends }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_certificate_counts_until_it_is_revoked_or_the_machine_joins_anew() {
        let agent =
            |issued: &str| Agent { issued: issued.parse().unwrap(), ..Agent::of_test("a", "m") };
        let machine = |spec: serde_json::Value, status: serde_json::Value| -> Machine {
            serde_json::from_value(
                json!({"metadata": {"name": "m"}, "spec": spec, "status": status}),
            )
            .unwrap()
        };
        let before = "2026-03-01T12:00:00.123Z";
        let after = "2026-03-01T12:00:00.124Z";
        let revoked = machine(json!({"agent": {"revokedBefore": after}}), json!({}));
        let joined = machine(json!({}), json!({"agent": {"joined": after}}));
        for (machine, word) in [(&revoked, "revoked"), (&joined, "joined anew")] {
            assert!(agent(before).counts(machine).unwrap_err().contains(word));
            assert_eq!(agent(after).counts(machine), Ok(()));
        }
        // One that was renewed meanwhile is of the joining that was revoked.
        let spec = json!({"agent": {"revokedBefore": after}});
        let renewed = machine(spec.clone(), json!({"agent": {"joined": before}}));
        let much_later = "2026-03-01T13:00:00Z";
        assert!(agent(much_later).counts(&renewed).unwrap_err().contains("revoked"));
        let anew = machine(spec, json!({"agent": {"joined": after}}));
        assert_eq!(agent(much_later).counts(&anew), Ok(()));
    }
}
