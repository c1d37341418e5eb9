//! Machines: created, shown, installed anew, rebooted and deleted, each followed to its end.

use super::demo::{DEADLINE, Demo, freeze};
use quarterdeck_testing::wait::wait_for;
use serde_json::{Value, json};

const IMAGE: &str = "debian-12-20260801";
const NEWER: &str = "debian-12-20261101";
const IN_TEAM: [&str; 2] = ["-n", "team"];

fn of<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["machine"][..], arguments, &IN_TEAM].concat()
}

pub(crate) async fn live(demo: &Demo) {
    demo.kubectl(&["create", "namespace", "team"], "").await;
    created(demo).await;
    shown(demo).await;
    installed_anew(demo).await;
    rebooted_and_told(demo).await;
    given_to_another_team_and_back(demo).await;
    what_is_asked_wrongly(demo).await;
    deleted(demo).await;
}

async fn created(demo: &Demo) {
    let create =
        ["create", "web", "--count", "2", "--class", "compute-gen5", "--image", IMAGE, "--follow"];
    let said = demo.says(&of(&create)).await;
    for name in ["web-1", "web-2"] {
        assert!(said.contains(&format!("machine team/{name}: {IMAGE} of class")), "{said}");
    }
    assert!(said.contains("✓ Running: It runs on Server "), "{said}");
    // One whose server another has is created all the same, and says why it waits.
    let view = demo.json(&of(&["show", "web-1"])).await;
    let taken = view["server"]["metadata"]["name"].as_str().unwrap();
    let create = ["create", "lost", "--class", "compute-gen5", "--image", IMAGE, "--server", taken];
    let said = demo.says(&of(&create)).await;
    assert!(said.contains("quarterdeck machine follow lost -n team"), "{said}");
    wait_for(DEADLINE, "it to say that there is no server", async || {
        let why = demo.says(&["why", "machine/team/lost"]).await;
        let told =
            why.contains("NoServer") && why.contains("quarterdeck server list --phase Ready");
        if told { Ok(()) } else { Err(why) }
    })
    .await;
    demo.says(&of(&["delete", "lost", "--follow"])).await;
}

async fn shown(demo: &Demo) {
    let list = demo.says(&of(&["list", "-o", "wide", "--phase", "Running"])).await;
    assert!(list.contains("WANTED") && list.contains("web-2"), "{list}");
    let all = demo.json(&["machine", "list", "-A", "--class", "compute-gen5"]).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
    let service = json!({
        "apiVersion": "services.quarterdeck.dev/v1alpha1", "kind": "Service",
        "metadata": {"name": "shop", "namespace": "team"}, "spec": {"owner": "team", "contacts": ["#team"]},
    });
    let instance = json!({
        "apiVersion": "services.quarterdeck.dev/v1alpha1", "kind": "Instance",
        "metadata": {"name": "shop-1", "namespace": "team"},
        "spec": {"service": "shop", "host": {"kind": "Machine", "name": "web-1"}},
    });
    for object in [service, instance] {
        demo.kubectl(&["create", "-f", "-"], &object.to_string()).await;
    }
    let text = demo.says(&of(&["show", "web-1"])).await;
    for part in
        [", InUse, site ams1", &format!("{IMAGE}, installed"), "team/shop-1 of service shop"]
    {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let view = demo.json(&of(&["show", "web-1"])).await;
    assert_eq!(view["services"][0]["metadata"]["name"], "shop", "{view}");
    let server = view["server"]["metadata"]["name"].as_str().unwrap();
    let text = demo.says(&["server", "show", server]).await;
    assert!(text.contains("machine   team/web-1") && text.contains("✓ ProfileMet"), "{text}");
    assert!(text.contains("team/shop-1 of service shop"), "{text}");
}

async fn installed_anew(demo: &Demo) {
    let same = demo.says(&of(&["reinstall", "web-2", "--image", IMAGE])).await;
    assert!(same.contains("has image debian-12-20260801 already"), "{same}");
    demo.kubectl(&["create", "-f", "-"], &freeze(&[])).await;
    let reinstall = ["reinstall", "web-2", "--image", NEWER];
    let said = demo.says(&of(&reinstall)).await;
    assert!(said.contains("once the ledger permits that"), "{said}");
    let why = wait_for(DEADLINE, "the freeze to be named", async || {
        let why = demo.json(&["why", "machine/web-2", "-n", "team"]).await;
        let findings = why["findings"].as_array().unwrap().clone();
        let named = findings.iter().any(|it| it["who"] == "freeze/peak");
        if named { Ok(why) } else { Err(why.to_string()) }
    })
    .await;
    assert_eq!(why["phase"], "Updating", "{why}");
    let show = demo.says(&of(&["show", "web-2"])).await;
    assert!(show.contains("waits for leave: freeze peak holds"), "{show}");
    let mut following = demo.start_verb("machine", &of(&["follow", "web-2"]));
    following.wait_for_line("peak season", DEADLINE).await;
    demo.kubectl(&["delete", "freeze", "peak"], "").await;
    following.wait_until_end(DEADLINE).await;
    assert!(following.output().contains("✓ Running"), "{}", following.output());
}

async fn rebooted_and_told(demo: &Demo) {
    let said = demo.says(&of(&["reboot", "web-2"])).await;
    assert!(said.contains("power-cycle-server on Server"), "{said}");
    let timeline = demo.json(&["timeline", "machine/web-2", "-n", "team"]).await;
    let entries = timeline["entries"].as_array().unwrap();
    let told = |wanted: &dyn Fn(&Value) -> bool| {
        assert!(entries.iter().any(wanted), "{timeline}");
    };
    let what = |it: &Value, text: &str| it["what"].as_str().unwrap().contains(text);
    told(&|it| it["source"] == "Run" && what(it, "provision-server began"));
    told(&|it| it["source"] == "Run" && what(it, "reinstall-server Succeeded"));
    told(&|it| it["source"] == "Run" && what(it, "power-cycle-server Succeeded"));
    told(&|it| it["source"] == "Event" && what(it, "Running"));
    told(&|it| it["who"].as_str().unwrap().starts_with("server/"));
}

async fn given_to_another_team_and_back(demo: &Demo) {
    demo.kubectl(&["create", "namespace", "other"], "").await;
    let server = demo.json(&of(&["show", "web-2"])).await["server"]["metadata"]["name"].clone();
    let said = demo.says(&of(&["transfer", "web-2", "--to", "other", "--offer"])).await;
    assert!(said.contains("quarterdeck machine accept team/web-2 --as web-2 -n other"), "{said}");
    let said = demo.says(&["machine", "accept", "team/web-2", "--as", "mine", "-n", "other"]).await;
    assert!(said.contains("takes over team/web-2"), "{said}");
    let why = demo.says(&["why", "machine/mine", "-n", "other"]).await;
    assert!(why.contains("does not offer itself to other/mine"), "{why}");
    let there = ["transfer", "web-2", "--to", "other", "--as", "mine", "--offer"];
    demo.says(&of(&there)).await;
    demo.says(&["machine", "follow", "mine", "-n", "other"]).await;
    let mine = demo.json(&["machine", "show", "mine", "-n", "other"]).await;
    assert_eq!(mine["server"]["metadata"]["name"], server, "with all that is on it");
    let back = ["machine", "transfer", "mine", "--to", "team", "--as", "web-2", "-n", "other"];
    let gone = wait_for(DEADLINE, "its old name to be free", async || {
        let all = demo.json(&of(&["list"])).await;
        let there = all["items"].as_array().unwrap().iter();
        let names: Vec<String> = there.map(|it| it["metadata"]["name"].to_string()).collect();
        if names.iter().any(|name| name.contains("web-2")) { Err(names.join(" ")) } else { Ok(()) }
    });
    gone.await;
    let said = demo.says(&[&back[..], &["--follow"]].concat()).await;
    assert!(said.contains("✓ Running"), "{said}");
}

async fn what_is_asked_wrongly(demo: &Demo) {
    let image = ["--class", "compute-gen5", "--image"];
    for (arguments, code, said) in [
        (
            &["create", "x", "--class", "compute-gen", "--image", IMAGE][..],
            1,
            "did you mean compute-gen",
        ),
        (
            &[&["create", "x"][..], &image, &["debian-12-2026080"]].concat(),
            1,
            "did you mean debian-12-20260801",
        ),
        (&[&["create", "x_y"][..], &image, &[IMAGE]].concat(), 1, "metadata.name"),
        (&["create", "x", "--class", "c"], 2, "--image"),
        (&["show", "web-3"], 1, "did you mean web-1"),
    ] {
        let (reason, ended) = demo.refuses(&of(arguments)).await;
        assert!(reason.contains(said) && ended == code, "{arguments:?}: {ended} {reason}");
    }
}

async fn deleted(demo: &Demo) {
    let ready = r#"{"status":{"phase":"Ready"}}"#;
    let patch = ["patch", "instance", "shop-1", "-n", "team", "--subresource", "status"];
    demo.kubectl(&[&patch[..], &["--type", "merge", "-p", ready]].concat(), "").await;
    let delete = of(&["delete", "web-1"]);
    // On a terminal it says what is lost, and wants the name.
    let (told, code) = demo.typed(&delete, "web-2\n").await;
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("the disks of its server") && told.contains("service team/shop: 1 of its"),
        "{told}"
    );
    assert!(told.contains("\"web-2\" was typed, and not web-1"), "{told}");
    let (told, code) = demo.typed(&delete, "web-1\n").await;
    assert!(code == Some(0) && told.contains("is being deleted"), "{told}");
    let mut following = demo.start_verb("goes", &of(&["delete", "web-2", "--follow"]));
    let ended = wait_for(DEADLINE, "it to be gone", async || {
        following.exit_status().ok_or_else(|| following.output())
    })
    .await;
    assert_eq!(ended.code(), Some(0), "{}", following.output());
    assert!(following.output().contains("✓ machine web-2 is gone"), "{}", following.output());
}
