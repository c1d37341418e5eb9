//! The bytes of the fleet map, version 1, as docs/fleetmap.md describes them: frames of a kind, a length and a body.
//! Pure.

use bytes::{BufMut as _, Bytes, BytesMut};

/// The version that the header tells.
pub(super) const VERSION: u32 = 1;
/// Value of a cell whose text is none of the dictionary.
pub(super) const OTHER: u8 = 255;
/// Texts of a dictionary: the numbers of cells but the last.
pub(super) const TEXTS_MAX: usize = 255;
/// Names of one page.
pub(super) const NAMES_MAX: usize = 4_096;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// JSON: what follows is a map as of a revision. All that came before is void.
    Header = 1,
    /// Names of cells, in their order.
    Names = 2,
    /// A byte for each cell.
    Cells = 3,
    /// Cells that changed.
    Changes = 4,
    /// JSON: texts that join the dictionary.
    Texts = 5,
    /// The map is as it was, as of a revision.
    Alive = 6,
}

/// Begins a frame, whose body `write` makes.
pub(super) fn frame(kind: Frame, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(kind as u8);
    bytes.put_u32_le(0);
    write(&mut bytes);
    let length = u32::try_from(bytes.len() - 5).unwrap_or(u32::MAX);
    if let Some(slot) = bytes.get_mut(1..5) {
        slot.copy_from_slice(&length.to_le_bytes());
    }
    bytes.freeze()
}

/// A page of names, each as how many letters it begins with of the one before, and the rest.
pub(super) fn names<'n>(first: usize, names: impl Iterator<Item = &'n str> + Clone) -> Bytes {
    frame(Frame::Names, |to| {
        to.put_u32_le(u32::try_from(first).unwrap_or(u32::MAX));
        to.put_u32_le(u32::try_from(names.clone().count()).unwrap_or(u32::MAX));
        let mut before: &[u8] = b"";
        for name in names {
            let name = name.as_bytes();
            let same = before.iter().zip(name).take(255).take_while(|(a, b)| a == b).count();
            // Names of objects are at most 253 letters.
            let rest = name.get(same..).unwrap_or_default();
            to.put_u8(u8::try_from(same).unwrap_or(0));
            to.put_u8(u8::try_from(rest.len()).unwrap_or(0));
            to.put_slice(rest);
            before = name;
        }
    })
}

/// Cells that changed: their places, and then their values.
pub(super) fn changes(revision: u64, changed: &[(u32, u8)]) -> Bytes {
    frame(Frame::Changes, |to| {
        to.put_u64_le(revision);
        to.put_u32_le(u32::try_from(changed.len()).unwrap_or(u32::MAX));
        changed.iter().for_each(|(at, _)| to.put_u32_le(*at));
        changed.iter().for_each(|(_, value)| to.put_u8(*value));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let all = ["ams1-a01-u01", "ams1-a01-u02", "ams1-b", "z", "z"];
        let bytes = names(7, all.iter().copied());
        assert_eq!(bytes[0], Frame::Names as u8);
        assert_eq!(u32::from_le_bytes(bytes[1..5].try_into().unwrap()) as usize, bytes.len() - 5);
        let mut rest = &bytes[13..];
        let mut read: Vec<String> = Vec::new();
        while let [same, length, more @ ..] = rest {
            let (name, behind) = more.split_at(usize::from(*length));
            let before = read.last().cloned().unwrap_or_default();
            let begin = &before[..usize::from(*same)];
            read.push(format!("{begin}{}", std::str::from_utf8(name).unwrap()));
            rest = behind;
        }
        assert_eq!(read, all);
        // Three letters instead of twelve for a neighbour.
        assert!(bytes.len() < all.concat().len() + 13);
    }

    #[test]
    fn changes_are_places_and_values() {
        let bytes = changes(9, &[(1, 2), (300, 255)]);
        let wanted = [
            &[4, 22, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0][..],
            &[1, 0, 0, 0, 44, 1, 0, 0, 2, 255],
        ];
        assert_eq!(bytes, wanted.concat());
    }
}
