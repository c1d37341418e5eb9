//! The objects of a company: sites, racks, servers, and what servers need, as somebody would have written
//! them who knows every machine. One at a time, so that half a million take no memory here.

use crate::{
    addresses::{self, Addresses, ServedRack},
    catalogue,
    hardware::{Class, Hardware, USER, class_of_rack, password},
    places,
};
use quarterdeck_model::{
    Kind, KindRef, ObjectMeta,
    kinds::{
        Bmc, BmcTls, Campaign, Freeze, Image, Location, Machine, MachineClass, MetalProvider,
        Namespace, Provider, ProviderSpec, Rack, RackSpec, Secret, SecretReference, Server,
        ServerProfile, ServerSpec, Service, Site, SiteSpec,
    },
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, iter::successors};

/// Where the Secrets with the BMCs' accounts are.
const NAMESPACE: &str = "default";
/// What the names of BMCs end with: a domain that leads nowhere (RFC 2606 §3).
pub(crate) const DOMAIN: &str = "bmc.example.com";
/// The same for what runs on the machines.
const HOSTS: &str = "hosts.example.com";

/// A large data centre of a company: further servers go to another site.
const SERVERS_PER_SITE: u32 = 20_000;
/// A fleet of at least so many servers a site has sites, up to [`SITES_OF_SMALL`].
const SERVERS_WORTH_A_SITE: u32 = 200;
/// Sites of a fleet that would fit into one.
const SITES_OF_SMALL: u32 = 3;
const ROWS_PER_HALL: u32 = 10;
const RACKS_PER_ROW: u32 = 20;
const RACKS_PER_HALL: u32 = ROWS_PER_HALL * RACKS_PER_ROW;
/// Units of a rack; those above the servers are for switches.
const UNITS: u16 = 42;

/// A company's objects, which follow from a seed and a number of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    seed: u64,
    servers: u32,
    port: Option<u16>,
}

/// One object of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub enum FleetObject {
    /// The account of the BMCs of a site.
    Secret(Secret),
    /// A site.
    Site(Site),
    /// The metal of a site, as machines come from it.
    Provider(Provider),
    /// What a server should be.
    Profile(Box<ServerProfile>),
    /// A size and shape of machines.
    Class(MachineClass),
    /// What is installed on machines.
    Image(Image),
    /// A rack.
    Rack(Rack),
    /// A server.
    Server(Box<Server>),
    /// A team's.
    Namespace(Namespace),
    /// What people use.
    Service(Service),
    /// What a team runs its services on.
    Machine(Box<Machine>),
    /// A runbook over many servers.
    Campaign(Box<Campaign>),
    /// A time in which nothing is disturbed.
    Freeze(Freeze),
}

impl FleetObject {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> KindRef {
        match self {
            Self::Secret(_) => Secret::info(),
            Self::Site(_) => Site::info(),
            Self::Provider(_) => Provider::info(),
            Self::Profile(_) => ServerProfile::info(),
            Self::Class(_) => MachineClass::info(),
            Self::Image(_) => Image::info(),
            Self::Rack(_) => Rack::info(),
            Self::Server(_) => Server::info(),
            Self::Namespace(_) => Namespace::info(),
            Self::Service(_) => Service::info(),
            Self::Machine(_) => Machine::info(),
            Self::Campaign(_) => Campaign::info(),
            Self::Freeze(_) => Freeze::info(),
        }
    }

    /// Its metadata.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Secret(it) => &it.metadata,
            Self::Site(it) => &it.metadata,
            Self::Provider(it) => &it.metadata,
            Self::Profile(it) => &it.metadata,
            Self::Class(it) => &it.metadata,
            Self::Image(it) => &it.metadata,
            Self::Rack(it) => &it.metadata,
            Self::Server(it) => &it.metadata,
            Self::Namespace(it) => &it.metadata,
            Self::Service(it) => &it.metadata,
            Self::Machine(it) => &it.metadata,
            Self::Campaign(it) => &it.metadata,
            Self::Freeze(it) => &it.metadata,
        }
    }

    /// The object as a manifest has it, with `apiVersion` and `kind`.
    #[must_use]
    pub fn manifest(&self) -> Value {
        fn value<K: Kind>(object: &K) -> Value {
            let names = [("apiVersion", K::info().api_version()), ("kind", K::KIND.to_owned())];
            let names = names.map(|(field, name)| (field.to_owned(), Value::String(name)));
            let mut manifest = Map::from_iter(names);
            // Kinds are made to be written as JSON, which is an object.
            if let Ok(Value::Object(fields)) = serde_json::to_value(object) {
                manifest.extend(fields);
            }
            manifest.into()
        }
        match self {
            Self::Secret(it) => value(it),
            Self::Site(it) => value(it),
            Self::Provider(it) => value(it),
            Self::Profile(it) => value(&**it),
            Self::Class(it) => value(it),
            Self::Image(it) => value(it),
            Self::Rack(it) => value(it),
            Self::Server(it) => value(&**it),
            Self::Namespace(it) => value(it),
            Self::Service(it) => value(it),
            Self::Machine(it) => value(&**it),
            Self::Campaign(it) => value(&**it),
            Self::Freeze(it) => value(it),
        }
    }
}

impl Fleet {
    /// Most servers of one fleet: more than the largest that one plane is made for.
    pub const SERVERS_MAX: u32 = 500_000;

    /// Changes whenever the same seed makes other objects or other machines than before.
    pub const VERSION: u32 = 3;

    /// The fleet of a seed, with so many servers, at most [`Self::SERVERS_MAX`].
    #[must_use]
    pub fn new(seed: u64, servers: u32) -> Self {
        Self { seed, servers: servers.min(Self::SERVERS_MAX), port: None }
    }

    /// The same fleet with its BMCs at addresses of the loopback network, where they are served at this port by HTTPS,
    /// with certificates of the authority in the Secret [`Self::AUTHORITY`].
    #[must_use]
    pub fn served_at(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Namespace and name of the Secret with the certificate, as `ca.crt`, that BMCs which are served are known by.
    pub const AUTHORITY: (&str, &str) = (NAMESPACE, "bmc-authority");

    pub(crate) fn seed(self) -> u64 {
        self.seed
    }

    /// Who is where, when the BMCs are served.
    pub(crate) fn addresses(self) -> Addresses {
        Addresses::new(self.racks().map(|plan| ServedRack {
            domain: domain(&plan.name),
            height: plan.class.height,
            servers: plan.count,
        }))
    }

    fn racks(self) -> impl Iterator<Item = RackPlan> + Send {
        self.sites().flat_map(move |plan| plan.racks(self.seed))
    }

    /// Every object, in an order in which they can be created: all of a kind, then those that name them.
    pub fn objects(self) -> impl Iterator<Item = FleetObject> + Send {
        let secrets = self.sites().map(move |plan| FleetObject::Secret(plan.secret(self.seed)));
        let sites = self.sites().map(move |plan| FleetObject::Site(plan.site(self.seed)));
        let providers = self.sites().map(|plan| FleetObject::Provider(plan.provider()));
        let racks = self.racks().map(|plan| FleetObject::Rack(plan.rack()));
        let numbered = self.racks().zip(0..);
        let servers = numbered.flat_map(move |(plan, number)| plan.servers(self, number));
        let servers = servers.map(|server| FleetObject::Server(Box::new(server)));
        secrets
            .chain(sites)
            .chain(providers)
            .chain(catalogue::objects())
            .chain(racks)
            .chain(servers)
    }

    /// Name of one of its servers, if it has any.
    #[must_use]
    pub fn first_server(self) -> Option<String> {
        let rack = self.racks().next()?;
        rack.servers(self, 0).next().map(|server| server.metadata.name)
    }

    /// Names of its racks.
    pub fn rack_names(self) -> impl Iterator<Item = String> + Send {
        self.racks().map(|plan| plan.name)
    }

    /// How many servers of each class there are.
    pub(crate) fn servers_of_classes(self) -> BTreeMap<&'static str, usize> {
        let mut classes = BTreeMap::new();
        for rack in self.racks() {
            let count = usize::try_from(rack.count).unwrap_or_default();
            *classes.entry(rack.class.name).or_insert(0) += count;
        }
        classes
    }

    fn sites(self) -> impl Iterator<Item = SitePlan> + Send {
        let servers = self.servers;
        let worth = (servers / SERVERS_WORTH_A_SITE).clamp(1, SITES_OF_SMALL);
        let sites = servers.div_ceil(SERVERS_PER_SITE).max(worth);
        (0..sites).filter_map(move |number| {
            let (city, which) = places::of_site(number)?;
            let rest = u32::from(number < servers % sites);
            Some(SitePlan {
                name: format!("{}{which}", city.code),
                city,
                which,
                servers: servers / sites + rest,
            })
        })
    }
}

pub(crate) fn named(name: impl Into<String>) -> ObjectMeta {
    ObjectMeta { name: name.into(), ..ObjectMeta::default() }
}

#[derive(Clone)]
struct SitePlan {
    name: String,
    city: &'static places::City,
    which: u32,
    servers: u32,
}

impl SitePlan {
    fn secret_name(&self) -> String {
        format!("bmc-{}", self.name)
    }

    fn secret(&self, seed: u64) -> Secret {
        Secret {
            metadata: ObjectMeta {
                namespace: Some(NAMESPACE.to_owned()),
                ..named(self.secret_name())
            },
            string_data: BTreeMap::from([
                ("username".to_owned(), USER.to_owned()),
                ("password".to_owned(), password(seed)),
            ]),
            kind: Some("kubernetes.io/basic-auth".to_owned()),
            ..Secret::default()
        }
    }

    fn site(&self, seed: u64) -> Site {
        let mut halls: Vec<String> = self.clone().racks(seed).map(|plan| plan.hall).collect();
        halls.dedup();
        let power_feeds = halls.iter().flat_map(|hall| feeds(hall)).collect();
        let city = self.city;
        Site {
            metadata: named(&*self.name),
            spec: SiteSpec {
                region: city.region.to_owned(),
                display_name: Some(format!("{} {}", city.name, self.which)),
                address: None,
                time_zone: Some(city.time_zone.to_owned()),
                halls,
                power_feeds,
                ..SiteSpec::default()
            },
            ..Site::default()
        }
    }

    fn provider(&self) -> Provider {
        let metal = Some(MetalProvider { site: self.name.clone() });
        Provider {
            metadata: named(format!("metal-{}", self.name)),
            spec: ProviderSpec { metal, ..ProviderSpec::default() },
            ..Provider::default()
        }
    }

    /// Racks until all servers have a place, the last one as full as it happens to be.
    fn racks(self, seed: u64) -> impl Iterator<Item = RackPlan> + Send {
        let first = RackPlan::of(&self, seed, 0, self.servers);
        successors(first, move |plan| {
            let left = plan.left.saturating_sub(plan.count);
            RackPlan::of(&self, seed, plan.number + 1, left)
        })
    }
}

/// Both power feeds of a hall.
fn feeds(hall: &str) -> [String; 2] {
    [format!("{hall}-1"), format!("{hall}-2")]
}

struct RackPlan {
    site: String,
    secret: String,
    /// Counts the racks of the site from 0.
    number: u32,
    name: String,
    hall: String,
    row: u32,
    class: &'static Class,
    /// Servers of the site that are in this rack or in later ones.
    left: u32,
    /// Servers in it.
    count: u32,
}

impl RackPlan {
    fn of(site: &SitePlan, seed: u64, number: u32, left: u32) -> Option<Self> {
        if left == 0 {
            return None;
        }
        // A full site of the largest machines has 25 halls.
        let hall = char::from_u32(u32::from('a') + number / RACKS_PER_HALL)?.to_string();
        let row = 1 + number % RACKS_PER_HALL / RACKS_PER_ROW;
        let place = 1 + number % RACKS_PER_ROW;
        let name = format!("{}-{hall}{row:02}-{place:02}", site.name);
        let class = class_of_rack(seed, &domain(&name))?;
        let count = left.min(u32::from(class.per_rack));
        let (site, secret) = (site.name.clone(), site.secret_name());
        Some(Self { site, secret, number, name, hall, row, class, left, count })
    }

    fn rack(&self) -> Rack {
        Rack {
            metadata: named(&*self.name),
            spec: RackSpec {
                site: self.site.clone(),
                hall: Some(self.hall.clone()),
                row: Some(self.row.to_string()),
                units: UNITS,
                power_feeds: feeds(&self.hall).into(),
                power_watts_max: Some(self.class.rack_watts),
                ..RackSpec::default()
            },
            ..Rack::default()
        }
    }

    /// Its servers, when it is the rack of that number of all.
    fn servers(self, fleet: Fleet, number: u32) -> impl Iterator<Item = Server> + Send {
        let units = (1_u16..).step_by(usize::from(self.class.height));
        let units = units.take(usize::try_from(self.count).unwrap_or_default());
        units.map(move |unit| self.server(fleet, number, unit))
    }

    fn server(&self, fleet: Fleet, number: u32, unit: u16) -> Server {
        let authority = format!("u{unit:02}.{}", domain(&self.name));
        let labels = [("hardware", self.class.name), ("site", &self.site)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Server {
            metadata: ObjectMeta {
                labels: BTreeMap::from(labels),
                ..named(format!("{}-u{unit:02}", self.name))
            },
            spec: ServerSpec {
                serial: Some(Hardware::of(fleet.seed, &authority).serial()),
                location: Some(Location {
                    rack: self.name.clone(),
                    unit: Some(unit),
                    height: Some(self.class.height),
                }),
                bmc: self.bmc(fleet, number, unit, authority),
                profile: Some(self.class.name.to_owned()),
                host_address: Some(format!("u{unit:02}.{}.{HOSTS}", self.name)),
            },
            ..Server::default()
        }
    }
}

impl RackPlan {
    fn bmc(&self, fleet: Fleet, number: u32, unit: u16, authority: String) -> Bmc {
        let secret = |(namespace, name): (&str, &str)| SecretReference {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let credentials_secret_ref = Some(secret((NAMESPACE, &self.secret)));
        let served = fleet.port.zip(addresses::of(number, unit));
        let Some((port, address)) = served else {
            return Bmc { address: authority, credentials_secret_ref, ..Bmc::default() };
        };
        let ca_secret_ref = Some(secret(Fleet::AUTHORITY));
        Bmc {
            address: format!("{address}:{port}"),
            credentials_secret_ref,
            tls: BmcTls { ca_secret_ref, ..BmcTls::default() },
            ..Bmc::default()
        }
    }
}

/// The domain of the BMCs of a rack.
fn domain(rack: &str) -> String {
    format!("{rack}.{DOMAIN}")
}
