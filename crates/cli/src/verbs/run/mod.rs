//! `quarterdeck run`: runs of runbooks.

mod change;
mod decide;
mod params;
mod start;

pub(crate) use start::{Begin, Following, begin};

use super::{
    Common, One,
    listing::{self, Listing, within},
    now,
};
use crate::{
    Error, Outcome,
    follow::{Story, follow},
    named::Named,
    plane::{Plane, Seen, Selection},
    view,
};
use quarterdeck_model::kinds::{Decision, Run, RunPhase};

/// What can be asked about runs.
#[derive(Debug, clap::Subcommand)]
pub enum RunVerb {
    /// Start a run of a runbook, and follow it to its end
    #[command(after_long_help = "Examples:
  quarterdeck run start power-cycle-server server/ams1-a01-01-u01
  quarterdeck run start power-off-server server/m-0417 --param grace=5m --no-follow -n ops
  quarterdeck run start reimage-server server/m-0417 --dry-run     # what would happen
  quarterdeck run start cut-power site/ams1 --hall north --row 3   # a part of a site

It ends with 0 when the run succeeded, 3 when it failed, 4 when it was cancelled. Ctrl-C leaves it going.")]
    Start(start::StartArguments),
    /// Show a run's progress until it has ended
    #[command(
        after_long_help = "It ends with 0 when the run succeeded, 3 when it failed, 4 when it was cancelled. \
                                 Ctrl-C leaves it going."
    )]
    Follow(One),
    /// List runs
    List(ListArguments),
    /// Show a run and all its steps
    Show(One),
    /// End a run: what it did is undone where the runbook says how
    Cancel(One),
    /// Let a run begin no further step
    Pause(One),
    /// Let a paused run go on
    Resume(One),
    /// Let a run that failed or was cancelled go on from a step
    Retry(change::RetryArguments),
    /// Approve what a run waits for: a step of it, or that it disrupts its target
    #[command(
        after_long_help = "What is said is said in your own name, and the last word counts. It needs the verb approve on runs, or the right \
                                 to change them."
    )]
    Approve(decide::DecideArguments),
    /// Say that a run must not do what it waits for
    Reject(decide::DecideArguments),
}

/// Which runs.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    /// Those of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Those with these labels, such as quarterdeck.dev/campaign=restart-web
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    /// Those in this phase, such as Running
    #[arg(long, value_name = "PHASE")]
    phase: Option<String>,
    /// Those on this target
    #[arg(long, value_name = "KIND/NAME")]
    target: Option<Named>,
    #[command(flatten)]
    common: Common,
}

/// How a run is told.
pub(crate) const STORY: Story<Run> = Story {
    frame: view::run::frame,
    news: view::run::news,
    outcome,
    gone: None,
    goes_on: |run| {
        let (name, namespace) = (&run.metadata.name, run.metadata.namespace.as_deref());
        let name = format!("{name} -n {}", namespace.unwrap_or_default());
        format!(
            "the run goes on; see it again: quarterdeck run follow {name}; end it: quarterdeck run cancel {name}"
        )
    },
};

fn outcome(run: &Run) -> Option<Outcome> {
    view::run::ended(run).then_some(match run.status.phase {
        RunPhase::Succeeded => Outcome::Done,
        RunPhase::Cancelled => Outcome::Cancelled,
        _ => Outcome::Failed,
    })
}

/// Does what was asked.
pub(crate) async fn run(verb: RunVerb) -> Result<Outcome, Error> {
    match verb {
        RunVerb::Start(arguments) => start::start(arguments).await,
        RunVerb::Follow(One { name, common }) => {
            let plane = Plane::open(&common.connection).await?;
            follow(&plane, &plane.namespace, &name, common.output, &STORY).await
        }
        RunVerb::List(arguments) => listed(&arguments).await,
        RunVerb::Show(One { name, common }) => {
            let plane = Plane::open(&common.connection).await?;
            let run: Seen<Run> = plane.read(&plane.namespace, &name).await?;
            let text = || view::run::frame(&run.object, now()).join("\n") + "\n";
            common.output.print(text, || run.raw.clone())?;
            Ok(Outcome::Done)
        }
        RunVerb::Cancel(one) => change::cancel(&one).await,
        RunVerb::Pause(one) => change::pause(&one).await,
        RunVerb::Resume(one) => change::resume(&one).await,
        RunVerb::Retry(arguments) => change::retry(&arguments).await,
        RunVerb::Approve(arguments) => decide::decide(&arguments, Decision::Approved).await,
        RunVerb::Reject(arguments) => decide::decide(&arguments, Decision::Rejected).await,
    }
}

async fn listed(arguments: &ListArguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    let plane = Plane::open(&common.connection).await?;
    let mut fields = Vec::new();
    fields.extend(arguments.phase.as_ref().map(|phase| format!("status.phase={phase}")));
    if let Some(target) = &arguments.target {
        fields.push(format!("spec.target.kind={}", target.kind.kind));
        fields.push(format!("spec.target.name={}", target.name));
    }
    let labels = arguments.selector.clone();
    let (wide, now) = (common.output.wide(), now());
    let listing = Listing::<Run> {
        within: within(&plane, arguments.all_namespaces),
        selection: Selection { labels, fields: fields.join(","), most: None },
        keep: &|_| true,
        heading: view::run::heading(wide),
        row: &|run| view::run::row(run, wide, now),
    };
    listing::print(&plane, listing, common).await
}
