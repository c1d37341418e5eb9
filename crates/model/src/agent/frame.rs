//! Frames: how they are written, and how they are found in bytes that come in pieces. Bounded by [`FRAME_BYTES_MAX`].

use super::FRAME_BYTES_MAX;
use serde::{Serialize, de::DeserializeOwned, de::IgnoredAny};
use std::collections::HashMap;

/// Bytes before each frame that say how long it is.
const HEAD: usize = 4;
/// Room that is kept between frames: most are heartbeats.
const KEPT_BYTES: usize = 512;

/// Why bytes are not frames.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame says that it is longer than one may be.
    #[error("a frame of {0} bytes was announced; at most {FRAME_BYTES_MAX} are taken")]
    TooLarge(usize),
    /// A frame is not what it should be.
    #[error("a frame is not understood: {0}")]
    Wrong(#[from] serde_json::Error),
}

/// One side's frames: JSON objects of one field, whose name says which frame it is.
pub trait Frame: Serialize + DeserializeOwned {
    /// Names of those that this release knows. Others are skipped.
    const NAMES: &'static [&'static str];
}

/// A frame, ready to be sent.
///
/// # Errors
/// When it would be larger than one may be, or is no JSON.
pub fn encode<T: Frame>(frame: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEAD];
    serde_json::to_writer(&mut bytes, frame)?;
    let length = bytes.len() - HEAD;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    let head = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    for (to, from) in bytes.iter_mut().zip(head) {
        *to = from;
    }
    Ok(bytes)
}

/// Bytes that came, and no whole frame yet.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// What of them was read.
    read: usize,
}

impl Frames {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// When it is too large or not understood; nothing after that can be.
    pub fn pop<T: Frame>(&mut self) -> Result<Option<T>, FrameError> {
        while let Some(bytes) = self.next()? {
            match serde_json::from_slice(bytes) {
                Ok(frame) => return Ok(Some(frame)),
                Err(_) if is_newer::<T>(bytes) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.give_back();
        Ok(None)
    }

    /// The bytes of the next frame.
    fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge(length));
        }
        let frame = rest.get(..length);
        self.read += frame.map_or(0, |_| HEAD + length);
        Ok(frame)
    }

    /// Keeps no more room than what is left needs: there are as many of these as agents.
    fn give_back(&mut self) {
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
            }
        }
    }
}

/// Whether a frame is one that this release does not know.
fn is_newer<T: Frame>(bytes: &[u8]) -> bool {
    let fields: Result<HashMap<String, IgnoredAny>, _> = serde_json::from_slice(bytes);
    let known = |name: &String| T::NAMES.contains(&name.as_str());
    fields.is_ok_and(|fields| fields.len() == 1 && !fields.keys().any(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{FromAgent, Goodbye, Heartbeat, ToAgent, Usage};
    use proptest::prelude::*;

    /// Bytes as they are sent.
    fn framed(json: &str) -> Vec<u8> {
        let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes
    }

    fn goodbye(message: String) -> ToAgent {
        ToAgent::Goodbye(Goodbye { message, for_good: false, newest: None })
    }

    #[test]
    fn what_is_newer_is_skipped_and_what_is_wrong_or_too_large_refused() {
        let mut frames = Frames::default();
        frames.push(&framed(r#"{"newer": {"a": [1]}}"#));
        frames.push(&framed(r#"{"heartbeat": {"newer": 1}}"#));
        let heartbeat = FromAgent::Heartbeat(Heartbeat::default());
        assert_eq!(frames.pop::<FromAgent>().unwrap(), Some(heartbeat));
        assert_eq!(frames.pop::<FromAgent>().unwrap(), None);
        for wrong in [r#"{"heartbeat": 1}"#, "[]", "{}", "x", r#"{"newer": 1, "older": 2}"#] {
            let mut frames = Frames::default();
            frames.push(&framed(wrong));
            assert!(matches!(frames.pop::<FromAgent>(), Err(FrameError::Wrong(_))), "{wrong}");
        }
        frames.push(&[0xff; 8]);
        assert!(matches!(frames.pop::<FromAgent>(), Err(FrameError::TooLarge(_))));
        let large = goodbye("x".repeat(FRAME_BYTES_MAX));
        assert!(matches!(encode(&large), Err(FrameError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(
            counts in prop::collection::vec(0..900_usize, 0..20), cut in 1..40_usize
        ) {
            let said: Vec<ToAgent> = counts.iter().map(|count| goodbye("y".repeat(*count))).collect();
            let bytes: Vec<u8> = said.iter().flat_map(|frame| encode(frame).unwrap()).collect();
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                frames.push(piece);
                while let Some(frame) = frames.pop::<ToAgent>().unwrap() {
                    found.push(frame);
                }
            }
            prop_assert_eq!(found, said);
            prop_assert!(frames.bytes.capacity() <= KEPT_BYTES);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut frames = Frames::default();
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.pop::<FromAgent>() {}
        }
    }

    #[test]
    fn a_heartbeat_is_small() {
        let usage = Some(Usage { cpu_millis: 12_345, memory_bytes: 123_456_789_000 });
        let frame = encode(&FromAgent::Heartbeat(Heartbeat { usage, wants_time: false })).unwrap();
        assert!(frame.len() < 96, "{}", frame.len());
    }
}
