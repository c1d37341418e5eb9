//! Server-side apply of an object that three owners share, beside a merge patch of the same field, through
//! HTTPS on one connection and in turn. Each changes one annotation, so that each writes.

use crate::{
    Failure,
    client::Client,
    fleet,
    report::{Aim, Quantity, Row},
    samples::{Samples, timed},
    served,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::Path;

const SERVERS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/servers";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
/// Owners of fields besides the one that is measured.
const OTHERS: [&str; 2] = ["labeller", "placement"];
const ROUNDS: usize = 1_500;
const WARM_UP: usize = 100;
/// Objects there are.
const OBJECTS: usize = 1_000;

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let (_server, place) = served::start(folder, OBJECTS)?;
    let mut client = Client::connect(place.address, &place.trust(0)?).await?;
    let path = format!("{SERVERS}/shared");
    let owner = |name: &str| format!("{path}?fieldManager={name}");
    client.send("PATCH", &owner("owner"), APPLY, whole(0)).await?;
    for (number, other) in OTHERS.iter().enumerate() {
        let part = json!({
            "apiVersion": "inventory.quarterdeck.dev/v1alpha1", "kind": "Server",
            "metadata": {"name": "shared", "labels": {format!("example.com/{other}"): number.to_string()}},
        });
        client.send("PATCH", &owner(other), APPLY, part.to_string().into()).await?;
    }
    let (mut applies, mut merges) = (Samples::default(), Samples::default());
    for round in 0..WARM_UP + ROUNDS {
        let applied = whole(2 * round + 1);
        let patch = json!({"metadata": {"annotations": {"example.com/round": (2 * round + 2).to_string()}}});
        let (apply, done) =
            timed(client.send("PATCH", &owner("owner&force=true"), APPLY, applied)).await;
        done?;
        let merger = owner("merger");
        let (merge, done) =
            timed(client.send("PATCH", &merger, MERGE, patch.to_string().into())).await;
        done?;
        if round >= WARM_UP {
            applies.push(apply);
            merges.push(merge);
        }
    }
    Ok(vec![Row {
        what: format!(
            "server-side apply of an object of {} bytes with three owners, through HTTPS, median of {ROUNDS} \
             (p99 {:.2} and {:.2} ms)",
            whole(0).len(),
            applies.p99() * 1e3,
            merges.p99() * 1e3
        ),
        ours: Quantity::seconds(applies.median()),
        peer: "a merge patch of the same object".into(),
        theirs: Quantity::seconds(merges.median()),
        aim: Aim::AtMost(2.0),
    }])
}

/// All that the first owner applies.
fn whole(round: usize) -> Bytes {
    let mut server = fleet::server(1, 0);
    if let Some(server) = server.as_object_mut() {
        server.remove("status");
        server.insert("apiVersion".into(), "inventory.quarterdeck.dev/v1alpha1".into());
        server.insert("kind".into(), "Server".into());
    }
    if let Some(metadata) = server.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| matches!(field.as_str(), "annotations" | "labels"));
        metadata.insert("name".into(), "shared".into());
    }
    if let Some(notes) = server.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        let filler = "installed by the hardware team; see the runbook of the site. ".repeat(34);
        notes.insert("example.com/notes".into(), filler.into());
        notes.insert("example.com/round".into(), round.to_string().into());
    }
    server.to_string().into()
}
