//! What breaks if something goes: a sentence, and a row for each service.

use super::{
    table::table,
    words::{count, size},
};
use quarterdeck_model::kinds::{ImpactReport, ImpactVerdict};

/// The whole answer.
pub(crate) fn text(report: &ImpactReport) -> String {
    let status = &report.status;
    let what: Vec<String> =
        report.spec.targets.iter().map(|target| target.target.to_string()).collect();
    let of = |verdict| status.services.iter().filter(|it| it.verdict == verdict).count();
    let mut text = format!(
        "{}: {} and {} go.\n",
        what.join(", "),
        count(size(status.servers), "server"),
        count(size(status.instances), "instance")
    );
    if status.services.is_empty() {
        text.push_str("No service is hit.\n");
        return text;
    }
    text.push_str(&format!(
        "{} hit: {} down, {} under budget, {} degraded, {} within budget.\n\n",
        count(size(status.services_hit), "service"),
        of(ImpactVerdict::Down),
        of(ImpactVerdict::UnderBudget),
        of(ImpactVerdict::Degraded),
        of(ImpactVerdict::WithinBudget),
    ));
    let rows: Vec<Vec<String>> = status
        .services
        .iter()
        .map(|service| {
            vec![
                format!("{:?}", service.verdict),
                service.service.clone(),
                service.tier.map_or_else(String::new, |tier| tier.to_string()),
                format!("{} of {}", service.lost, service.instances),
                service.left.to_string(),
                service.needed.to_string(),
                service.owner.clone().unwrap_or_default(),
                service.why.clone(),
            ]
        })
        .collect();
    let heading = ["VERDICT", "SERVICE", "TIER", "LOST", "LEFT", "NEEDED", "OWNER", "WHY"];
    text.push_str(&table(&heading, &rows));
    let more = size(status.services_hit).saturating_sub(status.services.len());
    if more > 0 {
        text.push_str(&format!("and {} more\n", count(more, "service")));
    }
    text
}
