//! When the answers to a probe decide: Kubernetes' thresholds. Pure.

use quarterdeck_model::kinds::container::Probe;

/// Answers in a row.
#[derive(Debug, Default)]
pub(super) struct Row {
    good: u32,
    bad: u32,
}

impl Row {
    /// One more answer. What is decided by it, once enough in a row are the same.
    pub(super) fn answer(&mut self, good: bool, probe: &Probe) -> Option<bool> {
        let (same, other, threshold) = match good {
            true => (&mut self.good, &mut self.bad, probe.success_threshold),
            false => (&mut self.bad, &mut self.good, probe.failure_threshold),
        };
        *other = 0;
        *same = same.saturating_add(1);
        (*same >= threshold).then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_row_decide() {
        let probe = Probe { success_threshold: 2, failure_threshold: 3, ..Probe::default() };
        let mut row = Row::default();
        let decided: Vec<Option<bool>> =
            [true, true, true, false, false, true, false, false, false, false]
                .into_iter()
                .map(|good| row.answer(good, &probe))
                .collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(decided, [None, yes, yes, None, None, None, None, None, no, no]);
    }
}
