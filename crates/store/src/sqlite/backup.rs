//! Backup of a SQLite store, also while a plane runs on it, and restoring one. What is being restored has
//! another name until it is whole.

use super::{FILE, Sqlite, failure, load, read, schema, write::sql};
use crate::{
    FolderLock, StoreError,
    backup::{self, Backup, Part, Unfinished},
};
use quarterdeck_model::{Key, Revision};
use rusqlite::{Connection, OpenFlags, params};
use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    time::SystemTime,
};

/// Name of the database until it is whole.
const RESTORING: &str = "quarterdeck.db.restoring";
/// What the names of SQLite's files end with. Each can hold changes that SQLite would bring into whatever
/// database it finds beside it.
const ENDINGS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

impl Sqlite {
    /// Writes all that is in the database of the folder `dir`, at one revision, to the new file `to`. Works
    /// while a plane runs on it.
    ///
    /// # Errors
    /// When there is no database of this release's form, `to` exists, or it cannot be written.
    pub fn backup(dir: &Path, to: &Path, now: SystemTime) -> Result<Backup, StoreError> {
        let file = dir.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut source = Connection::open_with_flags(&file, flags).map_err(|error| {
            StoreError::Unusable(format!(
                "cannot open {}: {error}; name the plane's folder with --data-dir, or its database with --store",
                file.display()
            ))
        })?;
        schema::check(&source, &file)?;
        let unfinished = Unfinished::begin(to, now)?;
        let revision = load::load(&mut source, &file, vec![unfinished.taker()])?;
        // Tokens only grow: read later, they are as good.
        let leases = read::tokens(&source)?;
        unfinished.finish(revision, leases)
    }

    /// Makes the database of the folder `dir`, which must have none, from the backup `from`. Answers what was
    /// in it, and the revision that the restored store begins with.
    ///
    /// # Errors
    /// When there is any file of a database, or the backup is not whole, or it cannot be written. Then nothing
    /// is restored.
    pub fn restore(
        dir: &Path,
        from: &Path,
        now: SystemTime,
    ) -> Result<(Backup, Revision), StoreError> {
        let unwritable =
            |path: &Path, error| StoreError::Unwritable(format!("{}: {error}", path.display()));
        let mut reader = backup::open(from)?;
        make_folder(dir)?;
        let _owned = FolderLock::take(dir)?;
        let (file, restoring) = (dir.join(FILE), dir.join(RESTORING));
        refuse_what_is_there(dir)?;
        // Left by one that was killed.
        match fs::remove_file(&restoring) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unwritable(&restoring, error));
            }
            _ => {}
        }
        let filled = fill(&restoring, &mut reader, backup::microseconds(now));
        let restored = filled.and_then(|filled| {
            let synced = File::open(&restoring).and_then(|file| file.sync_all());
            synced
                .and_then(|()| fs::rename(&restoring, &file))
                .map_err(|error| unwritable(&file, error))?;
            if let Err(error) = backup::sync_folder_of(&file) {
                // What is said not to be restored must not be found there.
                let _ = fs::remove_file(&file);
                return Err(error);
            }
            Ok(filled)
        });
        if restored.is_err() {
            // When it cannot be removed, its name tells what it is.
            let _ = fs::remove_file(&restoring);
        }
        restored
    }
}

/// Makes a folder, and those it is in, where they are missing; then they outlast a power cut.
fn make_folder(dir: &Path) -> Result<(), StoreError> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = dir.ancestors().take_while(missing).collect();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| StoreError::Unwritable(format!("{}: {error}", dir.display())))?;
    missing.into_iter().try_for_each(backup::sync_folder_of)
}

/// Fails when there is any file of a database in the folder.
fn refuse_what_is_there(dir: &Path) -> Result<(), StoreError> {
    let files = ENDINGS.map(|ending| dir.join(format!("{FILE}{ending}")));
    // Also a link that leads nowhere.
    let there = files.iter().filter(|file| file.symlink_metadata().is_ok());
    let there: Vec<String> = there.map(|file| file.display().to_string()).collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "there is a database already, or a part of one, which is not written over: {}; name an empty folder \
         with --data-dir, or move what is there away, all of it together",
        there.join(", ")
    )))
}

/// Writes a new database with all that is in a backup.
fn fill<R: std::io::Read>(
    file: &Path,
    reader: &mut backup::Reader<R>,
    now: u64,
) -> Result<(Backup, Revision), StoreError> {
    let mut connection = Connection::open(file).map_err(failure)?;
    // Nobody needs half of it: what was written counts when the whole is synced and renamed.
    connection
        .execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;",
        )
        .map_err(failure)?;
    schema::migrate(&mut connection, file)?;
    let transaction = connection.transaction().map_err(failure)?;
    let backup = {
        let mut log = transaction
            .prepare("INSERT INTO log VALUES (?1, ?2, ?3, ?4, NULL, ?5)")
            .map_err(failure)?;
        loop {
            match reader.next()? {
                Part::Objects(objects) => {
                    for object in objects {
                        let Key { kind, namespace, name } = &object.key;
                        let body: &[u8] = &object.body;
                        log.execute(params![sql(object.revision), kind, namespace, name, body])
                            .map_err(failure)?;
                    }
                }
                Part::End(backup) => break backup,
            }
        }
    };
    let first = backup.first_revision(now);
    transaction
        .execute_batch(
            "INSERT INTO current SELECT kind, namespace, name, revision FROM log
             ORDER BY kind, namespace, name",
        )
        .map_err(failure)?;
    // Older revisions are as if compacted: a watch from one of them begins anew.
    transaction
        .execute("UPDATE meta SET head = ?1, compacted = ?1, folded = ?1", [sql(first)])
        .map_err(failure)?;
    for (name, token) in &backup.leases {
        let token = sql(Revision(backup.first_token(*token, now)));
        transaction
            .execute("INSERT INTO lease VALUES (?1, '', ?2, 0)", params![name, token])
            .map_err(failure)?;
    }
    transaction.commit().map_err(failure)?;
    connection.close().map_err(|(_, error)| failure(error))?;
    Ok((backup, first))
}
