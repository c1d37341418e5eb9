//! A machine as its BMC shows it at one moment, and which resource is where. Pure once it is made.

use super::{
    Answer, ROOT, chassis, clock_of, manager, message, schema, service::Work, services, system,
};
use crate::{
    contact::Contact,
    state::{Power, Rest},
};
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::inventory::{Inventory, Problem};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A machine at one moment.
pub(super) struct View<'c> {
    pub(super) contact: &'c Contact<'c>,
    pub(super) inventory: Inventory,
    pub(super) power: Power,
    pub(super) rest: Rest,
    /// What the BMC's clock shows.
    pub(super) clock: Timestamp,
    pub(super) now: Instant,
}

impl<'c> View<'c> {
    pub(super) fn of(contact: &'c Contact<'c>, true_time: Timestamp) -> Self {
        let now = Instant::now();
        let (power, rest) = contact.state(|state| {
            let power = state.power(now).0;
            state.rest().service.settle(now);
            (power, state.rest().clone())
        });
        let clock = clock_of(contact, true_time);
        Self { contact, inventory: contact.inventory(), power, rest, clock, now }
    }

    /// The resource at a path below the root.
    pub(super) fn resource(&self, parts: &[&str]) -> Option<Value> {
        match parts {
            [] => Some(services::root(self)),
            ["Systems", rest @ ..] => system::resource(self, rest),
            ["Chassis", rest @ ..] => chassis::resource(self, rest),
            ["Managers", rest @ ..] => manager::resource(self, rest),
            [service, rest @ ..] => services::resource(self, service, rest),
        }
    }

    /// Shows of a resource what the query asks for: `$expand` of a collection by a level, `$skip` and `$top` (DSP0266
    /// §7.3.1).
    pub(super) fn apply_query(&self, resource: &mut Value, query: &str) -> Result<(), Answer> {
        let parameters = query.split('&').filter(|it| !it.is_empty());
        let (mut expand, mut skip, mut top) = (false, 0, usize::MAX);
        for parameter in parameters {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let number = || value.parse().map_err(|_| message::bad_query(name, value));
            match name.trim_start_matches("%24").trim_start_matches('$') {
                "expand" => {
                    let rest = value.trim_start_matches(['.', '*']);
                    let level = ["", "($levels=1)", "(%24levels=1)", "%28%24levels%3D1%29"];
                    if value.is_empty() || !level.contains(&rest) {
                        return Err(message::bad_query(name, value));
                    }
                    expand = true;
                }
                "skip" => skip = number()?,
                "top" => top = number()?,
                // Those without a `$` may be ignored (DSP0266 §7.3).
                _ => {}
            }
        }
        let Some(members) = resource.get_mut("Members").and_then(Value::as_array_mut) else {
            return Ok(());
        };
        let kept: Vec<Value> = std::mem::take(members).into_iter().skip(skip).take(top).collect();
        let whole = |link: Value| {
            let path = link.get("@odata.id").and_then(Value::as_str).unwrap_or_default();
            let parts: Vec<&str> = path.strip_prefix(ROOT)?.split('/').skip(1).collect();
            self.resource(&parts)
        };
        *members = if expand { kept.into_iter().filter_map(whole).collect() } else { kept };
        Ok(())
    }

    /// What the BMC's clock showed, or will show, then.
    pub(super) fn time_of(&self, at: Instant) -> String {
        let since = |from: Instant, to: Instant| {
            SignedDuration::try_from(to.saturating_duration_since(from)).unwrap_or_default()
        };
        text(
            self.clock.checked_add(since(self.now, at) - since(at, self.now)).unwrap_or(self.clock),
        )
    }

    /// What is wrong with a part.
    pub(super) fn problem(&self, part: &str) -> Option<&Problem> {
        self.inventory.problems.iter().find(|problem| problem.part == part)
    }

    /// The status of a part: how it is, and why.
    pub(super) fn status(&self, part: &str) -> Value {
        let Some(problem) = self.problem(part) else {
            return json!({"State": "Enabled", "Health": "OK"});
        };
        let condition = json!({
            "MessageId": "ResourceEvent.1.3.ResourceStatusChangedWarning",
            "Message": problem.message.as_deref().unwrap_or("failed"),
            "Severity": problem.health,
            "Timestamp": text(self.built()),
        });
        json!({"State": "Enabled", "Health": problem.health, "Conditions": [condition]})
    }

    /// The status of the whole.
    pub(super) fn whole(&self, state: &str) -> Value {
        let health = self.inventory.health.as_deref().unwrap_or("OK");
        json!({"State": state, "Health": "OK", "HealthRollup": health})
    }

    /// When the machine was put to work, and what is broken broke, by its own clock.
    pub(super) fn built(&self) -> Timestamp {
        self.contact.hardware.built()
    }

    /// How far something has come that runs, in percent.
    pub(super) fn percent(&self, (began, ends): (Instant, Instant)) -> u64 {
        let whole = ends.saturating_duration_since(began).as_millis().max(1);
        let past = self.now.saturating_duration_since(began).as_millis().min(whole);
        u64::try_from(past * 100 / whole).unwrap_or(100)
    }

    /// What goes on at a disk.
    pub(super) fn erasing(&self, disk: &str) -> Option<Value> {
        let of = |work: &Work| matches!(work, Work::Erase(it) if it == disk);
        let task = self.rest.service.running(self.now, of)?;
        let link = format!("{ROOT}/TaskService/Tasks/{}", task.id);
        Some(json!({
            "OperationName": "SecureErase",
            "PercentageComplete": self.percent((task.began, task.ends)),
            "AssociatedTask": {"@odata.id": link},
        }))
    }
}

/// A time as BMCs write it: whole seconds.
pub(super) fn text(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// A link.
pub(super) fn link(path: impl std::fmt::Display) -> Value {
    json!({"@odata.id": path.to_string()})
}

/// The last part of a path for a part of that name.
pub(super) fn segment(part: &str) -> String {
    part.replace(' ', ".")
}

/// Adds properties to a resource.
pub(super) fn with(mut resource: Value, properties: Value) -> Value {
    if let (Some(all), Value::Object(more)) = (resource.as_object_mut(), properties) {
        all.extend(more);
    }
    resource
}

/// A collection of what has names, and its members.
pub(super) fn listed<'a, T>(
    path: &str,
    schema: &str,
    name: &str,
    all: &'a [T],
    id: impl Fn(&T) -> &str,
    rest: &[&str],
    member: impl FnOnce(&'a T, &str) -> Value,
) -> Option<Value> {
    match rest {
        [] => Some(schema::collection(path, schema, name, all.iter().map(|it| segment(id(it))))),
        [wanted] => {
            let found = all.iter().find(|it| segment(id(it)) == *wanted)?;
            Some(member(found, &format!("{path}/{wanted}")))
        }
        _ => None,
    }
}
