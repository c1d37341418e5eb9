//! What fails: machines, processes, the way to the disk, and clocks. Drawn like all else; each ends by
//! itself or when the seed says so, and [`heal`] ends all.

use crate::plane::{Plane, REPLICAS};
use jiff::SignedDuration;
use quarterdeck_sim::{Cause, Fault as Trouble};
use quarterdeck_simtest::Fault;
use std::time::Duration;
use tokio::task::yield_now;

const TROUBLES: [Trouble; 8] = [
    Trouble::DeadBmc,
    Trouble::WrongCredentials,
    Trouble::WrongSerial,
    Trouble::SlowBmc,
    Trouble::WedgedBmc,
    Trouble::PowerStuck,
    Trouble::ReplyLost,
    Trouble::ClockJumps,
];
const AT_COMMIT: [Fault; 5] = [
    Fault::DiesBefore,
    Fault::DiesAfter,
    Fault::UnknownBefore,
    Fault::UnknownAfter,
    Fault::GoesAway,
];
/// Most polls of other tasks that happen before a process dies in the middle of something.
const POLLS_MAX: usize = 60;
const CAUSES: [Cause; 4] = [Cause::RackPower, Cause::PowerFeed, Cause::PowerFeed, Cause::BmcSwitch];
/// Furthest that clocks are set.
const JUMP_MAX: Duration = Duration::from_secs(120);
/// How long what many machines share is away.
const CUT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20 * 60));

/// One more fault, or one less.
pub(crate) async fn one(plane: &mut Plane) {
    let number = plane.dice.below(REPLICAS);
    match plane.dice.below(100) {
        0..19 => machine(plane),
        19..25 => cut(plane),
        25..45 => {
            for _ in 0..plane.dice.below(POLLS_MAX) {
                yield_now().await;
            }
            plane.kill(number).await;
        }
        45..50 => plane.stop(number).await,
        50..62 => at_commit(plane),
        62..74 => cut_off(plane, number, true),
        74..80 => freeze(plane, number),
        80..88 => {
            plane.trace.say("the disk cannot be reached");
            plane.disk.go_away();
        }
        88..93 => jump(plane, None),
        _ => jump(plane, Some(number)),
    }
}

fn machine(plane: &mut Plane) {
    let (server, address) = plane.dice.pick(&plane.machines.clone()).unwrap();
    match plane.dice.pick(&TROUBLES).filter(|_| !plane.dice.one_in(3)) {
        Some(trouble) => {
            plane.trace.say(format!("machine {server} has {trouble:?}"));
            plane.simulation.force(&address, trouble);
        }
        None => {
            plane.trace.say(format!("machine {server} is well"));
            plane.simulation.heal(&address);
        }
    }
}

/// What a machine shares with others is away for a time.
fn cut(plane: &mut Plane) {
    let (server, address) = plane.dice.pick(&plane.machines.clone()).unwrap();
    let (cause, time) = (plane.dice.pick(&CAUSES).unwrap(), plane.dice.time(CUT.0, CUT.1));
    plane.trace.say(format!("{cause:?} of {server} and all beside it is away for {time:?}"));
    plane.simulation.cut(&address, cause, time);
    plane.witness.lock().unwrap().power_fails(cause, &address, time);
}

/// Something befalls one of the next commits.
fn at_commit(plane: &mut Plane) {
    let (fault, after) = (plane.dice.pick(&AT_COMMIT).unwrap(), 1 + plane.dice.below(20));
    plane.trace.say(format!("{fault:?} at the {after}th commit from now"));
    plane.disk.fail_at(plane.disk.commits() + after, fault);
}

/// The way from a replica to the disk is broken, or is mended.
fn cut_off(plane: &mut Plane, number: usize, is: bool) {
    let Some(replica) = plane.replicas[number].as_mut().filter(|it| it.cut_off != is) else {
        return;
    };
    replica.cut_off = is;
    replica.process.cut_off(is);
    let what = if is { "cannot reach the disk" } else { "reaches the disk again" };
    plane.trace.say(format!("replica {number} {what}"));
}

/// Some of the faults of the plane end by themselves, as whoever runs it sees to it.
pub(crate) async fn end_some(plane: &mut Plane) {
    if plane.disk.is_away() && plane.dice.one_in(6) {
        plane.trace.say("the disk can be reached");
        plane.disk.come_back();
    }
    for number in 0..plane.replicas.len() {
        let ends = plane.dice.one_in(10);
        match plane.replicas[number].as_ref().map(|it| it.process.hangs()) {
            _ if !ends => {}
            None => plane.start(number).await,
            Some(true) => plane.kill(number).await,
            Some(false) => cut_off(plane, number, false),
        }
    }
}

/// A replica hears nothing of the disk any more, and goes on with what it has.
fn freeze(plane: &mut Plane, number: usize) {
    let Some(replica) = plane.replicas[number].as_mut() else { return };
    replica.cut_off = true;
    replica.process.hang();
    plane.trace.say(format!("replica {number} hears nothing of the disk"));
}

/// Somebody sets the clocks, of one host or of all.
fn jump(plane: &mut Plane, host: Option<usize>) {
    let time = plane.dice.time(Duration::from_millis(100), JUMP_MAX);
    let by = SignedDuration::try_from(time).unwrap();
    let by = if plane.dice.one_in(2) { by } else { -by };
    match host {
        None => {
            plane.trace.say(format!("clocks are set by {by:#}"));
            plane.clock.jump(by);
        }
        Some(number) => {
            plane.trace.say(format!("the clock of replica {number} is set by {by:#}"));
            plane.hosts[number].jump_alone(by);
        }
    }
}

/// Ends all faults.
pub(crate) async fn heal(plane: &mut Plane) {
    plane.trace.say("all faults end");
    plane.disk.forget_fault();
    plane.disk.come_back();
    plane.disk.at_once();
    for (_, address) in plane.machines.clone() {
        plane.simulation.heal(&address);
    }
    for number in 0..plane.replicas.len() {
        if let Some(replica) = plane.replicas[number].as_mut() {
            replica.process.cut_off(false);
            replica.cut_off = false;
            if replica.process.hangs() {
                plane.kill(number).await;
            }
        }
        if plane.replicas[number].is_none() {
            plane.start(number).await;
        }
    }
}
