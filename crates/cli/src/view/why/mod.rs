//! Why something does not go on: what stands in the way, since when, until when, who, and what can be done.

mod campaign;
mod machine;
mod run;
mod server;
mod service;

pub(crate) use campaign::campaign;
pub(crate) use machine::machine;
pub(crate) use run::run;
pub(crate) use server::{anything, server};
pub(crate) use service::service;

use super::{
    refusal::Refused,
    time::{age, point},
};
use quarterdeck_model::Time;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Why {
    pub(crate) kind: &'static str,
    /// What was asked about, such as `run/default/cycle-x7`.
    pub(crate) subject: String,
    pub(crate) phase: String,
    /// In one sentence.
    pub(crate) summary: String,
    pub(crate) findings: Vec<Finding>,
    /// What can be done: sentences and commands.
    pub(crate) next: Vec<String>,
}

/// One thing that stands in the way, or is not as it should be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub(crate) what: String,
    /// Who or what blocks, such as `freeze/peak`; none when it is nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Time>,
    pub(crate) message: String,
}

impl Why {
    fn new(subject: String, phase: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            kind: "Why",
            subject,
            phase: phase.into(),
            summary: summary.into(),
            findings: Vec::new(),
            next: Vec::new(),
        }
    }
}

/// The answer as text.
pub(crate) fn text(why: &Why, now: Time) -> String {
    let mut lines = vec![format!("{}: {}", why.subject, why.phase), format!("  {}", why.summary)];
    for finding in &why.findings {
        lines.push(format!("  ◌ {}", finding.what));
        let mut fact = |name: &str, fact: Option<String>| {
            lines.extend(fact.map(|fact| format!("      {name:<7}{fact}")));
        };
        fact("since", finding.since.map(|at| point(at, now)));
        fact("until", finding.until.map(|at| point(at, now)));
        fact("who", finding.who.clone());
        fact("why", Some(finding.message.clone()).filter(|message| !message.is_empty()));
    }
    if !why.next.is_empty() {
        lines.push("what can be done".into());
        lines.extend(why.next.iter().map(|next| format!("  - {next}")));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// `12m`, for sentences.
fn ago(since: Option<Time>, now: Time) -> String {
    since.map_or_else(|| "some time".into(), |_| age(since, now))
}

/// That the ledger does not permit something yet.
fn refusal(refused: &Refused<'_>) -> Finding {
    Finding {
        what: format!("step {} waits for leave to disrupt", refused.step.name),
        who: refused.blocker.who(),
        since: refused.since,
        until: refused.until,
        message: refused.sentence.to_owned(),
    }
}
