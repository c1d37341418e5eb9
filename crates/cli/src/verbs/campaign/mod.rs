//! `quarterdeck campaign`: a runbook over many targets.

mod change;
mod ground;
mod plan;

use super::{
    Common, One,
    listing::{self, Listing, within},
    now,
};
use crate::{
    Error, Outcome,
    follow::{Story, follow},
    plane::{Plane, Seen, Selection},
    view,
};
use quarterdeck_model::kinds::{Campaign, CampaignPhase};

/// What can be asked about campaigns.
#[derive(Debug, clap::Subcommand)]
pub enum CampaignVerb {
    /// Show how a campaign would go: waves, what stands in the way, and when it would be over
    #[command(after_long_help = "Examples:
  quarterdeck campaign plan -f restart-web.yaml     # checked by the plane, and not created
  quarterdeck campaign plan restart-web -n ops

The waves are those that the plane would start. How long a run takes is taken from runs of the same runbook before.")]
    Plan(plan::PlanArguments),
    /// Begin a campaign that only shows its plan
    Start(One),
    /// Start no further run; what runs goes on to its end
    Pause(One),
    /// Go on with a campaign that was paused, or that paused itself
    Resume(change::ResumeArguments),
    /// End a campaign: its runs are cancelled
    Cancel(One),
    /// Try the targets that failed once more
    Retry(One),
    /// Change how fast it goes, and how many targets may fail
    #[command(after_long_help = "Example:
  quarterdeck campaign limits restart-web -n ops --concurrency 50 --failure-limit 2%")]
    Limits(change::LimitsArguments),
    /// Show a campaign's progress until it has ended
    #[command(
        after_long_help = "It ends with 0 when all targets succeeded, 3 when some failed, 4 when it was cancelled. \
                                 Ctrl-C leaves it going."
    )]
    Follow(One),
    /// List campaigns
    List(ListArguments),
    /// Show a campaign: how far it is, for whom it waits, why targets failed
    Show(One),
}

/// Which campaigns.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    /// Those of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    common: Common,
}

/// How a campaign is told.
const STORY: Story<Campaign> = Story {
    frame: view::campaign::frame,
    news: view::campaign::news,
    outcome,
    gone: None,
    goes_on: |campaign| {
        let (name, namespace) =
            (&campaign.metadata.name, campaign.metadata.namespace.as_deref().unwrap_or_default());
        format!(
            "the campaign goes on; see it again: quarterdeck campaign follow {name} -n {namespace}; hold it: quarterdeck \
             campaign pause {name} -n {namespace}"
        )
    },
};

fn outcome(campaign: &Campaign) -> Option<Outcome> {
    view::campaign::ended(campaign).then_some(match campaign.status.phase {
        CampaignPhase::Succeeded => Outcome::Done,
        CampaignPhase::Cancelled => Outcome::Cancelled,
        _ => Outcome::Failed,
    })
}

/// Does what was asked.
pub(crate) async fn campaign(verb: CampaignVerb) -> Result<Outcome, Error> {
    match verb {
        CampaignVerb::Plan(arguments) => plan::plan(&arguments).await,
        CampaignVerb::Start(one) => change::start(&one).await,
        CampaignVerb::Pause(one) => change::pause(&one).await,
        CampaignVerb::Resume(arguments) => change::resume(&arguments).await,
        CampaignVerb::Cancel(one) => change::cancel(&one).await,
        CampaignVerb::Retry(one) => change::retry(&one).await,
        CampaignVerb::Limits(arguments) => change::limits(&arguments).await,
        CampaignVerb::Follow(One { name, common }) => {
            let plane = Plane::open(&common.connection).await?;
            follow(&plane, &plane.namespace, &name, common.output, &STORY).await
        }
        CampaignVerb::List(arguments) => listed(&arguments).await,
        CampaignVerb::Show(One { name, common }) => {
            let plane = Plane::open(&common.connection).await?;
            let campaign: Seen<Campaign> = plane.read(&plane.namespace, &name).await?;
            let text = || view::campaign::frame(&campaign.object, now()).join("\n") + "\n";
            common.output.print(text, || campaign.raw.clone())?;
            Ok(Outcome::Done)
        }
    }
}

async fn listed(arguments: &ListArguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    let plane = Plane::open(&common.connection).await?;
    let (wide, now) = (common.output.wide(), now());
    let listing = Listing::<Campaign> {
        within: within(&plane, arguments.all_namespaces),
        selection: Selection::default(),
        keep: &|_| true,
        heading: view::campaign::heading(wide),
        row: &|campaign| view::campaign::row(campaign, wide, now),
    };
    listing::print(&plane, listing, common).await
}
