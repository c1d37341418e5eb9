//! Starts the real parts that tests run against (PostgreSQL, libvirt, a Redfish service, an OpenID
//! Connect issuer, a load balancer, Prometheus, the plane itself) and stops them again, also when the test panics;
//! and judges what clients saw of a store ([`history`]).
//!
//! Must know nothing of Quarterdeck's own types: a test that shares code with what it tests
//! proves less. It is a dev-dependency only and is never published.
//!
//! Everything started here listens on loopback or on a socket under a temporary folder, keeps its
//! files under that folder, and is signalled by its own process id alone. A helper that cannot do
//! its work panics with what failed and the end of the part's log, since a test has no better
//! answer than to fail.
//!
//! Start reading at [`process::Process`]; all else is built on it. `make setup` installs the parts.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a helper that cannot do its work must fail the test that called it"
)]

pub mod balancer;
mod certificate;
pub mod docker;
pub mod history;
pub mod issuer;
pub mod kubernetes;
pub mod libvirt;
pub mod plane;
pub mod port;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod random;
pub mod redfish;
pub mod user;
pub mod wait;
