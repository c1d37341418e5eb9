//! `quarterdeck backup` and `quarterdeck restore`: which store, and what people are told. It never writes over
//! a store, nor over a file.

use crate::{
    command::{Error, print, runtime},
    serve::{self, Place},
    settings::Settings,
};
use quarterdeck_store::{Backup, Postgres, Sqlite};
use std::{path::Path, time::SystemTime};

/// Writes a backup.
pub(crate) fn backup(settings: &Settings, to: &Path) -> Result<(), Error> {
    let now = SystemTime::now();
    let Backup { revision, objects, .. } = match serve::place(settings) {
        Place::Folder => Sqlite::backup(&settings.data_dir, to, now)?,
        Place::Database(url) => runtime()?.block_on(Postgres::backup(url, to, now))?,
    };
    print(&format!(
        "{} holds the {objects} objects of revision {revision}.\n\
         Secrets in it are encrypted: without {} they cannot be read. Keep a copy of that file elsewhere, and one\n\
         of the folder pki, without which a restored plane has another certificate authority.\n",
        to.display(),
        settings.key_file(),
    ))
}

/// Makes a store from a backup.
pub(crate) fn restore(settings: &Settings, from: &Path) -> Result<(), Error> {
    let now = SystemTime::now();
    let (Backup { revision, objects, .. }, first) = match serve::place(settings) {
        Place::Folder => Sqlite::restore(&settings.data_dir, from, now)?,
        Place::Database(url) => runtime()?.block_on(Postgres::restore(url, from, now))?,
    };
    let keys = settings.key_file();
    let keys = match keys.path().exists() {
        true => format!("Secrets are read with the keys of {keys}."),
        false => format!(
            "Before the plane starts, put the file with the keys that Secrets are encrypted with at {keys}."
        ),
    };
    print(&format!(
        "The {objects} objects of revision {revision} are restored; new revisions begin after {first}, so that whoever\n\
         watched the old store lists again. {keys}\n"
    ))
}
