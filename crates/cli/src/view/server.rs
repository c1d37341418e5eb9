//! Servers: one line each in a list; all that is joined to one.

use super::{
    run::{self, full_name},
    table::table,
    time::age,
};
use quarterdeck_model::{
    Condition, ConditionStatus, Time, condition,
    inventory::Inventory,
    kinds::{Event, Instance, Permit, Rack, Run, Server, Service, Site},
};

/// Runs and events of a server that are shown; the newest.
pub(crate) const SHOWN_MAX: usize = 8;

/// A server and what is joined to it.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) server: Server,
    pub(crate) rack: Option<Rack>,
    pub(crate) site: Option<Site>,
    /// Newest first.
    pub(crate) runs: Vec<Run>,
    pub(crate) permits: Vec<Permit>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) services: Vec<Service>,
    /// Newest last.
    pub(crate) events: Vec<Event>,
}

/// Columns of a list of servers.
pub(crate) fn heading(wide: bool) -> Vec<&'static str> {
    let mut heading = vec!["NAME", "PHASE", "READY", "POWER", "HEALTH", "RACK", "RUN", "REASON"];
    heading.extend(wide.then_some(["UNIT", "MODEL", "SERIAL", "BMC", "AGE"]).iter().flatten());
    heading
}

/// A server in a list.
pub(crate) fn row(server: &Server, wide: bool, now: Time) -> Vec<String> {
    let (spec, status) = (&server.spec, &server.status);
    let ready = condition::find(&status.conditions, "Ready");
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let inventory = status.inventory.as_ref();
    let place = spec.location.as_ref();
    let mut row = vec![
        server.metadata.name.clone(),
        format!("{:?}", status.phase),
        ready.map_or_else(|| "Unknown".into(), |ready| format!("{:?}", ready.status)),
        text(status.power_state.as_ref()),
        text(inventory.and_then(|it| it.health.as_ref())),
        text(place.map(|it| &it.rack)),
        text(status.current_run.as_ref()),
        text(ready.map(|it| &it.reason)),
    ];
    if wide {
        row.extend([
            place.and_then(|it| it.unit).map(|unit| unit.to_string()).unwrap_or_default(),
            text(inventory.and_then(|it| it.model.as_ref())),
            text(inventory.and_then(|it| it.serial_number.as_ref()).or(spec.serial.as_ref())),
            spec.bmc.address.clone(),
            age(server.metadata.creation_timestamp, now),
        ]);
    }
    row
}

/// A server and all that is joined to it.
pub(crate) fn show(joined: &Joined, now: Time) -> String {
    let server = &joined.server;
    let (spec, status) = (&server.spec, &server.status);
    let mut facts = vec![("place", place(joined))];
    let since = status
        .phase_since
        .map_or_else(String::new, |_| format!(" for {}", age(status.phase_since, now)));
    facts.push(("phase", format!("{:?}{since}", status.phase)));
    facts.push(("power", status.power_state.clone().unwrap_or_else(|| "not known".into())));
    let hardware = status.inventory.as_ref().map(hardware);
    facts.push(("hardware", hardware.unwrap_or_else(|| "not inspected yet".into())));
    facts.push(("bmc", format!("{} ({:?})", spec.bmc.address, spec.bmc.protocol)));
    facts.push(("run", status.current_run.clone().unwrap_or_else(|| "none acts on it now".into())));
    let mut text = format!("server {}\n", server.metadata.name);
    for (name, fact) in facts {
        text.push_str(&format!("  {name:<10}{fact}\n"));
    }
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("{title}\n"));
            text.extend(lines.into_iter().map(|line| format!("  {line}\n")));
        }
    };
    let told = |it: &Condition| condition_line(it, now);
    section("conditions", status.conditions.iter().map(told).collect());
    section("permits", joined.permits.iter().map(|it| permit(it, now)).collect());
    section("instances", joined.instances.iter().map(instance).collect());
    section("services", joined.services.iter().map(service).collect());
    let runs = joined.runs.iter().take(SHOWN_MAX).map(|it| run::row(it, false, now));
    let runs: Vec<Vec<String>> = runs.collect();
    if !runs.is_empty() {
        let lines = table(&run::heading(false), &runs);
        section("runs", lines.lines().map(str::to_owned).collect());
    }
    let first = joined.events.len().saturating_sub(SHOWN_MAX);
    section("events", joined.events.iter().skip(first).map(|it| event(it, now)).collect());
    text
}

fn place(joined: &Joined) -> String {
    let Some(location) = &joined.server.spec.location else { return "not said".into() };
    let unit = location.unit.map_or_else(String::new, |unit| format!(", unit {unit}"));
    let rack = match &joined.rack {
        Some(_) => format!("rack {}", location.rack),
        None => format!("rack {} (which cannot be found)", location.rack),
    };
    let hall = joined.rack.as_ref().and_then(|rack| rack.spec.hall.as_ref());
    let hall = hall.map_or_else(String::new, |hall| format!("hall {hall}, "));
    let site = joined.site.as_ref();
    let site = site.map_or_else(String::new, |site| {
        format!("site {} ({}), ", site.metadata.name, site.spec.region)
    });
    format!("{site}{hall}{rack}{unit}")
}

/// Model, size and health in one line.
fn hardware(found: &Inventory) -> String {
    const GIB: u64 = 1 << 30;
    let cpus = found.cpus.map(|cpus| format!("{cpus} CPUs"));
    let memory = found.memory_bytes.map(|bytes| format!("{} GiB", bytes / GIB));
    let drives = (!found.drives.is_empty()).then(|| format!("{} drives", found.drives.len()));
    let serial = found.serial_number.as_ref().map(|serial| format!("serial {serial}"));
    let health = found.health.as_ref().map(|health| format!("health {health}"));
    let model = [&found.manufacturer, &found.model].into_iter().flatten();
    let model = model.cloned().collect::<Vec<_>>().join(" ");
    let model = Some(model).filter(|model| !model.is_empty());
    let all = [model, cpus, memory, drives, serial, health];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Conditions that are good when they are false.
const GOOD_WHEN_FALSE: [&str; 1] = ["Overdue"];

/// Whether a condition is as it should be.
pub(crate) fn good(condition: &Condition) -> bool {
    let wanted = match GOOD_WHEN_FALSE.contains(&condition.kind.as_str()) {
        true => ConditionStatus::False,
        false => ConditionStatus::True,
    };
    condition.status == wanted
}

fn condition_line(it: &Condition, now: Time) -> String {
    let mark = if good(it) { "✓" } else { "✗" };
    let since = age(Some(it.last_transition_time), now);
    format!("{mark} {} {:?} for {since}: {}: {}", it.kind, it.status, it.reason, it.message)
}

fn permit(it: &Permit, now: Time) -> String {
    let namespace = it.metadata.namespace.as_deref().unwrap_or_default();
    let held = age(it.spec.granted, now);
    format!("● run {namespace}/{} may disrupt it, for {held}", it.metadata.name)
}

fn instance(it: &Instance) -> String {
    let namespace = it.metadata.namespace.as_deref().unwrap_or_default();
    let why = it.status.message.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let (name, phase) = (&it.metadata.name, it.status.phase);
    format!("{namespace}/{name} of service {}, {phase:?}{why}", it.spec.service)
}

fn service(it: &Service) -> String {
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

fn event(it: &Event, now: Time) -> String {
    let at = it.event_time.or(it.last_timestamp);
    format!("{:>6} ago   {}   {}", age(at, now), it.reason, it.message)
}

/// The run that acts on a server, if it is among those known.
pub(crate) fn current<'a>(server: &Server, runs: &'a [Run]) -> Option<&'a Run> {
    let name = server.status.current_run.as_ref()?;
    runs.iter().find(|run| full_name(run) == *name)
}
