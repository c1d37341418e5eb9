//! Leases in PostgreSQL: one statement each, judged by the server's clock.

use super::{connection::Reader, failure};
use crate::{Lease, StoreError};
use std::time::Duration;

/// The clock is read after the row is locked, not when the statement began.
pub(super) const ACQUIRE: &str = "
    INSERT INTO quarterdeck.lease AS held (name, holder, token, expires)
    VALUES ($1, $2, 1, clock_timestamp() + $3 * interval '1 millisecond')
    ON CONFLICT (name) DO UPDATE SET
        holder = excluded.holder,
        token = CASE WHEN held.holder = excluded.holder AND held.expires > clock_timestamp()
            THEN held.token ELSE held.token + 1 END,
        expires = clock_timestamp() + $3 * interval '1 millisecond'
    WHERE held.holder = excluded.holder OR held.expires <= clock_timestamp()
    RETURNING token";

/// The token moves on, so that fences of the lease given back are refused at once.
pub(super) const RELEASE: &str = "
    UPDATE quarterdeck.lease SET expires = '-infinity', token = token + 1
    WHERE name = $1 AND holder = $2 AND token = $3";

pub(super) async fn acquire(
    reader: &Reader,
    name: &str,
    holder: &str,
    ttl: Duration,
) -> Result<Option<Lease>, StoreError> {
    // Longer than a century is as good as for ever, and still a date.
    const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
    let ttl = ttl.min(TTL_MAX).as_secs_f64() * 1_000.0;
    let row =
        reader.client.query_opt(&reader.acquire, &[&name, &holder, &ttl]).await.map_err(failure)?;
    let Some(row) = row else { return Ok(None) };
    let token = super::unsigned(row.try_get(0).map_err(failure)?);
    Ok(Some(Lease { name: name.into(), holder: holder.into(), token }))
}

pub(super) async fn release(reader: &Reader, lease: &Lease) -> Result<(), StoreError> {
    let token = super::signed(lease.token);
    reader
        .client
        .execute(&reader.release, &[&lease.name, &lease.holder, &token])
        .await
        .map_err(failure)?;
    Ok(())
}
