//! Which permits something acts on in this process. The end of a run is known by way of the store before its driver
//! has heard of it and has stopped what it does: until then its permit is not taken back. And one that is being
//! taken back is used by nobody any more, though its run goes on again.

use crate::spread::Spread;
use quarterdeck_model::Key;
use std::sync::{Arc, Weak};

/// All of them, by the permit's key.
#[derive(Default)]
pub(crate) struct InUses(Spread<Use>);

enum Use {
    By(Weak<()>),
    TakenBack,
}

/// Kept by all that acts on a permit.
#[derive(Debug, Clone)]
pub(crate) struct InUse(#[expect(dead_code, reason = "it is there to be counted")] Arc<()>);

/// A permit that is being taken back; until this is dropped.
pub(crate) struct TakingBack<'a> {
    uses: &'a InUses,
    permit: Key,
}

impl InUses {
    /// Acts on a permit from now on; none while it is being taken back.
    pub(crate) fn begin(&self, permit: &Key) -> Option<InUse> {
        self.0.with(permit, |uses| {
            let used = match uses.get(permit) {
                Some(Use::TakenBack) => return None,
                Some(Use::By(used)) => used.upgrade(),
                None => None,
            };
            let used = used.unwrap_or_default();
            uses.insert(permit.clone(), Use::By(Arc::downgrade(&used)));
            Some(InUse(used))
        })
    }

    /// Begins to take a permit back; none while something acts on it.
    pub(crate) fn take_back(&self, permit: &Key) -> Option<TakingBack<'_>> {
        self.0.with(permit, |uses| {
            let free = match uses.get(permit) {
                Some(Use::By(used)) => used.strong_count() == 0,
                Some(Use::TakenBack) => false,
                None => true,
            };
            if free {
                uses.insert(permit.clone(), Use::TakenBack);
            }
            free.then(|| TakingBack { uses: self, permit: permit.clone() })
        })
    }
}

impl Drop for TakingBack<'_> {
    fn drop(&mut self) {
        self.uses.0.with(&self.permit, |uses| uses.remove(&self.permit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_used_or_taken_back_and_never_both() {
        let uses = InUses::default();
        let permit = Key { kind: "permits".into(), namespace: "n".into(), name: "r".into() };
        let one = uses.begin(&permit).unwrap();
        let another = uses.begin(&permit).unwrap();
        assert!(uses.take_back(&permit).is_none());
        drop(one);
        assert!(uses.take_back(&permit).is_none(), "the other still acts on it");
        drop(another);
        let taking = uses.take_back(&permit).unwrap();
        assert!(uses.begin(&permit).is_none());
        assert!(uses.take_back(&permit).is_none());
        drop(taking);
        assert!(uses.begin(&permit).is_some(), "it may be given anew");
    }
}
