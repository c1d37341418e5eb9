//! Real disks that are full or read-only. Made with `mount`, which needs root, as the machines that
//! run the whole suite have.

use crate::support::{check_whole, put};
use quarterdeck_model::Revision;
use quarterdeck_store::{Backend, Outcome, Postgres, Sqlite, StoreError};
use quarterdeck_testing::{postgres::Postgres as Server, user::RunAs};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

fn mount(arguments: &[&str], on: &Path) {
    let output = Command::new("mount").args(arguments).arg(on).output().unwrap();
    assert!(
        output.status.success(),
        "cannot mount {arguments:?} (this test needs root): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A small file system of its own.
struct Disk(TempDir);

impl Disk {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("mode=0755,size={size}"), "tmpfs"], folder.path());
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], self.path());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At once, and really when the last file is closed.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn unwritable<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unwritable(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it worked"),
    }
}

/// Writes until the disk is full; answers how many writes were acknowledged, and the error.
async fn fill(store: &dyn Backend) -> (u64, String) {
    let body = "x".repeat(20_000);
    for written in 0..10_000 {
        match store.commit(&[put(&format!("key-{written}"), &body)]).await {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Committed(Revision(written + 1))]),
            failed => return (written, unwritable(failed)),
        }
    }
    panic!("the disk is never full");
}

/// A full disk loses nothing and, once there is room, hinders nothing.
async fn survives_a_full_disk(store: &dyn Backend, make_room: impl FnOnce()) {
    let (written, why) = fill(store).await;
    assert!(written > 10, "only {written} fitted");
    for part in ["is full", "nothing was lost", "free some space"] {
        assert!(why.contains(part), "{part:?} is missing in {why:?}");
    }
    // It goes on saying so, and goes on answering.
    unwritable(store.commit(&[put("another", &"x".repeat(200_000))]).await);
    assert_eq!(store.head().await.unwrap(), Revision(written));
    assert_eq!(check_whole(store).await.len() as u64, written);
    make_room();
    let outcomes = store.commit(&[put("after", "body")]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Committed(Revision(written + 1))]);
    assert_eq!(check_whole(store).await.len() as u64, written + 1);
}

#[tokio::test]
async fn sqlite_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let disk = Disk::new("6m");
    let store = Sqlite::open(disk.path()).unwrap();
    survives_a_full_disk(&store, || disk.remount("size=20m")).await;
    drop(store);
    check_whole(&Sqlite::open(disk.path()).unwrap()).await;
}

#[tokio::test]
async fn postgres_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let disk = Disk::new("24m");
    let server = Server::start().await;
    RunAs::Unprivileged.give(disk.path());
    let (client, connection) =
        tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let make = format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display());
    client.batch_execute(&make).await.unwrap();
    client.batch_execute("CREATE DATABASE small TABLESPACE small").await.unwrap();
    let store = Postgres::open(&server.url().replace("/postgres", "/small")).await.unwrap();
    survives_a_full_disk(&store, || disk.remount("size=60m")).await;
}

#[tokio::test]
async fn a_read_only_folder_is_refused() {
    let disk = Disk::new("6m");
    drop(Sqlite::open(disk.path()).unwrap());
    disk.remount("ro");
    let why = unwritable(Sqlite::open(disk.path()));
    for part in [disk.path().to_str().unwrap(), "Read-only file system", "may write to it"] {
        assert!(why.contains(part), "{part:?} is missing in {why:?}");
    }
    disk.remount("rw");
    check_whole(&Sqlite::open(disk.path()).unwrap()).await;
}

#[tokio::test]
async fn a_read_only_file_is_refused_and_not_harmed() {
    let disk = Disk::new("6m");
    let store = Sqlite::open(disk.path()).unwrap();
    store.commit(&[put("x", "body")]).await.unwrap();
    drop(store);
    let file = disk.path().join("quarterdeck.db");
    let before = fs::read(&file).unwrap();
    // Permissions do not bind root; a read-only mount of the one file binds everybody.
    mount(&["--bind", file.to_str().unwrap()], &file);
    mount(&["-o", "remount,bind,ro"], &file);
    let why = unwritable(Sqlite::open(disk.path()));
    assert!(Command::new("umount").arg(&file).status().unwrap().success());
    for part in ["read-only", "nothing was lost", "make it writable"] {
        assert!(why.contains(part), "{part:?} is missing in {why:?}");
    }
    assert!(fs::read(&file).unwrap() == before);
    assert_eq!(check_whole(&Sqlite::open(disk.path()).unwrap()).await.len(), 1);
}
