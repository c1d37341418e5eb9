//! What a command printed, bounded at both ends: the beginning says what it was about, the end why it failed.

use quarterdeck_model::kinds::OUTPUT_BYTES_MAX;
use std::collections::VecDeque;

/// The beginning and the end of what was printed.
#[derive(Debug, Default)]
pub(crate) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: u64,
}

impl Output {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = OUTPUT_BYTES_MAX - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.tail.drain(..over);
        self.omitted += u64::try_from(over).unwrap_or(u64::MAX);
    }

    /// As text; what is none is shown as such.
    pub(crate) fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.omitted == 0 {
            let all = [&self.head[..], &tail].concat();
            return String::from_utf8_lossy(&all).into_owned();
        }
        format!(
            "{}\n… {} bytes left out …\n{}",
            String::from_utf8_lossy(&self.head),
            self.omitted,
            String::from_utf8_lossy(&tail)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_beginning_and_the_end_are_kept(pieces in prop::collection::vec(0..9_000_usize, 0..12)) {
            let (mut output, mut all) = (Output::default(), String::new());
            for (at, count) in pieces.iter().enumerate() {
                let letter = char::from(b'a' + u8::try_from(at % 26).unwrap());
                let text: String = std::iter::repeat_n(letter, *count).collect();
                output.push(text.as_bytes());
                all.push_str(&text);
            }
            let text = output.text();
            if all.len() <= 2 * OUTPUT_BYTES_MAX {
                prop_assert_eq!(text, all);
            } else {
                prop_assert!(text.starts_with(&all[..OUTPUT_BYTES_MAX]));
                prop_assert!(text.ends_with(&all[all.len() - OUTPUT_BYTES_MAX..]));
                let left = format!("… {} bytes left out …", all.len() - 2 * OUTPUT_BYTES_MAX);
                prop_assert!(text.contains(&left));
            }
        }
    }
}
