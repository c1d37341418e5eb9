//! The verbs: what each is asked, and what it does. One file a verb. A kind that gets verbs of its own is a new
//! file here and a line in [`Verb`].

mod campaign;
mod impact;
mod inventory;
mod joined;
mod listing;
mod machine;
mod run;
mod server;
mod timeline;
mod top;
mod why;
mod workload;

use crate::{
    Error, Outcome, completion,
    connect::Connection,
    output::{Output, note},
    plane::{Plane, Selection, Within},
};
use jiff::Timestamp;
use quarterdeck_model::{Kind, Time};

/// What can be asked of a plane.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum Verb {
    /// Start, follow and steer runs of runbooks
    #[command(subcommand)]
    Run(run::RunVerb),
    /// Plan, follow and steer campaigns: a runbook over many targets
    #[command(subcommand)]
    Campaign(campaign::CampaignVerb),
    /// See servers, and start what ships for them: power, inspect, quarantine, repair and more
    #[command(subcommand)]
    Server(server::ServerVerb),
    /// See, create, reinstall, reboot and delete machines: operating systems on servers
    #[command(subcommand)]
    Machine(machine::MachineVerb),
    /// Follow and steer the rollouts of workloads: return, pause, resume, restart
    #[command(subcommand)]
    Workload(workload::WorkloadVerb),
    /// Machines as an inventory of Ansible
    Inventory(inventory::InventoryArguments),
    /// What breaks if something goes: which services, whose, and why
    Impact(impact::ImpactArguments),
    /// What happens now: servers, runs, permits, campaigns, and who waits longest
    Top(top::TopArguments),
    /// Why something does not go on: who blocks, since and until when, and what can be done
    Why(why::WhyArguments),
    /// What happened to something, in order of time
    Timeline(timeline::TimelineArguments),
    /// Print what completes these verbs in a shell
    Completion(completion::CompletionArguments),
}

/// What all verbs take.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// One object, of the kind that the verb is about.
#[derive(Debug, clap::Args)]
pub struct One {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Does what was asked.
///
/// # Errors
/// When it cannot be done, with a sentence that says why and what to do.
pub fn run(verb: Verb) -> Result<Outcome, Error> {
    let verb = match verb {
        Verb::Completion(arguments) => {
            return completion::print(&arguments).map(|()| Outcome::Done);
        }
        verb => verb,
    };
    // One thread is enough for one client.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match verb {
            Verb::Run(verb) => run::run(verb).await,
            Verb::Campaign(verb) => campaign::campaign(verb).await,
            Verb::Server(verb) => server::server(verb).await,
            Verb::Machine(verb) => machine::machine(verb).await,
            Verb::Workload(verb) => workload::workload(verb).await,
            Verb::Inventory(arguments) => inventory::inventory(&arguments).await,
            Verb::Impact(arguments) => impact::impact(&arguments).await,
            Verb::Top(arguments) => top::top(&arguments).await,
            Verb::Why(arguments) => why::why(&arguments).await,
            Verb::Timeline(arguments) => timeline::timeline(&arguments).await,
            Verb::Completion(_) => Ok(Outcome::Done),
        }
    })
}

/// Objects that are part of an answer: none, and a word about it, when the caller may not see them.
async fn visible<K: Kind>(
    plane: &Plane,
    within: Within<'_>,
    selection: &Selection,
) -> Result<Vec<K>, Error> {
    match plane.objects(within, selection).await {
        Err(Error::Refused(why)) => {
            note(&format!("not looked at: {}: {why}", K::PLURAL));
            Ok(Vec::new())
        }
        all => all,
    }
}

/// The time that views are given.
pub(crate) fn now() -> Time {
    Time::new(Timestamp::now())
}
