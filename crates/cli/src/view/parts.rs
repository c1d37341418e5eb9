//! What is said alike of a server and of a machine: where it is, what runs on it, who may disrupt it, what happened.

use super::time::age;
use quarterdeck_model::{
    Condition, ConditionStatus, Time,
    kinds::{Event, Instance, Location, Permit, Rack, Service, Site},
};

/// Runs and events that are shown of one object; the newest.
pub(crate) const SHOWN_MAX: usize = 8;
/// Conditions that are good when they are false.
const GOOD_WHEN_FALSE: [&str; 1] = ["Overdue"];

/// An object on one page: its name, facts about it, and sections of lines.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn new(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    pub(crate) fn fact(&mut self, name: &str, fact: &str) {
        self.0.push_str(&format!("  {name:<10}{fact}\n"));
    }

    /// A section without lines is left out.
    pub(crate) fn section(&mut self, title: &str, lines: impl IntoIterator<Item = String>) {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_some() {
            self.0.push_str(&format!("{title}\n"));
            self.0.extend(lines.map(|line| format!("  {line}\n")));
        }
    }

    pub(crate) fn text(self) -> String {
        self.0
    }
}

/// Where a server stands.
pub(crate) fn place(at: Option<&Location>, rack: Option<&Rack>, site: Option<&Site>) -> String {
    let Some(location) = at else { return "not said".into() };
    let unit = location.unit.map_or_else(String::new, |unit| format!(", unit {unit}"));
    let named = match rack {
        Some(_) => format!("rack {}", location.rack),
        None => format!("rack {} (which cannot be found)", location.rack),
    };
    let hall = rack.and_then(|rack| rack.spec.hall.as_ref());
    let hall = hall.map_or_else(String::new, |hall| format!("hall {hall}, "));
    let site = site.map_or_else(String::new, |site| {
        format!("site {} ({}), ", site.metadata.name, site.spec.region)
    });
    format!("{site}{hall}{named}{unit}")
}

/// Whether a condition is as it should be.
pub(crate) fn good(condition: &Condition) -> bool {
    let wanted = match GOOD_WHEN_FALSE.contains(&condition.kind.as_str()) {
        true => ConditionStatus::False,
        false => ConditionStatus::True,
    };
    condition.status == wanted
}

pub(crate) fn condition(it: &Condition, now: Time) -> String {
    let mark = if good(it) { "✓" } else { "✗" };
    let since = age(Some(it.last_transition_time), now);
    format!("{mark} {} {:?} for {since}: {}: {}", it.kind, it.status, it.reason, it.message)
}

pub(crate) fn permit(it: &Permit, now: Time) -> String {
    let namespace = it.metadata.namespace.as_deref().unwrap_or_default();
    let name = &it.metadata.name;
    if it.is_granted() {
        let held = age(it.status.granted, now);
        return format!("● run {namespace}/{name} may disrupt it, for {held}");
    }
    let (asks, why) = (age(it.spec.asked, now), it.status.message.as_deref());
    let why = why.unwrap_or("the ledger has not answered yet");
    format!("○ run {namespace}/{name} waits for leave to disrupt it, for {asks}: {why}")
}

pub(crate) fn instance(it: &Instance) -> String {
    let namespace = it.metadata.namespace.as_deref().unwrap_or_default();
    let why = it.status.message.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let (name, phase) = (&it.metadata.name, it.status.phase);
    format!("{namespace}/{name} of service {}, {phase:?}{why}", it.spec.service)
}

pub(crate) fn service(it: &Service) -> String {
    let namespace = it.metadata.namespace.as_deref().unwrap_or_default();
    let (spec, status) = (&it.spec, &it.status);
    let owner = spec.owner.as_ref().map_or_else(String::new, |owner| format!(", owner {owner}"));
    let tier = spec.tier.map_or_else(String::new, |tier| format!(", tier {tier}"));
    format!(
        "{namespace}/{}{owner}{tier}, {}: {} of {} down, {} more may go",
        it.metadata.name,
        status.phase.as_deref().unwrap_or("Unknown"),
        status.down.unwrap_or(0),
        status.instances.unwrap_or(0),
        status.disruptions_allowed.unwrap_or(0)
    )
}

/// The last of them, a line each.
pub(crate) fn events(all: &[Event], now: Time) -> impl Iterator<Item = String> {
    let line = move |it: &Event| {
        let at = it.event_time.or(it.last_timestamp);
        format!("{:>6} ago   {}   {}", age(at, now), it.reason, it.message)
    };
    all.iter().skip(all.len().saturating_sub(SHOWN_MAX)).map(line)
}
