//! Backup of a PostgreSQL store, in one transaction that sees one moment, and restoring one, in one
//! transaction that is committed when the backup was read to its end.

use super::{Postgres, connection, failure, load, schema, signed, unsigned, url};
use crate::{
    Entry, StoreError,
    backup::{self, Backup, Part, Unfinished},
};
use quarterdeck_model::Revision;
use std::{path::Path, time::SystemTime};
use tokio_postgres::{Client, Transaction, types::ToSql};

/// Bytes of bodies in one statement while a backup is restored.
const INSERT_BYTES: usize = 4 << 20;

impl Postgres {
    /// Writes all that is in the database of `url`, at one revision, to the new file `to`. Works while planes
    /// run on it, and does not hold them up.
    ///
    /// # Errors
    /// When there is no store of this release's form, `to` exists, or it cannot be written.
    pub async fn backup(url: &str, to: &Path, now: SystemTime) -> Result<Backup, StoreError> {
        let target = url::parse(url)?;
        let client = connection::plain(&target).await?;
        schema::check(&client).await?;
        let unfinished = Unfinished::begin(to, now)?;
        let loader = connection::loader(&target).await?;
        let revision = load::load(loader, vec![unfinished.taker()]).await?;
        // Tokens only grow: read later, they are as good.
        let leases = tokens(&client).await?;
        unfinished.finish(revision, leases)
    }

    /// Fills the database of `url`, in which there must be no store, from the backup `from`. Answers what was
    /// in it, and the revision that the restored store begins with.
    ///
    /// # Errors
    /// When there is a store, or the backup is not whole, or it cannot be written. Then nothing has changed.
    pub async fn restore(
        url: &str,
        from: &Path,
        now: SystemTime,
    ) -> Result<(Backup, Revision), StoreError> {
        let mut reader = backup::open(from)?;
        let mut client = connection::plain(&url::parse(url)?).await?;
        let transaction = client.transaction().await.map_err(failure)?;
        schema::prepare(&transaction).await?;
        // Who writes waits until this is done; who writes first makes it no empty store.
        let head = transaction
            .query_one("SELECT revision FROM quarterdeck.head FOR UPDATE", &[])
            .await
            .map_err(failure)?;
        let head = Revision(unsigned(head.try_get(0).map_err(failure)?));
        if head > Revision::ZERO {
            return Err(StoreError::Unusable(format!(
                "the database of --store holds a store already (at revision {head}), which is not written over; \
                 name another database, or drop its schema \"quarterdeck\""
            )));
        }
        let now = backup::microseconds(now);
        let backup = loop {
            match reader.next()? {
                Part::Objects(objects) => insert(&transaction, &objects).await?,
                Part::End(backup) => break backup,
            }
        };
        let first = backup.first_revision(now);
        finish(&transaction, &backup, first, now).await.map_err(failure)?;
        transaction.commit().await.map_err(failure)?;
        Ok((backup, first))
    }
}

async fn tokens(client: &Client) -> Result<Vec<(String, u64)>, StoreError> {
    let rows = client.query("SELECT name, token FROM quarterdeck.lease ORDER BY name", &[]).await;
    let token = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, unsigned(row.try_get(1)?)));
    rows.map_err(failure)?.iter().map(token).collect::<Result<_, _>>().map_err(failure)
}

async fn insert(transaction: &Transaction<'_>, objects: &[Entry]) -> Result<(), StoreError> {
    let mut rest = objects;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|object| {
            bytes += object.body.len();
            bytes <= INSERT_BYTES
        });
        let (some, others) = rest.split_at(fits.count().max(1));
        rest = others;
        let revisions: Vec<i64> = some.iter().map(|object| signed(object.revision.0)).collect();
        let kinds: Vec<&str> = some.iter().map(|object| &*object.key.kind).collect();
        let namespaces: Vec<&str> = some.iter().map(|object| &*object.key.namespace).collect();
        let names: Vec<&str> = some.iter().map(|object| &*object.key.name).collect();
        let bodies: Vec<&[u8]> = some.iter().map(|object| &*object.body).collect();
        let with: [&(dyn ToSql + Sync); 5] = [&revisions, &kinds, &namespaces, &names, &bodies];
        transaction
            .execute(
                "WITH logged AS (
                     INSERT INTO quarterdeck.log (revision, kind, namespace, name, body)
                     SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[])
                     RETURNING revision, kind, namespace, name)
                 INSERT INTO quarterdeck.latest (revision, kind, namespace, name)
                 SELECT revision, kind, namespace, name FROM logged",
                &with,
            )
            .await
            .map_err(failure)?;
    }
    Ok(())
}

async fn finish(
    transaction: &Transaction<'_>,
    backup: &Backup,
    first: Revision,
    now: u64,
) -> Result<(), tokio_postgres::Error> {
    // Older revisions are as if compacted: a watch from one of them begins anew, and so does a plane that
    // still runs on the store that was here before.
    for table in ["head", "folded", "horizon"] {
        let statement = format!("UPDATE quarterdeck.{table} SET revision = $1");
        transaction.execute(&statement, &[&signed(first.0)]).await?;
    }
    for (name, token) in &backup.leases {
        let token = signed(backup.first_token(*token, now));
        transaction
            .execute(
                "INSERT INTO quarterdeck.lease (name, holder, token, expires)
                 VALUES ($1, '', $2, '-infinity')
                 ON CONFLICT (name) DO UPDATE SET token = greatest(lease.token, excluded.token)",
                &[name, &token],
            )
            .await?;
    }
    Ok(())
}
