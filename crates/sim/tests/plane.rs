//! A simulated fleet under the real engine: every server gets ready or says why not, and a run does its work once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

mod support;

use quarterdeck_model::kinds::RunPhase;
use quarterdeck_sim::Fault;
use quarterdeck_testing::wait::wait_for;
use support::plane::{DEADLINE, Plane};

/// What a server says in the end that has these faults; none of them keeps the others from being ready.
fn reason(faults: &[Fault]) -> (bool, &'static str) {
    for (fault, reason) in [
        (Fault::DeadBmc, "Unreachable"),
        (Fault::WrongCredentials, "Unauthorized"),
        (Fault::WrongSerial, "SerialMismatch"),
        (Fault::MissingPart, "ProfileNotMet"),
    ] {
        if faults.contains(&fault) {
            return (false, reason);
        }
    }
    (true, "Inspected")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_is_ready_or_says_why_and_runs_do_their_work_once() {
    let plane = Plane::start(200).await;
    for (server, fault) in [
        (0, Fault::DeadBmc),
        (1, Fault::WrongCredentials),
        (2, Fault::WrongSerial),
        (3, Fault::WedgedBmc),
        (4, Fault::SlowBmc),
        (5, Fault::ReplyLost),
        (6, Fault::PowerStuck),
    ] {
        plane.simulation.force(plane.address(server), fault);
    }
    plane.simulation.heal(plane.address(7));
    let wanted = |server: usize| reason(&plane.simulation.faults(plane.address(server)));
    wait_for(DEADLINE, "every server to be ready or to say why not", async || {
        for server in 0..plane.servers.len() {
            let (seen, (ready, reason)) = (plane.ready(server), wanted(server));
            if seen != Some((ready, reason.to_owned())) {
                return Err(format!("server {server}: {seen:?}, not {reason}"));
            }
        }
        Ok(())
    })
    .await;
    assert_eq!(wanted(0), (false, "Unreachable"));
    let seen = plane.see(4);
    let inventory = seen.status.inventory.unwrap();
    assert_eq!(inventory.serial_number, plane.servers[4].spec.serial);

    // The answer is lost after the effect: the next attempt finds the work done.
    let lost = plane.run("power-off-server", 5).await;
    assert_eq!(lost.status.phase, RunPhase::Succeeded, "{:?}", lost.status);
    assert_eq!(lost.status.steps[0].attempts, 2, "{:?}", lost.status);
    assert_eq!(plane.simulation.effects(plane.address(5)), 1);
    assert_eq!(plane.see(5).status.power_state.as_deref(), Some("Off"));

    // The command is taken and nothing happens.
    let stuck = plane.run("impatient", 6).await;
    assert_eq!(stuck.status.phase, RunPhase::Failed, "{:?}", stuck.status);
    assert_eq!(stuck.status.steps[0].reason.as_deref(), Some("Timeout"), "{:?}", stuck.status);
    assert_eq!(plane.simulation.effects(plane.address(6)), 0);

    let cycled = plane.run("network-boot-server", 7).await;
    assert_eq!(cycled.status.phase, RunPhase::Succeeded, "{:?}", cycled.status);
    assert_eq!(plane.simulation.effects(plane.address(7)), 3, "boot choice, off, on");
    plane.stop().await;
}
