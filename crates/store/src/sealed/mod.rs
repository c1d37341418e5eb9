//! A backend over another one, in which bodies of some kinds are encrypted: what lies in the database,
//! its copies and its backups cannot be read without the key file. Above it, bodies are as they were
//! written. It must never write such a body in the clear, and never answer one that was tampered with.
//!
//! Start reading at [`Sealed`]; `envelope` is the form of a sealed body, `key_file` where keys come from.

mod envelope;
mod key_file;

use crate::{
    Backend, CHANGES_BYTES_MAX, Change, Current, Entry, Lease, Mutation, Outcome, Precondition,
    Store, StoreError, Taker, Write,
};
use async_trait::async_trait;
use bytes::Bytes;
pub use envelope::KeyId;
use envelope::{DataKey, SealingKey};
pub use key_file::KeyFile;
use key_file::{Keys, Version};
use quarterdeck_model::{Key, Revision, kinds};
use ring::rand::SystemRandom;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;
use tracing::{info, warn};

/// Bodies encrypted with one data key: far below what its random nonces allow (2^32), so that a start
/// rather than this bound is what usually makes a new one.
const DATA_KEY_USES_MAX: u32 = 1 << 20;
/// Data keys kept opened. Each start of a replica makes one, and resealing drops those of the past.
const OPENED_MAX: usize = 4_096;
/// How soon a key that was added to the file is put to use.
const RESEAL_EVERY: Duration = Duration::from_secs(10);
/// Bodies resealed in one commit: others write in between.
const RESEAL_BATCH: usize = 64;

/// A backend that seals the bodies of some kinds.
pub struct Sealed {
    inner: Arc<dyn Backend>,
    random: SystemRandom,
    keyring: Arc<Keyring>,
}

/// What opens bodies; shared with the threads that read them at a start.
struct Keyring {
    kinds: Vec<Arc<str>>,
    file: KeyFile,
    state: Mutex<State>,
}

struct State {
    keys: Keys,
    version: Version,
    /// What new bodies are sealed with, and how often it was used.
    sealing: Option<(Arc<DataKey>, u32)>,
    /// Data keys by the header that holds them encrypted.
    opened: HashMap<Box<[u8]>, Arc<SealingKey>>,
    /// The key of the file that each current body is sealed with; none for one in the clear.
    current: HashMap<Key, Option<KeyId>>,
}

impl Sealed {
    /// Seals bodies of `kinds` (full resource names) in `inner` with the keys of `file`.
    ///
    /// # Errors
    /// When the file cannot be read or is not a key file.
    pub fn new(
        inner: Arc<dyn Backend>,
        file: KeyFile,
        kinds: Vec<Arc<str>>,
    ) -> Result<Self, StoreError> {
        let (keys, version) = file.read()?;
        let state =
            State { keys, version, sealing: None, opened: HashMap::new(), current: HashMap::new() };
        let keyring = Arc::new(Keyring { kinds, file, state: Mutex::new(state) });
        Ok(Self { inner, random: SystemRandom::new(), keyring })
    }

    /// Writes again what is sealed with another than the file's first key, or in the clear, now and
    /// whenever a key was added. Never ends by itself.
    pub async fn keep_resealed(self: Arc<Self>, store: Arc<Store>) {
        loop {
            match self.reseal(&store).await {
                Ok(0) => {}
                Ok(count) => {
                    info!(count, key = %self.keyring.state().keys.first, "Secrets were sealed with the newest key")
                }
                Err(error) => {
                    warn!(%error, "Secrets could not be sealed with the newest key; trying again in {RESEAL_EVERY:?}");
                }
            }
            sleep(RESEAL_EVERY).await;
        }
    }

    /// Writes again what is not sealed with the file's first key, and answers how many that were.
    ///
    /// # Errors
    /// When the store cannot write.
    pub async fn reseal(&self, store: &Store) -> Result<usize, StoreError> {
        let mut count = 0;
        for batch in self.stale().chunks(RESEAL_BATCH) {
            let world = store.fresh().await?;
            let again = batch.iter().filter_map(|key| {
                let kind = kinds::by_resource_name(&key.kind)?;
                let object = world.get(kind, &key.namespace, &key.name)?;
                Some(Mutation {
                    key: key.clone(),
                    write: Write::Put(object.body().into()),
                    // One that changes meanwhile is sealed with the newest key by that.
                    precondition: Precondition::At(object.revision),
                    fence: None,
                })
            });
            let outcomes = store.commit(again.collect()).await?;
            count += outcomes.iter().filter(|o| matches!(o, Outcome::Committed(_))).count();
        }
        Ok(count)
    }

    /// Whose bodies are not sealed with the file's first key.
    fn stale(&self) -> Vec<Key> {
        let mut state = self.keyring.state();
        self.keyring.reread(&mut state);
        let first = Some(state.keys.first);
        let stale = state.current.iter().filter(|(_, by)| **by != first);
        stale.map(|(key, _)| key.clone()).collect()
    }

    fn seal(&self, key: &Key, body: &[u8]) -> Result<(Bytes, KeyId), StoreError> {
        let failed = |_| StoreError::Unavailable(format!("{key} could not be encrypted"));
        let data_key = {
            let mut state = self.keyring.state();
            self.keyring.reread(&mut state);
            let first = state.keys.first;
            let usable = state
                .sealing
                .as_mut()
                .filter(|(data_key, uses)| data_key.by == first && *uses < DATA_KEY_USES_MAX);
            match usable {
                Some((data_key, uses)) => {
                    *uses += 1;
                    data_key.clone()
                }
                None => {
                    // The first key is one of the keys; if not, nothing is sealed.
                    let with = state.keys.get(first).ok_or(ring::error::Unspecified);
                    let made = with.and_then(|with| DataKey::generate(&self.random, first, with));
                    let made = Arc::new(made.map_err(failed)?);
                    state.sealing = Some((made.clone(), 1));
                    made
                }
            }
        };
        let sealed = data_key.seal(&self.random, key, body).map_err(failed)?;
        Ok((sealed.into(), data_key.by))
    }

    fn open_change(&self, mut change: Change) -> Result<Change, StoreError> {
        if self.keyring.seals(&change.key) {
            match change.body.take() {
                Some(stored) => {
                    let (body, by) = self.keyring.open(&change.key, stored)?;
                    change.body = Some(body);
                    self.keyring.state().current.insert(change.key.clone(), by);
                }
                None => {
                    self.keyring.state().current.remove(&change.key);
                }
            }
        }
        Ok(change)
    }
}

impl Keyring {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic meanwhile leaves nothing half done: each field is set as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seals(&self, key: &Key) -> bool {
        self.kinds.contains(&key.kind)
    }

    /// Reads the file again if it has changed. What was read before stays in use when it cannot be:
    /// whoever damages the file while the plane runs must not stop it.
    fn reread(&self, state: &mut State) {
        if self.file.version().is_ok_and(|version| version == state.version) {
            return;
        }
        match self.file.read() {
            Ok((keys, version)) => {
                state.keys = keys;
                state.version = version;
            }
            Err(error) => warn!(%error, "the keys read before stay in use"),
        }
    }

    /// The body as it was written, and what it was sealed with.
    fn open(&self, key: &Key, stored: Bytes) -> Result<(Bytes, Option<KeyId>), StoreError> {
        let Some(sealed) = envelope::Sealed::parse(&stored) else {
            // Written before there was a key.
            return Ok((stored, None));
        };
        let mut state = self.state();
        if state.keys.get(sealed.by).is_none() {
            self.reread(&mut state);
        }
        let damaged = || {
            StoreError::Unusable(format!(
                "the encrypted body of {key} was changed or damaged; restore a backup"
            ))
        };
        let data_key = match state.opened.get(sealed.header) {
            Some(data_key) => data_key.clone(),
            None => {
                let with = state.keys.get(sealed.by).ok_or_else(|| {
                    StoreError::Unavailable(format!(
                        "{key} is encrypted with key {}, which {} does not hold; copy that file from a replica that has the key, or restore it",
                        sealed.by,
                        self.file.path().display()
                    ))
                })?;
                let data_key = Arc::new(sealed.data_key(with).ok_or_else(damaged)?);
                if state.opened.len() >= OPENED_MAX {
                    state.opened.clear();
                }
                state.opened.insert(sealed.header.into(), data_key.clone());
                data_key
            }
        };
        drop(state);
        let body = sealed.open(key, &data_key).ok_or_else(damaged)?;
        Ok((body.into(), Some(sealed.by)))
    }
}

fn size(changes: &[Change]) -> usize {
    changes.iter().map(|change| change.body.as_ref().map_or(0, Bytes::len)).sum()
}

#[async_trait]
impl Backend for Sealed {
    async fn commit(&self, batch: &[Mutation]) -> Result<Vec<Outcome>, StoreError> {
        if !batch.iter().any(|mutation| self.keyring.seals(&mutation.key)) {
            return self.inner.commit(batch).await;
        }
        let mut sealed = batch.to_vec();
        // What each sealed mutation leaves behind, by its place in the batch.
        let mut left = Vec::new();
        for (at, mutation) in sealed.iter_mut().enumerate() {
            if !self.keyring.seals(&mutation.key) {
                continue;
            }
            let by = match &mut mutation.write {
                Write::Put(body) => {
                    let (stored, by) = self.seal(&mutation.key, body)?;
                    *body = stored;
                    Some(by)
                }
                Write::Delete => None,
            };
            left.push((at, by));
        }
        let outcomes = self.inner.commit(&sealed).await?;
        let mut state = self.keyring.state();
        for (at, by) in left {
            let (Some(mutation), Some(Outcome::Committed(_))) = (batch.get(at), outcomes.get(at))
            else {
                continue;
            };
            match by {
                Some(by) => state.current.insert(mutation.key.clone(), Some(by)),
                None => state.current.remove(&mutation.key),
            };
        }
        Ok(outcomes)
    }

    fn at_once(&self) -> usize {
        self.inner.at_once()
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        let mut all = Vec::new();
        let (mut since, mut bytes) = (since, 0);
        loop {
            let page = self.inner.changes(since, limit.saturating_sub(all.len())).await?;
            // What is stored is larger than what was written: a page that the backend ended by its
            // size must not look as if the head was reached.
            let ended_by_size = size(&page) >= CHANGES_BYTES_MAX;
            since = page.last().map_or(since, |change| change.revision);
            for change in page {
                let change = self.open_change(change)?;
                bytes += change.body.as_ref().map_or(0, Bytes::len);
                all.push(change);
            }
            if !ended_by_size || bytes >= CHANGES_BYTES_MAX || all.len() >= limit {
                return Ok(all);
            }
        }
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        self.inner.head().await
    }

    async fn snapshot(
        &self,
        at: Revision,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.inner.snapshot(at, after, limit).await?;
        for entry in &mut entries {
            if self.keyring.seals(&entry.key) {
                entry.body = self.keyring.open(&entry.key, std::mem::take(&mut entry.body))?.0;
            }
        }
        Ok(entries)
    }

    async fn load(&self, takers: Vec<Taker>) -> Result<Revision, StoreError> {
        let opening = |mut taker: Taker| -> Taker {
            let keyring = self.keyring.clone();
            Box::new(move |current| {
                if !keyring.kinds.iter().any(|kind| **kind == *current.kind) {
                    return taker(current);
                }
                let Current { kind, namespace, name, body, .. } = current;
                let key = Key { kind: kind.into(), namespace: namespace.into(), name: name.into() };
                let (body, by) = keyring.open(&key, Bytes::copy_from_slice(body))?;
                keyring.state().current.insert(key, by);
                taker(Current { body: &body, ..current })
            })
        };
        self.inner.load(takers.into_iter().map(opening).collect()).await
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.inner.compact(before).await
    }

    async fn acquire_leases(
        &self,
        names: &[String],
        holder: &str,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        self.inner.acquire_leases(names, holder, ttl).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.inner.leases().await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.release_lease(lease).await
    }

    fn shared(&self) -> bool {
        self.inner.shared()
    }
}
