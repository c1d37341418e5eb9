//! SIGKILL at random moments: of the writer, and of the PostgreSQL server.

use super::{
    ledger::Ledger,
    random::Random,
    writer::{self, Told, told},
};
use crate::support::{check_whole, put};
use quarterdeck_model::Revision;
use quarterdeck_store::{Backend, Outcome, Postgres, Sqlite, StoreError};
use quarterdeck_testing::{postgres::Postgres as Server, process::Process};
use std::time::{Duration, Instant};

/// Kills of a process that writes to SQLite.
const SQLITE_KILLS: u64 = 200;
/// Rounds on PostgreSQL: each kills one or both of two writing processes; and in two of three, the
/// server before that.
const POSTGRES_ROUNDS: u64 = 60;
/// How long a writer may take to get on: it starts, and may have to wait for a server to recover.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `process` has been told about `count` more writes, then a random instant.
async fn let_write(process: &mut Process, count: u64, random: &mut Random) {
    let goal = told(&process.output()).len() + usize::try_from(count).unwrap();
    let end = Instant::now() + DEADLINE;
    while told(&process.output()).len() < goal {
        assert!(process.exit_status().is_none(), "the writer ended:\n{}", process.output());
        assert!(Instant::now() < end, "the writer does not get on:\n{}", process.output());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The moment of the kill, not a wait for anything.
    tokio::time::sleep(Duration::from_micros(random.below(3_000))).await;
}

#[tokio::test]
async fn sqlite_keeps_what_it_acknowledged_when_its_process_is_killed() {
    let mut random = Random::new();
    let folder = tempfile::tempdir().unwrap();
    let log = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    for round in 0..SQLITE_KILLS {
        let log = log.path().join(round.to_string());
        let mut process =
            writer::start(folder.path().to_str().unwrap(), random.next(), ledger.checked(), &log);
        if random.below(8) == 0 {
            // While it starts.
            tokio::time::sleep(Duration::from_micros(random.below(40_000))).await;
        } else {
            let count = random.below(30);
            let_write(&mut process, count, &mut random).await;
        }
        process.kill();
        let store = Sqlite::open(folder.path()).unwrap();
        ledger.check(&store, &told(&process.output())).await;
    }
    println!("{} writes were acknowledged, {} refused", ledger.acknowledged, ledger.failed);
    assert!(ledger.acknowledged as u64 > SQLITE_KILLS * 5, "too few to mean anything");
}

#[tokio::test]
async fn postgres_keeps_what_it_acknowledged_when_server_or_writers_are_killed() {
    let mut random = Random::new();
    let mut server = Server::start().await;
    let url = server.url();
    let logs = tempfile::tempdir().unwrap();
    let store = Postgres::open(&server.url()).await.unwrap();
    let mut ledger = Ledger::default();
    let mut started = 0_u64;
    let mut writers: Vec<Process> = Vec::new();
    let mut server_kills = 0;
    for _ in 0..POSTGRES_ROUNDS {
        while writers.len() < 2 {
            let log = logs.path().join(started.to_string());
            writers.push(writer::start(&url, random.next(), ledger.checked(), &log));
            started += 1;
        }
        let kills_server = random.below(3) < 2;
        for writer in &mut writers {
            // One that has not yet read the store ends with its server, and has nothing to go on with.
            let count = random.below(20).max(u64::from(kills_server));
            let_write(writer, count, &mut random).await;
        }
        if kills_server {
            server.kill9();
            server_kills += 1;
            server.restart().await;
            // They go on by themselves.
            for writer in &mut writers {
                let_write(writer, 1, &mut random).await;
            }
        }
        let mut told_now: Vec<(String, Told)> = Vec::new();
        while !writers.is_empty() {
            let mut writer =
                writers.remove(usize::try_from(random.below(writers.len() as u64)).unwrap());
            writer.kill();
            told_now.extend(told(&writer.output()));
        }
        // Here too the connection was lost with the server, and is made again.
        ledger.check(&store, &told_now).await;
    }
    println!(
        "{} writes were acknowledged, {} failed or refused; {server_kills} kills of the server, \
         {started} of writers",
        ledger.acknowledged, ledger.failed
    );
    assert!(ledger.acknowledged as u64 > POSTGRES_ROUNDS * 10, "too few to mean anything");
    assert!(store.head().await.is_ok());
}

/// While the server is away, callers are told so in time; when it is back, all goes on by itself.
#[tokio::test]
async fn without_its_server_the_store_is_unavailable_and_then_goes_on() {
    let mut server = Server::start_with(&[("fsync", "off")]).await;
    let store = Postgres::open(&server.url()).await.unwrap();
    store.commit(&[put("a", "1")]).await.unwrap();
    server.kill9();
    let (batch, lease) = ([put("a", "2")], Duration::from_secs(60));
    let began = Instant::now();
    let (committed, head, changes, held) = tokio::join!(
        store.commit(&batch),
        store.head(),
        store.changes(Revision::ZERO, 10),
        store.acquire_lease("lease", "holder", lease),
    );
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    for error in [committed.err(), head.err(), changes.err(), held.err()] {
        assert!(matches!(error, Some(StoreError::Unavailable(_))), "{error:?}");
    }
    server.restart().await;
    let outcomes = store.commit(&[put("a", "3")]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Committed(Revision(2))], "what failed was not applied");
    assert_eq!(check_whole(&store).await.len(), 2);
    assert!(store.acquire_lease("lease", "holder", lease).await.unwrap().is_some());
}
