//! BMC credentials under the real engine: those that a site lends, and their rotation, of which nobody sees a password.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod support;

use quarterdeck_model::{
    Kind as _, kinds,
    kinds::{Rack, Runbook, Secret, SecretReference, Server, ServerPhase, Site},
};
use quarterdeck_sim::Fault;
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    people::{change, fails, ready, run_of},
    plane::{DEADLINE, Plane, created},
};

fn named(plane: &Plane, server: usize) -> SecretReference {
    plane.see(server).spec.bmc.credentials_secret_ref.unwrap()
}

fn password(plane: &Plane, secret: &SecretReference, key: &str) -> Option<String> {
    let world = plane.store.world();
    let secret: Secret =
        world.get(Secret::info(), &secret.namespace, &secret.name)?.decode().unwrap();
    Some(String::from_utf8(secret.value(key)?).unwrap())
}

/// The server names no credentials any more; its site does.
async fn lent_by_its_site(plane: &Plane, server: usize) -> (String, SecretReference) {
    let lent = named(plane, server);
    let rack = plane.servers[server].spec.location.clone().unwrap().rack;
    let rack: Rack = plane.store.world().get(Rack::info(), "", &rack).unwrap().decode().unwrap();
    change(plane, Site::info(), ("", &rack.spec.site), |site| {
        site["spec"]["bmc"] = json!({"credentialsSecretRef": lent});
    })
    .await;
    let name = plane.servers[server].metadata.name.clone();
    change(plane, Server::info(), ("", &name), |server| {
        server["spec"]["bmc"].as_object_mut().unwrap().remove("credentialsSecretRef");
    })
    .await;
    (rack.spec.site, lent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_credentials_has_those_of_its_site() {
    let plane = ready(1).await;
    let name = plane.servers[0].metadata.name.clone();
    let (site, lent) = lent_by_its_site(&plane, 0).await;
    run_of(&plane, "look", "inspect-server", json!({}), &name).await;
    // Wrong ones are noticed without anybody asking, and so are right ones.
    for (password, reason) in [("d3Jvbmc=", "Unauthorized"), ("", "Inspected")] {
        let right = plane.servers[0].spec.bmc.credentials_secret_ref.clone().unwrap();
        let right = self::password(&plane, &right, "password").unwrap();
        let data = if password.is_empty() { json!(null) } else { json!(password) };
        change(&plane, Secret::info(), (&lent.namespace, &lent.name), |secret| {
            if data.is_null() {
                secret["data"]["password"] = secret["data"]["kept"].clone();
            } else {
                secret["data"]["kept"] = secret["data"]["password"].clone();
                secret["data"]["password"] = data.clone();
            }
        })
        .await;
        wait_for(DEADLINE, &format!("it to be {reason}"), async || match plane.ready(0) {
            Some((_, seen)) if seen == reason => Ok(()),
            seen => Err(format!("{seen:?} {right}")),
        })
        .await;
    }
    change(&plane, Site::info(), ("", &site), |site| site["spec"]["bmc"] = json!({})).await;
    wait_for(DEADLINE, "it to say that it has none", async || {
        let ready = plane.see(0).status.conditions;
        let told = ready.iter().any(|it| it.message.contains("or that of its Site"));
        if told { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;
    change(&plane, Site::info(), ("", &site), |site| {
        site["spec"]["bmc"] = json!({"credentialsSecretRef": lent});
    })
    .await;
    // Sooner than it would look again by itself.
    wait_for(Duration::from_secs(20), "it to be looked at again", async || match plane.ready(0) {
        Some((true, _)) => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
    plane.stop().await;
}

/// Whoever may begin a run need not be allowed to read what another site lends.
#[tokio::test(flavor = "multi_thread")]
async fn no_run_has_a_server_sent_what_another_site_lends() {
    let plane = ready(1).await;
    lent_by_its_site(&plane, 0).await;
    let name = plane.servers[0].metadata.name.clone();
    let theirs = json!({"credentialsSecretRef": {"namespace": "b", "name": "theirs"}});
    let site = json!({"metadata": {"name": "other"}, "spec": {"region": "eu", "bmc": theirs}});
    let rack = json!({"metadata": {"name": "far"}, "spec": {"site": "other", "units": 20}});
    let both = vec![created(Site::info(), &site), created(Rack::info(), &rack)];
    plane.store.commit(both).await.unwrap();
    let params = json!({"rack": "far", "unit": 1, "recordOnly": true});
    let told = fails(&plane, "record", "move-server", params, &name).await;
    assert!(told.contains("its BMC would be sent Secret b/theirs"), "{told}");
    assert_ne!(plane.see(0).spec.location.unwrap().rack, "far");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_gives_each_server_a_password_of_its_own_and_shows_none() {
    let plane = ready(2).await;
    let (_, lent) = lent_by_its_site(&plane, 0).await;
    let shared = password(&plane, &lent, "password").unwrap();
    let names: Vec<String> =
        plane.servers.iter().map(|server| server.metadata.name.clone()).collect();
    let mut passwords = vec![shared.clone()];
    change(&plane, Runbook::info(), ("", "rotate-bmc-credentials"), |runbook| {
        for step in runbook["spec"]["steps"].as_array_mut().unwrap() {
            step["retry"] = json!({"attempts": 6, "backoff": "1s", "maxBackoff": "2s"});
        }
    })
    .await;
    for round in 0..2 {
        for (at, name) in names.iter().enumerate() {
            // An answer that is lost leaves nobody outside.
            plane.simulation.force(plane.address(at), Fault::ReplyLost);
            let run = format!("rotate-{round}-{at}");
            let before = plane.simulation.effects(plane.address(at));
            let healing = async {
                wait_for(DEADLINE, "the password to be set", async || {
                    let set = plane.simulation.effects(plane.address(at)) > before;
                    if set { Ok(()) } else { Err("not yet") }
                })
                .await;
                plane.simulation.heal(plane.address(at));
            };
            let params = json!({});
            tokio::join!(run_of(&plane, &run, "rotate-bmc-credentials", params, name), healing);
            let own = named(&plane, at);
            assert_eq!(own.name, format!("bmc-{name}"));
            passwords.push(password(&plane, &own, "password").unwrap());
            assert_eq!(password(&plane, &own, "pendingPassword"), None);
        }
    }
    assert_eq!(password(&plane, &lent, "password"), Some(shared), "what others use stays");
    let mut distinct = passwords.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
    wait_for(DEADLINE, "both to be looked at with the new ones", async || {
        let ready = (0..2).all(|at| plane.ready(at).is_some_and(|(ready, _)| ready));
        let phases = (0..2).all(|at| plane.see(at).status.phase == ServerPhase::Ready);
        if ready && phases { Ok(()) } else { Err("not ready") }
    })
    .await;
    // Runs, events and all else that was ever written, but for Secrets.
    let world = plane.store.world();
    for kind in kinds::all().iter().filter(|kind| **kind != Secret::info()) {
        for object in world.all(kind) {
            let text: Value = object.value();
            let text = text.to_string();
            assert!(!passwords.iter().any(|it| text.contains(it)), "{} shows one", object.key);
        }
    }
    plane.stop().await;
}
