//! Servers from a file: told as a whole what is wrong with it, or taken as a whole; and the same file again.

use super::demo::Demo;
use serde_json::json;
use std::fs;

const HEADER: &str = "name,bmc,credentials,serial,rack,unit,labels\n";

pub(crate) async fn live(demo: &Demo) {
    let file = demo.home.path().join("servers.csv");
    let path = file.to_str().unwrap();
    let enrol = |more: &[&'static str]| {
        let mut all = vec!["server", "enrol", "-f", path];
        all.extend(more);
        all
    };
    let good = "lab-1,10.9.0.1,default/bmc,L1,lab,41,role=lab\n\
                lab-2,10.9.0.2,default/bmc,L2,lab,42,role=lab\n";
    let bad = "lab-1,10.9.0.3,bmc,L1,ams1-a01-01,x,\nlab-4,10.9.0.4,,L4,ams1-a01-01,1,\n";
    fs::write(&file, format!("{HEADER}{good}{bad}")).unwrap();
    let (said, code) = demo.refuses(&enrol(&[])).await;
    assert_eq!(code, 2, "{said}");
    for mistake in [
        "servers.csv:4: name: lab-1 is on line 2, too",
        "servers.csv:4: credentials: \"bmc\" must be NAMESPACE/NAME",
        "servers.csv:4: serial: L1 is on line 2, too",
        "servers.csv:4: unit: \"x\" must be a whole number",
        // The plane knows what else is in that rack.
        "servers.csv:5: unit: the plane refuses creating Server: ",
        "nothing is done",
    ] {
        assert!(said.contains(mistake), "{mistake} is missing:\n{said}");
    }
    let none = demo.kubectl(&["get", "servers", "-l", "role=lab", "-o", "name"], "").await;
    assert_eq!(none, "", "nothing is created unless all are right");

    fs::write(&file, format!("{HEADER}{good}")).unwrap();
    let plan = demo.says(&enrol(&["--dry-run"])).await;
    assert!(plan.contains("+ server lab-2") && plan.contains("2 to be created"), "{plan}");
    let done = demo.says(&enrol(&[])).await;
    assert!(done.ends_with("servers.csv: 2 servers: 2 created\n"), "{done}");
    let again = demo.says(&enrol(&[])).await;
    assert!(again.contains("2 there already, and left"), "{again}");

    fs::write(&file, format!("{HEADER}{}{bad}", good.replace(",42,", ",40,"))).unwrap();
    let (said, code) = demo.refuses(&enrol(&["--keep-going", "--update"])).await;
    assert!(code == 2 && said.contains("has 5 mistakes"), "{said}");
    let unit = ["get", "server", "lab-2", "-o", "jsonpath={.spec.location.unit}"];
    assert_eq!(demo.kubectl(&unit, "").await, "40", "{said}");

    // A file with fewer columns takes nothing away, however often it and others were applied before.
    fs::write(&file, "name,bmc,labels\nlab-2,10.9.0.2,role=lab;tier=1\n").unwrap();
    demo.says(&enrol(&["--update"])).await;
    fs::write(&file, "name,bmc,labels\nlab-2,10.9.0.2,role=lab;tier=2\n").unwrap();
    demo.says(&enrol(&["--update"])).await;
    let kept = "jsonpath={.metadata.labels.tier} {.spec.serial} {.spec.location.unit} {.spec.bmc.credentialsSecretRef.name}";
    assert_eq!(demo.kubectl(&["get", "server", "lab-2", "-o", kept], "").await, "2 L2 40 bmc");

    let yaml = json!([{"name": "lab-2", "bmc": "10.9.0.2", "unit": 39, "rack": "lab"}]);
    let told = demo.fed(&["server", "enrol", "-f", "-", "-o", "json"], &yaml.to_string()).await;
    assert_eq!(told["servers"][0]["action"], "Differ", "{told}");
    assert_eq!(told["servers"][0]["changes"][0]["field"], "spec.location.unit");
}
