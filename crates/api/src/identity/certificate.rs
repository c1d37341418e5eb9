//! Callers who show a client certificate. TLS has verified it before.
//! Source: Kubernetes "Authenticating", X.509 client certificates: CN is the user, each O a group.

use super::{AUTHENTICATED, Caller};
use crate::pki::{self, AGENT_ENDS, AGENT_ISSUED};
use quarterdeck_model::agent::AGENTS_GROUP;
use rustls_pki_types::CertificateDer;
use x509_parser::{parse_x509_certificate, x509::AttributeTypeAndValue};

/// When a certificate ends, in seconds of Unix time.
pub(crate) fn ends(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

impl Caller {
    /// The caller a verified certificate names; anonymous when it names nobody.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            return Self::anonymous();
        };
        let subject = parsed.subject();
        let texts = |attributes: Vec<&AttributeTypeAndValue<'_>>| {
            attributes
                .into_iter()
                .filter_map(|attribute| attribute.as_str().ok().map(ToOwned::to_owned))
                .collect::<Vec<_>>()
        };
        let Some(user) = texts(subject.iter_common_name().collect()).pop() else {
            return Self::anonymous();
        };
        let mut groups = texts(subject.iter_organization().collect());
        let agent = groups.iter().any(|group| group == AGENTS_GROUP);
        groups.push(AUTHENTICATED.into());
        let mut caller = Self::new(&user, groups);
        if agent {
            caller.uid = pki::uid_of(&parsed);
            let issued = pki::issued(parsed.raw_serial());
            caller.extra.extend(issued.map(|at| (AGENT_ISSUED.to_owned(), vec![at.to_string()])));
            let ends = parsed.validity().not_after.timestamp().to_string();
            caller.extra.insert(AGENT_ENDS.to_owned(), vec![ends]);
        }
        caller
    }
}
