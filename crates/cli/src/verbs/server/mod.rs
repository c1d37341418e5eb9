//! `quarterdeck server`: servers, what is joined to one, and the runbooks that ship for them.

mod enrol;
mod life;
mod moves;
mod scan;
mod show;

use enrol::contents;

use super::{
    Common, One,
    listing::{self, Listing},
    now,
    run::{Begin, Following, begin},
};
use crate::{
    Error, Outcome,
    named::Named,
    plane::{Plane, Selection, Within},
    view,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Rack, Server, Site},
};
use std::collections::BTreeSet;

/// What can be asked about servers.
#[derive(Debug, clap::Subcommand)]
pub enum ServerVerb {
    /// List servers
    List(ListArguments),
    /// Show a server with its place, runs, permits, instances, services and events
    Show(One),
    /// Power a server on or off, or off and on again, by a run of the runbook that ships for it
    #[command(after_long_help = "Examples:
  quarterdeck server power cycle m-0417
  quarterdeck server power off m-0417 --grace 5m -n ops

What runs on it is asked about first: the run waits until the ledger permits it. It is followed as `quarterdeck run start`
follows one.")]
    Power(PowerArguments),
    /// Reach a server's BMC and read its hardware anew, by a run
    Inspect(InspectArguments),
    /// Keep anything new off a server; what runs on it goes on
    #[command(after_long_help = "Example:
  quarterdeck server quarantine m-0417 --message 'fan 3 is loud; exchange it'

With --force it works from any state: whatever run holds the server is cancelled.")]
    Quarantine(life::QuarantineArguments),
    /// Look at a server that was quarantined or repaired, and put it back to work if it is well
    Return(life::ReturnArguments),
    /// Have a server mended: open a ticket, wait for a person's word, and return it
    #[command(after_long_help = "Example:
  quarterdeck server repair m-0417 --message 'disk 2 is dead' --ticket-url https://tickets.example.com/new --no-follow")]
    Repair(life::RepairArguments),
    /// Power a server off, erase its disks, and free it from its machine
    Clean(life::TakeArguments),
    /// Take a server from its machine whatever state either is in, and quarantine it
    Detach(life::TakeArguments),
    /// Power a server off for good, erase its disks, and take it out of service
    Retire(life::RetireArguments),
    /// Move a server to another rack or unit: it is powered off once the ledger permits that, and carried
    #[command(after_long_help = "Examples:
  quarterdeck server move m-0417 --rack ams1-b02-03 --unit 17
  quarterdeck server move m-0417 --rack ams1-b02-03 --unit 17 --record-only   # it stands there already

The place must be there and free, which is looked at first. When the server is off, the run waits for a person's word that it
was carried: quarterdeck run approve RUN.")]
    Move(moves::MoveArguments),
    /// Look for BMCs in ranges of addresses, and create servers of those that are allowed
    #[command(after_long_help = "Examples:
  quarterdeck server scan hall-1 --site ams1 --range 10.0.4.0/24 --allow serials.txt --credentials ops/factory-login
  quarterdeck server scan hall-1                          # once more; what is there is left
  quarterdeck server scan lab --site lab --range 10.9.0.5 --allow-one 'aa:bb:cc:*' --insecure-skip-tls-verify

The plane looks, from where it runs. What answered and is not allowed is told, and nothing is done with it.")]
    Scan(scan::ScanArguments),
    /// Give a server's BMC a new password that no other has, by a run; nobody sees it
    RotateCredentials(InspectArguments),
    /// Bring a server's firmware to what its profile says, by a run
    UpdateFirmware(InspectArguments),
    /// Create the servers that a CSV or YAML file describes, once all of it is right
    #[command(after_long_help = "Examples:
  quarterdeck server enrol -f servers.csv --dry-run
  quarterdeck server enrol -f servers.csv                # and again later: what is there is left
  quarterdeck server enrol -f servers.yaml --update      # changes those that are not as the file says
  export-of-racks | quarterdeck server enrol -f -

Columns of CSV, in any order, named by the first line: name, bmc, credentials (NAMESPACE/NAME of a Secret), serial, rack,
unit, height, profile, hostAddress, labels (a=b;c=d). YAML: a list of the same, or whole Server manifests.

It ends with 0 when all was done, 2 when something is wrong in the file, 1 when the plane refused something later.")]
    Enrol(enrol::EnrolArguments),
}

/// Which servers.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    /// Those of a site
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Those of a rack
    #[arg(long, value_name = "NAME")]
    rack: Option<String>,
    /// Those in this phase, such as Ready
    #[arg(long, value_name = "PHASE")]
    phase: Option<String>,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    #[command(flatten)]
    common: Common,
}

/// What is done to its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Power {
    /// Power it on
    On,
    /// Ask its system to shut down, and cut the power when it does not
    Off,
    /// Off and on again
    Cycle,
}

/// Which server, and what is done to it.
#[derive(Debug, clap::Args)]
pub struct PowerArguments {
    /// What is done
    action: Power,
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    /// How long its system gets to shut down before the power is cut, such as 5m; for off
    #[arg(long, value_name = "TIME")]
    grace: Option<String>,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

/// Which server.
#[derive(Debug, clap::Args)]
pub struct InspectArguments {
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

/// Does what was asked.
pub(crate) async fn server(verb: ServerVerb) -> Result<Outcome, Error> {
    match verb {
        ServerVerb::List(arguments) => listed(&arguments).await,
        ServerVerb::Show(one) => show::show(&one).await,
        ServerVerb::Quarantine(it) => life::quarantine(&it).await,
        ServerVerb::Return(it) => life::give_back(&it).await,
        ServerVerb::Repair(it) => life::repair(&it).await,
        ServerVerb::Clean(it) => life::clean(&it).await,
        ServerVerb::Detach(it) => life::detach(&it).await,
        ServerVerb::Enrol(it) => enrol::enrol(&it).await,
        ServerVerb::Move(it) => moves::move_server(&it).await,
        ServerVerb::Scan(it) => scan::scan(&it).await,
        ServerVerb::RotateCredentials(it) => {
            started("rotate-bmc-credentials", &it.name, &[], &it.following, &it.common).await
        }
        ServerVerb::UpdateFirmware(it) => {
            started("update-firmware", &it.name, &[], &it.following, &it.common).await
        }
        ServerVerb::Retire(it) => life::retire(&it).await,
        ServerVerb::Power(it) => {
            let runbook = match it.action {
                Power::On => "power-on-server",
                Power::Off => "power-off-server",
                Power::Cycle => "power-cycle-server",
            };
            if it.grace.is_some() && it.action != Power::Off {
                return Err(Error::Usage("--grace is for `power off` alone".into()));
            }
            let params: Vec<String> = it.grace.iter().map(|it| format!("grace={it}")).collect();
            started(runbook, &it.name, &params, &it.following, &it.common).await
        }
        ServerVerb::Inspect(it) => {
            started("inspect-server", &it.name, &[], &it.following, &it.common).await
        }
    }
}

async fn started(
    runbook: &str,
    name: &str,
    params: &[String],
    following: &Following,
    common: &Common,
) -> Result<Outcome, Error> {
    let plane = Plane::open(&common.connection).await?;
    begun(&plane, runbook, name, params, following, common).await
}

/// Begins a runbook on a server.
async fn begun(
    plane: &Plane,
    runbook: &str,
    name: &str,
    params: &[String],
    following: &Following,
    common: &Common,
) -> Result<Outcome, Error> {
    let target = Named { kind: Server::info(), namespace: None, name: name.to_owned() };
    begin(plane, &Begin { runbook, target: Some(&target), part: None, params, following }, common)
        .await
}

async fn listed(arguments: &ListArguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    let plane = Plane::open(&common.connection).await?;
    let mut fields = Vec::new();
    fields.extend(arguments.rack.as_ref().map(|rack| format!("spec.location.rack={rack}")));
    fields.extend(arguments.phase.as_ref().map(|phase| format!("status.phase={phase}")));
    let racks = match &arguments.site {
        Some(site) => Some(racks_of(&plane, site).await?),
        None => None,
    };
    let in_site = |server: &Server| match (&racks, &server.spec.location) {
        (None, _) => true,
        (Some(racks), Some(place)) => racks.contains(&place.rack),
        (Some(_), None) => false,
    };
    let labels = arguments.selector.clone();
    let (wide, now) = (common.output.wide(), now());
    let listing = Listing {
        within: Within::Everywhere,
        selection: Selection { labels, fields: fields.join(","), most: None },
        keep: &in_site,
        heading: view::server::heading(wide),
        row: &|server| view::server::row(server, wide, now),
    };
    listing::print(&plane, listing, common).await
}

/// The racks of a site that must be there.
async fn racks_of(plane: &Plane, site: &str) -> Result<BTreeSet<String>, Error> {
    plane.get(Site::info(), "", site).await?;
    let of_it = Selection::fields(format!("spec.site={site}"));
    let racks = plane.objects::<Rack>(Within::Everywhere, &of_it).await?;
    Ok(racks.into_iter().map(|rack| rack.metadata.name).collect())
}
