//! The text of a run's journal, kept while the run is driven: an entry is written out when it changes,
//! not again with every step that follows it. It must never hold on to anything that is not in the run.

use quarterdeck_model::{
    kinds::{Run, RunStatus, StepStatus},
    object,
};

/// What a body without entries ends with: its status, and itself.
const END: &[u8] = b"}}";

/// Entries of a journal as JSON, with commas between them.
#[derive(Default)]
pub(super) struct Written {
    text: Vec<u8>,
    /// Where the text of each ends.
    ends: Vec<usize>,
}

impl Written {
    /// The run as the store holds it. `same`: how many of its entries, from the first, are as they were
    /// when this was called last.
    pub(super) fn body(
        &mut self,
        run: &mut Run,
        same: usize,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let steps = std::mem::take(&mut run.status.steps);
        let written = self.write(&steps, same).and_then(|()| object::encode_typed(run));
        // Else there is one, with a phase in it, and it is the last part of a run.
        let no_status = run.status == RunStatus::default();
        run.status.steps = steps;
        let mut body = written?;
        if self.text.is_empty() {
            return Ok(body);
        }
        let Some(open) = body.strip_suffix(END).filter(|_| !no_status).map(<[u8]>::len) else {
            return object::encode_typed(run);
        };
        body.truncate(open);
        body.reserve(self.text.len() + 16);
        body.extend_from_slice(b",\"steps\":[");
        body.extend_from_slice(&self.text);
        body.push(b']');
        body.extend_from_slice(END);
        Ok(body)
    }

    /// Writes the entries after the first `same`.
    fn write(&mut self, steps: &[StepStatus], same: usize) -> Result<(), serde_json::Error> {
        self.ends.truncate(same);
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
        for step in steps.iter().skip(self.ends.len()) {
            if !self.text.is_empty() {
                self.text.push(b',');
            }
            serde_json::to_writer(&mut self.text, step)?;
            self.ends.push(self.text.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quarterdeck_model::{Key, Kind as _, Object, Revision, kinds::RunPhase};
    use serde_json::json;

    /// A run whose text is full of what ends things.
    fn run(begun: bool) -> Run {
        let mut run = Run::default();
        run.metadata.name = "a".into();
        run.metadata.uid = "u".into();
        run.spec.params.insert("nested".into(), json!({"a": {"b": {}}}));
        if begun {
            run.status.phase = RunPhase::Running;
            run.status.outputs.insert("last".into(), json!({"a": {"b": [{}]}}));
        }
        run
    }

    proptest! {
        /// Whatever changes between two calls, what is written is the run.
        #[test]
        fn what_is_written_is_the_run(
            begun: bool,
            decisions in prop::collection::vec((0..8_usize, 0..4_usize, "[a-z\"}]{0,4}"), 0..20)
        ) {
            let (mut run, mut written) = (run(begun), Written::default());
            for (changed, added, text) in decisions {
                let steps = &mut run.status.steps;
                let before = steps.len();
                if let Some(entry) = steps.get_mut(changed) {
                    entry.message = Some(text.clone());
                    entry.output = Some(json!({"text": text}));
                }
                steps.extend((0..added).map(|number| StepStatus {
                    name: format!("{before}-{number}"),
                    ..StepStatus::default()
                }));
                let body = written.body(&mut run, changed.min(before)).unwrap();
                let key = Key::new(Run::info(), "", "a");
                let object = Object::from_body(Run::info(), key, Revision(1), &body).unwrap();
                let mut read: Run = object.decode().unwrap();
                read.metadata.resource_version = None;
                prop_assert_eq!(&read, &run);
            }
        }
    }
}
