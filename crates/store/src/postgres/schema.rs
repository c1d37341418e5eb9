//! Tables of the PostgreSQL backend and how older databases become the newest form.
//!
//! All of it is in a schema of its own, so that it can share a database with anything else.

use super::failure;
use crate::StoreError;
use std::cmp::Ordering;
use tokio_postgres::{Client, Transaction};

/// The oldest server that is supported: the first with all that Patroni and our statements rely on
/// and that still gets fixes.
const SERVER_MIN: i32 = 150_000;
/// Locked while the schema is looked at and changed, so that replicas that start at once take
/// turns: "Qdck" as a number.
const LOCK: i64 = 0x5164_636b;
/// What the format table says the schema belongs to.
const APPLICATION: &str = "quarterdeck";

/// Each entry takes the database one version further. Never change one that was released.
///
/// Bodies are kept beside their row up to 4 KB (two rows a page) and are never compressed: both
/// cost more than they save for objects of this size. `current` (now `latest`) and the one-row tables leave room
/// in their pages, so that an update needs no new index entry.
const MIGRATIONS: [&str; 2] = [
    r#"
    CREATE TABLE quarterdeck.log (
        revision bigint PRIMARY KEY,
        previous bigint,
        kind text COLLATE "C" NOT NULL,
        namespace text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        body bytea
    ) WITH (toast_tuple_target = 4080);
    ALTER TABLE quarterdeck.log ALTER COLUMN body SET STORAGE EXTERNAL;
    CREATE TABLE quarterdeck.current (
        revision bigint NOT NULL,
        kind text COLLATE "C" NOT NULL,
        namespace text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        PRIMARY KEY (kind, namespace, name)
    ) WITH (fillfactor = 80);
    CREATE TABLE quarterdeck.lease (
        name text COLLATE "C" PRIMARY KEY,
        holder text NOT NULL,
        token bigint NOT NULL,
        expires timestamptz NOT NULL
    ) WITH (fillfactor = 50);
    -- The last batch that each connection has committed: how its process finds out, after it lost
    -- that, whether its commit was.
    CREATE TABLE quarterdeck.writer (
        id text COLLATE "C" PRIMARY KEY,
        batch bigint NOT NULL,
        at timestamptz NOT NULL
    ) WITH (fillfactor = 50);
    -- One row, which every commit moves from where it was decided on.
    CREATE TABLE quarterdeck.head (revision bigint NOT NULL) WITH (fillfactor = 50);
    INSERT INTO quarterdeck.head VALUES (0);
    -- Not in the same row, so that a compaction does not hold up writers.
    CREATE TABLE quarterdeck.compacted (revision bigint NOT NULL) WITH (fillfactor = 50);
    INSERT INTO quarterdeck.compacted VALUES (0);
"#,
    // Locked in the order in which writers of the first release come to them. Two get other names, so that those
    // that still run can neither write nor compact: they would not know what the table does not show yet.
    r#"
    LOCK TABLE quarterdeck.head, quarterdeck.current, quarterdeck.log, quarterdeck.compacted
        IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE quarterdeck.current RENAME TO latest;
    ALTER INDEX quarterdeck.current_pkey RENAME TO latest_pkey;
    ALTER TABLE quarterdeck.compacted RENAME TO horizon;
    -- One row: the table of latest revisions is as they were at this one. What came after is in the log only.
    CREATE TABLE quarterdeck.folded (revision bigint NOT NULL) WITH (fillfactor = 50);
    INSERT INTO quarterdeck.folded SELECT revision FROM quarterdeck.head;
"#,
];

/// Writers that have not committed for so long are forgotten: none waits that long to learn what
/// became of its commit.
const FORGET_WRITERS: &str = "DELETE FROM quarterdeck.writer WHERE at < now() - interval '1 day'";

/// Brings the database to the newest form.
pub(super) async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    let (number, version) =
        (setting(client, "server_version_num").await?, setting(client, "server_version").await?);
    check_version(&number, &version)?;
    for (name, loses) in [
        ("fsync", "its computer goes down"),
        ("full_page_writes", "its computer goes down while it writes"),
    ] {
        if setting(client, name).await? == "off" {
            tracing::warn!("the PostgreSQL server runs with {name}=off: data is lost when {loses}");
        }
    }
    let transaction = client.transaction().await.map_err(failure)?;
    prepare(&transaction).await?;
    transaction.commit().await.map_err(failure)
}

/// Refuses to read a database of another form than the newest.
pub(super) async fn check(client: &Client) -> Result<(), StoreError> {
    let row = client
        .query_one("SELECT to_regclass('quarterdeck.format') IS NOT NULL", &[])
        .await
        .map_err(failure)?;
    let absent = || {
        StoreError::Unusable(
            "the database of --store holds no store of Quarterdeck; name the one that the planes use".into(),
        )
    };
    if !row.try_get::<_, bool>(0).map_err(failure)? {
        return Err(absent());
    }
    let row = client
        .query_opt("SELECT version FROM quarterdeck.format WHERE application = $1", &[&APPLICATION])
        .await
        .map_err(failure)?;
    let version: i32 = row.ok_or_else(absent)?.try_get(0).map_err(failure)?;
    match version.cmp(&newest()) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(newer("of --store", version)),
        Ordering::Less => Err(StoreError::Unusable(format!(
            "the database of --store was written by an older release (format {version}, this one's is {}); make the \
             backup with that release, or start this one on it first",
            newest()
        ))),
    }
}

fn newest() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

fn newer(database: &str, version: i32) -> StoreError {
    StoreError::Unusable(format!(
        "database {database} was written by a newer release (format {version}, this one knows {}); start that release",
        newest()
    ))
}

/// Brings the database to the newest form, when the transaction is committed.
pub(super) async fn prepare(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failure)?;
    let place = transaction
        .query_one(
            "SELECT current_database()::text, current_user::text,
                    to_regclass('quarterdeck.format') IS NOT NULL,
                    (SELECT count(*) FROM pg_class
                     WHERE relnamespace = to_regnamespace('quarterdeck')),
                    to_regnamespace('quarterdeck') IS NOT NULL",
            &[],
        )
        .await
        .map_err(failure)?;
    let get = |column| place.try_get::<_, String>(column).map_err(failure);
    let (database, user) = (get(0)?, get(1)?);
    let (formatted, relations, exists): (bool, i64, bool) = (
        place.try_get(2).map_err(failure)?,
        place.try_get(3).map_err(failure)?,
        place.try_get(4).map_err(failure)?,
    );
    let foreign = || {
        StoreError::Unusable(format!(
            "database {database:?} has a schema \"quarterdeck\" that belongs to something else; \
             choose another database with --store"
        ))
    };
    let denied = |error: tokio_postgres::Error| match error.code() {
        Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) => {
            StoreError::Unusable(format!(
                "role {user:?} may not make tables in database {database:?}; let it with \
                 GRANT CREATE ON DATABASE \"{database}\" TO \"{user}\" ({})",
                super::text(&error)
            ))
        }
        _ => failure(error),
    };
    let done = if formatted {
        let row = transaction
            .query_opt(
                "SELECT version FROM quarterdeck.format WHERE application = $1",
                &[&APPLICATION],
            )
            .await
            .map_err(
                |error| if error.as_db_error().is_some() { foreign() } else { failure(error) },
            )?
            .ok_or_else(foreign)?;
        row.try_get::<_, i32>(0).map_err(|_| foreign())?
    } else if relations > 0 {
        return Err(foreign());
    } else {
        if !exists {
            transaction.batch_execute("CREATE SCHEMA quarterdeck").await.map_err(denied)?;
        }
        transaction
            .batch_execute(
                "CREATE TABLE quarterdeck.format (application text NOT NULL, version int NOT NULL);
                 INSERT INTO quarterdeck.format VALUES ('quarterdeck', 0)",
            )
            .await
            .map_err(denied)?;
        0
    };
    let newest = newest();
    if done > newest {
        return Err(newer(&format!("{database:?}"), done));
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(done).unwrap_or(0)) {
        transaction.batch_execute(step).await.map_err(denied)?;
    }
    if done < newest {
        transaction
            .execute("UPDATE quarterdeck.format SET version = $1", &[&newest])
            .await
            .map_err(failure)?;
    }
    transaction.execute(FORGET_WRITERS, &[]).await.map_err(failure)?;
    Ok(())
}

/// Refuses a server that is too old: `number` is what it calls itself for programs, `version` for
/// people.
fn check_version(number: &str, version: &str) -> Result<(), StoreError> {
    if number.parse::<i32>().is_ok_and(|number| number >= SERVER_MIN) {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "the PostgreSQL server is version {version}; Quarterdeck needs {} or newer: upgrade it, or \
         name another server in --store",
        SERVER_MIN / 10_000
    )))
}

async fn setting(client: &Client, name: &str) -> Result<String, StoreError> {
    let row = client.query_one("SELECT current_setting($1)", &[&name]).await.map_err(failure)?;
    row.try_get(0).map_err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_older_than_supported_are_refused() {
        for (number, version, usable) in [
            ("90624", "9.6.24", false),
            ("140019", "14.19 (Debian 14.19-1)", false),
            ("150000", "15.0", true),
            ("150014", "15.14 (Debian 15.14-0+deb12u1)", true),
            ("180001", "18.1", true),
            // What only speaks the protocol says what it likes.
            ("", "Other 1.2", false),
            ("newest", "newest", false),
        ] {
            let checked = check_version(number, version).map_err(|error| error.to_string());
            assert_eq!(checked.is_ok(), usable, "{number}");
            if let Err(refusal) = checked {
                for part in [version, "needs 15 or newer", "--store"] {
                    assert!(refusal.contains(part), "{part:?} in {refusal:?}");
                }
            }
        }
    }
}
