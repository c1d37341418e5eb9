//! Refusals: who blocks and why, in a sentence that a person can act on.

use crate::{
    book::{Book, Instance, Service},
    place::Place,
    table::Number,
};
use quarterdeck_model::Time;
use std::{fmt::Write as _, sync::Arc};

/// What stands in the way. When it gives way, asking again can help.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Blocker {
    /// The budget of a service, by its number in the book.
    Service(u32),
    /// The limit of a place, by its number in the book.
    Place(u32),
    /// A freeze, by its name.
    Freeze(String),
    /// The hook of a service, by the service's name. Whoever keeps a book asks hooks.
    Hook(Arc<str>),
}

/// Why not now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What stands in the way; of several, one.
    pub blocker: Blocker,
    /// Who blocks, how much, and since when.
    pub message: String,
    /// When that ends, if it is known.
    pub until: Option<Time>,
}

/// Most instances that are named.
const NAMED_MAX: usize = 3;
/// Most services that are named besides the first one.
const OTHERS_MAX: usize = 4;
/// Most ways to reach an owner that are named.
const CONTACTS_MAX: usize = 2;

pub(crate) fn whom_to_ask(message: &mut String, service: &Service) {
    let contacts = service.spec.contacts.iter().take(CONTACTS_MAX).map(String::as_str);
    let contacts = contacts.collect::<Vec<_>>().join(", ");
    // Writing to memory does not fail.
    match (&service.spec.owner, contacts.as_str()) {
        (Some(owner), "") => drop(write!(message, "; its owner is {owner}")),
        (Some(owner), at) => drop(write!(message, "; its owner is {owner} ({at})")),
        (None, "") => {}
        (None, at) => drop(write!(message, "; ask {at}")),
    }
}

impl Book {
    /// `payments/api allows 1 of 10 down; 1 is: api-7 on m-0417 (not available since 2026-03-01T12:27:00Z)`. Times
    /// are points, so that the same refusal is the same text.
    pub(crate) fn over_budget(
        &self,
        number: Number,
        service: &Service,
        more: u32,
        others: &[&str],
    ) -> Refusal {
        let allowed = service.most_down();
        let down = service.down.len();
        let mut message = format!(
            "{} allows {allowed} of {} down; {down} {}",
            service.name,
            service.total,
            if down == 1 { "is" } else { "are" }
        );
        let mut named = service.down.iter().filter_map(|at| self.instances.get(*at)).peekable();
        if named.peek().is_some() {
            let each = named.take(NAMED_MAX).map(|instance| self.how(instance));
            let each: Vec<String> = each.collect();
            let rest = down.saturating_sub(each.len());
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            // Writing to memory does not fail.
            let _ = write!(message, ": {}{rest}", each.join(", "));
        }
        let _ = write!(message, "; this would take {more} more");
        if !others.is_empty() {
            let are = if others.len() == 1 { "is" } else { "are" };
            let named = others.iter().take(OTHERS_MAX).copied().collect::<Vec<_>>().join(", ");
            let rest = others.len().saturating_sub(OTHERS_MAX);
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            let _ = write!(message, " (in the way {are} also {named}{rest})");
        }
        whom_to_ask(&mut message, service);
        Refusal { blocker: Blocker::Service(number), message, until: None }
    }

    /// `payments/api is disturbed only in its maintenance windows; the next opens at 2026-03-01T22:30:00Z`.
    pub(crate) fn closed(number: Number, service: &Service, until: Option<Time>) -> Refusal {
        let next = until.map_or_else(
            || "none of them ever opens".to_owned(),
            |until| format!("the next opens at {until}"),
        );
        let mut message =
            format!("{} is disturbed only in its maintenance windows; {next}", service.name);
        whom_to_ask(&mut message, service);
        Refusal { blocker: Blocker::Service(number), message, until }
    }

    /// How an instance is down.
    fn how(&self, instance: &Instance) -> String {
        let host = self.hosts.get(instance.host);
        let name = instance.short_name();
        let on = host.map_or("", |host| &host.name);
        if !instance.available {
            return match instance.since {
                Some(since) => {
                    let since = Time::seconds(since.timestamp());
                    format!("{name} on {on} (not available since {since})")
                }
                None => format!("{name} on {on} (not available)"),
            };
        }
        let permit = instance.permits.first().or_else(|| host?.permits.first());
        match permit.and_then(|uid| self.permits.get(uid)) {
            Some(permit) => {
                let (run, since) = (&permit.holder.name, Time::seconds(permit.since.timestamp()));
                if instance.permits.is_empty() {
                    format!("{name} on {on} (run {run} may disrupt it since {since})")
                } else {
                    format!("{name} on {on} (its workload stops it since {since})")
                }
            }
            None => format!("{name} on {on}"),
        }
    }

    /// `rack r-17 allows 2 of its servers to be disrupted at once; 2 are`, `site fra1 allows 2 of its servers in hall
    /// north …`.
    pub(crate) fn over_limit(
        &self,
        number: Number,
        place: &Place,
        limit: u32,
        more: u32,
    ) -> Refusal {
        let (owner, now) = (&place.owner, place.disrupted);
        let are = if now == 1 { "is" } else { "are" };
        let (part, field) = match &place.part {
            Some(part) => (format!(" {part}"), "limits"),
            None => (String::new(), "maxDisruptedServers"),
        };
        let message = format!(
            "{owner} allows {limit} of its servers{part} to be disrupted at once; {now} {are}, and this would take \
             {more} more ({field})"
        );
        Refusal { blocker: Blocker::Place(number), message, until: None }
    }

    /// `freeze year-end holds until 2027-01-07T00:00:00Z: year end`, and which approval it `wants` to let it go on.
    pub(crate) fn frozen(
        name: &str,
        reason: &str,
        end: Option<Time>,
        wants: Option<&str>,
    ) -> Refusal {
        let until = end.map_or_else(String::new, |end| format!(" until {end}"));
        let wants = wants.map_or_else(String::new, |wants| format!("; to go on it {wants}"));
        let message = format!("freeze {name} holds{until}: {reason}{wants}");
        Refusal { blocker: Blocker::Freeze(name.into()), message, until: end }
    }
}
