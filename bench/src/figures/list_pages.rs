//! A full list in pages, as client-go's reflectors and kubectl make it, beside the same bytes as
//! static content of the same HTTP stack, read by the same client over one connection each.

use crate::{
    Failure,
    client::Client,
    fleet,
    plane::Plane,
    report::{Aim, Quantity, Row},
    samples::{Samples, timed},
    static_server,
};
use bytes::{Bytes, BytesMut};
use std::path::Path;

const OBJECTS: usize = 110_000;
const PAGE: usize = 500;
const ROUNDS: usize = 7;
/// Objects a second.
const RATE: f64 = 240_000.0;

/// The list's path.
const SERVERS: &str = "/apis/inventory.quarterdeck.dev/v1alpha1/servers";

pub(crate) async fn run(folder: &Path) -> Result<Vec<Row>, Failure> {
    let plane = Plane::start(fleet::store(folder, OBJECTS).await?, folder).await?;
    let mut ours = Client::connect(plane.address, &plane.trust).await?;
    // Also the warm-up of ours, and what the peer serves.
    let bodies = pages(&mut ours).await?;
    let expected: usize = bodies.iter().map(Bytes::len).sum();
    let count = bodies.len();
    let address = static_server::start(bodies, plane.tls.clone()).await?;
    let mut theirs = Client::connect(address, &plane.trust).await?;
    whole(&mut theirs, count).await?;

    let (mut list, mut content) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let (time, bytes) = timed(walk(&mut ours)).await;
        list.push(time);
        if bytes? != expected {
            return Err("the list has changed between two rounds".into());
        }
        let (time, bytes) = timed(whole(&mut theirs, count)).await;
        content.push(time);
        bytes?;
    }
    let rate = Row {
        what: "the same in objects a second".into(),
        ours: Quantity::per_second(OBJECTS as f64 / list.median()),
        peer:
            "the aim itself; kube-apiserver with etcd on such a machine, from its cache: 20,000/s"
                .into(),
        theirs: Quantity::per_second(RATE),
        aim: Aim::AtLeast(1.0),
    };
    let time = Row {
        what: format!(
            "list 110,000 objects ({:.0} MB) through HTTPS in pages of 500, median of {ROUNDS}",
            expected as f64 / 1e6
        ),
        ours: Quantity::seconds(list.median()),
        peer: "the same bytes as static content of the same HTTP stack".into(),
        theirs: Quantity::seconds(content.median()),
        aim: Aim::AtMost(1.5),
    };
    Ok(vec![time, rate])
}

/// All pages.
async fn pages(client: &mut Client) -> Result<Vec<Bytes>, Failure> {
    let (mut pages, mut next) = (Vec::new(), String::new());
    loop {
        let mut body = BytesMut::new();
        client.get(&path(&next), |piece| body.extend_from_slice(piece)).await?;
        next = continue_token(&body).unwrap_or_default();
        pages.push(body.freeze());
        if next.is_empty() {
            return Ok(pages);
        }
    }
}

/// Reads the list to its end; answers how many bytes it has.
async fn walk(client: &mut Client) -> Result<usize, Failure> {
    let (mut bytes, mut next) = (0, String::new());
    loop {
        let mut token = None;
        bytes += client
            .get(&path(&next), |piece| {
                // The list's metadata comes first.
                token.get_or_insert_with(|| continue_token(piece).unwrap_or_default());
            })
            .await?;
        next = token.unwrap_or_default();
        if next.is_empty() {
            return Ok(bytes);
        }
    }
}

/// Reads all of the static content.
async fn whole(client: &mut Client, count: usize) -> Result<usize, Failure> {
    let mut bytes = 0;
    for number in 0..count {
        bytes += client.get(&format!("/{number}"), |_| {}).await?;
    }
    Ok(bytes)
}

fn path(next: &str) -> String {
    let next = if next.is_empty() { String::new() } else { format!("&continue={next}") };
    format!("{SERVERS}?limit={PAGE}{next}")
}

/// The token in the head of a page; none in the last one.
fn continue_token(page: &[u8]) -> Option<String> {
    /// The list's own metadata is within this.
    const HEAD_BYTES: usize = 1_024;
    let head = String::from_utf8_lossy(page.get(..page.len().min(HEAD_BYTES))?).into_owned();
    let (head, _) = head.split_once("\"items\":")?;
    let (_, rest) = head.split_once("\"continue\":\"")?;
    rest.split_once('"').map(|(token, _)| token.to_owned())
}
