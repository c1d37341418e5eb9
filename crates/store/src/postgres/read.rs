//! Reads in PostgreSQL. Each is one statement, so that it sees one moment of the database.

use super::{connection::Reader, failure, signed, unsigned};
use crate::{CHANGES_BYTES_MAX, Change, Entry, StoreError};
use bytes::Bytes;
use quarterdeck_model::{Key, Revision};
use tokio_postgres::Row;

pub(super) const HEAD: &str = "SELECT revision FROM quarterdeck.head";

/// Every row begins with the head and the oldest readable revision; there is one row without an
/// entry when there is none. `before` is the size of all bodies before.
pub(super) const CHANGES: &str = "
    SELECT head.revision, horizon.revision, page.revision, page.previous,
        page.kind, page.namespace, page.name, page.body
    FROM quarterdeck.head CROSS JOIN quarterdeck.horizon
    LEFT JOIN LATERAL (
        SELECT * FROM (
            SELECT *, sum(coalesce(octet_length(body), 0))
                OVER (ORDER BY revision ROWS UNBOUNDED PRECEDING)
                - coalesce(octet_length(body), 0) AS before
            FROM (SELECT * FROM quarterdeck.log
                  WHERE revision > $1 ORDER BY revision LIMIT $2) AS entries
        ) AS measured WHERE before < $3
    ) AS page ON true
    ORDER BY page.revision";

/// The table of latest revisions shows them as of `folded`. What a key changed between `$1` and that was at
/// `$1` is what its first change replaced; what it changed between that and `$1`, what its last change left.
/// Any other key is as in the table.
pub(super) const SNAPSHOT: &str = "
    WITH changed AS (
        (SELECT DISTINCT ON (kind, namespace, name) kind, namespace, name, previous AS revision
         FROM quarterdeck.folded JOIN quarterdeck.log
             ON log.revision > $1 AND log.revision <= folded.revision
         ORDER BY kind, namespace, name, log.revision)
        UNION ALL
        (SELECT DISTINCT ON (kind, namespace, name) kind, namespace, name,
             CASE WHEN body IS NOT NULL THEN log.revision END
         FROM quarterdeck.folded JOIN quarterdeck.log
             ON log.revision > folded.revision AND log.revision <= $1
         ORDER BY kind, namespace, name, log.revision DESC)
    ), page AS (
        SELECT * FROM (
            (SELECT kind, namespace, name, revision FROM changed
             WHERE revision IS NOT NULL AND (kind, namespace, name) > ($2, $3, $4))
            UNION ALL
            (SELECT kind, namespace, name, revision FROM quarterdeck.latest
             WHERE (kind, namespace, name) > ($2, $3, $4) AND NOT EXISTS (
                 SELECT FROM changed WHERE (changed.kind, changed.namespace, changed.name)
                     = (latest.kind, latest.namespace, latest.name))
             ORDER BY kind, namespace, name LIMIT $5)
        ) AS both_kinds ORDER BY kind, namespace, name LIMIT $5
    )
    SELECT head.revision, horizon.revision, page.revision,
        page.kind, page.namespace, page.name, log.body
    FROM quarterdeck.head CROSS JOIN quarterdeck.horizon
    LEFT JOIN (page JOIN quarterdeck.log USING (revision)) ON true
    ORDER BY page.kind, page.namespace, page.name";

type Failed = tokio_postgres::Error;

fn key(row: &Row, first: usize) -> Result<Key, Failed> {
    let text = |column| row.try_get::<_, &str>(column).map(Into::into);
    Ok(Key { kind: text(first)?, namespace: text(first + 1)?, name: text(first + 2)? })
}

fn revision(row: &Row, column: usize) -> Result<Revision, Failed> {
    Ok(Revision(unsigned(row.try_get(column)?)))
}

fn optional(row: &Row, column: usize) -> Result<Option<Revision>, Failed> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(|number| Revision(unsigned(number))))
}

fn body(row: &Row, column: usize) -> Result<Option<Bytes>, Failed> {
    Ok(row.try_get::<_, Option<&[u8]>>(column)?.map(Bytes::copy_from_slice))
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The rows that hold an entry, once it is sure that `wanted` could be read.
fn readable(rows: &[Row], wanted: Revision) -> Result<impl Iterator<Item = &Row>, StoreError> {
    let bounds = || {
        let first = rows.first()?;
        Some((revision(first, 0).ok()?, revision(first, 1).ok()?))
    };
    let (head, oldest) = bounds().ok_or_else(|| {
        StoreError::Unusable(
            "the PostgreSQL store has lost the row that says its head; restore a backup".into(),
        )
    })?;
    if wanted < oldest || wanted > head {
        return Err(StoreError::Compacted { wanted, oldest });
    }
    Ok(rows.iter().filter(|row| matches!(optional(row, 2), Ok(Some(_)))))
}

pub(super) async fn head(reader: &Reader) -> Result<Revision, StoreError> {
    let row = reader.client.query_one(&reader.head, &[]).await.map_err(failure)?;
    revision(&row, 0).map_err(failure)
}

pub(super) async fn changes(
    reader: &Reader,
    since: Revision,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let rows = reader
        .client
        .query(&reader.changes, &[&signed(since.0), &count(limit), &count(CHANGES_BYTES_MAX)])
        .await
        .map_err(failure)?;
    let change = |row: &Row| {
        Ok(Change {
            revision: revision(row, 2)?,
            previous: optional(row, 3)?,
            key: key(row, 4)?,
            body: body(row, 7)?,
        })
    };
    readable(&rows, since)?.map(change).collect::<Result<_, _>>().map_err(failure)
}

pub(super) async fn snapshot(
    reader: &Reader,
    at: Revision,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let (kind, namespace, name) =
        after.map_or(("", "", ""), |key| (&*key.kind, &*key.namespace, &*key.name));
    let rows = reader
        .client
        .query(&reader.snapshot, &[&signed(at.0), &kind, &namespace, &name, &count(limit)])
        .await
        .map_err(failure)?;
    let entry = |row: &Row| {
        Ok(Entry {
            revision: revision(row, 2)?,
            key: key(row, 3)?,
            body: body(row, 6)?.unwrap_or_default(),
        })
    };
    readable(&rows, at)?.map(entry).collect::<Result<_, _>>().map_err(failure)
}
