//! What the company of a fleet runs: teams, their services, and machines with copies of services on them. All of it
//! follows from the fleet; where a copy stands is decided by the plane.

use crate::{
    fleet::{Fleet, FleetObject, named},
    hardware::classes,
};
use quarterdeck_model::{
    ObjectMeta, Time,
    kinds::{
        Campaign, CampaignSpec, CampaignTargets, DisruptionBudget, FailureDomain, Freeze,
        FreezeExceptions, FreezeSpec, HostKind, HostReference, Instance, InstanceSpec, Machine,
        MachineSpec, Namespace, ObjectSelector, Service, ServiceSpec,
    },
    share::Share,
};
use std::collections::BTreeMap;

/// Teams, and what each runs with its tier.
const TEAMS: [(&str, &[(&str, u8)]); 8] = [
    ("payments", &[("api", 1), ("book", 1), ("fraud", 2)]),
    ("identity", &[("login", 1), ("sessions", 1)]),
    ("search", &[("query", 1), ("indexer", 3)]),
    ("catalogue", &[("items", 2), ("images", 3), ("prices", 2)]),
    ("media", &[("streams", 2), ("transcode", 3)]),
    ("mail", &[("smtp", 2), ("filter", 3)]),
    ("analytics", &[("ingest", 2), ("reports", 4)]),
    ("platform", &[("dns", 1), ("build", 4)]),
];
/// What runs on every machine of a team, beside its services.
const PROXY: &str = "proxy";
/// Of a hundred servers, so many carry a machine.
const USED_PERCENT: usize = 60;
/// A service of a large company has about so many machines.
const MACHINES_PER_SERVICE: usize = 12;
/// Most services: as many as nine thousand engineers own.
const SERVICES_MAX: usize = 9_000;
/// Copies of its service on one machine.
const COPIES: [&str; 2] = ["a", "b"];
/// What most machines have, and what the others have already.
const IMAGES: [&str; 2] = ["debian-12-20260801", "debian-12-20261101"];

/// A company on its fleet.
#[derive(Debug, Clone)]
pub struct Company {
    services: Vec<Plan>,
    /// Machines of each service, as class and count.
    machines: Vec<BTreeMap<&'static str, usize>>,
}

#[derive(Debug, Clone)]
struct Plan {
    team: &'static str,
    name: String,
    tier: u8,
}

impl Company {
    /// The company of a fleet.
    #[must_use]
    pub fn of(fleet: Fleet) -> Self {
        let servers = fleet.servers_of_classes();
        let wanted: usize = servers.values().map(|count| count * USED_PERCENT / 100).sum();
        let services = plans(wanted.div_ceil(MACHINES_PER_SERVICE).min(SERVICES_MAX));
        let mut machines = vec![BTreeMap::new(); services.len()];
        let mut next = 0_usize;
        for (class, count) in servers {
            for _machine in 0..count * USED_PERCENT / 100 {
                let place = next % machines.len().max(1);
                if let Some(of_service) = machines.get_mut(place) {
                    *of_service.entry(class).or_insert(0) += 1;
                }
                next += 1;
            }
        }
        Self { services, machines }
    }

    /// Every object, in an order in which they can be created: all of a kind, then those that name them.
    pub fn objects(&self) -> impl Iterator<Item = FleetObject> + Send + use<> {
        let teams = TEAMS.iter().map(|(team, _)| {
            FleetObject::Namespace(Namespace { metadata: named(*team), ..Namespace::default() })
        });
        let mut services: Vec<FleetObject> =
            TEAMS.iter().map(|(team, _)| self.proxy(team)).collect();
        services.extend(self.services.iter().zip(&self.machines).map(|(plan, machines)| {
            let copies = machines.values().sum::<usize>() * COPIES.len();
            FleetObject::Service(plan.service(copies))
        }));
        let plans: Vec<_> =
            self.services.iter().cloned().zip(self.machines.iter().cloned()).collect();
        let machines = plans.into_iter().flat_map(|(plan, classes)| {
            let all = classes.into_iter().flat_map(|(class, count)| (0..count).map(move |_| class));
            all.enumerate().map(move |(number, class)| {
                FleetObject::Machine(Box::new(plan.machine(number, class)))
            })
        });
        teams.chain(services).chain(machines)
    }

    /// What is under way, or comes: a campaign over the commonest machines, and a freeze.
    #[must_use]
    pub fn plans(&self, freeze: (Time, Time)) -> Vec<FleetObject> {
        let class = classes().first().map_or("", |class| class.name);
        let label = ("hardware".to_owned(), class.to_owned());
        let selector = ObjectSelector { match_labels: [label].into(), ..ObjectSelector::default() };
        let campaign = Campaign {
            metadata: ObjectMeta {
                namespace: Some("platform".into()),
                ..named("restart-compute-gen4")
            },
            spec: CampaignSpec {
                runbook: "power-cycle-server".into(),
                targets: CampaignTargets { kind: "Server".into(), selector },
                canary: Some(Share::Count(2)),
                failure_domain: FailureDomain::Rack,
                domains_at_once: 4,
                concurrency: 16,
                failure_limit: Some(Share::Percent(10)),
                retries: 1,
                ..CampaignSpec::default()
            },
            ..Campaign::default()
        };
        let (start, end) = freeze;
        let freeze = Freeze {
            metadata: named("end-of-year"),
            spec: FreezeSpec {
                reason: "End-of-year sales: nothing that can wait.".into(),
                start: Some(start),
                end: Some(end),
                except: Some(FreezeExceptions {
                    runbooks: vec!["repair-server".into()],
                    ..FreezeExceptions::default()
                }),
                ..FreezeSpec::default()
            },
            ..Freeze::default()
        };
        vec![FleetObject::Campaign(Box::new(campaign)), FleetObject::Freeze(freeze)]
    }

    fn proxy(&self, team: &str) -> FleetObject {
        let of_team =
            self.services.iter().zip(&self.machines).filter(|(plan, _)| plan.team == team);
        let copies = of_team.map(|(_, machines)| machines.values().sum::<usize>()).sum();
        let spec = service_spec(team, 2, copies, 1);
        let metadata = in_namespace(team, PROXY);
        FleetObject::Service(Service { metadata, spec, ..Service::default() })
    }
}

/// Copies of services that run on a machine of a company.
#[must_use]
pub fn instances_on(team: &str, machine: &str) -> Vec<Instance> {
    let Some((service, _number)) = machine.rsplit_once('-') else { return Vec::new() };
    let copy = |name: &str, service: &str| Instance {
        metadata: in_namespace(team, &format!("{machine}-{name}")),
        spec: InstanceSpec {
            service: service.to_owned(),
            host: HostReference { kind: HostKind::Machine, name: machine.to_owned() },
            ..InstanceSpec::default()
        },
        ..Instance::default()
    };
    let own = COPIES.iter().map(|name| copy(name, service));
    own.chain([copy(PROXY, PROXY)]).collect()
}

/// Whether that is a team of a company: machines elsewhere are somebody else's.
#[must_use]
pub fn is_team(namespace: &str) -> bool {
    TEAMS.iter().any(|(team, _)| *team == namespace)
}

impl Plan {
    fn service(&self, copies: usize) -> Service {
        let spec = service_spec(self.team, self.tier, copies, COPIES.len());
        Service { metadata: in_namespace(self.team, &self.name), spec, ..Service::default() }
    }

    fn machine(&self, number: usize, class: &str) -> Machine {
        // The first of ten of them has the new image.
        let [old, new] = IMAGES;
        let image = if number.is_multiple_of(10) { new } else { old };
        let spec = MachineSpec {
            class: class.into(),
            image: image.into(),
            placement: None,
            ..MachineSpec::default()
        };
        let name = format!("{}-{number:03}", self.name);
        Machine { metadata: in_namespace(self.team, &name), spec, ..Machine::default() }
    }
}

/// Services of all teams, as many as there are to be, and at least one of each name.
fn plans(wanted: usize) -> Vec<Plan> {
    let all = TEAMS.iter().flat_map(|(team, services)| {
        services.iter().map(move |(name, tier)| Plan {
            team,
            name: (*name).to_owned(),
            tier: *tier,
        })
    });
    let first: Vec<Plan> = all.collect();
    let further = (2..).flat_map(|number: usize| {
        let more = |plan: &Plan| Plan { name: format!("{}{number}", plan.name), ..plan.clone() };
        first.iter().map(more).collect::<Vec<_>>()
    });
    let further = further.take(wanted.saturating_sub(first.len())).collect::<Vec<_>>();
    first.into_iter().chain(further).collect()
}

/// A critical service lets less be taken, and each lets at least one machine be.
fn service_spec(team: &str, tier: u8, copies: usize, per_machine: usize) -> ServiceSpec {
    let percent = match tier {
        1 => 5,
        2 => 10,
        3 => 20,
        _ => 50,
    };
    let most = (copies * percent / 100).max(per_machine);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    ServiceSpec {
        owner: Some(team.to_owned()),
        tier: Some(tier),
        contacts: vec![format!("#{team}-on-call")],
        disruption_budget: Some(DisruptionBudget {
            max_unavailable: Some(Share::Count(most)),
            min_available: None,
        }),
        ..ServiceSpec::default()
    }
}

fn in_namespace(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), ..named(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_company_fits_on_its_fleet_and_lets_every_machine_be_taken() {
        for servers in [1, 40, 1_000, 5_000] {
            let company = Company::of(Fleet::new(3, servers));
            let mut copies: HashMap<String, u32> = HashMap::new();
            let mut machines = 0;
            let mut budgets: HashMap<String, u32> = HashMap::new();
            for object in company.objects() {
                let manifest = object.manifest();
                assert!((object.kind().admit)(&manifest, None).is_ok(), "{manifest}");
                let team = object.meta().namespace.clone().unwrap_or_default();
                match object {
                    FleetObject::Service(it) => {
                        let budget = it.spec.disruption_budget.unwrap().max_unavailable.unwrap();
                        budgets.insert(format!("{team}/{}", it.metadata.name), budget.of(0));
                    }
                    FleetObject::Machine(it) => {
                        machines += 1;
                        let mut here: HashMap<String, u32> = HashMap::new();
                        for instance in instances_on(&team, &it.metadata.name) {
                            let service = format!("{team}/{}", instance.spec.service);
                            assert!(budgets.contains_key(&service), "{service}");
                            *copies.entry(service.clone()).or_default() += 1;
                            *here.entry(service).or_default() += 1;
                        }
                        for (service, taken) in here {
                            assert!(budgets[&service] >= taken, "{service} lets nobody in");
                        }
                    }
                    _ => {}
                }
            }
            assert!(machines <= servers * 60 / 100, "{machines} of {servers}");
            assert!(servers < 100 || machines > servers / 2, "{machines} of {servers}");
            assert!(copies.len() <= budgets.len());
        }
    }
}
