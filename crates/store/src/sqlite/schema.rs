//! Tables of the SQLite backend and how older files become the newest form.

use super::failure;
use crate::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Marks the file as ours (`PRAGMA application_id`): "Qdck".
const APPLICATION: i64 = 0x5164_636b;

/// Each entry takes the file one version further. Never change one that was released.
const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        previous INTEGER,
        body BLOB
    );
    CREATE TABLE current (
        kind TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (kind, namespace, name)
    ) WITHOUT ROWID;
    CREATE TABLE lease (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        token INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE meta (head INTEGER NOT NULL, compacted INTEGER NOT NULL);
    INSERT INTO meta VALUES (0, 0);
",
    // `current` shows all changes up to this revision; of later ones, some.
    "
    ALTER TABLE meta ADD COLUMN folded INTEGER NOT NULL DEFAULT 0;
    UPDATE meta SET folded = head;
",
];

/// Refuses to read a file of another form than the newest.
pub(super) fn check(connection: &Connection, file: &Path) -> Result<(), StoreError> {
    let number = |pragma: &str| {
        let row = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        connection.query_row(&format!("PRAGMA {pragma}"), [], row).map_err(failure)
    };
    if number("application_id")? != APPLICATION {
        return Err(foreign(file));
    }
    let (version, newest) = (number("user_version")?, MIGRATIONS.len());
    match usize::try_from(version).unwrap_or(usize::MAX) {
        version if version > newest => Err(newer(file, version)),
        version if version < newest => Err(StoreError::Unusable(format!(
            "{} was written by an older release (format {version}, this one's is {newest}); make the backup with that \
             release, or start this one on it first",
            file.display()
        ))),
        _ => Ok(()),
    }
}

fn foreign(file: &Path) -> StoreError {
    StoreError::Unusable(format!(
        "{} is a database of something else; choose another folder with --data-dir",
        file.display()
    ))
}

fn newer(file: &Path, version: usize) -> StoreError {
    StoreError::Unusable(format!(
        "{} was written by a newer release (format {version}, this one knows {}); start that release",
        file.display(),
        MIGRATIONS.len()
    ))
}

/// Brings the file to the newest form.
pub(super) fn migrate(connection: &mut Connection, file: &Path) -> Result<(), StoreError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
    let number = |pragma: &str| {
        transaction.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
    };
    let version = number("user_version").map_err(failure)?;
    let application = number("application_id").map_err(failure)?;
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failure)?;
    if tables > 0 && application != APPLICATION {
        return Err(foreign(file));
    }
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(newer(file, done));
    }
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step).map_err(failure)?;
    }
    let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "user_version", newest).map_err(failure)?;
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(failure)?;
    // One process owns the file, so whoever held a lease before is gone.
    transaction.execute("UPDATE lease SET expires = 0", []).map_err(failure)?;
    transaction.commit().map_err(failure)
}
