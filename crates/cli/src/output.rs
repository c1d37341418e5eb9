//! What a verb answers: text for people, or the same as data. Nothing is asked of the plane here.

use crate::{Error, safe::safe};
use serde_json::{Value, json};
use std::io::{self, Write as _};

/// How an answer is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    #[default]
    Text,
    /// The same with more columns, where there are more
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// How the answer is written
    #[arg(
        short,
        long = "output",
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    pub(crate) output: Format,
}

impl Output {
    /// Asked for by a program, not a person.
    pub(crate) fn data(self) -> bool {
        matches!(self.output, Format::Json | Format::Yaml)
    }

    pub(crate) fn wide(self) -> bool {
        self.output == Format::Wide
    }

    /// Prints the text, or the value as data.
    pub(crate) fn print(
        self,
        text: impl FnOnce() -> String,
        value: impl FnOnce() -> Value,
    ) -> Result<(), Error> {
        match self.output {
            Format::Text | Format::Wide => print(&safe(&text())),
            Format::Json => print(&format!("{:#}\n", plain(value()))),
            Format::Yaml => {
                let text = serde_saphyr::to_string(&plain(value())).map_err(io::Error::other)?;
                print(&format!("{}\n", text.trim_end()))
            }
        }
    }
}

/// Without who manages which field, which kubectl leaves out too.
fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            fields.values_mut().for_each(|it| *it = plain(it.take()));
        }
        Value::Array(all) => all.iter_mut().for_each(|it| *it = plain(it.take())),
        _ => {}
    }
    value
}

/// Objects as kubectl lists them.
pub(crate) fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
}

/// Prints on standard output.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Says something beside the answer, on standard error.
pub(crate) fn note(text: &str) {
    // Nothing is left to do if standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{}", safe(text));
}
