//! TLS to a real PostgreSQL server: only one whose certificate says who it is gets to hear a word.

use super::opening::{says, unusable};
use crate::{
    UNSAFE_BUT_FAST,
    support::{one, put},
};
use quarterdeck_model::Revision;
use quarterdeck_store::{Outcome, Postgres};
use quarterdeck_testing::{postgres::Postgres as Server, user::RunAs};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// An authority, whose certificate is in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Else both would be of one name, and tell apart only by their keys.
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = folder.join(name);
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// A server whose certificate is for `name`, and the folder it is in.
    async fn server(&self, name: &str) -> (Server, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (certificate_file, key_file) =
            (folder.path().join("server.pem"), folder.path().join("server.key"));
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        // PostgreSQL refuses a key that others could read.
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        for path in [folder.path(), &certificate_file, &key_file] {
            RunAs::Unprivileged.give(path);
        }
        let mut settings = UNSAFE_BUT_FAST.to_vec();
        settings.push(("ssl", "on"));
        settings.push(("ssl_cert_file", certificate_file.to_str().unwrap()));
        settings.push(("ssl_key_file", key_file.to_str().unwrap()));
        (Server::start_with(&settings).await, folder)
    }
}

fn verified(server: &Server, host: &str, authority: &Authority) -> String {
    let url = server.url().replace("127.0.0.1", host);
    format!("{url}?sslmode=verify-full&sslrootcert={}", authority.file.display())
}

/// Connections to the server that are encrypted.
async fn encrypted(server: &Server) -> i64 {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE ssl AND application_name = 'quarterdeck'",
            &[],
        )
        .await
        .unwrap();
    row.get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_recognised_by_its_authority_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let own = Authority::new(folder.path(), "own.pem");
    let other = Authority::new(folder.path(), "other.pem");
    let (server, _files) = own.server("localhost").await;

    let store = Postgres::open(&verified(&server, "localhost", &own)).await.unwrap();
    assert_eq!(one(&store, put("x", "")).await, Outcome::Committed(Revision(1)));
    assert!(encrypted(&server).await > 0);

    // Vouched for by somebody else.
    let refused = unusable(Postgres::open(&verified(&server, "localhost", &other)).await);
    says(&refused, &["UnknownIssuer", "sslrootcert=FILE", "--store"]);
    // The right authority, for another name than the one that was dialled.
    let refused = unusable(Postgres::open(&verified(&server, "127.0.0.1", &own)).await);
    says(&refused, &["certificate", "localhost", "127.0.0.1"]);
}
