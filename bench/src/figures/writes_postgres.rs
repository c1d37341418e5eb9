//! Durable writes of 2 KB objects through the whole store on PostgreSQL, beside single-row upserts of
//! the same bytes that pgbench makes on the same server.

use super::writes::{ROUNDS, WRITERS, body, middle, mutations, ours};
use crate::{
    Failure, machine,
    report::{Aim, Quantity, Row},
};
use quarterdeck_store::{Backend as _, Postgres, Store};
use quarterdeck_testing::postgres::Postgres as Server;
use std::{fs, path::Path, process::Command, sync::Arc};

/// What somebody who cares for speed sets; for both. All else, safety first of all, is as it comes.
pub(super) const SETTINGS: [(&str, &str); 3] =
    [("shared_buffers", "1GB"), ("max_wal_size", "8GB"), ("checkpoint_timeout", "15min")];
const CLIENTS: [&str; 2] = ["16", "64"];

/// The table is as good to pgbench as ours is to us: no compression, bodies beside their row.
const TABLE: &str = "
    CREATE TABLE upserts (id int PRIMARY KEY, body text) WITH (toast_tuple_target = 4080, fillfactor = 50);
    ALTER TABLE upserts ALTER COLUMN body SET STORAGE EXTERNAL;
    INSERT INTO upserts SELECT number, '' FROM generate_series(1, 20000) AS number;
    VACUUM ANALYZE upserts;";

/// Both are measured as on a server that has run for a while, which writes to pages and to a write-ahead log
/// that were used before: after each round, what is not needed any more is forgotten, and after the first, the
/// log begins anew.
const VACUUM_OURS: &str = "VACUUM quarterdeck.log";
const VACUUM_PEERS: &str = "VACUUM upserts";

const UPSERT: &str = "\\set id random(1, 20000)
INSERT INTO upserts VALUES (:id, :body) ON CONFLICT (id) DO UPDATE SET body = excluded.body;
";

/// A heartbeat as a row.
const BEAT: &str = "\\set id random(1, 20000)
UPDATE upserts SET body = :body WHERE id = :id;
";

/// Single-row updates a second, of as many rows, with nothing but the time in them.
pub(super) async fn updates(server: &Server, folder: &Path) -> Result<f64, Failure> {
    let peer = server.create_database("pgbench").await;
    for statement in TABLE.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        run_statement(&peer, statement)?;
    }
    let script = folder.join("beat.sql");
    fs::write(&script, BEAT)?;
    let mut best: f64 = 0.0;
    for clients in CLIENTS {
        best = best.max(upserts(&script, "2026-03-01T12:00:00Z", &peer, clients)?);
    }
    Ok(best)
}

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let mutations = mutations();
    let server = Server::start_with(&SETTINGS).await;
    let backend = Arc::new(Postgres::open(&server.url()).await?);
    let store = Store::open(backend.clone()).await?;
    let peer = server.create_database("pgbench").await;
    for statement in TABLE.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        run_statement(&peer, statement)?;
    }
    let script = folder.join("upsert.sql");
    fs::write(&script, UPSERT)?;
    let text = body(mutations.first().ok_or("there are no objects")?);
    let text = String::from_utf8(text.to_vec())?;

    let (mut our_loads, mut their_rates) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let load = ours(&store, &mutations).await?;
        let mut best: f64 = 0.0;
        for clients in CLIENTS {
            best = best.max(upserts(&script, &text, &peer, clients)?);
        }
        if round > 0 {
            our_loads.push(load);
            their_rates.push(best);
        }
        backend.compact(backend.head().await?).await?;
        run_statement(&server.url(), VACUUM_OURS)?;
        run_statement(&peer, VACUUM_PEERS)?;
        if round == 0 {
            run_statement(&peer, "CHECKPOINT")?;
        }
    }
    their_rates.sort_by(f64::total_cmp);
    let theirs = their_rates.get(ROUNDS / 2).copied().ok_or("nothing was measured")?;
    let version = machine::printed("pgbench", &["--version"]);
    let version = version.split('(').next().unwrap_or_default().trim().to_owned();
    Ok(vec![Row {
        what: format!("durable writes on PostgreSQL, 2 KB, {WRITERS} writers"),
        ours: Quantity::per_second(middle(&mut our_loads)?.rate),
        peer: format!("{version}: single-row upserts, best of 16 and 64 clients"),
        theirs: Quantity::per_second(theirs),
        aim: Aim::AtLeast(2.0),
    }])
}

/// Upserts a second, as pgbench counts them.
fn upserts(script: &Path, text: &str, url: &str, clients: &str) -> Result<f64, Failure> {
    let output = run_program(
        Command::new("pgbench")
            .args(["--no-vacuum", "--protocol", "prepared", "--client", clients, "--jobs", "2"])
            .args(["--time", "5", "--define", &format!("body={text}"), "--file"])
            .arg(script)
            .arg(url),
    )?;
    let rate = output
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.ok_or_else(|| format!("pgbench printed no rate: {output}").into())
}

fn run_statement(url: &str, statement: &str) -> Result<String, Failure> {
    run_program(Command::new("psql").args(["--dbname", url, "--command", statement]))
}

fn run_program(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
