//! Tokens that were verified a moment ago, by the hash of the token, so that a signature is not
//! verified with each request. Bounded, and short. Whether its key is still trusted, and what is asked of
//! the store, is asked each time.

use super::authentication::Verified;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a signature is known to be good.
const KEPT: Duration = Duration::from_secs(10);
/// Tokens kept of each of two generations; a token with its caller takes about a kilobyte.
const GENERATION_MAX: usize = 16 * 1024;

/// The hash of a token.
pub(super) type Hash = [u8; 32];
type Tokens = HashMap<Hash, (Instant, Arc<Verified>)>;

/// Tokens that were verified a moment ago.
#[derive(Default)]
pub(super) struct Recent(Mutex<Generations>);

/// When the younger is full, the elder is forgotten and it takes its place: no search for what to forget.
#[derive(Default)]
struct Generations {
    younger: Tokens,
    elder: Tokens,
}

impl Recent {
    pub(super) fn get(&self, hash: &Hash, now: Instant) -> Option<Arc<Verified>> {
        // A panic while it was held left a cache, with less or more in it.
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, verified) = all.younger.get(hash).or_else(|| all.elder.get(hash))?;
        (now < *until).then(|| verified.clone())
    }

    pub(super) fn put(&self, hash: Hash, verified: Arc<Verified>, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.younger.len() >= GENERATION_MAX {
            all.elder = std::mem::take(&mut all.younger);
        }
        all.younger.insert(hash, (now + KEPT, verified));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::jose::Times;

    #[test]
    fn it_is_bounded_and_forgets() {
        let times = Times { not_before: None, expires: i64::MAX };
        let verified = Arc::new(Verified::of_nobody(Vec::new(), times));
        let (recent, now) = (Recent::default(), Instant::now());
        let hash = |number: usize| {
            let mut hash = Hash::default();
            hash[..8].copy_from_slice(&number.to_be_bytes());
            hash
        };
        for number in 0..3 * GENERATION_MAX {
            recent.put(hash(number), verified.clone(), now);
            assert!(recent.get(&hash(number), now).is_some());
        }
        let kept = (0..3 * GENERATION_MAX).filter(|n| recent.get(&hash(*n), now).is_some()).count();
        assert!((GENERATION_MAX..=2 * GENERATION_MAX).contains(&kept), "{kept}");
        assert!(recent.get(&hash(3 * GENERATION_MAX - 1), now + KEPT).is_none());
    }
}
