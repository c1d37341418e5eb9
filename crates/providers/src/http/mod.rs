//! The HTTP provider: one request to any service that a runbook has to tell or to ask.
//!
//! Layers: `transport` (one bounded exchange), `reach` (which addresses are never dialled),
//! `message` (the request and the answer, pure), `request` (the action), `webhook` (a question to whoever
//! somebody wants asked); `images` looks at what others are told to fetch.
//!
//! Invariants: credentials go to the origin that the runbook names and nowhere else; nothing on
//! the plane's own machine or on its link is reached unless the plane was started so; an answer
//! costs at most its bounds.

mod images;
mod message;
mod reach;
mod request;
mod webhook;

pub use crate::transport::resolve::Resolver;
pub(crate) use images::Images;
pub use reach::Reach;
pub use webhook::{Slot, Webhook, WebhookError, Webhooks};

use crate::catalog::Catalog;

/// Adds every HTTP action to the catalogue.
pub fn add_actions(reach: Reach, catalog: &mut Catalog) {
    catalog.add(request::HttpRequest::new(reach));
}
