//! A simulated fleet behind the same provider traits as the real one: machines with BMCs that are slow,
//! that fail and that lie, all of it from one seed, so that the whole plane can be shown, tested and
//! measured without hardware.
//!
//! [`Simulation`] is the machines: it puts twins of the Redfish actions into a catalogue, in place of the
//! real ones. [`Fleet`] is the objects that describe them, as a company would have written them.
//!
//! Rules of this crate: it must not know the store, the engine or HTTP. What is drawn follows from the seed,
//! the machine and how often its BMC was asked before, and from nothing else: no wall clock, no randomness of
//! the process, no order in which tasks happen to run. Nothing locks the fleet as a whole.
//!
//! Start reading at `simulation.rs`, then `visit.rs` (one call at one BMC) and any file of `actions/`.
//! `docs/simulation.md` says where the numbers come from.

mod actions;
mod addresses;
mod catalogue;
mod clock;
mod company;
mod contact;
mod faults;
mod fleet;
mod hardware;
mod latency;
mod outages;
mod places;
mod random;
pub mod redfish;
mod simulation;
mod state;
mod visit;

pub use company::{Company, instances_on, is_team};
pub use faults::Fault;
pub use fleet::{Fleet, FleetObject};
pub use latency::Latency;
pub use outages::Cause;
pub use simulation::{Effect, Simulation};
