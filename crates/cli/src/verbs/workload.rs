//! `quarterdeck workload`: rollouts, for which kubectl has verbs of its own kinds only.

use super::{
    Common, One,
    listing::{self, Listing, within},
    now,
};
use crate::{
    Error, Outcome,
    follow::{Story, follow},
    plane::{Plane, Seen, Selection, Within},
    view,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Workload, WorkloadPhase, WorkloadRevision},
};
use serde_json::{Value, json};

/// Annotation that lets a rollout go on past the step that it waits in.
const RESUME: &str = "quarterdeck.dev/resume-rollout";
/// Annotation of a template that makes it another one: all instances are made anew.
const RESTARTED: &str = "quarterdeck.dev/restarted-at";

/// What can be asked about workloads.
#[derive(Debug, clap::Subcommand)]
pub enum WorkloadVerb {
    /// Show a workload and its rollout: how far it is, and what it waits for
    Status(StatusArguments),
    /// List a workload's revisions
    History(One),
    /// Return to a revision: the one before, when none is named
    #[command(after_long_help = "Examples:
  quarterdeck workload undo web -n shop          # to the revision that all instances were of last
  quarterdeck workload undo web -n shop --to 3")]
    Undo(UndoArguments),
    /// Let no rollout go on; what is lost is still replaced
    Pause(One),
    /// Let a rollout go on that was paused, or that waits for a person
    Resume(One),
    /// Make all instances anew, as a rollout does
    Restart(One),
    /// List workloads
    List(ListArguments),
}

/// Which workload, and whether to stay.
#[derive(Debug, clap::Args)]
pub struct StatusArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Show it until its rollout has ended: with 0 when that is done, 3 when it returned
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    common: Common,
}

/// Which workload, and which revision.
#[derive(Debug, clap::Args)]
pub struct UndoArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Number of the revision
    #[arg(long = "to", value_name = "REVISION")]
    revision: Option<i64>,
    #[command(flatten)]
    common: Common,
}

/// Which workloads.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    /// Those of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    common: Common,
}

/// How a rollout is told.
const STORY: Story<Workload> = Story {
    frame: view::workload::frame,
    news: view::workload::news,
    outcome,
    gone: None,
    goes_on: |workload| {
        let name = &workload.metadata.name;
        let namespace = workload.metadata.namespace.as_deref().unwrap_or_default();
        format!(
            "the rollout goes on; see it again: quarterdeck workload status {name} -n {namespace} --watch"
        )
    },
};

fn outcome(workload: &Workload) -> Option<Outcome> {
    let seen = workload.status.observed_generation == workload.metadata.generation;
    match workload.status.phase {
        _ if !seen => None,
        WorkloadPhase::Stable => Some(Outcome::Done),
        WorkloadPhase::RolledBack => Some(Outcome::Failed),
        _ => None,
    }
}

/// Does what was asked.
pub(crate) async fn workload(verb: WorkloadVerb) -> Result<Outcome, Error> {
    match verb {
        WorkloadVerb::Status(StatusArguments { name, watch, common }) => {
            let plane = Plane::open(&common.connection).await?;
            if watch {
                return follow(&plane, &plane.namespace, &name, common.output, &STORY).await;
            }
            let workload: Seen<Workload> = plane.read(&plane.namespace, &name).await?;
            let text = || view::workload::frame(&workload.object, now()).join("\n") + "\n";
            common.output.print(text, || workload.raw.clone())?;
            Ok(Outcome::Done)
        }
        WorkloadVerb::History(one) => history(&one).await,
        WorkloadVerb::Undo(arguments) => undo(&arguments).await,
        WorkloadVerb::Pause(One { name, common }) => {
            let patch = json!({"spec": {"paused": true}});
            change(&name, &common, |_| Ok((patch, "lets no rollout go on".into()))).await
        }
        WorkloadVerb::Resume(One { name, common }) => change(&name, &common, resumed).await,
        WorkloadVerb::Restart(One { name, common }) => {
            let annotations = json!({RESTARTED: now().to_string()});
            let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
            change(&name, &common, |_| Ok((patch, "makes all instances anew".into()))).await
        }
        WorkloadVerb::List(arguments) => listed(&arguments).await,
    }
}

/// What lets a rollout go on: it is no longer paused, and the step that it waits in is passed.
fn resumed(workload: &Workload) -> Result<(Value, String), Error> {
    let waits = workload.status.rollout.as_ref().filter(|rollout| rollout.failed.is_none());
    let Some(rollout) = waits.filter(|_| !workload.spec.paused) else {
        if workload.spec.paused {
            return Ok((json!({"spec": {"paused": false}}), "goes on".into()));
        }
        let name = &workload.metadata.name;
        let why = format!(
            "workload {name} has no rollout that waits; see: quarterdeck workload status {name}"
        );
        return Err(Error::Usage(why));
    };
    let step = format!("{}/{}", rollout.revision, rollout.step);
    let patch = json!({"metadata": {"annotations": {RESUME: step}}});
    Ok((patch, format!("goes on past step {}", rollout.step + 1)))
}

async fn change(
    name: &str,
    common: &Common,
    patch: impl FnOnce(&Workload) -> Result<(Value, String), Error>,
) -> Result<Outcome, Error> {
    let plane = Plane::open(&common.connection).await?;
    let namespace = plane.namespace.clone();
    let before: Seen<Workload> = plane.read(&namespace, name).await?;
    let (patch, done) = patch(&before.object)?;
    let changed = plane.change(Workload::info(), &namespace, name, &patch).await?;
    common.output.print(|| format!("workload {namespace}/{name} {done}\n"), || changed.clone())?;
    Ok(Outcome::Done)
}

async fn revisions(plane: &Plane, name: &str) -> Result<Vec<WorkloadRevision>, Error> {
    let of = Selection::fields(format!("spec.workload={name}"));
    let mut all: Vec<WorkloadRevision> =
        plane.objects(Within::Namespace(&plane.namespace), &of).await?;
    all.sort_by_key(|revision| revision.spec.revision);
    Ok(all)
}

async fn history(One { name, common }: &One) -> Result<Outcome, Error> {
    let plane = Plane::open(&common.connection).await?;
    let workload: Seen<Workload> = plane.read(&plane.namespace, name).await?;
    let all = revisions(&plane, name).await?;
    let value = || serde_json::to_value(&all).unwrap_or_default();
    common.output.print(|| view::workload::history(&workload.object, &all, now()), value)?;
    Ok(Outcome::Done)
}

async fn undo(arguments: &UndoArguments) -> Result<Outcome, Error> {
    let UndoArguments { name, revision, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let namespace = plane.namespace.clone();
    let workload: Seen<Workload> = plane.read(&namespace, name).await?;
    let status = &workload.object.status;
    let all = revisions(&plane, name).await?;
    let earlier = all.iter().map(|it| it.spec.revision).filter(|it| *it < status.revision).max();
    let stable = status.stable_revision.filter(|stable| *stable != status.revision);
    let Some(wanted) = revision.or(stable).or(earlier) else {
        let why = format!("workload {namespace}/{name} has no revision before {}", status.revision);
        return Err(Error::Usage(why));
    };
    let Some(found) = all.iter().find(|it| it.spec.revision == wanted) else {
        let numbers: Vec<String> = all.iter().map(|it| it.spec.revision.to_string()).collect();
        let why = format!(
            "workload {namespace}/{name} has no revision {wanted}; there are {}",
            numbers.join(", ")
        );
        return Err(Error::NotFound(why));
    };
    // All of it: what the wanted template does not say must not stay.
    let template = serde_json::to_value(&found.spec.template)
        .map_err(|error| Error::Usage(format!("revision {wanted} cannot be read: {error}")))?;
    let mut next = workload.raw.clone();
    let spec = next.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(spec) = spec {
        spec.insert("template".into(), template);
    }
    let changed = plane.replace(Workload::info(), &namespace, name, &next).await?;
    let text = || format!("workload {namespace}/{name} returns to revision {wanted}\n");
    common.output.print(text, || changed.clone())?;
    Ok(Outcome::Done)
}

async fn listed(arguments: &ListArguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    let plane = Plane::open(&common.connection).await?;
    let now = now();
    let listing = Listing::<Workload> {
        within: within(&plane, arguments.all_namespaces),
        selection: Selection::default(),
        keep: &|_| true,
        heading: view::workload::HEADING.to_vec(),
        row: &|workload| view::workload::row(workload, now),
    };
    listing::print(&plane, listing, common).await
}
