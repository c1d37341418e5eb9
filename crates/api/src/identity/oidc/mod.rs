//! Tokens of OpenID Connect issuers: people whose accounts are elsewhere.
//!
//! [`claims`] says who a verified token is, [`issuer`] keeps the issuer's keys, [`fetch`] gets them.
//! Source: OpenID Connect Core 1.0 §3.1.3.7, Discovery 1.0; settings as in Kubernetes'
//! AuthenticationConfiguration.

mod claims;
mod fetch;
mod issuer;

pub use claims::OidcSettings;
pub use issuer::Issuer;
