//! The newest entries of the system event log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::limits::{LOG_ENTRIES_MAX, LOG_PAGES_MAX};
use super::super::resource::{Doc, Path, Resource};
use super::super::system::System;
use super::members;
use crate::action::ActionError;

/// An entry of a machine's event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// When, by the BMC's clock, as the BMC writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `OK`, `Warning` or `Critical`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// What happened.
    pub message: String,
    /// The message's id in its registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// The entries of the system's log, or of its manager's where the system has none (Dell).
pub(super) async fn read(system: &System) -> Result<Vec<LogEntry>, ActionError> {
    let mut owners = vec![system.doc().link("/LogServices")];
    for manager in system.managers().iter().take(1) {
        let manager = system.bmc.get_optional(manager, &system.budget).await?;
        owners.push(manager.and_then(|manager| manager.doc().link("/LogServices")));
    }
    for services in owners.into_iter().flatten() {
        let services = members(system, &services).await?;
        let best = services.iter().min_by_key(|service| rank(service));
        if let Some(entries) = best.and_then(|service| service.doc().link("/Entries")) {
            return newest(system, &entries).await;
        }
    }
    Ok(Vec::new())
}

/// Hardware events first; logs of the BMC's own doings last.
fn rank(service: &Resource) -> u8 {
    let doc = service.doc();
    let name = service.path.last_segment().to_ascii_lowercase();
    match doc.text("/LogEntryType").as_deref() {
        Some("SEL") => 0,
        _ if ["sel", "iml", "log1"].contains(&name.as_str()) => 1,
        Some("Event") => 2,
        _ if name.contains("event") => 3,
        _ => 4,
    }
}

/// Some logs begin with the oldest entry and some with the newest, so the first pages are read
/// and, of a longer log, the last entries too.
async fn newest(system: &System, collection: &Path) -> Result<Vec<LogEntry>, ActionError> {
    let mut entries = Vec::new();
    let mut page = Some(collection.clone());
    let mut count = 0;
    for _page in 0..LOG_PAGES_MAX {
        let Some(path) = page.take() else { break };
        let Some(read) = system.bmc.get_optional(&path, &system.budget).await? else { break };
        let doc = read.doc();
        count = doc.unsigned("/Members@odata.count").unwrap_or(0).max(count);
        entries.extend(entries_of(system, doc).await?);
        page = doc.text("/Members@odata.nextLink").and_then(|next| Path::parse(&next));
    }
    let rest = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(entries.len());
    if page.is_some() && rest > 0 {
        let skip = count.saturating_sub(LOG_ENTRIES_MAX as u64);
        let tail = collection.with_query(&format!("$skip={skip}&$top={LOG_ENTRIES_MAX}"));
        if let Some(tail) = system.bmc.get_optional(&tail, &system.budget).await? {
            entries.extend(entries_of(system, tail.doc()).await?);
        }
    }
    // RFC 3339 times of one clock sort as text; entries without a time go last.
    entries.sort_by(|a, b| b.created.cmp(&a.created));
    entries.dedup();
    entries.truncate(LOG_ENTRIES_MAX);
    Ok(entries)
}

/// Entries are nearly always in the collection itself; bare links are followed for the last few.
async fn entries_of(system: &System, page: Doc<'_>) -> Result<Vec<LogEntry>, ActionError> {
    let whole: Vec<LogEntry> = page.list("/Members").filter_map(entry).collect();
    if !whole.is_empty() {
        return Ok(whole);
    }
    let mut read = Vec::new();
    for path in page.links("/Members").iter().rev().take(LOG_ENTRIES_MAX) {
        let found = system.bmc.get_optional(path, &system.budget).await?;
        read.extend(found.and_then(|resource| entry(resource.doc())));
    }
    Ok(read)
}

fn entry(doc: Doc<'_>) -> Option<LogEntry> {
    Some(LogEntry {
        created: doc.text("/EventTimestamp").or_else(|| doc.text("/Created")),
        severity: doc.text("/Severity"),
        message: doc.text("/Message")?,
        message_id: doc.text("/MessageId"),
    })
}
