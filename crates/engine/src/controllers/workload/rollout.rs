//! How far a rollout is: whether its step is over, whether it has failed, and whether it is done. Pure, as all of [`super::plan`].

use super::plan::{Leave, Planner, Situation, Waits, aim, checks, count, left, size, step};
use quarterdeck_model::{
    Duration as Length, Time,
    kinds::{CheckStatus, RolloutStatus, WorkloadStrategyType},
};

impl Planner<'_> {
    /// Brings the rollout as far as it is.
    pub(super) fn advance(&mut self) {
        let Situation { spec, target, stable, now, .. } = *self.situation;
        if stable == Some(target) {
            self.plan.rollout = None;
            return;
        }
        let known = self.situation.rollout.filter(|rollout| rollout.revision == target);
        let mut rollout = known.cloned().unwrap_or_else(|| RolloutStatus {
            revision: target,
            started: Some(now),
            progressed: Some(now),
            ..RolloutStatus::default()
        });
        // What has nothing to return to may still come to be well.
        if stable.is_none() && self.ready_of(target) >= self.replicas {
            rollout.failed = None;
        }
        if let Some(why) = &rollout.failed {
            self.plan.waits = Waits::Returned(why.clone());
            self.plan.rollout = Some(rollout);
            return;
        }
        if spec.paused {
            // Its time begins anew when it goes on.
            rollout.progressed = None;
            self.plan.waits = Waits::Paused;
            self.plan.rollout = Some(rollout);
            return;
        }
        self.progress(&mut rollout);
        self.plan.waits = Waits::Instances;
        match (spec.strategy.kind, stable) {
            // What never was has nothing to be compared with.
            (_, None) | (WorkloadStrategyType::RollingUpdate, _) => {}
            (WorkloadStrategyType::Canary, _) => {
                while let Some(step) = step(spec, rollout.step) {
                    let pause = step.pause;
                    if !self.step_is_over(&mut rollout, pause.map(|pause| pause.duration)) {
                        break;
                    }
                    rollout.step += 1;
                    (rollout.step_ready, rollout.progressed) = (None, Some(now));
                    rollout.checks.clear();
                    self.plan.waits = Waits::Instances;
                }
            }
            (WorkloadStrategyType::BlueGreen, _) if rollout.switched.is_none() => {
                let blue_green = spec.strategy.blue_green.clone().unwrap_or_default();
                let pause = blue_green.pause.map(|pause| pause.duration);
                if self.step_is_over(&mut rollout, pause) {
                    (rollout.switched, rollout.progressed) = (Some(now), Some(now));
                    rollout.step = 1;
                    self.plan.waits = Waits::Instances;
                }
            }
            (WorkloadStrategyType::BlueGreen, _) => {}
        }
        self.fail_in_time(&mut rollout);
        if rollout.switched.is_some() && rollout.failed.is_none() {
            self.plan.active = target;
        }
        self.plan.rollout = Some(rollout);
    }

    /// Notes that a rollout got further.
    fn progress(&mut self, rollout: &mut RolloutStatus) {
        let now = self.situation.now;
        let ready = count(self.ready_of(rollout.revision));
        let others = self.members().filter(|(_, it)| it.revision != rollout.revision).count();
        let fewer = rollout.left.is_none_or(|before| count(others) < before);
        if ready > rollout.available || fewer || rollout.progressed.is_none() {
            rollout.progressed = Some(now);
        }
        rollout.available = rollout.available.max(ready);
        rollout.left = Some(rollout.left.map_or(count(others), |before| before.min(count(others))));
    }

    /// Whether the step that a rollout is in is over: its instances are available, its checks hold, its pause has passed.
    fn step_is_over(&mut self, rollout: &mut RolloutStatus, pause: Option<Option<Length>>) -> bool {
        let Situation { spec, now, resumed, .. } = *self.situation;
        let ready = count(self.ready_of(rollout.revision)) >= aim(spec, rollout);
        if rollout.step_ready.is_none() {
            if !ready {
                return false;
            }
            rollout.step_ready = Some(now);
        }
        let since = rollout.step_ready.unwrap_or(now);
        let mut all_hold = true;
        for (at, check) in checks(spec, rollout).iter().enumerate() {
            let seen = rollout.checks.iter().find(|seen| seen.name == check.name);
            let CheckStatus { passed, failed, time, message, .. } =
                seen.cloned().unwrap_or_default();
            if failed > check.failures() {
                let said = message.unwrap_or_default();
                rollout.failed = Some(format!(
                    "check {} failed {failed} {} in sequence: {said}",
                    check.name,
                    if failed == 1 { "time" } else { "times" }
                ));
                return false;
            }
            let holds = passed >= check.successes();
            all_hold &= holds;
            // Through the pause they go on being looked at.
            if holds && pause.is_none() {
                continue;
            }
            match time.and_then(|last| left(last, check.interval().as_std(), now)) {
                Some(wait) => self.again(wait),
                None => self.plan.due.push(at),
            }
        }
        if resumed == Some(rollout.step) {
            self.plan.due.clear();
            return true;
        }
        let over = match pause {
            None => true,
            Some(Some(long)) => match left(since, long.as_std(), now) {
                Some(wait) => {
                    self.again(wait);
                    let until = now.timestamp() + wait;
                    self.plan.waits = Waits::Pause(Time::new(until));
                    false
                }
                None => true,
            },
            Some(None) => {
                self.plan.waits = Waits::Person;
                false
            }
        };
        if !all_hold {
            self.plan.waits = Waits::Checks;
        }
        all_hold && over
    }

    /// A rollout without progress for too long has failed, unless it waits for something else than its instances.
    fn fail_in_time(&mut self, rollout: &mut RolloutStatus) {
        let Situation { spec, now, .. } = *self.situation;
        if rollout.failed.is_none() && self.plan.waits == Waits::Instances {
            let own = || self.members().filter(|(_, it)| it.revision == rollout.revision);
            let all_ready = own().all(|(_, it)| self.available(it));
            let asks = self.members().any(|(_, it)| it.leave == Leave::Waiting);
            if all_ready && asks {
                self.plan.waits = Waits::Ledger;
                // Its time begins anew once some may go.
                rollout.progressed = None;
                return;
            }
            let since = rollout.progressed.unwrap_or(now);
            let deadline = spec.progress_deadline();
            match left(since, deadline.as_std(), now) {
                Some(wait) => self.again(wait),
                None => {
                    let ready = self.ready_of(rollout.revision);
                    let why = own()
                        .find_map(|(_, it)| it.message.clone().filter(|_| !self.available(it)));
                    let why = why.map_or_else(String::new, |why| format!("; {why}"));
                    rollout.failed = Some(format!(
                        "no progress for {deadline}: {ready} of {} instances are available{why}",
                        aim(spec, rollout)
                    ));
                }
            }
        }
        if let Some(why) = &rollout.failed {
            self.plan.due.clear();
            self.plan.waits = Waits::Returned(why.clone());
        }
    }

    /// A rollout is over when all are of the new revision, and serve.
    pub(super) fn finish(&mut self) {
        let Situation { spec, target, members, .. } = *self.situation;
        let Some(rollout) = &self.plan.rollout else { return };
        let steps = spec.strategy.canary.as_ref().map_or(0, |canary| canary.steps.len());
        let stepped = match spec.strategy.kind {
            WorkloadStrategyType::RollingUpdate => true,
            WorkloadStrategyType::Canary => size(rollout.step) >= steps,
            WorkloadStrategyType::BlueGreen => rollout.switched.is_some(),
        };
        let stepped = stepped || self.situation.stable.is_none();
        let others = members.iter().any(|it| !it.deleting && it.revision != target);
        let enough = self.ready_of(target) >= self.replicas;
        if rollout.failed.is_none() && !spec.paused && stepped && enough && !others {
            self.plan.rollout = None;
            self.plan.waits = Waits::Nothing;
            (self.plan.stable, self.plan.active) = (Some(target), target);
        }
    }
}
