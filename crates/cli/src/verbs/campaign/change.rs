//! Steering a campaign. Each is a change of its spec, as `kubectl patch` would make it.

use crate::verbs::One;
use crate::{
    Error, Outcome,
    plane::{Plane, Seen},
    verbs::Common,
    view::{
        campaign::{full_name, paused_itself},
        words::{count, size},
    },
};
use quarterdeck_model::{Kind as _, kinds::Campaign};
use serde_json::{Map, Value, json};

/// Which campaign, and whether failures are accepted.
#[derive(Debug, clap::Args)]
pub struct ResumeArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on although targets have failed: as many as have until now are accepted
    #[arg(long)]
    accept_failures: bool,
    #[command(flatten)]
    common: Common,
}

/// Which campaign, and its limits.
#[derive(Debug, clap::Args)]
pub struct LimitsArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Most runs in work at once
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<u32>,
    /// In how many failure domains targets are in work at once
    #[arg(long, value_name = "COUNT")]
    domains_at_once: Option<u32>,
    /// Starts no further run when more have failed: a count or a share, such as 2%
    #[arg(long, value_name = "COUNT|SHARE")]
    failure_limit: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn start(one: &One) -> Result<Outcome, Error> {
    change(&one.name, &one.common, |campaign| {
        open(campaign)?;
        Ok((json!({"paused": false}), "begins".into()))
    })
    .await
}

pub(super) async fn pause(one: &One) -> Result<Outcome, Error> {
    change(&one.name, &one.common, |campaign| {
        open(campaign)?;
        let done = "starts no further run; what runs goes on to its end";
        Ok((json!({"paused": true}), done.into()))
    })
    .await
}

pub(super) async fn resume(arguments: &ResumeArguments) -> Result<Outcome, Error> {
    change(&arguments.name, &arguments.common, |campaign| {
        open(campaign)?;
        let failed = campaign.status.failed;
        if arguments.accept_failures {
            let spec = json!({"paused": false, "acceptedFailures": failed});
            return Ok((spec, format!("goes on, with {} accepted that failed", count(size(failed), "target"))));
        }
        if paused_itself(campaign) {
            let name = &arguments.name;
            let why = campaign.status.message.as_deref().unwrap_or_default();
            return Err(Error::Refused(format!(
                "campaign {} {why}; to go on all the same: quarterdeck campaign resume {name} --accept-failures; to try \
                 those that failed again: quarterdeck campaign retry {name}",
                full_name(campaign)
            )));
        }
        Ok((json!({"paused": false}), "goes on".into()))
    })
    .await
}

pub(super) async fn cancel(one: &One) -> Result<Outcome, Error> {
    change(&one.name, &one.common, |campaign| {
        open(campaign)?;
        Ok((json!({"cancel": true}), "is being cancelled, and so are its runs".into()))
    })
    .await
}

pub(super) async fn retry(one: &One) -> Result<Outcome, Error> {
    change(&one.name, &one.common, |campaign| {
        let failed = campaign.status.failed;
        if failed == 0 {
            return Err(Error::Refused(format!(
                "no target of campaign {} failed",
                full_name(campaign)
            )));
        }
        if campaign.spec.cancel {
            return Err(Error::Refused(format!(
                "campaign {} was cancelled; create another one",
                full_name(campaign)
            )));
        }
        let spec = json!({"retries": campaign.spec.retries.saturating_add(1)});
        Ok((spec, format!("tries {} once more", count(size(failed), "target"))))
    })
    .await
}

pub(super) async fn limits(arguments: &LimitsArguments) -> Result<Outcome, Error> {
    let mut spec = Map::new();
    let mut set = |field: &str, value: Option<Value>| {
        spec.extend(value.map(|value| (field.to_owned(), value)));
    };
    set("concurrency", arguments.concurrency.map(Into::into));
    set("domainsAtOnce", arguments.domains_at_once.map(Into::into));
    // Whether it is a good share is for the plane to say.
    let share =
        |text: &String| text.parse::<u32>().map_or_else(|_| text.as_str().into(), Value::from);
    set("failureLimit", arguments.failure_limit.as_ref().map(share));
    if spec.is_empty() {
        return Err(Error::Usage(
            "say what to change: --concurrency, --domains-at-once or --failure-limit".into(),
        ));
    }
    change(&arguments.name, &arguments.common, |campaign| {
        open(campaign)?;
        let all = spec.iter().map(|(name, value)| format!("{name} {value}"));
        let done = format!("goes on with {}", all.collect::<Vec<_>>().join(", "));
        Ok((Value::Object(spec.clone()), done))
    })
    .await
}

/// Refuses to change one that is over, where that would do nothing.
fn open(campaign: &Campaign) -> Result<(), Error> {
    match campaign.status.phase.ended() {
        true => Err(Error::Refused(format!(
            "campaign {} is over: it is {:?}",
            full_name(campaign),
            campaign.status.phase
        ))),
        false => Ok(()),
    }
}

/// Changes the spec of a campaign by what is decided from how it is.
async fn change(
    name: &str,
    common: &Common,
    decide: impl FnOnce(&Campaign) -> Result<(Value, String), Error>,
) -> Result<Outcome, Error> {
    let plane = Plane::open(&common.connection).await?;
    let namespace = &plane.namespace;
    let campaign: Seen<Campaign> = plane.read(namespace, name).await?;
    let (spec, done) = decide(&campaign.object)?;
    let changed = plane.change(Campaign::info(), namespace, name, &json!({"spec": spec})).await?;
    common.output.print(|| format!("campaign {namespace}/{name} {done}\n"), || changed.clone())?;
    Ok(Outcome::Done)
}
