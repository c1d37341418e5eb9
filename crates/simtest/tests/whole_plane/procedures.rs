//! What starts runs by itself: operators have schedules and remedies, and change their mind.

use crate::{company::OPERATORS, plane::Plane};
use quarterdeck_model::{
    Kind as _,
    kinds::{Remedy, Schedule},
};
use serde_json::json;

/// Most schedules, and most remedies, that there are at once.
const SCHEDULES_MAX: usize = 2;
const REMEDIES_MAX: usize = 2;
/// Every minute, or every few: what starts by the hour would seldom start here.
const TIMES: [&str; 3] = ["* * * * *", "*/2 * * * *", "*/5 * * * *"];

/// One thing that is done with them.
pub(crate) async fn one(plane: &mut Plane) {
    match plane.dice.below(8) {
        0 | 1 => schedule(plane).await,
        2 | 3 => change_schedule(plane).await,
        4 | 5 => remedy(plane).await,
        _ => change_remedy(plane).await,
    }
}

async fn schedule(plane: &mut Plane) {
    if plane.see(Schedule::info()).len() >= SCHEDULES_MAX {
        return;
    }
    let name = plane.name("schedule");
    let runbooks = ["inspect-server", "power-on-server", "power-cycle-server"];
    let server = plane.dice.pick(&plane.machines.clone()).unwrap().0;
    let mut spec = json!({
        "schedule": plane.dice.pick(&TIMES).unwrap(),
        "concurrencyPolicy": plane.dice.pick(&["Allow", "Forbid", "Replace"]).unwrap(),
        "run": {
            "runbook": plane.dice.pick(&runbooks).unwrap(),
            "target": {"kind": "Server", "name": server},
            "timeout": "20m",
        },
    });
    if plane.dice.one_in(2) {
        spec["startingDeadlineSeconds"] = json!(10 + plane.dice.below(120));
    }
    plane.trace.say(format!("operator creates {name}: {spec}"));
    let value = json!({"metadata": {"name": name, "namespace": OPERATORS}, "spec": spec});
    plane.create(Schedule::info(), &value).await;
}

async fn change_schedule(plane: &mut Plane) {
    let all = plane.see(Schedule::info());
    let Some(schedule) = plane.dice.pick(&all) else { return };
    let (field, value) = match plane.dice.below(4) {
        0 => ("suspend", json!(true)),
        1 => ("suspend", json!(false)),
        2 => ("schedule", json!(plane.dice.pick(&TIMES).unwrap())),
        _ => {
            plane.trace.say(format!("operator deletes {}", schedule.name()));
            plane.delete(&schedule).await;
            return;
        }
    };
    plane.trace.say(format!("operator sets {field} of {} to {value}", schedule.name()));
    plane.change(&schedule, |object| object["spec"][field] = value).await;
}

async fn remedy(plane: &mut Plane) {
    if plane.see(Remedy::info()).len() >= REMEDIES_MAX {
        return;
    }
    let name = plane.name("remedy");
    let seconds = plane.dice.pick(&["0s", "30s", "2m"]).unwrap();
    let spec = json!({
        "kind": "Server",
        "when": "target.status.powerState == 'Off' && target.status.phase == 'Ready'",
        "for": seconds,
        "runbook": "power-on-server",
        "concurrency": 1 + plane.dice.below(2),
        "maxPerHour": 3 + plane.dice.below(20),
        "cooldown": plane.dice.pick(&["1m", "10m"]).unwrap(),
        "maxAffected": plane.dice.pick(&["30%", "100%"]).unwrap(),
    });
    plane.trace.say(format!("operator creates {name}: {spec}"));
    let value = json!({"metadata": {"name": name}, "spec": spec});
    plane.create(Remedy::info(), &value).await;
}

async fn change_remedy(plane: &mut Plane) {
    let all = plane.see(Remedy::info());
    let Some(remedy) = plane.dice.pick(&all) else { return };
    let number = 1 + plane.dice.below(9);
    let (field, value) = match plane.dice.below(5) {
        0 => ("suspend", json!(true)),
        1 | 2 => ("suspend", json!(false)),
        3 => ("resume", json!(number)),
        _ => {
            plane.trace.say(format!("operator deletes {}", remedy.name()));
            plane.delete(&remedy).await;
            return;
        }
    };
    plane.trace.say(format!("operator sets {field} of {} to {value}", remedy.name()));
    plane.change(&remedy, |object| object["spec"][field] = value).await;
}
