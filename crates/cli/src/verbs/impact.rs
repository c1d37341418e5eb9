//! `quarterdeck impact`: what breaks if something goes.

use super::Common;
use crate::{Error, Outcome, named::Named, plane::Plane, view};
use quarterdeck_model::{
    Kind as _,
    kinds::{
        ImpactReport, ImpactReportSpec, ImpactTarget, ImpactVerdict, RunTarget, Site, SitePart,
    },
};
use serde_json::json;

/// What is asked about.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  quarterdeck impact rack/r-17
  quarterdeck impact site/fra1 --hall north      # a part of a site
  quarterdeck impact site/fra1 --power-feed a
  quarterdeck impact server/m-1 server/m-2       # both at once
  quarterdeck impact machine/web-1 -n shop

It ends with 0 when no service falls under its budget or goes down, else with 3.")]
pub struct ImpactArguments {
    /// KIND/NAME, or KIND/NAMESPACE/NAME: sites, racks, servers, machines, instances
    #[arg(value_name = "KIND/NAME", required = true)]
    named: Vec<Named>,
    /// This hall of the site
    #[arg(long)]
    hall: Option<String>,
    /// This row of the site, or of the hall
    #[arg(long)]
    row: Option<String>,
    /// This power feed of the site
    #[arg(long, conflicts_with_all = ["hall", "row"])]
    power_feed: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn impact(arguments: &ImpactArguments) -> Result<Outcome, Error> {
    let ImpactArguments { named, hall, row, power_feed, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let part = SitePart { hall: hall.clone(), row: row.clone(), power_feed: power_feed.clone() };
    let targets = named.iter().map(|named| {
        let namespace = named
            .kind
            .namespaced()
            .then(|| named.namespace.clone().unwrap_or_else(|| plane.namespace.clone()));
        let mut target = RunTarget::new(named.kind.kind, &named.name);
        if named.is::<Site>() {
            target.part = part.clone();
        }
        ImpactTarget { namespace, target }
    });
    let spec = ImpactReportSpec { targets: targets.collect() };
    let asked = json!({
        "apiVersion": ImpactReport::info().api_version(), "kind": ImpactReport::KIND,
        "metadata": {}, "spec": spec,
    });
    let raw = plane.create(ImpactReport::info(), "", &asked, false).await?;
    let report: ImpactReport = serde_json::from_value(raw.clone())
        .map_err(|error| Error::Refused(format!("the plane's answer cannot be read: {error}")))?;
    common.output.print(|| view::impact::text(&report), || raw.clone())?;
    let bad = [Some(ImpactVerdict::UnderBudget), Some(ImpactVerdict::Down)];
    Ok(if bad.contains(&report.status.verdict) { Outcome::Failed } else { Outcome::Done })
}
