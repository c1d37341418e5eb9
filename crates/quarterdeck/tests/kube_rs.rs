//! kube-rs against the plane: a reflector keeps up (it lists, watches, and lists again when the plane
//! no longer knows the version it had reached), a controller reconciles one of our kinds, and several
//! apply their parts of an object.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not as expected must fail the test"
)]

mod support;

use futures_util::{StreamExt as _, pin_mut};
use kube::{
    Api, Error, ResourceExt as _,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        Controller, WatchStreamExt as _,
        controller::Action,
        reflector,
        watcher::{self, Event, watcher},
    },
};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use support::{SITE, client, object, plane};

/// The reflector waits up to a second or so before it tries again; a restart takes its time too.
const DEADLINE: Duration = Duration::from_secs(60);

async fn relists_after_410(config: watcher::Config) {
    let mut plane = plane().await;
    plane.apply(SITE).await;
    let rack = GroupVersionKind::gvk("inventory.quarterdeck.dev", "v1alpha1", "Rack");
    let rack = ApiResource::from_gvk(&rack);
    let api: Api<DynamicObject> = Api::all_with(client(&plane).await, &rack);
    let writer = reflector::store::Writer::new(rack);
    let racks = writer.as_reader();
    let stream = reflector(writer, watcher(api, config)).default_backoff();
    pin_mut!(stream);
    let seen = || -> BTreeMap<String, u64> {
        let state = racks.state();
        let units = |rack: &DynamicObject| rack.data["spec"]["units"].as_u64().unwrap_or_default();
        state
            .iter()
            .map(|rack| (rack.metadata.name.clone().unwrap_or_default(), units(rack)))
            .collect()
    };
    let truth = |racks: &[(&str, u64)]| -> BTreeMap<String, u64> {
        racks.iter().map(|(name, units)| ((*name).to_owned(), *units)).collect()
    };

    let mut lists = 0;
    let mut expired = 0;
    let mut follow = async |wanted: BTreeMap<String, u64>| {
        let following = async {
            while seen() != wanted {
                match stream.next().await.expect("a reflector never ends") {
                    Ok(Event::InitDone) => lists += 1,
                    Ok(_) => {}
                    Err(error) => {
                        let text = format!("{error:?}");
                        expired += usize::from(text.contains("410"));
                    }
                }
            }
        };
        let late = tokio::time::timeout(DEADLINE, following).await.is_err();
        assert!(!late, "wanted {wanted:?}, seen {:?}", seen());
        (lists, expired)
    };
    follow(truth(&[("ams1-n01", 42), ("ams1-s01", 48)])).await;
    let patch = r#"{"spec":{"units":40}}"#;
    plane.kubectl(&["patch", "rack", "ams1-n01", "--type=merge", "-p", patch]).await;
    assert_eq!(follow(truth(&[("ams1-n01", 40), ("ams1-s01", 48)])).await, (1, 0));

    // The plane's history begins anew with its process. What happens before the reflector is back
    // is then older than what a watch can begin from.
    plane.kubectl(&["create", "namespace", "another-change"]).await;
    plane.restart().await;
    plane.kubectl(&["delete", "rack", "ams1-s01"]).await;
    plane.kubectl(&["create", "namespace", "and-another"]).await;
    plane.apply(&SITE.replace("ams1-s01", "ams1-s02")).await;
    plane.restart().await;
    let (lists, expired) = follow(truth(&[("ams1-n01", 42), ("ams1-s02", 48)])).await;
    assert!(lists >= 2 && expired >= 1, "{lists} lists, {expired} times expired");

    // And it goes on from there.
    plane.kubectl(&["patch", "rack", "ams1-s02", "--type=merge", "-p", patch]).await;
    follow(truth(&[("ams1-n01", 42), ("ams1-s02", 40)])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reflector_lists_again_after_410() {
    relists_after_410(watcher::Config::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_reflector_lists_again_after_410() {
    relists_after_410(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_apply_their_parts() {
    let plane = plane().await;
    let kind = GroupVersionKind::gvk("inventory.quarterdeck.dev", "v1alpha1", "Site");
    let kind = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::all_with(client(&plane).await, &kind);
    let apply = async |params: PatchParams, spec: Value| {
        let site = json!({"apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": {"name": "ams1"}, "spec": spec});
        api.patch("ams1", &params, &Patch::Apply(site)).await
    };
    apply(PatchParams::apply("one"), json!({"region": "a", "halls": ["n"]})).await.unwrap();
    let other = || json!({"region": "b", "halls": ["s"]});
    match apply(PatchParams::apply("two"), other()).await {
        Err(Error::Api(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"), "{status:?}");
            assert!(status.message.contains("conflict with \"one\": .spec.region"), "{status:?}");
        }
        other => panic!("a conflict was not told: {other:?}"),
    }
    let forced = apply(PatchParams::apply("two").force(), other()).await.unwrap();
    assert_eq!(forced.data["spec"], json!({"region": "b", "halls": ["n", "s"]}));
    let managers = forced.metadata.managed_fields.unwrap();
    assert_eq!(managers.len(), 2, "{managers:?}");
}

/// What the controller of this test notes on a rack: the units it has.
const NOTE: &str = "example.com/units";

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_reconciles_one_of_our_kinds() {
    let plane = plane().await;
    plane.apply(SITE).await;
    let rack = GroupVersionKind::gvk("inventory.quarterdeck.dev", "v1alpha1", "Rack");
    let rack = ApiResource::from_gvk(&rack);
    let api: Api<DynamicObject> = Api::all_with(client(&plane).await, &rack);
    let reconcile = |rack: Arc<DynamicObject>, api: Arc<Api<DynamicObject>>| async move {
        let units = rack.data["spec"]["units"].to_string();
        if rack.annotations().get(NOTE) != Some(&units) {
            let note = serde_json::json!({"metadata": {"annotations": {NOTE: units}}});
            api.patch(&rack.name_any(), &PatchParams::default(), &Patch::Merge(note)).await?;
        }
        Ok::<_, kube::Error>(Action::await_change())
    };
    let controller = Controller::new_with(api.clone(), watcher::Config::default(), rack)
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(200)), Arc::new(api))
        .for_each(|_| async {});
    let running = tokio::spawn(controller);
    let noted = async |wanted: [&str; 2]| {
        wait_for(DEADLINE, "the controller to note the units", async || {
            let racks = object(&plane, &["racks"]).await;
            let racks = racks["items"].as_array().unwrap().clone();
            let note = |rack: &serde_json::Value| rack["metadata"]["annotations"][NOTE].clone();
            let notes: Vec<_> = racks.iter().map(note).collect();
            if notes == wanted { Ok(()) } else { Err(format!("{notes:?}")) }
        })
        .await;
    };
    noted(["42", "48"]).await;
    let patch = r#"{"spec":{"units":40}}"#;
    plane.kubectl(&["patch", "rack", "ams1-s01", "--type=merge", "-p", patch]).await;
    noted(["42", "40"]).await;
    running.abort();
}
