//! Defects on purpose. The test of the whole plane asks for one of them, to show that it would be found. They
//! exist only with the feature `planted`, which no release has, and even then none is there unless a process
//! asks for it: this file must never decide by itself that something goes wrong.

/// A defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[cfg_attr(
    not(feature = "planted"),
    expect(unreachable_pub, reason = "who asks for one is not there")
)]
pub enum Planted {
    /// What an ended run's permit took is given back a second time, out of another run's share.
    PermitReleasedTwice = 1,
    /// A step is recorded as done when its action begins.
    StepRecordedBeforeItsEffect,
    /// A run takes a target that another one holds.
    TwoRunsOnATarget,
    /// A change of which a follower hears is lost now and then.
    LostChange,
    /// A run that waits never comes back to see that its time is up.
    WaitWithoutDeadline,
    /// A run that undoes what it did counts as ended: its permit is taken back, whatever still acts on it.
    PermitReleasedWhileUsed,
}

#[cfg(feature = "planted")]
mod asked {
    use super::Planted;
    use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

    /// Which one; zero is none.
    static ASKED: AtomicU8 = AtomicU8::new(0);
    static CHANGES: AtomicU32 = AtomicU32::new(0);
    /// One change of so many is lost.
    const LOST: u32 = 12;

    /// Has a defect from now on, in all engines of this process.
    pub fn plant(planted: Planted) {
        ASKED.store(planted as u8, Ordering::Relaxed);
    }

    pub(crate) fn is(planted: Planted) -> bool {
        ASKED.load(Ordering::Relaxed) == planted as u8
    }

    /// Whether this change is to be lost.
    pub(crate) fn loses_change() -> bool {
        is(Planted::LostChange) && CHANGES.fetch_add(1, Ordering::Relaxed) % LOST == LOST - 1
    }
}

#[cfg(not(feature = "planted"))]
mod asked {
    use super::Planted;

    pub(crate) const fn is(_: Planted) -> bool {
        false
    }

    pub(crate) const fn loses_change() -> bool {
        is(Planted::LostChange)
    }
}

#[cfg(feature = "planted")]
pub use asked::plant;
pub(crate) use asked::{is, loses_change};
