//! Certificates for services that speak HTTPS on loopback.

use std::path::Path;
use std::process::Command;

use crate::process::run;

/// Makes an authority (`authority.pem`) and a certificate for loopback signed by it (`service.pem`,
/// `service.key`). Two, since strict clients
/// refuse an authority's own certificate as a server's.
pub(crate) async fn create_certificate(folder: &Path) {
    let common = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30";
    let authority = "-subj /CN=test-authority -keyout authority.key -out authority.pem";
    let service = "-subj /CN=test-service -keyout service.key -out service.pem \
                   -CA authority.pem -CAkey authority.key \
                   -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE";
    for part in [authority, service] {
        let mut command = Command::new("openssl");
        command.args(common.split_whitespace()).args(part.split_whitespace());
        command.current_dir(folder);
        run(&command, "").await.unwrap_or_else(|error| panic!("{error}"));
    }
}
