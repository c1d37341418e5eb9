//! What a batch does to a store, decided from what the store holds. Pure: both backends read, ask
//! here, and write what they are told, so that they cannot differ in it.

use crate::{Mutation, Outcome, Precondition, Write};
use bytes::Bytes;
use quarterdeck_model::{Key, Revision};
use std::collections::{BTreeSet, HashMap};

/// What the store holds of that which a batch is about.
#[derive(Debug, Default)]
pub(crate) struct Held<'a> {
    /// The newest revision.
    pub(crate) head: Revision,
    /// The revision of each of the batch's [`keys`] that has a body.
    pub(crate) current: HashMap<&'a Key, Revision>,
    /// The token of each lease that the batch's fences name.
    pub(crate) tokens: HashMap<&'a str, u64>,
    /// How many bodies there are in groups: at least those of [`limited`].
    pub(crate) counts: HashMap<Group<'a>, u64>,
}

/// What is counted together: a kind in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group<'a> {
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
}

impl<'a> Group<'a> {
    pub(crate) fn of(key: &'a Key) -> Self {
        Self { kind: &key.kind, namespace: &key.namespace }
    }
}

/// One new entry of the log.
#[derive(Debug)]
pub(crate) struct Logged<'a> {
    pub(crate) revision: Revision,
    pub(crate) key: &'a Key,
    pub(crate) previous: Option<Revision>,
    pub(crate) body: Option<&'a Bytes>,
}

/// What is to be written, and what the writers are told once it is.
#[derive(Debug)]
pub(crate) struct Decision<'a> {
    pub(crate) outcomes: Vec<Outcome>,
    /// In order of revision, without gaps.
    pub(crate) log: Vec<Logged<'a>>,
    /// The newest revision afterwards.
    pub(crate) head: Revision,
    /// Keys that have a body afterwards, with the revision that wrote it.
    pub(crate) put: Vec<(&'a Key, Revision)>,
    /// Keys that have lost their body.
    pub(crate) removed: Vec<&'a Key>,
    /// How many bodies there are afterwards in the groups that were counted before.
    pub(crate) counts: HashMap<Group<'a>, u64>,
}

/// The distinct keys that a batch is about, or depends on, in order.
pub(crate) fn keys(batch: &[Mutation]) -> BTreeSet<&Key> {
    let own = batch.iter().map(|mutation| &mutation.key);
    let others = batch.iter().flat_map(|mutation| seen(&mutation.precondition));
    own.chain(others.map(|(other, _)| other)).collect()
}

/// What must be as it was seen, besides the key itself.
fn seen(precondition: &Precondition) -> &[(Key, Revision)] {
    match precondition {
        Precondition::AbsentIf { seen, .. } => seen.as_slice(),
        Precondition::AtIf { seen, .. } => seen,
        _ => &[],
    }
}

/// The distinct leases that fences of a batch name, in order.
pub(crate) fn leases(batch: &[Mutation]) -> BTreeSet<&str> {
    batch.iter().filter_map(|mutation| Some(mutation.fence.as_ref()?.lease.as_str())).collect()
}

/// How many there must be fewer of.
fn below(precondition: &Precondition) -> Option<u64> {
    match precondition {
        Precondition::AbsentIf { below, .. } => *below,
        _ => None,
    }
}

/// The distinct groups whose size a batch limits, in order.
pub(crate) fn limited(batch: &[Mutation]) -> BTreeSet<Group<'_>> {
    let limited = |mutation: &&Mutation| below(&mutation.precondition).is_some();
    batch.iter().filter(limited).map(|mutation| Group::of(&mutation.key)).collect()
}

/// Decides each mutation by itself, in order; each sees those before it.
pub(crate) fn decide<'a>(batch: &'a [Mutation], held: Held<'a>) -> Decision<'a> {
    let Held { mut head, mut current, tokens, mut counts } = held;
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut log = Vec::with_capacity(batch.len());
    let mut touched = BTreeSet::new();
    for Mutation { key, write, precondition, fence } in batch {
        if let Some(fence) = fence
            && tokens.get(fence.lease.as_str()) != Some(&fence.token)
        {
            outcomes.push(Outcome::Fenced);
            continue;
        }
        let previous = current.get(key).copied();
        let own = match precondition {
            Precondition::None => true,
            Precondition::Absent | Precondition::AbsentIf { .. } => previous.is_none(),
            Precondition::At(at) | Precondition::AtIf { at, .. } => previous == Some(*at),
        };
        let same = |(other, at): &(Key, Revision)| current.get(other) == Some(at);
        let met = own && seen(precondition).iter().all(same);
        let body = match write {
            Write::Put(body) => Some(body),
            Write::Delete => None,
        };
        // Removing what is not there would be a change that changes nothing.
        if !met || (previous.is_none() && body.is_none()) {
            outcomes.push(Outcome::Conflict(previous));
            continue;
        }
        let group = Group::of(key);
        if let Some(most) = below(precondition) {
            // What was not counted is not let through.
            let count = counts.get(&group).copied().unwrap_or(u64::MAX);
            if count >= most {
                outcomes.push(Outcome::Full(count));
                continue;
            }
        }
        if let Some(count) = counts.get_mut(&group) {
            *count = match (previous, body) {
                (None, Some(_)) => count.saturating_add(1),
                (Some(_), None) => count.saturating_sub(1),
                _ => *count,
            };
        }
        head = head.next();
        match body {
            Some(_) => current.insert(key, head),
            None => current.remove(key),
        };
        touched.insert(key);
        log.push(Logged { revision: head, key, previous, body });
        outcomes.push(Outcome::Committed(head));
    }
    let mut put = Vec::with_capacity(touched.len());
    let mut removed = Vec::new();
    for key in touched {
        match current.get(key) {
            Some(revision) => put.push((key, *revision)),
            None => removed.push(key),
        }
    }
    Decision { outcomes, log, head, put, removed, counts }
}
