//! Who calls: read from the verified client certificate, as Kubernetes reads it.
//! Source: Kubernetes "Authenticating", X.509 client certificates: CN is the user, each O a group.

use rustls_pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

impl Caller {
    /// A caller who showed nothing.
    pub fn anonymous() -> Self {
        Self { user: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()] }
    }

    /// The caller a verified certificate names; anonymous when it names nobody.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            return Self::anonymous();
        };
        let subject = parsed.subject();
        let texts = |attributes: Vec<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
            attributes
                .into_iter()
                .filter_map(|attribute| attribute.as_str().ok().map(ToOwned::to_owned))
                .collect::<Vec<_>>()
        };
        let Some(user) = texts(subject.iter_common_name().collect()).pop() else {
            return Self::anonymous();
        };
        let mut groups = texts(subject.iter_organization().collect());
        groups.push("system:authenticated".into());
        Self { user, groups }
    }

    /// Whether the caller may do everything.
    pub fn is_admin(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }

    /// Whether the caller showed who it is.
    pub fn is_known(&self) -> bool {
        !self.groups.iter().any(|group| group == "system:unauthenticated")
    }
}
