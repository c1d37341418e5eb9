//! Servers: one line each in a list; all that is joined to one.

use super::{
    parts::{self, Page, SHOWN_MAX},
    run::{self, full_name},
    table::table,
    time::age,
};
use quarterdeck_model::{
    Time, condition,
    inventory::Inventory,
    kinds::{Event, Instance, Permit, Rack, Run, Server, Service, Site},
};

/// A server and what is joined to it.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) server: Server,
    pub(crate) rack: Option<Rack>,
    pub(crate) site: Option<Site>,
    /// Newest first.
    pub(crate) runs: Vec<Run>,
    pub(crate) permits: Vec<Permit>,
    /// Of the server itself, and of the machine that has it.
    pub(crate) instances: Vec<Instance>,
    pub(crate) services: Vec<Service>,
    /// Newest last.
    pub(crate) events: Vec<Event>,
}

/// Columns of a list of servers.
pub(crate) fn heading(wide: bool) -> Vec<&'static str> {
    let mut heading = vec!["NAME", "PHASE", "READY", "POWER", "HEALTH", "RACK", "RUN", "REASON"];
    heading.extend(
        wide.then_some(["UNIT", "MODEL", "SERIAL", "BMC", "MACHINE", "AGE"]).iter().flatten(),
    );
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
            machine(server).unwrap_or_default(),
            age(server.metadata.creation_timestamp, now),
        ]);
    }
    row
}

/// The machine that has it, `shop/web-1`.
pub(crate) fn machine(server: &Server) -> Option<String> {
    let machine = server.status.machine_ref.as_ref()?;
    Some(format!("{}/{}", machine.namespace, machine.name))
}

/// A server and all that is joined to it.
pub(crate) fn show(joined: &Joined, now: Time) -> String {
    let server = &joined.server;
    let (spec, status) = (&server.spec, &server.status);
    let place = parts::place(spec.location.as_ref(), joined.rack.as_ref(), joined.site.as_ref());
    let since = status
        .phase_since
        .map_or_else(String::new, |_| format!(" for {}", age(status.phase_since, now)));
    let why = status.phase_message.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    let mut page = Page::new(&format!("server {}", server.metadata.name));
    page.fact("place", &place);
    page.fact("phase", &format!("{:?}{since}{why}", status.phase));
    page.fact("power", &or(status.power_state.clone(), "not known"));
    page.fact("hardware", &or(status.inventory.as_ref().map(hardware), "not inspected yet"));
    if let Some(profile) = &spec.profile {
        page.fact("profile", profile);
    }
    page.fact("bmc", &format!("{} ({:?})", spec.bmc.address, spec.bmc.protocol));
    page.fact("machine", &or(machine(server), "none has it"));
    page.fact("run", &or(status.current_run.clone(), "none acts on it now"));
    page.section("conditions", status.conditions.iter().map(|it| parts::condition(it, now)));
    page.section("permits", joined.permits.iter().map(|it| parts::permit(it, now)));
    page.section("instances", joined.instances.iter().map(parts::instance));
    page.section("services", joined.services.iter().map(parts::service));
    let runs = joined.runs.iter().take(SHOWN_MAX).map(|it| run::row(it, false, now));
    let runs: Vec<Vec<String>> = runs.collect();
    if !runs.is_empty() {
        let lines = table(&run::heading(false), &runs);
        page.section("runs", lines.lines().map(str::to_owned));
    }
    page.section("events", parts::events(&joined.events, now));
    page.text()
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

/// The run that acts on a server, if it is among those known.
pub(crate) fn current<'a>(server: &Server, runs: &'a [Run]) -> Option<&'a Run> {
    let name = server.status.current_run.as_ref()?;
    runs.iter().find(|run| full_name(run) == *name)
}
