//! The steps of a server's life, each by the runbook that ships for it.

use super::demo::{DEADLINE, Demo};
use quarterdeck_testing::wait::wait_for;
use serde_json::Value;

pub(crate) async fn live(demo: &Demo) {
    let free = demo.json(&["server", "list", "--phase", "Ready"]).await;
    let free = free["items"].as_array().unwrap().last().unwrap().clone();
    let name = free["metadata"]["name"].as_str().unwrap();
    let of = |arguments: &[&'static str]| {
        let mut all = vec!["server", arguments[0], name];
        all.extend(&arguments[1..]);
        all
    };
    let said = demo.says(&of(&["quarantine", "--message", "fan 3 is loud"])).await;
    assert!(said.contains("✓ Succeeded"), "{said}");
    let subject = format!("server/{name}");
    let why = demo.says(&["why", &subject]).await;
    assert!(why.contains("it is Quarantined") && why.contains("fan 3 is loud"), "{why}");
    for exit in ["return", "repair", "clean", "retire"] {
        assert!(why.contains(&format!("quarterdeck server {exit} {name}")), "{exit}: {why}");
    }
    let shown = demo.says(&of(&["show"])).await;
    assert!(shown.contains(": fan 3 is loud") && shown.contains("none has it"), "{shown}");
    let said = demo.says(&of(&["return"])).await;
    assert!(said.contains("ready (server.phase) Succeeded"), "{said}");

    // Where it stands already is written down; what is taken is named.
    let rack = free["spec"]["location"]["rack"].as_str().unwrap();
    let (said, code) = demo
        .refuses(&["server", "move", name, "--rack", rack, "--unit", "1", "--record-only"])
        .await;
    assert!(code == 3 && said.contains("fills unit 1 of Rack"), "{code} {said}");
    let said = demo.says(&["server", "move", name, "--rack", rack, "--record-only"]).await;
    assert!(said.contains("✓ move (server.move) Succeeded"), "{said}");
    let shown = demo.json(&of(&["show"])).await;
    assert_eq!(shown["server"]["spec"]["location"]["unit"], Value::Null, "{shown}");
    let said = demo.says(&["server", "rotate-credentials", name]).await;
    assert!(said.contains("✓ adopt (credentials.adopt) Succeeded"), "{said}");
    let shown = demo.json(&of(&["show"])).await;
    let secret = &shown["server"]["spec"]["bmc"]["credentialsSecretRef"]["name"];
    assert_eq!(*secret, format!("bmc-{name}"));
    let said = demo.says(&["server", "update-firmware", name]).await;
    assert!(said.contains("✓ look (inventory.refresh) Succeeded"), "{said}");

    let repair = ["repair", "--message", "disk 2", "--ticket-url", "https://127.0.0.1:1/new"];
    let dry = demo.json(&of(&[&repair[..], &["--dry-run"]].concat())).await;
    assert_eq!(dry["spec"]["params"]["ticketURL"], "https://127.0.0.1:1/new", "{dry}");
    let run = demo.json(&of(&[&repair[..3], &["--no-follow"]].concat())).await;
    let run = run["metadata"]["name"].as_str().unwrap().to_owned();
    wait_for(DEADLINE, "it to wait for a person", async || {
        let why = demo.says(&["why", &subject]).await;
        if why.contains("approve the step") { Ok(()) } else { Err(why) }
    })
    .await;
    // Whatever holds it gives way.
    demo.says(&of(&["quarantine", "--message", "no parts", "--force"])).await;
    let (said, code) = demo.refuses(&["run", "follow", &run]).await;
    assert_eq!(code, 4, "{said}");

    let (told, code) = demo.typed(&of(&["detach"]), "\n").await;
    assert!(code == Some(1) && told.contains("it was not confirmed"), "{told}");
    let said = demo.says(&of(&["clean"])).await;
    assert!(said.contains("erase (disk.erase) Succeeded"), "{said}");
    let retire = ["retire", "--keep-disks", "--message", "too old", "--yes"];
    demo.says(&of(&retire)).await;
    let shown = demo.json(&of(&["show"])).await;
    assert_eq!(shown["server"]["status"]["phase"], "Retired");
    assert_eq!(shown["server"]["status"]["phaseMessage"], "too old");
}
