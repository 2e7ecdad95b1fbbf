//! Standard output and standard error, by verbosity and form.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::{Failure, Kind};

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// What a person wants to know.
    Normal,
    /// Also what the vendor tools say.
    Verbose,
}

/// How results are written on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text for people.
    Text,
    /// One JSON document for programs, failures included.
    Json,
}

/// The only mouth of the program.
#[derive(Clone, Debug)]
pub struct Printer {
    verbosity: Verbosity,
    form: Form,
    coloured: bool,
    /// Why a result could not be written; clones share it.
    lost: Arc<OnceLock<String>>,
}

impl Printer {
    /// Makes a printer.
    pub fn new(verbosity: Verbosity, form: Form, colours: Colours) -> Self {
        let coloured = colours == Colours::Wanted && std::io::stderr().is_terminal();
        Self { verbosity, form, coloured, lost: Arc::default() }
    }

    /// Returns how much is said.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Returns how results are written.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Writes a result: `text` for people, or `value` as JSON.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let mut line = match self.form {
            Form::Text => text(),
            Form::Json => serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("\"{error}\"")),
        };
        if !line.is_empty() && !line.ends_with('\n') {
            line.push('\n');
        }
        self.write_out(line.as_bytes());
    }

    /// Writes bytes of a result as they are.
    pub fn raw(&self, bytes: &[u8]) {
        self.write_out(bytes);
    }

    /// Says a line unless the person wants quiet.
    pub fn say(&self, line: impl AsRef<str>) {
        if self.verbosity >= Verbosity::Normal {
            write_error(&visible(line.as_ref()));
        }
    }

    /// Says a warning.
    pub fn warn(&self, line: impl AsRef<str>) {
        if self.verbosity >= Verbosity::Normal {
            write_error(&format!("{} {}", self.paint("warning:", "1;33"), visible(line.as_ref())));
        }
    }

    /// Says why the program fails: what, the causes, what the vendor tool said last, and what to do.
    pub fn failure(&self, failure: &Failure) {
        if self.form == Form::Json {
            self.result(&serde_json::json!({ "error": failure }), String::new);
        }
        let mut text = format!("{} {}", self.paint("error:", "1;31"), visible(failure.message()));
        for cause in failure.causes() {
            text.push_str(&format!("\n  {} {}", self.paint("cause:", "1"), visible(cause)));
        }
        if !failure.last_lines().is_empty() {
            text.push_str("\n  the tool's last lines:");
            for line in failure.last_lines() {
                text.push_str(&format!("\n    {}", visible(line)));
            }
        }
        for hint in failure.hints() {
            text.push_str(&format!("\n  {} {}", self.paint("hint:", "1;36"), visible(hint)));
        }
        write_error(&text);
    }

    /// Returns why a result could not be written to standard output, if that is so.
    pub fn lost(&self) -> Option<Failure> {
        let reason = self.lost.get()?;
        let failure = Failure::new(Kind::Environment, "the result could not be written to standard output");
        let hint = "free some space where standard output goes, or send it elsewhere".to_owned();
        Some(failure.caused([reason.clone()]).hinted([hint]))
    }

    /// Notes how writing to standard output ended. A reader that went away (`| head`) is no failure of ours.
    pub fn wrote(&self, result: std::io::Result<()>) {
        if let Err(error) = result
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.lost.get_or_init(|| error.to_string());
        }
    }

    fn write_out(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        self.wrote(out.write_all(bytes).and_then(|()| out.flush()));
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.coloured { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Whether colours may be used where there is a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// On a terminal.
    Wanted,
    /// Never (`NO_COLOR`, `TERM=dumb`, `--color never`).
    Unwanted,
}

/// Returns a text with its control characters written out, but for ends of lines and tabulators: names and messages may
/// come from strangers' files, and must not move the cursor, colour the terminal or hide what stands before them.
fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_hidden(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

fn write_error(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_others_steers_the_terminal() {
        assert_eq!(visible("\u{1b}[2Ja\rb\u{9b}31m"), "\\u{1b}[2Ja\\rb\\u{9b}31m");
        assert_eq!(visible("two\nlines,\ta tab, é 模"), "two\nlines,\ta tab, é 模");
    }
}
