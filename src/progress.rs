//! Named moments of long work, told to whoever listens.
//!
//! Owns the trait [`Progress`] and its events. Bars and lines live in `ui`; tests use a recorder. Must not print.

use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// What is being worked on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "name")]
pub enum Subject {
    /// Bytes of an artifact coming into the store.
    Download(String),
    /// A package, wheel or archive becoming files.
    Unpack(String),
    /// A layer becoming bytes with a digest.
    Layer(String),
    /// An image handed to a container engine or written to a file.
    Image(String),
    /// A step of a conversion: a vendor tool, a rewriting, a check.
    Step(String),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "moment")]
pub enum Moment {
    /// Work began; `total` is its length in bytes where that is known.
    Started {
        /// The length of the work in bytes.
        total: Option<ByteSize>,
    },
    /// This much more is done.
    Advanced {
        /// Bytes done since the last event.
        by: ByteSize,
    },
    /// Something a person wants to know while the work goes on, such as a retry.
    Said {
        /// One line.
        line: String,
    },
    /// Work ended well.
    Finished,
    /// Work ended badly; the error comes another way.
    Failed,
}

/// One moment of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it is about.
    pub subject: Subject,
    /// What happened.
    pub moment: Moment,
}

/// Somebody who listens to events, from any thread.
pub trait Progress: Send + Sync {
    /// Takes one event. Must be quick and must not fail.
    fn tell(&self, event: Event);
}

impl dyn Progress + '_ {
    /// Tells that work on `subject` began.
    pub fn started(&self, subject: &Subject, total: Option<ByteSize>) {
        self.tell(Event { subject: subject.clone(), moment: Moment::Started { total } });
    }

    /// Tells that `by` more bytes of `subject` are done.
    pub fn advanced(&self, subject: &Subject, by: ByteSize) {
        self.tell(Event { subject: subject.clone(), moment: Moment::Advanced { by } });
    }

    /// Tells a line about `subject`.
    pub fn said(&self, subject: &Subject, line: impl Into<String>) {
        self.tell(Event { subject: subject.clone(), moment: Moment::Said { line: line.into() } });
    }

    /// Tells that work on `subject` ended, well or badly.
    pub fn ended<T, E>(&self, subject: &Subject, result: &Result<T, E>) {
        let moment = if result.is_ok() { Moment::Finished } else { Moment::Failed };
        self.tell(Event { subject: subject.clone(), moment });
    }
}

/// Nobody.
pub struct Silent;

impl Progress for Silent {
    fn tell(&self, _: Event) {}
}
