//! Which free server a machine gets. Reads one world and changes nothing.
//!
//! While few servers are free, they are looked at. While many are, racks are gone through from one that follows from
//! the machine, so that machines wanted at once do not all ask for the same server, and come to stand in different
//! racks. What is looked at is found by an index, so that a search costs little whether nothing is free or everything.

use quarterdeck_model::{
    ConditionStatus, FieldSelector, Kind as _, KindRef, LabelSelector, Object, condition,
    kinds::{Machine, MachineClass, MachinePlacement, Provider, Rack, Server},
};
use quarterdeck_store::{ListQuery, World};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc};

/// Free servers that are looked at one by one; more are gone through by racks. No rack holds as many.
const FEW: usize = 256;

/// Free servers of a class where the machine may be, by rack: for who puts machines into places.
pub(in crate::controllers) fn free_by_rack(
    world: &World,
    machine: &Machine,
    class: &MachineClass,
) -> BTreeMap<String, Vec<Arc<Object>>> {
    let mut racks: BTreeMap<String, Vec<Arc<Object>>> = BTreeMap::new();
    let Some(search) = Search::of(world, machine, class) else { return racks };
    let Ok(sites) = search.sites() else { return racks };
    let (all, _) = search.free("", None);
    for server in all {
        let rack = server.field("spec.location.rack").unwrap_or_default();
        match racks.get_mut(rack) {
            Some(there) => there.push(server),
            None => drop(racks.insert(rack.to_owned(), vec![server])),
        }
    }
    // All of one rack may be used, or none.
    let may = |there: &[Arc<Object>]| {
        there.first().is_some_and(|first| search.may_stand(first, sites.as_deref()))
    };
    racks.retain(|_, there| may(there));
    racks
}

/// Whether a machine of the class could be on a server.
pub(in crate::controllers) fn fits(
    world: &World,
    machine: &Machine,
    class: &MachineClass,
    server: &Object,
) -> bool {
    Search::of(world, machine, class).is_some_and(|search| search.fits(server).is_ok())
}

/// Whether a server that a machine has could be that of a class, whatever it is in the middle of.
///
/// # Errors
/// What it lacks, as the rest of a sentence about the server.
pub(crate) fn is_of(
    world: &World,
    machine: &Machine,
    class: &MachineClass,
    server: &Object,
) -> Result<(), String> {
    let name = &machine.spec.class;
    let labels = Search::of(world, machine, class).filter(|search| search.labels.matches(server));
    let Some(search) = labels else { return Err(format!("is not of class {name}, by its labels")) };
    let sites = search.sites().map_err(|why| format!("is not where {name} is: {why}"))?;
    if !search.may_stand(server, sites.as_deref()) {
        return Err(format!("is in no Site of a provider of class {name}"));
    }
    let found = server.decode::<Server>().map_err(|_unread| "cannot be read".to_owned())?;
    search.has_enough(&found)
}

/// What was found.
pub(super) enum Chosen {
    Server(Arc<Object>),
    /// Why there is none.
    None(String),
}

/// A free server for the machine.
pub(super) fn server(world: &World, machine: &Machine, class: Option<&MachineClass>) -> Chosen {
    let Some(class) = class else { return Chosen::None(String::new()) };
    let Some(search) = Search::of(world, machine, class) else {
        return Chosen::None(String::new());
    };
    if let Some(name) = &search.wish.server {
        return search.named(name);
    }
    let sites = match search.sites() {
        Ok(sites) => sites,
        Err(why) => return Chosen::None(why),
    };
    let (few, more) = search.free("", Some(FEW));
    if !more {
        let few = few.into_iter().filter(|server| search.may_stand(server, sites.as_deref()));
        return search.first_of(few.collect::<Vec<_>>());
    }
    match search.racks(sites) {
        Ok(racks) => search.first_of(racks.iter().flat_map(|rack| search.in_rack(rack))),
        Err(why) => Chosen::None(why),
    }
}

struct Search<'a> {
    world: &'a World,
    machine: &'a Machine,
    class: &'a MachineClass,
    labels: LabelSelector,
    wish: MachinePlacement,
}

impl<'a> Search<'a> {
    /// None when the class's labels cannot be selected by.
    fn of(world: &'a World, machine: &'a Machine, class: &'a MachineClass) -> Option<Self> {
        let labels = class.spec.servers.selector()?;
        let wish = machine.spec.placement.clone().unwrap_or_default();
        Some(Self { world, machine, class, labels, wish })
    }

    /// The one server that the machine names.
    fn named(&self, name: &str) -> Chosen {
        let Some(server) = self.world.get(Server::info(), "", name) else {
            return Chosen::None(format!(
                "spec.placement.server names Server {name}, which does not exist."
            ));
        };
        if !self.labels.matches(&server) {
            let class = &self.machine.spec.class;
            return Chosen::None(format!("Server {name} is not of class {class}, by its labels."));
        }
        match self.fits(&server) {
            Ok(()) => Chosen::Server(server),
            Err(why) => Chosen::None(format!("Server {name} {why}.")),
        }
    }

    /// Names of the racks that the machine may stand in, an empty one for servers that are in none.
    fn racks(&self, sites: Option<Vec<String>>) -> Result<Vec<String>, String> {
        let mut racks: Vec<String> = match (&self.wish.rack, sites) {
            (Some(rack), sites) => {
                let found = self.world.get(Rack::info(), "", rack);
                let Some(found) = found else {
                    return Err(format!(
                        "spec.placement.rack names Rack {rack}, which does not exist."
                    ));
                };
                let site = found.field("spec.site").unwrap_or_default();
                if sites.is_some_and(|sites| !sites.iter().any(|it| it == site)) {
                    return Err(format!("Rack {rack} is in Site {site}, where it may not be."));
                }
                return Ok(vec![rack.clone()]);
            }
            (None, Some(sites)) => {
                let of = |site: &String| {
                    self.world.with_fields(Rack::info(), &format!("spec.site={site}"))
                };
                sites.iter().flat_map(of).map(|rack| rack.name().to_owned()).collect()
            }
            (None, None) => {
                let all = self.world.all(Rack::info()).map(|rack| rack.name().to_owned());
                all.chain([String::new()]).collect()
            }
        };
        if !racks.is_empty() {
            let start = self.start() % racks.len();
            racks.rotate_left(start);
        }
        Ok(racks)
    }

    /// The sites that the machine may be in; any when none.
    fn sites(&self) -> Result<Option<Vec<String>>, String> {
        let providers = &self.class.spec.providers;
        let mut sites = None;
        if !providers.is_empty() {
            let of = |name: &String| {
                let provider = self.world.get(Provider::info(), "", name)?;
                provider.field("spec.metal.site").map(str::to_owned)
            };
            sites = Some(providers.iter().filter_map(of).collect::<Vec<_>>());
        }
        let Some(site) = &self.wish.site else { return Ok(sites) };
        if sites.is_some_and(|sites| !sites.contains(site)) {
            let class = &self.machine.spec.class;
            return Err(format!("no provider of class {class} is in Site {site}."));
        }
        Ok(Some(vec![site.clone()]))
    }

    fn start(&self) -> usize {
        let digest = Sha256::digest(&self.machine.metadata.uid);
        digest.iter().take(4).fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    }

    /// Whether a server is where the machine may be.
    fn may_stand(&self, server: &Object, sites: Option<&[String]>) -> bool {
        let rack = server.field("spec.location.rack").unwrap_or_default();
        let site = || {
            let rack = self.world.get(Rack::info(), "", rack)?;
            rack.field("spec.site").map(str::to_owned)
        };
        self.wish.rack.as_ref().is_none_or(|wanted| wanted == rack)
            && sites.is_none_or(|sites| site().is_some_and(|site| sites.contains(&site)))
    }

    fn first_of(&self, free: impl IntoIterator<Item = Arc<Object>>) -> Chosen {
        let mut seen = 0_usize;
        let mut last = String::new();
        for server in free {
            match self.fits(&server) {
                Ok(()) => return Chosen::Server(server),
                Err(why) => last = format!("{} {why}", server.name()),
            }
            seen += 1;
        }
        let class = &self.machine.spec.class;
        Chosen::None(match seen {
            0 => format!("No server of class {class} is free; it gets the next one."),
            _ => format!(
                "{seen} servers of class {class} are free and none of them fits: {last}. It gets the next one that does."
            ),
        })
    }

    /// Free servers of one rack. Those who want servers of one rack at once begin at different ones.
    fn in_rack(&self, rack: &str) -> Vec<Arc<Object>> {
        let (mut there, _) = self.free(&format!(",spec.location.rack={rack}"), Some(FEW));
        let start = self.start() / 65_537 % there.len().max(1);
        there.rotate_left(start);
        there
    }

    /// The first free servers of the class, and whether there are more.
    fn free(&self, also: &str, limit: Option<usize>) -> (Vec<Arc<Object>>, bool) {
        let fields = format!("status.phase=Ready,status.machineRef.uid={also}");
        let Ok(fields) = FieldSelector::parse(&fields) else { return (Vec::new(), false) };
        let kind: KindRef = Server::info();
        let query = ListQuery {
            kind,
            namespace: None,
            labels: &self.labels,
            fields: &fields,
            after: None,
            limit,
        };
        let page = self.world.list(&query);
        (page.items, page.more)
    }

    /// Why a server cannot be taken, if it cannot.
    fn fits(&self, server: &Object) -> Result<(), String> {
        if let Some(other) = server.field("status.machineRef.name").filter(|name| !name.is_empty())
        {
            return Err(format!("has Machine {other}"));
        }
        if server.deleting() {
            return Err("is being deleted".into());
        }
        let phase = server.field("status.phase").unwrap_or_default();
        if phase != "Ready" {
            let phase = if phase.is_empty() { "not inspected yet" } else { phase };
            return Err(format!("is {phase}"));
        }
        let Ok(read) = server.decode::<Server>() else { return Err("cannot be read".into()) };
        if let Some(run) = &read.status.current_run {
            return Err(format!("is held by run {run}"));
        }
        let name = &read.metadata.name;
        if self.machine.status.failed_servers.contains(name) {
            return Err("failed to be installed before".into());
        }
        let ready = condition::find(&read.status.conditions, "Ready");
        if let Some(why) = ready.filter(|ready| ready.status != ConditionStatus::True) {
            return Err(format!("is not ready ({})", why.reason));
        }
        self.has_enough(&read)
    }

    fn has_enough(&self, server: &Server) -> Result<(), String> {
        let found = server.status.inventory.clone().unwrap_or_default();
        match &self.class.spec.minimum {
            Some(minimum) if !minimum.within(&found) => {
                Err("has less than the class asks for".into())
            }
            _ => Ok(()),
        }
    }
}
