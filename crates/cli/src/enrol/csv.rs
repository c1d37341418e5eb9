//! Comma-separated values by RFC 4180, with the line on which each field begins. Pure. It must know nothing of what the
//! fields mean, and refuse what is no CSV in place of guessing.

use std::{iter::Peekable, str::Chars};

/// A field, and the line on which it begins, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Why a text is no CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) why: &'static str,
}

/// What a field ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Comma,
    Line,
    Text,
}

/// The records of a text. Empty lines are passed over; a byte order mark is, too.
pub(super) fn records(text: &str) -> Result<Vec<Vec<Field>>, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { letters: text.chars().peekable(), line: 1 };
    let mut records = Vec::new();
    while reader.letters.peek().is_some() {
        if reader.line_ends() {
            continue;
        }
        records.push(reader.record()?);
    }
    Ok(records)
}

struct Reader<'a> {
    letters: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn record(&mut self) -> Result<Vec<Field>, Malformed> {
        let mut fields = Vec::new();
        loop {
            let line = self.line;
            let (text, end) = match self.letters.next_if_eq(&'"') {
                Some(_) => self.quoted()?,
                None => self.plain()?,
            };
            fields.push(Field { line, text });
            if end != End::Comma {
                return Ok(fields);
            }
        }
    }

    /// A field without quotes, to what ends it.
    fn plain(&mut self) -> Result<(String, End), Malformed> {
        let mut text = String::new();
        loop {
            if let Some(end) = self.end() {
                return Ok((text, end));
            }
            match self.letters.next() {
                Some('"') => {
                    let why = "a quote in a field that does not begin with one; quote the whole field, and write the \
                               quote twice";
                    return Err(Malformed { line: self.line, why });
                }
                letter => text.extend(letter),
            }
        }
    }

    /// What is left of a field after its first quote. In it a quote is written twice, and lines may end.
    fn quoted(&mut self) -> Result<(String, End), Malformed> {
        let begun = self.line;
        let mut text = String::new();
        loop {
            match self.letters.next() {
                None => return Err(Malformed { line: begun, why: "a quote that is never closed" }),
                Some('"') if self.letters.next_if_eq(&'"').is_some() => text.push('"'),
                Some('"') => break,
                Some(letter) => {
                    self.line += usize::from(letter == '\n');
                    text.push(letter);
                }
            }
        }
        let why = "text after the quote that closes a field; write a quote within a field twice";
        let end = self.end().ok_or(Malformed { line: self.line, why })?;
        Ok((text, end))
    }

    /// Takes what ends a field, if it ends here.
    fn end(&mut self) -> Option<End> {
        match self.letters.peek() {
            None => Some(End::Text),
            Some(',') => self.letters.next().map(|_| End::Comma),
            Some(_) => self.line_ends().then_some(End::Line),
        }
    }

    /// Takes the end of a line, if it is here.
    fn line_ends(&mut self) -> bool {
        let mut ahead = self.letters.clone();
        ahead.next_if_eq(&'\r');
        let ends = ahead.next_if_eq(&'\n').is_some();
        if ends {
            self.letters = ahead;
            self.line += 1;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>, Malformed> {
        let texts = |record: Vec<Field>| record.into_iter().map(|field| field.text).collect();
        Ok(records(text)?.into_iter().map(texts).collect())
    }

    #[test]
    fn fields_are_read_as_rfc_4180_says() {
        let cases: [(&str, &[&[&str]]); 12] = [
            ("", &[]),
            ("\n\r\n", &[]),
            ("a", &[&["a"]]),
            ("a,b\nc,d\n", &[&["a", "b"], &["c", "d"]]),
            ("a,b\r\nc,d\r\n", &[&["a", "b"], &["c", "d"]]),
            ("\u{feff}a,b\n\n\nc,", &[&["a", "b"], &["c", ""]]),
            (",\n", &[&["", ""]]),
            ("\"\"\n", &[&[""]]),
            ("\"a,b\",c", &[&["a,b", "c"]]),
            ("\"say \"\"hi\"\"\",c", &[&["say \"hi\"", "c"]]),
            ("\"two\r\nlines\",c\nd,e", &[&["two\r\nlines", "c"], &["d", "e"]]),
            (" a , b\rc ", &[&[" a ", " b\rc "]]),
        ];
        for (text, wanted) in cases {
            let wanted: Vec<Vec<String>> = wanted
                .iter()
                .map(|record| record.iter().map(ToString::to_string).collect())
                .collect();
            assert_eq!(read(text), Ok(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_csv_is_told_with_its_line() {
        for (text, line, why) in [
            ("a\nb\"c\n", 2, "does not begin with one"),
            ("a\n\n\"b\nc", 3, "never closed"),
            ("\"a\nb\" c", 2, "after the quote"),
        ] {
            let malformed = records(text).unwrap_err();
            assert_eq!(malformed.line, line, "{text:?}");
            assert!(malformed.why.contains(why), "{text:?}: {}", malformed.why);
        }
    }

    #[test]
    fn a_field_has_the_line_on_which_it_begins() {
        let all = records("a,\"b\n\n\",c\n\nd").unwrap();
        let lines: Vec<usize> = all.iter().flatten().map(|field| field.line).collect();
        assert_eq!(lines, [1, 1, 3, 5]);
    }

    #[test]
    fn fuzz_csv_of_servers() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let lines = text.matches('\n').count() + 1;
            if let Err(malformed) = records(&text) {
                assert!((1..=lines).contains(&malformed.line));
            }
        });
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            all in prop::collection::vec(prop::collection::vec("[a-z\",\r\n é]{0,6}", 1..4), 0..6),
            end in prop::sample::select(vec!["\n", "\r\n"]),
        ) {
            let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
            let line = |record: &Vec<String>| record.iter().map(quoted).collect::<Vec<_>>().join(",");
            let text: String = all.iter().map(|record| line(record) + end).collect();
            prop_assert_eq!(read(&text), Ok(all));
        }
    }
}
