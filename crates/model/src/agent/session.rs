//! Sessions of people with containers: what the plane asks an agent for, and the pieces that both say on the stream that
//! the agent opens for it. Each session has a stream of its own, so that one which nobody reads holds up nothing else.
//!
//! A piece is a channel (one byte), a length (four bytes, big endian), so many bytes, and zeros up to [`PIECE_BYTES_MIN`] in all.
//! Channels have the numbers that they have between kubectl and an API server (Kubernetes, `v5.channel.k8s.io`). Bounded by
//! [`PIECE_BYTES_MAX`].

use crate::Time;
use serde::{Deserialize, Serialize};

/// What the path of a session's stream begins with; its id follows.
pub const SESSION_PATH: &str = "/agent/v1alpha1/session/";
/// Sessions with containers of one host at a time. With the stream itself they fit what a connection may have open.
pub const SESSIONS_MAX: usize = 16;
/// Largest piece that is sent.
pub const PIECE_BYTES_MAX: usize = 32 << 10;
/// The least that a piece is on its way. Those who speak HTTP/2 end a connection on which many small frames wait that nobody has
/// read, since each costs more than it carries; but what a command says is often a few letters.
pub const PIECE_BYTES_MIN: usize = 512;
/// Bytes before each piece.
const HEAD: usize = 5;

/// Somebody wants to hear a container, or to run something in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionWanted {
    /// Names it, once.
    pub id: String,
    /// Identity of the instance.
    pub uid: String,
    /// Its container.
    pub container: String,
    /// What is wanted of it.
    pub ask: SessionAsk,
}

/// What is wanted of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionAsk {
    /// What it has written.
    Logs(LogOptions),
    /// A command to be run in it.
    Exec(ExecOptions),
}

/// Which part of a container's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogOptions {
    /// Stays, and gives what is written.
    pub follow: bool,
    /// So many of the last lines; all, when not set.
    pub tail: Option<u32>,
    /// Not what is older.
    pub since: Option<Time>,
    /// Not more bytes.
    pub limit_bytes: Option<u64>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Of the container before the last restart.
    pub previous: bool,
}

/// What is run in a container, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Something is written to it.
    pub stdin: bool,
    /// What it writes is wanted.
    pub stdout: bool,
    /// What it writes of errors is wanted.
    pub stderr: bool,
    /// It has a terminal.
    pub tty: bool,
}

/// How a session ended. It is the last piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionEnd {
    /// All was said.
    Done,
    /// The command ended with that.
    Exited(i64),
    /// It could not begin: what was asked for is not there, or not so. A sentence.
    Refused(String),
    /// It could not go on. A sentence.
    Failed(String),
}

/// What a piece is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// For the command to read.
    Stdin = 0,
    /// What was written; with a terminal, all.
    Stdout = 1,
    /// What was written of errors.
    Stderr = 2,
    /// A [`SessionEnd`] in JSON.
    End = 3,
    /// The size of the terminal, as kubectl says it: `{"Width":80,"Height":24}`.
    Resize = 4,
    /// There is nothing more to read.
    StdinClosed = 255,
    /// A [`SessionWanted`] in JSON: between replicas, before all else.
    Wanted = 16,
    /// It has begun, and what is asked for is there. It is the first piece that an agent says, unless it refuses.
    Begun = 17,
}

impl Channel {
    fn of(number: u8) -> Option<Self> {
        let all = [
            Self::Stdin,
            Self::Stdout,
            Self::Stderr,
            Self::End,
            Self::Resize,
            Self::StdinClosed,
            Self::Wanted,
            Self::Begun,
        ];
        all.into_iter().find(|it| *it as u8 == number)
    }
}

/// A piece, ready to be sent. What is longer than a piece may be is cut off.
#[must_use]
pub fn piece(channel: Channel, bytes: &[u8]) -> Vec<u8> {
    let bytes = bytes.get(..PIECE_BYTES_MAX).unwrap_or(bytes);
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let mut piece = Vec::with_capacity(HEAD + bytes.len());
    piece.push(channel as u8);
    piece.extend(length.to_be_bytes());
    piece.extend_from_slice(bytes);
    piece.resize(piece.len().max(PIECE_BYTES_MIN), 0);
    piece
}

/// The last piece. A sentence that is too long for it is cut.
#[must_use]
pub fn end(end: &SessionEnd) -> Vec<u8> {
    /// Letters of a sentence: in JSON each is at most six bytes.
    const LETTERS_MAX: usize = 4_000;
    let cut = |text: &String| text.chars().take(LETTERS_MAX).collect();
    let end = match end {
        SessionEnd::Refused(why) => SessionEnd::Refused(cut(why)),
        SessionEnd::Failed(why) => SessionEnd::Failed(cut(why)),
        end => end.clone(),
    };
    piece(Channel::End, &serde_json::to_vec(&end).unwrap_or_default())
}

/// Bytes that are no pieces.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// One says that it is longer than one may be.
    #[error("a piece of {0} bytes was announced; at most {PIECE_BYTES_MAX} are taken")]
    TooLarge(usize),
    /// Nobody knows what one is of.
    #[error("a piece is of channel {0}, which there is not")]
    Unknown(u8),
}

/// Bytes that came, and no whole piece yet.
#[derive(Debug, Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    /// What of them was read.
    read: usize,
}

impl Pieces {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next piece, if all of it is there.
    ///
    /// # Errors
    /// When it is none; nothing after that can be.
    pub fn pop(&mut self) -> Result<Option<(Channel, Vec<u8>)>, PieceError> {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let Some(([channel, length @ ..], rest)) = rest.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > PIECE_BYTES_MAX {
            return Err(PieceError::TooLarge(length));
        }
        let channel = Channel::of(*channel).ok_or(PieceError::Unknown(*channel))?;
        let whole = (HEAD + length).max(PIECE_BYTES_MIN);
        let Some(bytes) = rest.get(..whole - HEAD).and_then(|rest| rest.get(..length)) else {
            return Ok(None);
        };
        let bytes = bytes.to_vec();
        self.read += whole;
        Ok(Some((channel, bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_too_large_or_unknown_is_refused_and_a_long_sentence_cut() {
        let mut pieces = Pieces::default();
        pieces.push(&[1, 0xff, 0, 0, 0]);
        assert!(matches!(pieces.pop(), Err(PieceError::TooLarge(_))));
        let mut pieces = Pieces::default();
        pieces.push(&[9, 0, 0, 0, 0]);
        assert!(matches!(pieces.pop(), Err(PieceError::Unknown(9))));
        let mut pieces = Pieces::default();
        pieces.push(&end(&SessionEnd::Failed("\u{1}".repeat(100_000))));
        let (channel, bytes) = pieces.pop().unwrap().unwrap();
        assert_eq!(channel, Channel::End);
        assert!(matches!(serde_json::from_slice(&bytes).unwrap(), SessionEnd::Failed(_)));
    }

    proptest! {
        #[test]
        fn pieces_are_found_however_they_are_cut(
            said in prop::collection::vec((0..8_usize, prop::collection::vec(any::<u8>(), 0..700)), 0..20),
            cut in 1..40_usize
        ) {
            let numbers = [0, 1, 2, 3, 4, 255, 16, 17];
            let said: Vec<_> = said.into_iter().map(|(at, bytes)| (Channel::of(numbers[at]).unwrap(), bytes)).collect();
            let bytes: Vec<u8> = said.iter().flat_map(|(channel, bytes)| piece(*channel, bytes)).collect();
            let (mut pieces, mut found) = (Pieces::default(), Vec::new());
            for part in bytes.chunks(cut) {
                pieces.push(part);
                while let Some(piece) = pieces.pop().unwrap() {
                    found.push(piece);
                }
            }
            prop_assert_eq!(found, said);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut pieces = Pieces::default();
            pieces.push(&bytes);
            while let Ok(Some(_)) = pieces.pop() {}
        }
    }
}
