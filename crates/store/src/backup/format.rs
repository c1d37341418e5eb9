//! The file of a backup. Pure but for the reader or writer that it is given.
//!
//! A line of text says what it is and in which format. Then come blocks: a letter, the length of what is in
//! it, that, and a SHA-256 over the one of the block before, the letter, the length and the content; so none
//! can be changed, left out, moved or taken from another file. Numbers are little-endian.
//!
//! | letter | content |
//! |---|---|
//! | `B` | when the backup was made |
//! | `O` | objects, compressed with zlib; any number of these blocks |
//! | `E` | the revision, the number of objects, the tokens of leases; nothing comes after it |

use super::Backup;
use crate::{BATCH_BYTES_MAX, Current, Entry, StoreError};
use bytes::Bytes;
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use quarterdeck_model::{Key, Revision};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use std::io::{self, Read, Write};

/// What a file begins with, before the number of its format.
const MAGIC: &str = "quarterdeck backup, format ";
/// The format that this release writes, and the only one there has been.
const FORMAT: u32 = 1;
/// Longest first line that is looked at.
const LINE_MAX: usize = 64;
/// Objects in a block, in bytes, before the next one begins: enough that its hash costs nothing.
const BLOCK_BYTES: usize = 1 << 20;
/// Largest block, compressed or not: the largest body that a store takes comes on top of what is in a block
/// already, with what sealing adds to it and some for its name.
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + BATCH_BYTES_MAX + (1 << 20);

const BEGIN: u8 = b'B';
const OBJECTS: u8 = b'O';
const END: u8 = b'E';

type Hash = [u8; SHA256_OUTPUT_LEN];

fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Writes a backup, in memory for one block.
pub(crate) struct Writer<W> {
    out: W,
    before: Hash,
    made: u64,
    objects: u64,
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(crate) fn begin(mut out: W, made: u64) -> io::Result<Self> {
        let line = format!("{MAGIC}{FORMAT}\n");
        out.write_all(line.as_bytes())?;
        let before = hash(&[line.as_bytes()]);
        let mut writer = Self { out, before, made, objects: 0, block: Vec::new() };
        writer.write(BEGIN, &made.to_le_bytes())?;
        Ok(writer)
    }

    fn write(&mut self, letter: u8, content: &[u8]) -> io::Result<()> {
        if content.len() > BLOCK_BYTES_MAX {
            let length = content.len();
            let why = format!("a block of {length} bytes is too large to be read back");
            return Err(io::Error::other(why));
        }
        let length = u32::try_from(content.len()).map_err(io::Error::other)?.to_le_bytes();
        self.before = hash(&[&self.before, &[letter], &length, content]);
        for part in [&[letter][..], &length, content, &self.before] {
            self.out.write_all(part)?;
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, object: &Current<'_>) -> io::Result<()> {
        self.block.extend_from_slice(&object.revision.0.to_le_bytes());
        for text in [object.kind, object.namespace, object.name] {
            put(&mut self.block, text.as_bytes())?;
        }
        put(&mut self.block, object.body)?;
        if self.block.len() > BLOCK_BYTES_MAX {
            let Current { kind, namespace, name, body, .. } = object;
            let why = format!(
                "{kind} {name} in namespace {namespace:?} is too large to be restored ({} bytes); remove it first",
                body.len()
            );
            return Err(io::Error::other(why));
        }
        self.objects += 1;
        if self.block.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let mut compressed = ZlibEncoder::new(Vec::new(), Compression::fast());
        compressed.write_all(&self.block)?;
        let compressed = compressed.finish()?;
        self.block.clear();
        self.write(OBJECTS, &compressed)
    }

    pub(crate) fn finish(
        mut self,
        revision: Revision,
        leases: Vec<(String, u64)>,
    ) -> io::Result<(Backup, W)> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let mut end = Vec::new();
        end.extend_from_slice(&revision.0.to_le_bytes());
        end.extend_from_slice(&self.objects.to_le_bytes());
        for (name, token) in &leases {
            put(&mut end, name.as_bytes())?;
            end.extend_from_slice(&token.to_le_bytes());
        }
        self.write(END, &end)?;
        self.out.flush()?;
        let Self { out, made, objects, .. } = self;
        Ok((Backup { revision, objects, made, leases }, out))
    }
}

/// Reads a backup, in memory for one block. Nothing that it answers before the end is known to be all.
pub(crate) struct Reader<R> {
    from: R,
    /// What it is called in errors.
    name: String,
    /// Bytes read so far.
    at: u64,
    before: Hash,
    made: u64,
    objects: u64,
}

/// What comes next in a backup.
pub(crate) enum Part {
    Objects(Vec<Entry>),
    /// The end, and what is known of the whole.
    End(Backup),
}

impl<R: Read> Reader<R> {
    pub(crate) fn begin(from: R, name: &str) -> Result<Self, StoreError> {
        let name = name.to_owned();
        let mut reader = Self { from, name, at: 0, before: Hash::default(), made: 0, objects: 0 };
        let line = reader.line()?;
        reader.before = hash(&[line.as_bytes()]);
        let (letter, content, at) = reader.block()?;
        let made = content.as_slice().try_into().ok().filter(|_| letter == BEGIN);
        let made = made.ok_or_else(|| reader.damaged(at, "it does not say when it was made"))?;
        reader.made = u64::from_le_bytes(made);
        Ok(reader)
    }

    /// Reads the first line and judges it.
    fn line(&mut self) -> Result<String, StoreError> {
        let foreign = |name: &str| {
            StoreError::Unusable(format!("{name} is not a backup made by quarterdeck backup"))
        };
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            if line.len() == LINE_MAX || self.from.read_exact(&mut byte).is_err() {
                return Err(foreign(&self.name));
            }
            line.extend_from_slice(&byte);
        }
        self.at = u64::try_from(line.len()).unwrap_or(0);
        let line = String::from_utf8(line).map_err(|_| foreign(&self.name))?;
        let format = line.trim_end().strip_prefix(MAGIC).and_then(|text| text.parse::<u32>().ok());
        match format.ok_or_else(|| foreign(&self.name))? {
            FORMAT => Ok(line),
            format => Err(StoreError::Unusable(format!(
                "{} was written by a newer release (format {format}, this one knows {FORMAT}); restore it with that release",
                self.name
            ))),
        }
    }

    fn damaged(&self, at: u64, what: &str) -> StoreError {
        StoreError::Unusable(format!(
            "the backup {} is damaged at byte {at}: {what}; restore another one",
            self.name
        ))
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; length];
        self.from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StoreError::Unusable(format!(
                "the backup {} is not whole: it ends after byte {}, in the middle; restore another one",
                self.name, self.at
            )),
            _ => StoreError::Unusable(format!("cannot read the backup {}: {error}", self.name)),
        })?;
        self.at += u64::try_from(length).unwrap_or(0);
        Ok(bytes)
    }

    /// A block's letter and content, and where it begins.
    fn block(&mut self) -> Result<(u8, Vec<u8>, u64), StoreError> {
        let at = self.at;
        let head = self.exactly(5)?;
        let [letter, length @ ..] = head.as_slice() else {
            return Err(self.damaged(at, "it has no head"));
        };
        let length: [u8; 4] = length.try_into().unwrap_or_default();
        let bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if bytes > BLOCK_BYTES_MAX || ![BEGIN, OBJECTS, END].contains(letter) {
            return Err(self.damaged(at, "there is no block"));
        }
        let content = self.exactly(bytes)?;
        let written = self.exactly(SHA256_OUTPUT_LEN)?;
        let hash = hash(&[&self.before, &[*letter], &length, &content]);
        if written != hash {
            let what = format!("its checksum does not fit the {bytes} bytes of this block");
            return Err(self.damaged(at, &what));
        }
        self.before = hash;
        Ok((*letter, content, at))
    }

    pub(crate) fn next(&mut self) -> Result<Part, StoreError> {
        let (letter, content, at) = self.block()?;
        match letter {
            OBJECTS => {
                let mut block = Vec::new();
                let limit = u64::try_from(BLOCK_BYTES_MAX).unwrap_or(u64::MAX);
                let inflated =
                    ZlibDecoder::new(content.as_slice()).take(limit).read_to_end(&mut block);
                inflated.map_err(|error| self.damaged(at, &error.to_string()))?;
                let block = Bytes::from(block);
                let objects = objects(&block);
                let objects =
                    objects.ok_or_else(|| self.damaged(at, "its objects cannot be read"))?;
                self.objects += u64::try_from(objects.len()).unwrap_or(0);
                Ok(Part::Objects(objects))
            }
            END => {
                let end = end(&content, self.made);
                let end = end.filter(|end| end.objects == self.objects);
                let end =
                    end.ok_or_else(|| self.damaged(at, "its end does not fit its objects"))?;
                let mut more = [0];
                match self.from.read(&mut more) {
                    Ok(0) => Ok(Part::End(end)),
                    _ => Err(self.damaged(self.at, "something comes after its end")),
                }
            }
            _ => Err(self.damaged(at, "it begins a second time")),
        }
    }
}

/// Takes pieces off the front of bytes.
struct Pieces<'b>(&'b [u8]);

impl<'b> Pieces<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (piece, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(piece)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

fn objects(block: &Bytes) -> Option<Vec<Entry>> {
    let mut pieces = Pieces(block);
    let mut objects = Vec::new();
    while !pieces.0.is_empty() {
        let revision = Revision(pieces.number()?);
        let (kind, namespace, name) = (pieces.text()?, pieces.text()?, pieces.text()?);
        let key = Key { kind: kind.into(), namespace: namespace.into(), name: name.into() };
        objects.push(Entry { key, revision, body: block.slice_ref(pieces.bytes()?) });
    }
    Some(objects)
}

fn end(content: &[u8], made: u64) -> Option<Backup> {
    let mut pieces = Pieces(content);
    let (revision, objects) = (Revision(pieces.number()?), pieces.number()?);
    let mut leases = Vec::new();
    while !pieces.0.is_empty() {
        leases.push((pieces.text()?.to_owned(), pieces.number()?));
    }
    Some(Backup { revision, objects, made, leases })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BODY_BYTES_MAX;
    use proptest::prelude::*;

    fn file(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), 7).unwrap();
        for (revision, body) in (1..).zip(bodies) {
            let name = format!("n{revision}");
            let revision = Revision(revision);
            let object = Current { kind: "things", namespace: "", name: &name, revision, body };
            writer.add(&object).unwrap();
        }
        writer.finish(Revision(99), vec![("engine".into(), 3)]).unwrap().1
    }

    fn read(bytes: &[u8]) -> Result<(Vec<Entry>, Backup), StoreError> {
        let mut reader = Reader::begin(bytes, "file")?;
        let mut all = Vec::new();
        loop {
            match reader.next()? {
                Part::Objects(some) => all.extend(some),
                Part::End(end) => return Ok((all, end)),
            }
        }
    }

    fn refusal(bytes: &[u8]) -> String {
        match read(bytes) {
            Err(StoreError::Unusable(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        // Several blocks, one of them of a single large object.
        let bodies = [vec![1; 700_000], vec![2; 700_000], vec![3; BODY_BYTES_MAX], vec![], vec![4]];
        let (objects, backup) = read(&file(&bodies)).unwrap();
        assert_eq!(objects.iter().map(|object| object.body.to_vec()).collect::<Vec<_>>(), bodies);
        assert_eq!(&*objects[4].key.name, "n5");
        let leases = vec![("engine".to_owned(), 3)];
        assert_eq!(backup, Backup { revision: Revision(99), objects: 5, made: 7, leases });
    }

    /// Bytes that cannot be compressed.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    #[test]
    fn the_largest_bodies_are_read_back_and_larger_ones_not_written() {
        for large in [noise(4 << 20), vec![b'x'; BATCH_BYTES_MAX]] {
            // In the same block as another that nearly fills it.
            let bodies = [vec![1; BLOCK_BYTES - 100], large];
            let (objects, _) = read(&file(&bodies)).unwrap();
            assert!(objects.iter().map(|object| &*object.body).eq(&bodies), "{}", bodies[1].len());
        }
        let mut writer = Writer::begin(Vec::new(), 7).unwrap();
        let body = &vec![0; BLOCK_BYTES_MAX];
        let revision = Revision(1);
        let large = Current { kind: "things", namespace: "a", name: "large", revision, body };
        let why = writer.add(&large).unwrap_err().to_string();
        assert!(why.contains("things large in namespace \"a\"") && why.contains("bytes"), "{why}");
    }

    #[test]
    fn each_flipped_byte_and_each_shorter_file_is_refused() {
        let whole = file(&[b"{\"some\":\"body\"}".to_vec(), vec![0; 300]]);
        assert!(read(&whole).is_ok());
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            let why = refusal(&flipped);
            assert!(
                why.contains("byte") || why.contains("format") || why.contains("not a backup"),
                "{why}"
            );
            let why = refusal(&whole[..at]);
            assert!(why.contains("not whole") || why.contains("not a backup"), "{at}: {why}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        let why = refusal(&longer);
        assert!(
            why.contains(&format!("byte {}", whole.len())) && why.contains("after its end"),
            "{why}"
        );
    }

    #[test]
    fn what_is_from_another_file_or_a_newer_release_is_refused() {
        let (one, other) = (file(&[vec![1; 9]]), file(&[vec![2; 9]]));
        assert_eq!(one.len(), other.len());
        let mixed = [&one[..one.len() / 2], &other[one.len() / 2..]].concat();
        assert!(refusal(&mixed).contains("checksum"), "{}", refusal(&mixed));
        let newer = [b"quarterdeck backup, format 2\n", &one[29..]].concat();
        let why = refusal(&newer);
        assert!(why.contains("newer release (format 2, this one knows 1)"), "{why}");
        assert!(refusal(b"SQLite format 3\0").contains("not a backup"));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
            let _ = read(&[format!("{MAGIC}{FORMAT}\n").as_bytes(), &bytes].concat());
        }
    }
}
