//! Where a lock's knowledge comes from: indexes and packages, whoever brings them.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::digest::Mismatch;
use crate::fetch::FetchError;
use crate::hint::Hint;
use crate::lock::Pin;
use crate::python::metadata::{Metadata, MetadataError};
use crate::python::name::ProjectName;
use crate::python::simple::{IndexFile, PageError};
use crate::recipe::DebianSuite;

/// Somebody who brings indexes and packages.
pub trait Indexes: Sync {
    /// Returns the text of a suite's `InRelease` inside its signature, and whether that is good.
    ///
    /// # Errors
    /// It cannot be had, or its signature is bad.
    fn release(&self, suite: &DebianSuite) -> Result<SignedText, ObtainError>;

    /// Returns the bytes of an index of a suite, by its path below the suite.
    ///
    /// # Errors
    /// It cannot be had, or has other bytes.
    fn index(&self, suite: &DebianSuite, path: &str, pin: Pin) -> Result<Vec<u8>, ObtainError>;

    /// Returns the bytes of a package, by its path below the archive's root.
    ///
    /// # Errors
    /// It cannot be had, or has other bytes.
    fn package(&self, archive: &str, path: &str, pin: Pin) -> Result<Vec<u8>, ObtainError>;

    /// Returns the files of a project, none if there is no such project.
    ///
    /// # Errors
    /// The index cannot be asked, or its answer cannot be read.
    fn files(&self, project: &ProjectName) -> Result<Vec<IndexFile>, ObtainError>;

    /// Returns the metadata of a wheel.
    ///
    /// # Errors
    /// It cannot be had or read.
    fn metadata(&self, project: &ProjectName, file: &IndexFile) -> Result<Metadata, ObtainError>;
}

/// A text that came with a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedText {
    /// The text without the signature.
    pub text: String,
    /// What is known about the signature. A bad one is an error instead.
    pub signature: Signature,
}

/// What is known about a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It was made by a key of one of these keyrings.
    Verified {
        /// The keyrings.
        keyrings: Vec<PathBuf>,
    },
    /// Nobody could tell.
    NotVerified {
        /// Why.
        reason: String,
    },
}

/// Something that cannot be had.
#[derive(Debug, Error)]
pub enum ObtainError {
    /// No place that was asked has it, or gives it as it must be.
    #[error("{what} cannot be had")]
    Fetch {
        /// What.
        what: String,
        /// What each place said.
        #[source]
        source: FetchError,
    },
    /// Other bytes than the signed list of indexes says.
    #[error("{what} has other bytes than it must have")]
    Content {
        /// What.
        what: String,
        /// What differs.
        #[source]
        source: Mismatch,
    },
    /// What was fetched is no text.
    #[error("{what} is no text")]
    NoText {
        /// What.
        what: String,
    },
    /// What was fetched cannot be read again.
    #[error("{what} cannot be read")]
    Read {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An index that does not say what a lock must hold.
    #[error("the package index states no size and SHA-256 of `{file}`")]
    NoPin {
        /// The file.
        file: String,
    },
    /// A page of a package index that cannot be read.
    #[error("page of `{project}` cannot be used")]
    Page {
        /// Whose.
        project: ProjectName,
        /// Why.
        #[source]
        source: PageError,
    },
    /// Metadata of a wheel that cannot be read.
    #[error("metadata of `{file}` cannot be used")]
    Metadata {
        /// Whose.
        file: String,
        /// Why.
        #[source]
        source: MetadataError,
    },
    /// A signature that was not made over these bytes.
    #[error("signature of {what} is bad: {reason}")]
    BadSignature {
        /// Of what.
        what: String,
        /// What the checking program says.
        reason: String,
    },
}

impl Hint for ObtainError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Fetch { source, .. } => source.hints(),
            Self::NoPin { .. } => {
                vec!["use an index with the JSON interface (PEP 691, PEP 700) to make a lock".to_owned()]
            }
            Self::Page { source, .. } => source.hints(),
            Self::Metadata { source, .. } => source.hints(),
            Self::Content { .. } | Self::NoText { .. } | Self::Read { .. } => Vec::new(),
            Self::BadSignature { .. } => {
                vec!["do not use this mirror: its index was changed after it was signed".to_owned()]
            }
        }
    }
}
