//! What the plane says of quotas and policies in their status, whatever happens to it meanwhile.

use crate::scenario::Plane;
use quarterdeck_model::{
    Kind as _,
    kinds::{ResourceQuota, Secret, ValidatingAdmissionPolicy},
};
use serde_json::json;
use std::collections::BTreeSet;

/// Waits until the quota says that so many are used.
async fn used(plane: &Plane, count: usize) {
    let kind = ResourceQuota::info();
    let says = || {
        let quota: ResourceQuota = plane.store.world().get(kind, "default", "q")?.decode().unwrap();
        let used = quota.status.used.get("count/secrets")?.count().unwrap();
        let all = quota.status.hard == quota.spec.hard;
        (all && used == count as u64).then_some(())
    };
    plane.when(kind, &format!("{count} to be counted"), says).await;
}

#[tokio::test(start_paused = true)]
async fn a_quota_comes_to_what_is_there_whatever_happened() {
    let mut plane = Plane::new().await;
    let quota = json!({"spec": {"hard": {"count/secrets": "3"}}});
    plane.create(ResourceQuota::info(), "default", "q", quota).await;
    used(&plane, 0).await;
    let mut there = BTreeSet::new();
    // A sequence without a pattern, the same each time.
    let mut seed = 7_u64;
    for turn in 0..60 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = format!("s{}", seed >> 60);
        if there.remove(&name) {
            plane.delete(Secret::info(), "default", &name).await;
        } else {
            plane.create(Secret::info(), "default", &name, json!({})).await;
            there.insert(name);
        }
        match turn % 7 {
            3 => used(&plane, there.len()).await,
            5 => plane = plane.crash_and_restart().await,
            _ => {}
        }
    }
    used(&plane, there.len()).await;
    plane
        .patch(ResourceQuota::info(), "default", "q", |quota| {
            quota["spec"]["hard"]["count/secrets"] = json!("1");
        })
        .await;
    used(&plane, there.len()).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_what_cannot_work_for_the_kinds_it_names() {
    let plane = Plane::new().await;
    let kind = ValidatingAdmissionPolicy::info();
    let policy = json!({"spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["inventory.quarterdeck.dev"],
            "apiVersions": ["v1alpha1"], "operations": ["*"], "resources": ["sites"]}]},
        "validations": [{"expression": "object.spec.regin == 'eu'"}],
    }});
    plane.create(kind, "", "p", policy).await;
    let warnings = |count: usize| {
        let policy: ValidatingAdmissionPolicy =
            plane.store.world().get(kind, "", "p")?.decode().unwrap();
        let found = policy.status.type_checking?.expression_warnings;
        (found.len() == count).then_some(found)
    };
    let found = plane.when(kind, "a warning", || warnings(1)).await;
    assert!(found[0].warning.contains("did you mean \"region\"?"), "{found:?}");
    plane
        .patch(kind, "", "p", |policy| {
            policy["spec"]["validations"][0]["expression"] = json!("object.spec.region == 'eu'");
        })
        .await;
    plane.when(kind, "no warning", || warnings(0)).await;
}
