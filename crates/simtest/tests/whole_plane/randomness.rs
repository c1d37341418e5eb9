//! Where all randomness of a simulated plane comes from: a sequence that follows from the seed.
//!
//! Identifiers, the order of hash maps and the turns of tokio's `select!` are all drawn from the system's
//! `getrandom`. It is replaced in this test alone, for all of them at once, so that the plane under test is
//! the plane as it ships, and so that other seeds try other orders. The standard library names this use: "a
//! weak symbol allows interposition, e.g. for perf measurements that want to disable randomness for
//! consistency" (`library/std/src/sys/random/linux.rs`).
//!
//! It must never be linked into anything that keeps a secret.

#![allow(unsafe_code, reason = "a function of C can only be replaced by one")]

use crate::dice::Dice;
use std::cell::Cell;

thread_local! {
    /// Threads that were given no seed all draw the same.
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Begins the sequence of this thread. It must not have drawn anything before.
pub(crate) fn seed_this_thread(seed: u64) {
    STATE.set(Dice::of(&[seed, 1]).any());
}

fn fill(bytes: &mut [u8]) {
    let mut dice = Dice::from_state(STATE.get());
    for chunk in bytes.chunks_mut(8) {
        let drawn = dice.any().to_le_bytes();
        chunk.copy_from_slice(&drawn[..chunk.len()]);
    }
    STATE.set(dice.state());
}

/// As getrandom(2), which never fails here.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes, as callers of the original promise.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    if length > 0 {
        // SAFETY: the caller promises so.
        fill(unsafe { std::slice::from_raw_parts_mut(buffer, length) });
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// Nothing random is left: what is drawn first by a thread follows from its seed.
#[test]
fn identifiers_and_hash_maps_follow_from_the_seed() {
    let draw = |seed| {
        let drawn = std::thread::spawn(move || {
            seed_this_thread(seed);
            let map: std::collections::HashSet<u32> = (0..50).collect();
            let order: Vec<u32> = map.into_iter().collect();
            (uuid::Uuid::new_v4(), order)
        });
        drawn.join().unwrap()
    };
    assert_eq!(draw(1), draw(1));
    let (one, other) = (draw(1), draw(2));
    assert_ne!(one.0, other.0);
    assert_ne!(one.1, other.1);
}
