//! Every bound on what a BMC is asked and on what it may answer, with its reason.

use std::time::Duration;

/// Requests in flight to one BMC. Its processor is small and many firmwares serialise or crash
/// under more.
pub(super) const CONCURRENT_PER_BMC: usize = 2;

/// Requests in flight to all BMCs of this process: bounds sockets and memory (× [`BODY_BYTES_MAX`]).
pub(super) const CONCURRENT_IN_ALL: usize = 512;

/// Largest answer read. The largest honest ones (a log of 1,000 entries, an expanded sensor
/// collection) stay below 2 MiB.
pub(super) const BODY_BYTES_MAX: usize = 4 << 20;

/// Values read in all answers to one call of an action. A server with 512 sensors, 100 drives and
/// a full event log stays below 100,000. A value takes some 100 bytes, 700 at the very worst.
pub(super) const VALUES_MAX: usize = 400_000;

/// Largest error body that is looked into; honest ones take a kilobyte or two.
pub(super) const ERROR_BYTES_MAX: usize = 64 << 10;

/// One request with its whole answer. Slow firmwares need 10–20 s for a first inventory read.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Tries of one request that is known to have had no effect (or can have none).
pub(super) const TRIES_MAX: u32 = 4;

/// Redirects followed for one request; firmwares use one to add or drop a trailing slash.
pub(super) const REDIRECTS_MAX: u32 = 3;

/// First pause after a failure; doubles with each further one.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(500);

/// Longest pause: a rebooting BMC is back within minutes, and should be found soon after.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Longest pause that a BMC's own `Retry-After` is honoured for.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// After refused credentials no login is tried for this long: most BMCs lock an account after a
/// few wrong passwords, and many actions may share one.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(60);

/// A client not used for this long is closed and its session deleted: BMCs hold only a handful of
/// sessions, for people too.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(120);

/// Longest wait for the deletion of one session when a client is closed.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest path of a resource.
pub(super) const PATH_BYTES_MAX: usize = 2048;

/// Longest text taken over from an answer; longer ones are cut.
pub(super) const TEXT_CHARS_MAX: usize = 512;

/// Members read of one collection. A large server has 4 processors, 64 modules, 100 drives.
pub(super) const MEMBERS_MAX: usize = 512;

/// Pages read of one collection.
pub(super) const PAGES_MAX: usize = 16;

/// Systems of one BMC that are opened to look for a serial number; a multi-node chassis has 4–16.
pub(super) const SYSTEMS_OPENED_MAX: usize = 64;

/// Chassis of one system that are looked at for sensors.
pub(super) const CHASSIS_MAX: usize = 16;

/// Sensors read one by one where the BMC cannot expand collections.
pub(super) const SENSORS_SINGLE_MAX: usize = 64;

/// Event log entries given back.
pub(super) const LOG_ENTRIES_MAX: usize = 20;

/// Pages read of an event log.
pub(super) const LOG_PAGES_MAX: usize = 4;

/// Pause between two looks at a state that is being waited for.
pub(super) const POLL_FIRST: Duration = Duration::from_millis(500);

/// Longest pause between two looks.
pub const POLL_MAX: Duration = Duration::from_secs(3);

/// A setting that a BMC accepted shows within this; the slowest are iDRACs with 5–10 s.
pub(super) const SETTLING_MAX: Duration = Duration::from_secs(20);

/// Virtual media drives of one system; BMCs have 1–4.
pub(super) const DRIVES_MAX: usize = 16;
