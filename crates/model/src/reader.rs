//! Steps through JSON without making anything of it: names, texts, and values that are stepped over
//! whole, of which only brackets and quotes are seen to close. It is for what we have encoded
//! ourselves; what others send is parsed.

use std::borrow::Cow;

/// Why bytes cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// Where they stop being JSON, or what we look for is of another type.
    #[error("it is not the JSON of an object at byte {0}")]
    Malformed(usize),
    #[error("it has no metadata.uid")]
    NoUid,
}

/// A stretch of what is read: a string without its quotes, or another value.
#[derive(Clone, Copy)]
pub(crate) struct Token {
    pub(crate) begin: usize,
    pub(crate) end: usize,
    /// Nothing in it is escaped.
    pub(crate) plain: bool,
}

/// A place in JSON.
pub(crate) struct Reader<'b> {
    pub(crate) text: &'b str,
    pub(crate) bytes: &'b [u8],
    pub(crate) at: usize,
}

impl<'b> Reader<'b> {
    pub(crate) fn malformed(&self) -> ScanError {
        ScanError::Malformed(self.at)
    }

    /// The next byte that is no white space, not taken.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes the bracket that begins an object or a list.
    pub(crate) fn open(&mut self, bracket: u8) -> Result<(), ScanError> {
        self.peek().filter(|byte| *byte == bracket).ok_or_else(|| self.malformed())?;
        self.at += 1;
        Ok(())
    }

    /// Whether another member follows, past the comma; past the bracket when not.
    fn more(&mut self, end: u8) -> Result<bool, ScanError> {
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            // The first member has no comma before it.
            Some(_) => Ok(true),
            None => Err(self.malformed()),
        }
    }

    /// Whether another item of a list follows.
    pub(crate) fn item(&mut self) -> Result<bool, ScanError> {
        self.more(b']')
    }

    /// The name of the next field of an object, its colon taken; none at the end.
    pub(crate) fn name_token(&mut self) -> Result<Option<Token>, ScanError> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        let name = self.string()?;
        self.open(b':')?;
        Ok(Some(name))
    }

    /// The same as text.
    pub(crate) fn name(&mut self) -> Result<Option<Cow<'b, str>>, ScanError> {
        self.name_token()?.map(|name| self.text(name)).transpose()
    }

    /// What a token says.
    pub(crate) fn text(
        &self,
        Token { begin, end, plain }: Token,
    ) -> Result<Cow<'b, str>, ScanError> {
        let malformed = || ScanError::Malformed(begin);
        if plain {
            return self.text.get(begin..end).map(Cow::Borrowed).ok_or_else(malformed);
        }
        let quoted = self.text.get(begin - 1..end + 1).ok_or_else(malformed)?;
        serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| malformed())
    }

    /// A string.
    pub(crate) fn string(&mut self) -> Result<Token, ScanError> {
        self.open(b'"')?;
        let begin = self.at;
        let plain = self.close_string()?;
        Ok(Token { begin, end: self.at - 1, plain })
    }

    /// Goes past the quote that ends the string we are in; answers whether nothing in it is escaped.
    fn close_string(&mut self) -> Result<bool, ScanError> {
        let mut plain = true;
        loop {
            match self.quote_or_backslash() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(plain);
                }
                Some(_) => {
                    self.at += 2;
                    plain = false;
                }
                None => return Err(self.malformed()),
            }
        }
    }

    /// Goes to the next quote or backslash, eight bytes at a time: most of JSON is strings.
    fn quote_or_backslash(&mut self) -> Option<u8> {
        while let Some(word) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*word);
            let found = bytes_equal(word, b'"') | bytes_equal(word, b'\\');
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return self.bytes.get(self.at).copied();
            }
            self.at += 8;
        }
        let rest = self.bytes.get(self.at..)?;
        self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        self.bytes.get(self.at).copied()
    }

    /// A string, number, truth value or null.
    pub(crate) fn scalar(&mut self) -> Result<Token, ScanError> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        let begin = self.at;
        self.skip()?;
        Ok(Token { begin, end: self.at, plain: true })
    }

    /// Steps over a value.
    pub(crate) fn skip(&mut self) -> Result<(), ScanError> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.close_string().map(drop)
            }
            Some(b'{' | b'[') => self.skip_nested(),
            _ => {
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                let ends = |byte: &u8| {
                    matches!(byte, b',' | b'}' | b']' | b':' | b'"' | b' ' | b'\n' | b'\r' | b'\t')
                };
                match rest.iter().position(ends) {
                    None | Some(0) => Err(self.malformed()),
                    Some(length) => {
                        self.at += length;
                        Ok(())
                    }
                }
            }
        }
    }

    /// Steps over an object or a list, with all that is within.
    fn skip_nested(&mut self) -> Result<(), ScanError> {
        let mut depth = 0_usize;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => drop(self.close_string()?),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        Err(self.malformed())
    }
}

/// The highest bit of each byte of `word` that is `byte`; bits above the lowest one may be set as well.
fn bytes_equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let zero_where_equal = word ^ u64::from_le_bytes([byte; 8]);
    zero_where_equal.wrapping_sub(LOW) & !zero_where_equal & HIGH
}
