//! The objects of a fleet.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use quarterdeck_model::kinds::{Rack, Server};
use quarterdeck_sim::{Fleet, FleetObject, Latency, Simulation};
use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

fn servers(fleet: Fleet) -> impl Iterator<Item = Server> {
    fleet.objects().filter_map(|object| match object {
        FleetObject::Server(server) => Some(*server),
        _ => None,
    })
}

#[test]
fn one_seed_is_one_fleet() {
    let all = |seed| Fleet::new(seed, 700).objects().collect::<Vec<_>>();
    let one = all(7);
    assert_eq!(one, all(7));
    assert_ne!(one, all(8));
    let name = |object: &FleetObject| (object.kind().kind, object.meta().name.clone());
    let names: HashSet<_> = one.iter().map(name).collect();
    assert_eq!(names.len(), one.len());
}

#[test]
fn a_fleet_has_as_many_servers_as_were_asked_for() {
    for wanted in [0, 1, 199, 200, 1000, 45_001] {
        assert_eq!(servers(Fleet::new(3, wanted)).count(), wanted as usize, "{wanted}");
    }
}

#[test]
fn every_object_is_admitted_and_comes_after_what_it_names() {
    let mut there: HashSet<(&str, String)> = HashSet::new();
    for object in Fleet::new(11, 2_000).objects() {
        let (kind, manifest) = (object.kind(), object.manifest());
        let admitted = (kind.admit)(&manifest, None);
        assert!(admitted.is_ok(), "{manifest}: {:?}", admitted.err());
        let names = match &object {
            FleetObject::Provider(it) => {
                vec![("Site", it.spec.metal.clone().unwrap().site)]
            }
            FleetObject::Rack(it) => vec![("Site", it.spec.site.clone())],
            FleetObject::Server(it) => vec![
                ("Rack", it.spec.location.clone().unwrap().rack),
                ("Secret", it.spec.bmc.credentials_secret_ref.clone().unwrap().name),
                ("ServerProfile", it.spec.profile.clone().unwrap()),
            ],
            _ => Vec::new(),
        };
        for named in names {
            assert!(there.contains(&named), "{manifest} names {named:?}");
        }
        there.insert((kind.kind, object.meta().name.clone()));
    }
}

#[test]
fn racks_are_in_halls_and_on_feeds_that_their_sites_have() {
    let mut sites = HashMap::new();
    for object in Fleet::new(5, 30_000).objects() {
        match object {
            FleetObject::Site(site) => {
                sites.insert(site.metadata.name.clone(), site.spec);
            }
            FleetObject::Rack(Rack { spec, .. }) => {
                let site = &sites[&spec.site];
                assert!(site.halls.contains(spec.hall.as_ref().unwrap()));
                assert!(spec.power_feeds.iter().all(|feed| site.power_feeds.contains(feed)));
            }
            _ => {}
        }
    }
    assert_eq!(sites.len(), 3);
}

#[test]
fn no_two_servers_share_a_name_a_serial_an_address_or_a_unit() {
    let (mut names, mut serials) = (HashSet::new(), HashSet::new());
    let (mut addresses, mut units) = (HashSet::new(), HashSet::new());
    for Server { metadata, spec, .. } in servers(Fleet::new(2, 110_000)) {
        assert!(names.insert(metadata.name.clone()));
        assert!(serials.insert(spec.serial.unwrap()), "{}", metadata.name);
        assert!(addresses.insert(spec.bmc.address));
        let location = spec.location.unwrap();
        let (lowest, height) = (location.unit.unwrap(), location.height.unwrap());
        assert!(lowest + height - 1 <= 42, "{}", metadata.name);
        for unit in lowest..lowest + height {
            assert!(units.insert((location.rack.clone(), unit)), "{}", metadata.name);
        }
    }
    assert_eq!(names.len(), 110_000);
}

#[test]
fn the_largest_fleet_has_a_place_for_every_server() {
    let fleet = Fleet::new(1, u32::MAX);
    let sites = fleet.objects().take_while(|object| !matches!(object, FleetObject::Profile(_)));
    let sites: Vec<String> = sites.map(|object| object.meta().name.clone()).collect();
    assert_eq!(sites.len(), 3 * 25);
    assert!(sites.contains(&"ams3".to_owned()), "{sites:?}");
}

/// Served, a fleet is the same but for where its BMCs are, and each is found there by its name.
#[test]
fn each_bmc_that_is_served_has_an_address_of_its_own() {
    let fleet = Fleet::new(2, 30_000);
    let simulation = Simulation::of(fleet.served_at(8443), Latency::None);
    let mut seen = HashSet::new();
    let named: Vec<Server> = servers(fleet).collect();
    for (served, named) in servers(fleet.served_at(8443)).zip(&named) {
        let (host, port) = served.spec.bmc.address.split_once(':').unwrap();
        let host: Ipv4Addr = host.parse().unwrap();
        assert!(host.is_loopback() && port == "8443" && seen.insert(host), "{host}");
        assert_eq!(simulation.bmc_at(host).as_ref(), Some(&named.spec.bmc.address));
        let unit = u32::from(served.spec.location.as_ref().unwrap().unit.unwrap());
        assert_eq!(host.to_bits() % 64, unit, "{host}");
        assert_eq!(
            (served.metadata, served.spec.serial),
            (named.metadata.clone(), named.spec.serial.clone())
        );
    }
    assert_eq!(seen.len(), 30_000);
    for nobody in ["127.0.0.1", "127.16.0.0", "127.16.0.63", "127.255.0.1", "10.0.0.1"] {
        assert_eq!(simulation.bmc_at(nobody.parse().unwrap()), None, "{nobody}");
    }
}

#[test]
fn a_simulation_of_a_fleet_has_its_names_and_no_others() {
    let fleet = Fleet::new(2, 100);
    let simulation = Simulation::of(fleet, Latency::None);
    assert!(servers(fleet).all(|server| simulation.has(&server.spec.bmc.address)));
    for (address, has) in [
        ("https://u40.ams1-a01-01.bmc.example.com/", true),
        ("lhr1-n01-u05.bmc.example.com", false),
        ("127.0.0.1:8000", false),
        ("https://bmc-1", false),
        ("127.16.0.1:8443", true),
    ] {
        assert_eq!(simulation.has(address), has, "{address}");
    }
    assert!(Simulation::new(2, Latency::None).has("anywhere"));
}
