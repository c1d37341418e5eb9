//! The revisioned store and the cache every read is served from.
//!
//! It knows the envelope of an object (key, labels, indexed fields) and must not know what any kind
//! means, nor HTTP, nor runs.
//!
//! Start reading at [`backend`] (the durable log).

pub mod backend;

pub use backend::{
    Backend, Change, Entry, Fence, Lease, Mutation, Outcome, Precondition, StoreError, Write,
};
