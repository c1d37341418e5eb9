//! Free loopback ports for servers that must be told their port, and must find it free again when
//! a test restarts them. Must never hand out a port from the ephemeral range.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// First port handed out. Above the ports that well-known services use.
const FIRST: u16 = 20_000;

/// How many ports from [`FIRST`] on may be handed out. Ends below 32768, where Linux by default
/// begins to take ports for outgoing connections: while a server is down between a kill and a
/// restart, no client anywhere on the machine can be given its port by chance.
const COUNT: u16 = 12_000;

/// How far consecutive process ids are set apart, so that tests running side by side in their own
/// processes do not probe the same ports. A prime, so that the whole range is used.
const STRIDE: u32 = 97;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback address with a port that nothing listens on.
///
/// # Panics
/// When every port of the range is taken.
#[must_use]
pub fn free_address() -> SocketAddr {
    let start = std::process::id().wrapping_mul(STRIDE) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((start + step) % u32::from(COUNT)).unwrap_or(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on 127.0.0.1 between {FIRST} and {}", FIRST + COUNT);
}
