//! Starting a run: what it needs is looked for first, so that what is missing can be said well.

use super::{STORY, params::params};
use crate::{
    Error, Outcome,
    follow::follow,
    named::Named,
    plane::{Plane, Seen},
    verbs::Common,
};
use quarterdeck_model::{
    Kind as _,
    kinds::{Run, Runbook, Site},
};
use serde_json::{Map, Value, json};

/// What is started.
#[derive(Debug, clap::Args)]
pub struct StartArguments {
    /// The runbook
    #[arg(value_name = "RUNBOOK")]
    runbook: String,
    /// What it is run on, such as server/m-0417; left out for a runbook that needs none
    #[arg(value_name = "KIND/NAME")]
    target: Option<Named>,
    /// Value of a parameter, of the type that the runbook declares
    #[arg(short, long, value_name = "NAME=VALUE")]
    param: Vec<String>,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

/// The part of a site that is meant.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Part of a site")]
pub(crate) struct Part {
    /// The hall of that name, of the site that is the target
    #[arg(long, value_name = "NAME")]
    hall: Option<String>,
    /// The row of racks of that name: of --hall, or of those that stand in no hall
    #[arg(long, value_name = "NAME")]
    row: Option<String>,
    /// All that hangs on the power feed of that name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["hall", "row"])]
    power_feed: Option<String>,
}

impl Part {
    fn fields(&self) -> Vec<(&'static str, &str)> {
        let fields = [("hall", &self.hall), ("row", &self.row), ("powerFeed", &self.power_feed)];
        let given = fields.into_iter();
        given.filter_map(|(field, name)| Some((field, name.as_deref()?))).collect()
    }
}

/// How it is started, and whether it is followed.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Following {
    /// Do nothing: only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Cancel the run that holds the target, in place of queueing behind it
    #[arg(long)]
    force: bool,
    /// Show its progress until it has ended; this is the default
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// Return as soon as it is created
    #[arg(long, overrides_with = "follow")]
    no_follow: bool,
}

impl Following {
    /// It is followed to its end.
    pub(crate) fn follows(&self) -> bool {
        !self.no_follow
    }

    /// Nothing is to be done.
    pub(crate) fn dry_run(&self) -> bool {
        self.dry_run
    }
}

/// A run to be started.
pub(crate) struct Begin<'a> {
    pub(crate) runbook: &'a str,
    pub(crate) target: Option<&'a Named>,
    pub(crate) part: Option<&'a Part>,
    pub(crate) params: &'a [String],
    pub(crate) following: &'a Following,
}

pub(crate) async fn start(arguments: StartArguments) -> Result<Outcome, Error> {
    let StartArguments { runbook, target, param, part, following, common } = arguments;
    if !part.fields().is_empty() && !target.as_ref().is_some_and(Named::is::<Site>) {
        let why =
            "--hall, --row and --power-feed name a part of a site: give site/NAME as the target";
        return Err(Error::Usage(why.into()));
    }
    let plane = Plane::open(&common.connection).await?;
    let begin_what = Begin {
        runbook: &runbook,
        target: target.as_ref(),
        part: Some(&part),
        params: &param,
        following: &following,
    };
    begin(&plane, &begin_what, &common).await
}

/// Creates a run, and follows it unless that is not wanted.
pub(crate) async fn begin(
    plane: &Plane,
    what: &Begin<'_>,
    common: &Common,
) -> Result<Outcome, Error> {
    let namespace = &plane.namespace;
    let runbook: Seen<Runbook> = plane.read("", what.runbook).await?;
    let params = params(&runbook.object.spec.parameters, what.params)?;
    if let Some(target) = what.target {
        let wrong = target.namespace.as_ref().filter(|own| *own != namespace);
        if let Some(own) = wrong {
            return Err(Error::Usage(format!(
                "a run acts in its own namespace: the target is in {own}, so ask with -n {own}"
            )));
        }
        plane.get(target.kind, namespace, &target.name).await?;
    }
    let run = manifest(what, namespace, params);
    let created = plane.create(Run::info(), namespace, &run, false).await?;
    let name = created.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if what.following.no_follow {
        let text = format!(
            "run {namespace}/{name} created; follow it: quarterdeck run follow {name} -n {namespace}\n"
        );
        common.output.print(|| text, || created.clone())?;
        return Ok(Outcome::Done);
    }
    follow(plane, namespace, name, common.output, &STORY).await
}

fn manifest(what: &Begin<'_>, namespace: &str, params: Map<String, Value>) -> Value {
    let mut spec = Map::new();
    spec.insert("runbook".into(), what.runbook.into());
    if let Some(target) = what.target {
        let mut named = json!({"kind": target.kind.kind, "name": target.name});
        for (field, name) in what.part.map(Part::fields).unwrap_or_default() {
            if let Some(named) = named.as_object_mut() {
                named.insert(field.into(), name.into());
            }
        }
        spec.insert("target".into(), named);
    }
    if !params.is_empty() {
        spec.insert("params".into(), params.into());
    }
    for (field, asked) in [("dryRun", what.following.dry_run), ("force", what.following.force)] {
        if asked {
            spec.insert(field.into(), true.into());
        }
    }
    json!({
        "apiVersion": Run::info().api_version(),
        "kind": Run::KIND,
        "metadata": {"generateName": format!("{}-", what.runbook), "namespace": namespace},
        "spec": spec,
    })
}
