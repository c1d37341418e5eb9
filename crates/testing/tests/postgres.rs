//! The PostgreSQL helper against the real server.

use std::error::Error;
use std::process::Command;

use quarterdeck_testing::postgres::Postgres;

/// Runs one statement and answers what it printed, or the error.
fn sql(url: &str, statement: &str) -> Result<String, Box<dyn Error>> {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname", url])
        .args(["--command", statement])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr)?.into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[tokio::test]
async fn what_was_committed_is_there_after_kills_and_restarts() {
    let mut server = Postgres::start().await;
    let url = server.url();
    sql(&url, "CREATE TABLE seen (round int)").unwrap();
    for round in 0..3 {
        sql(&url, &format!("INSERT INTO seen VALUES ({round})")).unwrap();
        server.kill9();
        assert!(sql(&url, "SELECT 1").is_err(), "a killed server must not answer");
        server.restart().await;
        assert_eq!(sql(&url, "SELECT count(*) FROM seen").unwrap(), (round + 1).to_string());
    }
    // A restart of a running server is a kill and a start.
    server.restart().await;
    assert_eq!(sql(&url, "SELECT count(*) FROM seen").unwrap(), "3");
}

#[tokio::test]
async fn servers_are_apart_and_end_when_dropped() {
    let first = Postgres::start_with(&[("fsync", "off")]).await;
    let second = Postgres::start().await;
    assert_ne!(first.address(), second.address());
    assert_eq!(sql(&first.url(), "SHOW fsync").unwrap(), "off");
    assert_eq!(sql(&second.url(), "SHOW fsync").unwrap(), "on");

    let own = first.create_database("own").await;
    sql(&own, "CREATE TABLE only_here ()").unwrap();
    assert!(sql(&first.url(), "SELECT * FROM only_here").is_err());

    let gone = first.url();
    drop(first);
    assert!(sql(&gone, "SELECT 1").is_err());
    assert_eq!(sql(&second.url(), "SELECT 1").unwrap(), "1");
}
