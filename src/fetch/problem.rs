//! What can go wrong with fetching, kept for every base that was tried.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::digest::{Digest, Mismatch};
use crate::hint::Hint;
use crate::name::{ArtifactId, FileName};
use crate::store::StoreError;
use crate::units::ByteSize;

/// Artifacts or documents that could not be had.
#[derive(Debug, Error)]
pub enum FetchError {
    /// Some artifacts could not be had.
    #[error("cannot fetch {} of {wanted} artifacts{}", failures.len(), Listing(failures))]
    Failed {
        /// How many were wanted.
        wanted: usize,
        /// Each that failed, sorted by id.
        failures: Vec<Failure>,
    },
    /// The network may not be used, and something is missing.
    #[error("offline, and {} artifacts are missing{}", missing.len(), Listing(missing))]
    Offline {
        /// Each that is missing, sorted by id.
        missing: Vec<Missing>,
    },
    /// A document could not be had from any base.
    #[error("cannot fetch {document}{}", Listing(reasons))]
    Document {
        /// Which document.
        document: String,
        /// What each base said.
        reasons: Vec<Reason>,
    },
    /// The network may not be used, and a document is wanted that is never kept.
    #[error("offline: cannot fetch {document}")]
    DocumentOffline {
        /// Which document.
        document: String,
    },
    /// The network could not be set up.
    #[error("cannot set up {what}")]
    Setup {
        /// What was being set up.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file of certificates cannot be used.
    #[error("cannot read certificates from {}", path.display())]
    Certificates {
        /// Which file.
        path: PathBuf,
    },
}

impl FetchError {
    /// Returns whether this is about a document that servers were asked for and none has.
    pub fn says_not_found(&self) -> bool {
        let absent = |reason: &Reason| matches!(reason.problem, Problem::Status { code: 404 | 410, .. });
        matches!(self, Self::Document { reasons, .. } if !reasons.is_empty() && reasons.iter().all(absent))
    }
}

impl Hint for FetchError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Failed { failures, .. } => {
                let mut hints: Vec<String> = Vec::new();
                for hint in failures.iter().flat_map(Failure::hints) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                hints
            }
            Self::Offline { .. } => vec![
                "run `modelconverter toolchain fetch` where there is a network".to_owned(),
                "or give each file with `modelconverter toolchain import FILE`, or place it in `docker/extra_packages/`"
                    .to_owned(),
            ],
            Self::Document { .. } => vec!["name a mirror that has it under `[mirrors]`".to_owned()],
            Self::DocumentOffline { .. } => vec!["run it without `--offline`".to_owned()],
            Self::Setup { .. } => Vec::new(),
            Self::Certificates { .. } => vec!["correct `PIP_CERT` or pip's setting `cert`".to_owned()],
        }
    }
}

/// Prints each thing on a line of its own.
struct Listing<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listing<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|thing| write!(formatter, "\n  {}", thing.to_string().replace('\n', "\n  ")))
    }
}

/// An artifact that could not be had.
#[derive(Debug)]
pub struct Failure {
    /// Which one.
    pub artifact: ArtifactId,
    /// The name of its file.
    pub file: FileName,
    /// Why.
    pub cause: Cause,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.file, self.cause)
    }
}

impl Hint for Failure {
    fn hints(&self) -> Vec<String> {
        match &self.cause {
            Cause::Store(error) => error.hints(),
            Cause::Placed { path, .. } => vec![format!("replace or remove {}", path.display())],
            Cause::Unpinned { placed: Some(path), .. } => {
                vec![format!("run `modelconverter toolchain import {}`, which pins the file", path.display())]
            }
            Cause::Unpinned { obtain, placed: None } => {
                vec![obtain.clone(), format!("then run `modelconverter toolchain import {}`", self.file)]
            }
            Cause::ByHand { obtain } => vec![
                obtain.clone(),
                format!(
                    "then run `modelconverter toolchain import {}`, or place it in `docker/extra_packages/`",
                    self.file
                ),
            ],
            Cause::Bases(_) => vec!["name a mirror that has it under `[mirrors]`, or try again later".to_owned()],
        }
    }
}

/// Why an artifact could not be had.
#[derive(Debug)]
pub enum Cause {
    /// The store failed; no base can help.
    Store(StoreError),
    /// A file placed by hand is not the pinned one.
    Placed {
        /// Where it lies.
        path: PathBuf,
        /// What differs.
        mismatch: Mismatch,
    },
    /// It must be obtained by hand.
    ByHand {
        /// How, in one sentence.
        obtain: String,
    },
    /// Nobody has measured it yet, so that nothing that comes could be verified.
    Unpinned {
        /// How to obtain it, in one sentence.
        obtain: String,
        /// Where it lies, if somebody placed it by hand.
        placed: Option<PathBuf>,
    },
    /// Each base failed, or there is none.
    Bases(Vec<Reason>),
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(formatter, "{}", chain(error)),
            Self::Placed { path, mismatch } => {
                write!(formatter, "{} is not the pinned file: {mismatch}", path.display())
            }
            Self::ByHand { .. } => formatter.write_str("can only be obtained by hand"),
            Self::Unpinned { .. } => formatter.write_str("has no pin in the lock yet"),
            Self::Bases(reasons) if reasons.is_empty() => formatter.write_str("no base is known for its kind"),
            Self::Bases(reasons) => write!(formatter, "no base has it{}", Listing(reasons)),
        }
    }
}

/// Writes an error with its causes, for lists in which each entry stands on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// An artifact that is not in the store while the network may not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which one.
    pub artifact: ArtifactId,
    /// The name of its file.
    pub file: FileName,
    /// Its kind, as the lock writes it.
    pub kind: &'static str,
    /// Its size, where it is pinned.
    pub size: Option<ByteSize>,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.map_or_else(|| "size unknown".to_owned(), |size| size.to_string());
        write!(formatter, "{} ({}, {size})", self.file, self.kind)
    }
}

/// What one base said.
#[derive(Debug)]
pub struct Reason {
    /// The base, without secrets.
    pub from: String,
    /// What went wrong there.
    pub problem: Problem,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.from, self.problem)
    }
}

/// What can go wrong with one base. Holds nothing that could show a URL's secrets.
#[derive(Debug, Error)]
pub enum Problem {
    /// An answer that is no success.
    #[error("the server answered {code}")]
    Status {
        /// The HTTP status.
        code: u16,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// No connection.
    #[error("no connection ({reason})")]
    Unreachable {
        /// The innermost cause, as the system says it.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("the server fell silent")]
    Silent,
    /// The connection broke.
    #[error("the connection broke ({reason})")]
    Broke {
        /// The innermost cause, as the system says it.
        reason: String,
    },
    /// Fewer bytes than promised.
    #[error("the download ended early: {found} of {expected} bytes", found = found.bytes(), expected = expected.bytes())]
    Truncated {
        /// The pinned size.
        expected: ByteSize,
        /// How many came.
        found: ByteSize,
    },
    /// Another range than the one asked for.
    #[error("the server sent another range than asked for: expected bytes from {expected}, found `{found}`", expected = expected.bytes())]
    WrongRange {
        /// The offset asked for.
        expected: ByteSize,
        /// What `Content-Range` says.
        found: String,
    },
    /// Other bytes than pinned.
    #[error(transparent)]
    Content(Mismatch),
    /// More bytes than a document may have.
    #[error("the document is larger than {limit}")]
    TooLarge {
        /// The largest size that is read.
        limit: ByteSize,
    },
    /// The index does not list the file.
    #[error("the index does not list it")]
    NotListed,
    /// The index lists other bytes than pinned.
    #[error("the index lists another digest: expected {expected}, found {found}")]
    ListedOtherwise {
        /// The pinned digest.
        expected: Digest,
        /// The digest that the index states.
        found: Digest,
    },
    /// The index answered with something else.
    #[error("the answer is no page of a package index")]
    NoPage,
    /// A registry refused.
    #[error("the registry refused: {code}")]
    Registry {
        /// The protocol's error code.
        code: String,
    },
    /// A redirect that would give up encryption, or one too many.
    #[error("a redirect that is not followed")]
    Redirect,
    /// The store failed; no base can help.
    #[error(transparent)]
    Store(StoreError),
}

impl Problem {
    /// Returns whether the same request may succeed a little later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500..=599),
            Self::Silent | Self::Broke { .. } | Self::Truncated { .. } => true,
            _ => false,
        }
    }
}

/// Sorts what the HTTP client says, leaving out the URL.
impl From<reqwest::Error> for Problem {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let reason = innermost(&error);
        if error.is_redirect() {
            Self::Redirect
        } else if error.is_connect() {
            Self::Unreachable { reason }
        } else if error.is_timeout() {
            Self::Silent
        } else {
            Self::Broke { reason }
        }
    }
}

/// Returns the text of the innermost cause: the system's own words, which know no URL.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
