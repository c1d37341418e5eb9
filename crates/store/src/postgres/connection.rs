//! Connections to the server: how each kind is made and what it is used for. A connection on which
//! anything failed is dropped, never mended: what was left open on it ends with it.

use super::{failure, url::Target};
use crate::StoreError;
use tokio_postgres::{Client, Statement};

/// Settings of every session. Weaker durability than the disk of the server is never accepted,
/// whatever the database or role was given; stricter (`remote_apply`) is kept. A time limit for
/// statements would end the wait for a synchronous standby and so acknowledge what only one
/// server has.
const SESSION: &str = "
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
    SET statement_timeout = 0;
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET jit = off;";

/// Settings of the session that commits. Its plans are made once, on tables that may be empty then:
/// only those that stay good when the tables grow are left to choose from. A writer that stops in the
/// middle of a transaction (a process that was paused) must not hold up the others for long.
const WRITER_SESSION: &str = "
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s';";

/// Settings of the session that answers short questions.
const READER_SESSION: &str = "
    SET lock_timeout = '10s';
    SET enable_seqscan = off;";

/// Settings of sessions that look at many rows of the log, and need those in the order of their keys.
const FOLDER_SESSION: &str = "
    SET work_mem = '64MB';
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s';";

/// Settings of the session that reads everything: the table of latest revisions is hashed in
/// memory (about 60 bytes each), so that bodies need not be spilled to disk.
const LOADER_SESSION: &str = "SET work_mem = '256MB'; SET plan_cache_mode = force_custom_plan;";

/// Keeps leases as they are until the transaction ends; divides by zero, and so fails, when one of them is
/// not held under that token any more.
const FENCE: &str = "
    WITH held AS (
        SELECT name, token FROM quarterdeck.lease
        WHERE name = ANY ($1::text[]) ORDER BY name FOR SHARE)
    SELECT 1 / (count(*) = cardinality($1::text[]))::int
    FROM held JOIN unnest($1::text[], $2::bigint[]) AS wanted (name, token) USING (name, token)";

/// Whoever has this row commits next.
const HOLD: &str = "SELECT FROM quarterdeck.head FOR NO KEY UPDATE";

/// Neither column takes a null, which is what a head that is not where it was becomes, and a batch that
/// was passed over: then the server refuses the statement, and all that was sent with it.
const FINISH: &str = "
    WITH moved AS (
        UPDATE quarterdeck.head SET revision = CASE WHEN revision = $1::bigint THEN $2::bigint END)
    INSERT INTO quarterdeck.writer (id, batch, at) VALUES ($3, $4, now())
    ON CONFLICT (id) DO UPDATE SET
        batch = CASE WHEN writer.batch < excluded.batch THEN excluded.batch END,
        at = excluded.at";

/// The batch is noted already, or it is passed over. Numbers never become smaller, also when this comes late.
const RESOLVE: &str = "
    INSERT INTO quarterdeck.writer (id, batch, at) VALUES ($1, $3, now())
    ON CONFLICT (id) DO UPDATE SET
        batch = CASE WHEN writer.batch >= $2::bigint THEN writer.batch ELSE excluded.batch END,
        at = excluded.at
    RETURNING batch";

/// Makes a connection with the settings of every session and those given.
async fn connect(target: &Target, settings: &str) -> Result<Client, StoreError> {
    let (client, connection) = target.config.connect(target.tls.clone()).await.map_err(failure)?;
    // Ends when the client is dropped or the server goes; whoever waits on the client is told.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = super::text(&error), "a connection to PostgreSQL ended");
        }
    });
    client.batch_execute(&format!("{SESSION}{settings}")).await.map_err(failure)?;
    Ok(client)
}

/// A connection for changes to the schema.
pub(super) async fn plain(target: &Target) -> Result<Client, StoreError> {
    connect(target, "").await
}

/// A connection for one long read.
pub(super) async fn loader(target: &Target) -> Result<Client, StoreError> {
    connect(target, LOADER_SESSION).await
}

/// A connection that brings changes into the table of latest revisions, and forgets old ones.
pub(super) async fn folder(target: &Target) -> Result<Client, StoreError> {
    connect(target, FOLDER_SESSION).await
}

/// A connection for turns to write.
pub(super) async fn for_turns(target: &Target) -> Result<Client, StoreError> {
    connect(target, WRITER_SESSION).await
}

/// A connection that transactions are made on, one at a time.
pub(super) struct Writer {
    pub(super) client: Client,
    /// Reads how far the table of latest revisions goes, and what the log says after that.
    pub(super) follow: Statement,
    /// Finds what that table shows of keys.
    pub(super) find: Statement,
    pub(super) head: Statement,
    /// Reads the tokens of leases.
    pub(super) tokens: Statement,
    /// Keeps them as they were read until the transaction ends, or fails.
    pub(super) fence: Statement,
    pub(super) log: Statement,
    /// Waits until nobody else is about to move the head.
    pub(super) hold: Statement,
    /// Moves the head from where it was and notes which batch of ours this was, or fails.
    pub(super) finish: Statement,
    /// Finds out which batch of ours was the last, for good.
    pub(super) resolve: Statement,
    /// What `counts` asks.
    pub(super) changed: Statement,
    pub(super) compacted: Statement,
    pub(super) count: Statement,
}

impl Writer {
    pub(super) async fn connect(target: &Target) -> Result<Self, StoreError> {
        let client = connect(target, WRITER_SESSION).await?;
        let (
            follow,
            find,
            head,
            tokens,
            fence,
            log,
            hold,
            finish,
            resolve,
            changed,
            compacted,
            count,
        ) = tokio::try_join!(
            client.prepare(
                "SELECT folded.revision, entry.revision, entry.body IS NULL,
                     entry.kind, entry.namespace, entry.name
                 FROM quarterdeck.folded LEFT JOIN quarterdeck.log AS entry
                     ON entry.revision > greatest(folded.revision, $1::bigint)
                 ORDER BY entry.revision"
            ),
            client.prepare(
                "SELECT wanted.place, latest.revision
                 FROM unnest($1::text[], $2::text[], $3::text[])
                     WITH ORDINALITY AS wanted (kind, namespace, name, place)
                 JOIN quarterdeck.latest USING (kind, namespace, name)"
            ),
            client.prepare(super::read::HEAD),
            client
                .prepare("SELECT name, token FROM quarterdeck.lease WHERE name = ANY ($1::text[])"),
            client.prepare(FENCE),
            client.prepare(
                "INSERT INTO quarterdeck.log (revision, previous, kind, namespace, name, body)
                 SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[],
                     $5::text[], $6::bytea[])"
            ),
            client.prepare(HOLD),
            client.prepare(FINISH),
            client.prepare(RESOLVE),
            client.prepare(super::counts::CHANGED),
            client.prepare(super::counts::COMPACTED),
            client.prepare(super::counts::COUNT),
        )
        .map_err(failure)?;
        Ok(Self {
            client,
            follow,
            find,
            head,
            tokens,
            fence,
            log,
            hold,
            finish,
            resolve,
            changed,
            compacted,
            count,
        })
    }
}

/// The connection for questions of one statement each, any number of them under way.
pub(super) struct Reader {
    pub(super) client: Client,
    pub(super) head: Statement,
    pub(super) changes: Statement,
    pub(super) snapshot: Statement,
    pub(super) acquire: Statement,
    pub(super) release: Statement,
    pub(super) held: Statement,
}

impl Reader {
    pub(super) async fn connect(target: &Target) -> Result<Self, StoreError> {
        let client = connect(target, READER_SESSION).await?;
        let (head, changes, snapshot, acquire, release, held) = tokio::try_join!(
            client.prepare(super::read::HEAD),
            client.prepare(super::read::CHANGES),
            client.prepare(super::read::SNAPSHOT),
            client.prepare(super::lease::ACQUIRE),
            client.prepare(super::lease::RELEASE),
            client.prepare(super::lease::HELD),
        )
        .map_err(failure)?;
        Ok(Self { client, head, changes, snapshot, acquire, release, held })
    }
}
