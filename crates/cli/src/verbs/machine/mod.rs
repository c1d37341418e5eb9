//! `quarterdeck machine`: operating systems that teams run on servers.

mod change;
mod delete;
mod join;
mod show;
mod transfer;

use super::{
    Common, One,
    listing::{self, Listing, within},
    now,
    run::{self, Following},
};
use crate::{
    Error, Outcome,
    confirm::Asking,
    follow::{Story, follow},
    named::Named,
    plane::{Plane, Seen, Selection},
    view::{self, machine::End},
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Machine, Server},
};

/// What can be asked about machines.
#[derive(Debug, clap::Subcommand)]
pub enum MachineVerb {
    /// List machines
    List(ListArguments),
    /// Show a machine with its server, image, run, permits, instances, services and events
    Show(One),
    /// Create a machine, or several alike
    #[command(after_long_help = "Examples:
  quarterdeck machine create web-1 --class compute-gen4 --image debian-12-20261101 -n shop --follow
  quarterdeck machine create web --count 3 --class compute-gen4 --image debian-12-20261101   # web-1, web-2, web-3

Followed, it ends with 0 when all run, 3 when one failed. Ctrl-C leaves them being installed.")]
    Create(change::CreateArguments),
    /// Install a machine anew from another image, once the ledger permits that
    Reinstall(change::ReinstallArguments),
    /// Power the server of a machine off and on again, by a run that the ledger permits
    Reboot(RebootArguments),
    /// Give a machine to another team, with its server and all that is on it
    #[command(after_long_help = "Examples:
  quarterdeck machine transfer web-1 --to bank -n shop            # who may create machines in both does it at once
  quarterdeck machine transfer web-1 --to bank --offer -n shop    # somebody of bank accepts it
  quarterdeck machine transfer web-1 --withdraw -n shop

Nothing is done to it: it is neither installed anew nor restarted. Instances of services on it must be gone first.")]
    Transfer(transfer::TransferArguments),
    /// Take a machine that another team offers
    #[command(after_long_help = "Example:
  quarterdeck machine accept shop/web-1 -n bank --follow")]
    Accept(transfer::AcceptArguments),
    /// Delete a machine: its server is powered off once the ledger permits that, and wiped
    Delete(delete::DeleteArguments),
    /// Make a token with which the agent of a machine joins; it is shown once
    #[command(after_long_help = "Examples:
  quarterdeck machine join-token web-1 -n shop > token
  quarterdeck machine join-token web-1 -n shop --for 15m

It takes the place of a token that was made before. Who has it joins as the agent of that machine, once.")]
    JoinToken(join::TokenArguments),
    /// Write cloud-init user data with which a machine installs its agent and joins
    #[command(after_long_help = "Example:
  quarterdeck machine user-data web-1 -n shop --server https://plane.example.com:6443 --ca-file ca.crt \\
    --binary-url https://files.example.com/quarterdeck --binary-sha256 SHA256 > user-data

It holds a join token: keep it as you would keep that.")]
    UserData(join::UserDataArguments),
    /// Show a machine's progress until it runs, failed, or is gone
    #[command(
        after_long_help = "It ends with 0 when the machine runs, 3 when it failed. Ctrl-C changes nothing of it."
    )]
    Follow(One),
}

/// Which machines.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    /// Those of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Those in this phase, such as Running
    #[arg(long, value_name = "PHASE")]
    phase: Option<String>,
    /// Those of a class
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    #[command(flatten)]
    common: Common,
}

/// Which machine, and how its run is followed.
#[derive(Debug, clap::Args)]
pub struct RebootArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    common: Common,
}

/// How a machine is told that is to run.
const STORY: Story<Machine> = Story {
    frame: view::machine::frame,
    news: view::machine::news,
    outcome: |machine| {
        view::machine::ended(machine).map(|end| match end {
            End::Runs => Outcome::Done,
            End::Failed => Outcome::Failed,
        })
    },
    gone: None,
    goes_on: |machine| {
        let name = &machine.metadata.name;
        let namespace = machine.metadata.namespace.as_deref().unwrap_or_default();
        format!("it goes on; see it again: quarterdeck machine follow {name} -n {namespace}")
    },
};

/// Does what was asked.
pub(crate) async fn machine(verb: MachineVerb) -> Result<Outcome, Error> {
    match verb {
        MachineVerb::List(arguments) => listed(&arguments).await,
        MachineVerb::Show(one) => show::show(&one).await,
        MachineVerb::Create(arguments) => change::create(&arguments).await,
        MachineVerb::Reinstall(arguments) => change::reinstall(&arguments).await,
        MachineVerb::Reboot(arguments) => reboot(&arguments).await,
        MachineVerb::Transfer(arguments) => transfer::transfer(&arguments).await,
        MachineVerb::Accept(arguments) => transfer::accept(&arguments).await,
        MachineVerb::Delete(arguments) => delete::delete(&arguments).await,
        MachineVerb::JoinToken(arguments) => join::token(&arguments).await,
        MachineVerb::UserData(arguments) => join::user_data(&arguments).await,
        MachineVerb::Follow(One { name, common }) => {
            let plane = Plane::open(&common.connection).await?;
            follow(&plane, &plane.namespace, &name, common.output, &STORY).await
        }
    }
}

async fn listed(arguments: &ListArguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    let plane = Plane::open(&common.connection).await?;
    let mut fields = Vec::new();
    fields.extend(arguments.phase.as_ref().map(|phase| format!("status.phase={phase}")));
    fields.extend(arguments.class.as_ref().map(|class| format!("spec.class={class}")));
    let labels = arguments.selector.clone();
    let (wide, now) = (common.output.wide(), now());
    let listing = Listing::<Machine> {
        within: within(&plane, arguments.all_namespaces),
        selection: Selection { labels, fields: fields.join(","), most: None },
        keep: &|_| true,
        heading: view::machine::heading(wide),
        row: &|machine| view::machine::row(machine, wide, now),
    };
    listing::print(&plane, listing, common).await
}

async fn reboot(arguments: &RebootArguments) -> Result<Outcome, Error> {
    let RebootArguments { name, following, asking, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let machine: Seen<Machine> = plane.read(&plane.namespace, name).await?;
    let Some(server) = machine.object.status.server.clone() else {
        return Err(Error::Refused(format!(
            "machine {}/{name} has no server to power off and on; see why: quarterdeck why machine/{name} -n {}",
            plane.namespace, plane.namespace
        )));
    };
    if !following.dry_run() {
        let told = format!("Server {server}, on which machine {name} runs, is powered off and on.");
        asking.confirm(&[told], name)?;
    }
    let target = Named { kind: Server::info(), namespace: None, name: server };
    let runbook = "power-cycle-server";
    let begin = run::Begin { runbook, target: Some(&target), part: None, params: &[], following };
    run::begin(&plane, &begin, common).await
}
