//! Leases in PostgreSQL: one statement each, judged by the server's clock.

use super::{connection::Reader, failure};
use crate::{Lease, StoreError};
use std::time::Duration;
use tokio_postgres::Row;

/// The clock is read after a row is locked, not when the statement began. Rows are locked in order of their names,
/// as by those who commit under them, so that nobody waits in a circle.
pub(super) const ACQUIRE: &str = "
    INSERT INTO quarterdeck.lease AS held (name, holder, token, expires)
    SELECT wanted, $2, 1, clock_timestamp() + $3 * interval '1 millisecond'
    FROM unnest($1::text[]) AS wanted ORDER BY wanted
    ON CONFLICT (name) DO UPDATE SET
        holder = excluded.holder,
        token = CASE WHEN held.holder = excluded.holder AND held.expires > clock_timestamp()
            THEN held.token ELSE held.token + 1 END,
        expires = clock_timestamp() + $3 * interval '1 millisecond'
    WHERE held.holder = excluded.holder OR held.expires <= clock_timestamp()
    RETURNING name, token";

pub(super) const HELD: &str = "
    SELECT name, holder, token FROM quarterdeck.lease WHERE expires > clock_timestamp()";

/// The token moves on, so that fences of the lease given back are refused at once.
pub(super) const RELEASE: &str = "
    UPDATE quarterdeck.lease SET expires = '-infinity', token = token + 1
    WHERE name = $1 AND holder = $2 AND token = $3";

pub(super) async fn acquire(
    reader: &Reader,
    names: &[String],
    holder: &str,
    ttl: Duration,
) -> Result<Vec<Lease>, StoreError> {
    // Longer than a century is as good as for ever, and still a date.
    const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
    let ttl = ttl.min(TTL_MAX).as_secs_f64() * 1_000.0;
    let rows = reader.client.query(&reader.acquire, &[&names, &holder, &ttl]).await;
    let lease = |row: &Row| {
        let token = super::unsigned(row.try_get(1)?);
        Ok(Lease { name: row.try_get(0)?, holder: holder.into(), token })
    };
    rows.and_then(|rows| rows.iter().map(lease).collect()).map_err(failure)
}

pub(super) async fn held(reader: &Reader) -> Result<Vec<Lease>, StoreError> {
    let rows = reader.client.query(&reader.held, &[]).await;
    let lease = |row: &Row| {
        let token = super::unsigned(row.try_get(2)?);
        Ok(Lease { name: row.try_get(0)?, holder: row.try_get(1)?, token })
    };
    rows.and_then(|rows| rows.iter().map(lease).collect()).map_err(failure)
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
