//! What the ledger must know, as a model that counts everything anew: no index, no running number. It is
//! written against `docs/ledger.md`, and shares no code with the ledger.

use jiff::Timestamp;
use quarterdeck_model::kinds::{FreezeSpec, RunTarget, ServiceSpec};
use std::collections::{BTreeMap, BTreeSet};

/// One running copy of a service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Copy {
    pub(crate) service: String,
    pub(crate) host: String,
    pub(crate) ready: bool,
}

/// Everything as it was said. Services and instances are named `namespace/name`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) services: BTreeMap<String, ServiceSpec>,
    pub(crate) instances: BTreeMap<String, Copy>,
    /// The rack of each.
    pub(crate) servers: BTreeMap<String, Option<String>>,
    /// The site of each, and its limit.
    pub(crate) racks: BTreeMap<String, (String, Option<u32>)>,
    pub(crate) sites: BTreeMap<String, Option<u32>>,
    pub(crate) freezes: BTreeMap<String, FreezeSpec>,
}

/// Who asks.
pub(crate) struct Asked<'a> {
    pub(crate) target: &'a RunTarget,
    pub(crate) runbook: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) at: Timestamp,
}

impl Facts {
    fn rack_of(&self, server: &str) -> Option<&str> {
        self.servers.get(server)?.as_deref()
    }

    fn site_of(&self, server: &str) -> Option<&str> {
        Some(&self.racks.get(self.rack_of(server)?)?.0)
    }

    /// Servers that a target is.
    pub(crate) fn hosts(&self, target: &RunTarget) -> BTreeSet<String> {
        let within = |server: &&String| match target.kind.as_str() {
            "Rack" => self.rack_of(server) == Some(&target.name),
            "Site" => self.site_of(server) == Some(&target.name),
            _ => false,
        };
        match target.kind.as_str() {
            "Server" => BTreeSet::from([target.name.clone()]),
            _ => self.servers.keys().filter(within).cloned().collect(),
        }
    }

    /// Instances of a service, those down while `disrupted` may go at any moment, and how many may be.
    pub(crate) fn count(&self, service: &str, disrupted: &BTreeSet<String>) -> (u32, u32, u32) {
        let own: Vec<&Copy> = self.instances.values().filter(|it| it.service == service).collect();
        let down = own.iter().filter(|it| !it.ready || disrupted.contains(&it.host)).count();
        let (all, down) = (u32::try_from(own.len()).unwrap(), u32::try_from(down).unwrap());
        let budget = self.services.get(service).cloned().unwrap_or_default();
        (all, down, budget.most_down(all))
    }

    /// Why a target may not be disrupted, too, while `disrupted` are.
    pub(crate) fn refuse(&self, asked: &Asked<'_>, disrupted: &BTreeSet<String>) -> Option<String> {
        let hosts = self.hosts(asked.target);
        if let Some(name) = self.frozen(asked, &hosts) {
            return Some(format!("freeze {name} holds"));
        }
        let then: BTreeSet<String> = disrupted.union(&hosts).cloned().collect();
        let racks = self.racks.iter().map(|(rack, (_, limit))| ("rack", rack, *limit));
        let sites = self.sites.iter().map(|(site, limit)| ("site", site, *limit));
        for (kind, name, limit) in racks.chain(sites) {
            let Some(limit) = limit else { continue };
            let within = |server: &&String| match kind {
                "rack" => self.rack_of(server) == Some(name),
                _ => self.site_of(server) == Some(name),
            };
            let before = disrupted.iter().filter(within).count();
            let after = then.iter().filter(within).count();
            if after > before && after > usize::try_from(limit).unwrap() {
                return Some(format!(
                    "{kind} {name} allows {limit} servers, and {after} would be disrupted"
                ));
            }
        }
        let services: BTreeSet<&String> = self.instances.values().map(|it| &it.service).collect();
        services.into_iter().find_map(|service| {
            let (all, before, most) = self.count(service, disrupted);
            let (_, after, _) = self.count(service, &then);
            (after > before && after > most)
                .then(|| format!("{service} allows {most} of {all} down, and {after} would be"))
        })
    }

    fn frozen(&self, asked: &Asked<'_>, hosts: &BTreeSet<String>) -> Option<&str> {
        let holds = |freeze: &FreezeSpec| {
            let begun = freeze.start.is_none_or(|start| start.timestamp() <= asked.at);
            let over = freeze.end.is_some_and(|end| end.timestamp() <= asked.at);
            let everywhere = freeze.sites.is_empty() && freeze.racks.is_empty();
            let here = hosts.iter().any(|host| {
                let named = |all: &[String], place: Option<&str>| {
                    place.is_some_and(|place| all.iter().any(|it| it == place))
                };
                named(&freeze.racks, self.rack_of(host)) || named(&freeze.sites, self.site_of(host))
            });
            let excepted = freeze.except.as_ref().is_some_and(|except| {
                except.runbooks.iter().any(|it| it == asked.runbook)
                    || except.namespaces.iter().any(|it| it == asked.namespace)
            });
            begun && !over && (everywhere || here) && !excepted
        };
        self.freezes.iter().find(|(_, freeze)| holds(freeze)).map(|(name, _)| name.as_str())
    }
}
