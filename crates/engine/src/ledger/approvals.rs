//! What people have said of the disruption by a run: in the run itself, and in the campaign that it belongs to. Read
//! when it is decided on, so that what was taken back no longer counts.

use crate::controllers::campaign::{CAMPAIGN, does_the_same};
use quarterdeck_model::{
    Key, Kind as _, Object,
    kinds::{Approval, Campaign, Run},
};
use quarterdeck_store::World;

/// What people have said of a run.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    pub(super) given: Vec<Approval>,
    /// Who asked for it.
    pub(super) requester: Option<String>,
}

impl Approvals {
    pub(super) fn of(world: &World, run: &Key) -> Self {
        let Some(object) = world.get(Run::info(), &run.namespace, &run.name) else {
            return Self::default();
        };
        let campaign = object.labels().find(|(name, _)| *name == CAMPAIGN);
        let campaign = campaign.and_then(|(_, name)| {
            world.get(Campaign::info(), &run.namespace, name).filter(|campaign| speaks(campaign))
        });
        // Nearly always nothing was said: then nothing is decoded.
        if campaign.is_none() && !speaks(&object) {
            return Self::default();
        }
        let Ok(run) = object.decode::<Run>() else { return Self::default() };
        let mut said = Self { given: Vec::new(), requester: run.spec.requested_by.clone() };
        // Whoever labels and owns a run as a campaign does gets what was said of that for nothing else.
        if let Some(campaign) = campaign.and_then(|campaign| campaign.decode::<Campaign>().ok())
            && object.owners().any(|owner| *owner == *campaign.metadata.uid)
            && does_the_same(world, &campaign, &run)
        {
            said.given = campaign.spec.approvals;
            said.requester = campaign.spec.requested_by;
        }
        // Its own come last: the last word of each person counts.
        said.given.extend(run.spec.approvals);
        said
    }
}

/// Whether an object may hold approvals.
pub(super) fn speaks(object: &Object) -> bool {
    str::from_utf8(&object.json).is_ok_and(|json| json.contains("\"approvals\""))
}
