//! What runs on a host that Quarterdeck manages.
//!
//! It must not know the store, the engine or what any kind means beyond its type: what is wanted of a host reaches it as
//! objects, and what is seen goes back as their status.
//!
//! Start reading at [`containers`].

pub mod containers;
