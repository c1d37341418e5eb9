//! What of a service is down, who may take more of it, and what it keeps waiting.

use super::{Finding, Why};
use crate::view::{
    refusal::{Blocker, refused},
    run::{full_name, target},
    words::{are, size},
};
use quarterdeck_model::kinds::{Instance, InstancePhase, Permit, Run, Service};

/// Runs that wait for a service that are told one by one.
const TOLD_MAX: usize = 10;

/// `runs` are those in work, of all namespaces that can be seen.
pub(crate) fn service(
    service: &Service,
    instances: &[Instance],
    permits: &[Permit],
    runs: &[Run],
) -> Why {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let name = format!("{namespace}/{}", service.metadata.name);
    let (spec, status) = (&service.spec, &service.status);
    let phase = status.phase.clone().unwrap_or_else(|| "Unknown".into());
    let all = status.instances.unwrap_or(0);
    let summary = format!(
        "{} of its {all} instances {} down, {} may be at once, {} more may go",
        status.down.unwrap_or(0),
        are(size(status.down.unwrap_or(0))),
        spec.most_down(all),
        status.disruptions_allowed.unwrap_or(0)
    );
    let mut why = Why::new(format!("service/{name}"), phase, summary);
    let down = instances.iter().filter(|it| it.status.phase != InstancePhase::Ready);
    why.findings.extend(down.map(instance));
    let of_it = |permit: &&Permit| permit.status.services.iter().any(|loss| loss.service == name);
    why.findings.extend(permits.iter().filter(of_it).map(|it| held(it, &name)));
    let blocked: Vec<Finding> =
        runs.iter().filter_map(|run| waits(run, &service.metadata.name, namespace)).collect();
    let hidden = blocked.len().saturating_sub(TOLD_MAX);
    why.findings.extend(blocked.into_iter().take(TOLD_MAX));
    if hidden > 0 {
        why.next.push(format!("{hidden} runs more wait for it: quarterdeck top"));
    }
    if why.findings.is_empty() {
        why.next
            .push("nothing is to be done: nothing of it is down, and nobody waits for it".into());
    } else if spec.contacts.is_empty() {
        why.next.push(
            "its spec says no contacts: add some, so that those who wait know whom to ask".into(),
        );
    } else {
        let owner = spec.owner.as_deref().unwrap_or("its owner");
        why.next.push(format!("ask {owner}: {}", spec.contacts.join(", ")));
    }
    why
}

fn instance(it: &Instance) -> Finding {
    let host = format!("{:?}", it.spec.host.kind).to_lowercase();
    Finding {
        what: format!(
            "instance {} on {} is {:?}",
            it.metadata.name, it.spec.host.name, it.status.phase
        ),
        since: it.status.phase_since,
        message: it.status.message.clone().unwrap_or_default(),
        who: Some(format!("{host}/{}", it.spec.host.name)),
        ..Finding::default()
    }
}

fn held(permit: &Permit, service: &str) -> Finding {
    let namespace = permit.metadata.namespace.as_deref().unwrap_or_default();
    let on = &permit.spec.target;
    let losses = permit.status.services.iter().filter(|loss| loss.service == service);
    let instances: u32 = losses.map(|loss| loss.instances).sum();
    Finding {
        what: format!("a run may disrupt {} {}", on.kind, on.name),
        who: Some(format!("run/{namespace}/{}", permit.metadata.name)),
        since: permit.status.granted,
        message: format!("{instances} of its instances {} there", are(size(instances))),
        ..Finding::default()
    }
}

fn waits(run: &Run, service: &str, within: &str) -> Option<Finding> {
    let refused = refused(run)?;
    let Blocker::Service { namespace, name } = refused.blocker else { return None };
    ((namespace, name) == (within, service)).then(|| Finding {
        what: format!("run {} waits for it, to disrupt {}", full_name(run), target(run)),
        who: Some(format!("run/{}", full_name(run))),
        since: refused.since,
        until: refused.until,
        message: refused.sentence.to_owned(),
    })
}
