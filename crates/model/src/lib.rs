//! The kinds Quarterdeck manages and the rules of their shared shape: metadata, conditions,
//! selectors, schemas, validation and the encoding of an object.
//!
//! This crate is pure. It must not know the store, HTTP, providers, clocks or randomness: what
//! varies is passed in.
//!
//! Start reading at [`kind`] (what a kind is), then any file under [`kinds`].

pub mod action;
pub mod agent;
pub mod ansible;
pub mod approval;
pub mod condition;
pub mod cron;
pub mod duration;
pub mod error;
mod found;
pub mod inventory;
pub mod kind;
pub mod kinds;
pub mod meta;
pub mod object;
pub mod pick;
pub mod quantity;
mod reader;
mod scan;
pub mod schema;
pub mod selector;
pub mod share;
pub mod time;
pub mod validate;
pub mod window;
pub mod words;

pub use action::ActionSignature;
pub use approval::{ApprovalPolicy, Verdict};
pub use condition::{Condition, ConditionStatus};
pub use duration::Duration;
pub use error::{FieldError, FieldErrors};
pub use kind::{Column, ColumnType, Kind, KindInfo, KindRef, Scale, Scope};
pub use meta::{ObjectMeta, ObjectReference, OwnerReference};
pub use object::{DecodeError, Key, Object, Pack, Revision, Uid};
pub use pick::Picker;
pub use selector::{FieldSelector, LabelSelector};
pub use time::Time;

pub use scan::Paths;
