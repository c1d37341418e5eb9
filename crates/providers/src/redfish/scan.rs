//! Looking for BMCs in ranges of addresses: what answers as a Redfish service, and which systems are behind it.
//!
//! A service is asked what it is before it gets any credentials (DSP0266 §6.4: the root needs no login). Nothing is
//! changed. What is asked at once, and how many are begun a second, is bounded: switches and firewalls must not take it
//! for an attack.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use http::Method;
use quarterdeck_model::kinds::{
    BMCScanResult, BMCScanSpec, FoundBMC, bmc_scan::Identity, bmc_scan::addresses,
};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Redfish;
use super::bounded::{Budget, parse};
use super::client::{Bmc, ODATA_VERSION, wants_login};
use super::quirks::Quirks;
use super::resource::{Doc, Path, Resource};
use super::target::{Endpoint, Target};
use crate::action::{ActionContext, ActionError, Reason};
use crate::transport::Reply;

/// Addresses that are looked at at once.
const AT_ONCE: usize = 64;
/// Between the beginnings of two.
const PAUSE: Duration = Duration::from_millis(10);
/// How long an address has to take a connection: those without anything do not answer at all.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a service has to say what it is.
const ROOT: Duration = Duration::from_secs(20);
/// How long a BMC has to show its systems.
const SYSTEMS: Duration = Duration::from_secs(90);
/// Systems of one BMC.
const SYSTEMS_MAX: usize = 16;
/// Interfaces of one system that are looked at for their addresses.
const INTERFACES_MAX: usize = 32;

/// What was found.
pub(super) struct Scanned {
    pub(super) addresses: usize,
    pub(super) answered: usize,
    pub(super) found: Vec<FoundBMC>,
}

/// Looks at every address of the scan.
pub(super) async fn scan(
    redfish: &Redfish,
    context: &ActionContext,
    spec: &BMCScanSpec,
) -> Result<Scanned, ActionError> {
    let mut all: Vec<IpAddr> = Vec::new();
    for range in &spec.ranges {
        let of = addresses(range).map_err(|why| {
            ActionError::permanent(Reason::InvalidInput, format!("spec.ranges: {range:?} {why}"))
        })?;
        all.extend(of);
    }
    all.sort_unstable();
    all.dedup();
    let count = all.len();
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let paced = stream::unfold((pace, all.into_iter()), |(mut pace, mut rest)| async {
        let next = rest.next()?;
        pace.tick().await;
        Some((next, (pace, rest)))
    });
    let looks = paced.map(|address| look(redfish, context, spec, address));
    let looked: Vec<Option<Vec<FoundBMC>>> = looks.buffer_unordered(AT_ONCE).collect().await;
    let answered = looked.iter().flatten().count();
    let mut found: Vec<FoundBMC> = looked.into_iter().flatten().flatten().collect();
    let place = |result: BMCScanResult| result != BMCScanResult::Pending;
    found.sort_by(|one, other| {
        let key = |it: &FoundBMC| (place(it.result), it.address.clone(), it.system_id.clone());
        key(one).cmp(&key(other))
    });
    Ok(Scanned { addresses: count, answered, found })
}

/// What is at an address; none when no BMC answers there.
async fn look(
    redfish: &Redfish,
    context: &ActionContext,
    spec: &BMCScanSpec,
    address: IpAddr,
) -> Option<Vec<FoundBMC>> {
    let socket = SocketAddr::new(address, spec.port);
    let connected = timeout(CONNECT, TcpStream::connect(socket)).await;
    drop(connected.ok()?.ok()?);
    let named = named(spec, socket);
    let failed = |error: &ActionError| FoundBMC {
        address: named.clone(),
        result: BMCScanResult::Failed,
        message: Some(error.message.clone()),
        ..FoundBMC::default()
    };
    let endpoint = match Target::of_scan(context, spec, &named) {
        Ok(endpoint) => endpoint,
        Err(error) => return Some(vec![failed(&error)]),
    };
    let anonymous = Endpoint { credentials: None, ..endpoint.clone() };
    let soon = |time: Duration| Budget::until((Instant::now() + time).min(context.deadline));
    match is_bmc(redfish, &anonymous, &soon(ROOT)).await {
        Ok(true) => {}
        Ok(false) => return None,
        Err(error) => return Some(vec![failed(&error)]),
    }
    let found = match client(redfish, &endpoint) {
        Ok(bmc) => {
            let found = systems(&bmc, spec, &named, &soon(SYSTEMS)).await;
            bmc.close().await;
            found
        }
        Err(error) => Err(error),
    };
    Some(found.unwrap_or_else(|error| vec![failed(&error)]))
}

/// The address as a Server names it.
fn named(spec: &BMCScanSpec, socket: SocketAddr) -> String {
    let usual = if spec.plain { 80 } else { 443 };
    let host = match socket.ip() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let port = if socket.port() == usual { String::new() } else { format!(":{}", socket.port()) };
    let scheme = if spec.plain { "http://" } else { "" };
    format!("{scheme}{host}{port}")
}

fn client(redfish: &Redfish, endpoint: &Endpoint) -> Result<Arc<Bmc>, ActionError> {
    let slots = Arc::clone(&redfish.shared.slots);
    Ok(Arc::new(Bmc::new(endpoint.clone(), &redfish.shared.tls, slots)?))
}

/// Whether the service at the endpoint says that it speaks Redfish. A certificate that is not trusted is told of:
/// nothing but a BMC is expected there.
async fn is_bmc(
    redfish: &Redfish,
    endpoint: &Endpoint,
    budget: &Budget,
) -> Result<bool, ActionError> {
    let bmc = client(redfish, endpoint)?;
    match bmc.send(Method::GET, &Path::root(), None, None, budget).await {
        Ok(reply) => Ok(speaks_redfish(&reply, budget)),
        Err(error) if error.reason == Reason::CertificateInvalid => Err(error),
        Err(_) => Ok(false),
    }
}

/// Any web server can say 401 or 403, and must not get a password for it.
fn speaks_redfish(reply: &Reply, budget: &Budget) -> bool {
    let json = parse(&reply.body, budget).unwrap_or_default();
    let doc = Doc(&json);
    if reply.status.is_success() {
        return doc.text("/RedfishVersion").is_some() || doc.link("/Systems").is_some();
    }
    // Some firmwares ask for a login even here, and say so in the way of Redfish (DSP0266 §8.6).
    let explains = doc.list("/error/@Message.ExtendedInfo").next().is_some();
    wants_login(reply.status) && (explains || reply.headers.contains_key(ODATA_VERSION))
}

async fn systems(
    bmc: &Bmc,
    spec: &BMCScanSpec,
    named: &str,
    budget: &Budget,
) -> Result<Vec<FoundBMC>, ActionError> {
    bmc.login(budget).await?;
    let root = bmc.root(budget).await?.doc();
    let standard = || Path::parse("/redfish/v1/Systems");
    let Some(collection) = root.link("/Systems").or_else(standard) else { return Ok(Vec::new()) };
    let links = bmc.member_links(&collection, SYSTEMS_MAX, budget).await?;
    let mut found = Vec::new();
    for link in &links {
        let Some(system) = bmc.get_optional(link, budget).await? else { continue };
        let doc = system.doc();
        let identity = identity(bmc, spec, &system, budget).await?;
        let allowed = spec.allow.fits(&identity);
        let several = links.len() > 1;
        found.push(FoundBMC {
            address: named.to_owned(),
            system_id: several.then(|| link.last_segment().to_owned()),
            serial: identity.serials.into_iter().next(),
            uuid: identity.uuid,
            model: doc.text("/Model"),
            result: if allowed { BMCScanResult::Pending } else { BMCScanResult::NotAllowed },
            ..FoundBMC::default()
        });
    }
    Ok(found)
}

async fn identity(
    bmc: &Bmc,
    spec: &BMCScanSpec,
    system: &Resource,
    budget: &Budget,
) -> Result<Identity, ActionError> {
    let doc = system.doc();
    let texts = |pointers: &[&str]| pointers.iter().filter_map(|it| doc.text(it)).collect();
    // Dell's service tag is the SKU.
    let serials = texts(&["/SerialNumber", "/SKU"]);
    let interfaces = doc.link("/EthernetInterfaces");
    let mac_addresses = match interfaces.filter(|_| !spec.allow.mac_addresses.is_empty()) {
        Some(interfaces) => {
            let quirks = Quirks::of(bmc.root(budget).await?.doc(), Some(doc));
            let all = bmc.members(&interfaces, INTERFACES_MAX, &quirks, budget).await?;
            all.iter().flat_map(|it| macs(it.doc())).collect()
        }
        None => Vec::new(),
    };
    Ok(Identity { serials, uuid: doc.text("/UUID"), mac_addresses })
}

fn macs(interface: Doc<'_>) -> Vec<String> {
    let all = ["/PermanentMACAddress", "/MACAddress"];
    all.iter().filter_map(|it| interface.text(it)).map(|mac| mac.replace('-', ":")).collect()
}
