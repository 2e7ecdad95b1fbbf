//! Why the program fails, in a form that people and programs can use.

use std::error::Error;

use serde::Serialize;

use crate::hint::Hint;

/// What kind of failure it is; each has an exit code (see `commands::exit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The words on the command line do not fit.
    Usage,
    /// The project, its lock, a configuration or a model is wrong.
    Project,
    /// The machine, the network or a vendor tool failed.
    Environment,
    /// The program itself is wrong.
    Internal,
    /// A person or a program stopped it.
    Interrupted,
}

/// One failure.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    kind: Kind,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    last_lines: Vec<String>,
}

impl Failure {
    /// Makes a failure of words alone.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new(), last_lines: Vec::new() }
    }

    /// Makes a failure of an error, its sources and its hints.
    pub fn of(kind: Kind, error: &(impl Error + Hint)) -> Self {
        let mut failure = Self::new(kind, error.to_string()).hinted(error.hints());
        let mut cause = error.source();
        while let Some(error) = cause {
            failure.causes.push(error.to_string());
            cause = error.source();
        }
        failure
    }

    /// Puts all that is said into other words.
    #[must_use]
    pub fn in_words(self, words: impl Fn(&str) -> String) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| words(text)).collect();
        Self { message: words(&self.message), causes: all(&self.causes), hints: all(&self.hints), ..self }
    }

    /// Adds causes, outermost first.
    pub fn caused(mut self, causes: impl IntoIterator<Item = String>) -> Self {
        self.causes.extend(causes);
        self
    }

    /// Adds advice.
    pub fn hinted(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// Adds what the vendor tool said last.
    pub fn with_last_lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.last_lines.extend(lines);
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what failed.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns why, outermost cause first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// Returns what to do.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Returns what the vendor tool said last.
    pub fn last_lines(&self) -> &[String] {
        &self.last_lines
    }
}
