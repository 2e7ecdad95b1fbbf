//! Indexes and packages by way of the fetcher and the store.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use super::artifact_id;
use super::indexes::{Indexes, ObtainError, SignedText};
use super::signature;
use crate::digest::{Digest, Mismatch};
use crate::disk::{self, File};
use crate::fetch::{Document, Fetcher, Wanted};
use crate::lock::{Artifact, DebianSource, Pin, Source};
use crate::name::FileName;
use crate::progress::Progress;
use crate::python::metadata::Metadata;
use crate::python::name::{ProjectName, WheelName};
use crate::python::simple::{self, IndexFile};
use crate::recipe::DebianSuite;
use crate::store::Store;
use crate::units::ByteSize;

/// The longest page or list: the page of the largest projects has 10 MB, `InRelease` 200 kB.
const LONGEST_PAGE: ByteSize = ByteSize::new(64 << 20);

/// The longest package that is looked into here: vendors' archives are not.
const LONGEST_PACKAGE: ByteSize = ByteSize::new(2 << 30);

/// Brings indexes from the network, and packages by way of the store, so that what a lock needs is there for images.
pub struct FetchedIndexes<'a> {
    /// Who fetches.
    pub fetcher: &'a Fetcher,
    /// Where packages stay.
    pub store: &'a Store,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Keyrings of Debian archives; those that do not exist are passed over.
    pub keyrings: Vec<PathBuf>,
}

impl FetchedIndexes<'_> {
    fn document(&self, suite: &DebianSuite, path: &str, limit: ByteSize) -> Result<Vec<u8>, ObtainError> {
        let path = format!("dists/{}/{path}", suite.suite);
        let what = format!("`{path}` of {}", suite.archive);
        let document = Document::Debian { archive: suite.archive.clone(), path };
        self.fetcher.fetch_bytes(&document, limit).map_err(|source| ObtainError::Fetch { what, source })
    }

    /// Brings an artifact into the store and returns where it is.
    fn artifact(&self, file: &str, source: Source, pin: Pin) -> Result<PathBuf, ObtainError> {
        let read =
            |reason: &str| ObtainError::Read { what: format!("`{file}`"), source: io::Error::other(reason.to_owned()) };
        if let Ok(Some(path)) = self.store.blob(&pin.sha256) {
            return Ok(path);
        }
        let name: FileName = file.parse().map_err(|_| read("its name is no file name"))?;
        let id = artifact_id(&name).map_err(|_| read("its name is no name of an artifact"))?;
        let artifact = Artifact { id, file: name, source, pin: Some(pin), licence: None, redistributable: true };
        let wanted = [Wanted { artifact: &artifact, also_known_as: BTreeSet::new() }];
        let paths = self.fetcher.fetch(&wanted, self.store, self.progress);
        let paths = paths.map_err(|source| ObtainError::Fetch { what: format!("`{file}`"), source })?;
        paths.into_values().next().ok_or_else(|| read("the fetcher did not say where it is"))
    }
}

impl Indexes for FetchedIndexes<'_> {
    fn release(&self, suite: &DebianSuite) -> Result<SignedText, ObtainError> {
        let bytes = self.document(suite, "InRelease", LONGEST_PAGE)?;
        let what = format!("`InRelease` of {} {}", suite.archive, suite.suite);
        let armoured = String::from_utf8(bytes).map_err(|_| ObtainError::NoText { what: what.clone() })?;
        signature::verify(&what, &armoured, &self.keyrings)
    }

    fn index(&self, suite: &DebianSuite, path: &str, pin: Pin) -> Result<Vec<u8>, ObtainError> {
        // A mirror may be changing just now: by its digest an index stays for a while under its own name.
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let by_digest = format!("{folder}/by-hash/SHA256/{}", pin.sha256.hex());
        let bytes = match self.document(suite, &by_digest, pin.size) {
            Ok(bytes) => bytes,
            Err(_) => self.document(suite, path, pin.size)?,
        };
        let found = Digest::of(&bytes);
        if found == pin.sha256 {
            return Ok(bytes);
        }
        let source = Mismatch::Digest { expected: pin.sha256, found };
        Err(ObtainError::Content { what: format!("`{path}` of {} {}", suite.archive, suite.suite), source })
    }

    fn package(&self, archive: &str, path: &str, pin: Pin) -> Result<Vec<u8>, ObtainError> {
        let file = path.rsplit('/').next().unwrap_or(path);
        // Only archive and path matter for fetching.
        let source = Source::Debian(DebianSource {
            archive: archive.to_owned(),
            package: String::new(),
            version: String::new(),
            architecture: String::new(),
            path: path.to_owned(),
            scripts: Vec::new(),
        });
        let stored = self.artifact(file, source, pin)?;
        disk::read(&stored, LONGEST_PACKAGE)
            .map_err(|error| ObtainError::Read { what: format!("`{file}`"), source: io::Error::other(error) })
    }

    fn files(&self, project: &ProjectName) -> Result<Vec<IndexFile>, ObtainError> {
        let document = Document::Pypi { project: project.to_string() };
        let what = format!("the page of `{project}`");
        match self.fetcher.fetch_bytes(&document, LONGEST_PAGE) {
            Ok(page) => simple::read(simple::kind_of(&page), &page)
                .map_err(|source| ObtainError::Page { project: project.clone(), source }),
            Err(error) if error.says_not_found() => Ok(Vec::new()),
            Err(source) => Err(ObtainError::Fetch { what, source }),
        }
    }

    fn metadata(&self, project: &ProjectName, file: &IndexFile) -> Result<Metadata, ObtainError> {
        let name = file.name.as_str();
        let (Some(size), Some(sha256)) = (file.size, file.sha256) else {
            return Err(ObtainError::NoPin { file: name.to_owned() });
        };
        let version = name.parse::<WheelName>().map(|wheel| wheel.version.to_string()).unwrap_or_default();
        let source = Source::Pypi { project: project.to_string(), version };
        let path = self.artifact(name, source, Pin { size, sha256 })?;
        let opened = disk::open(&path)
            .map_err(|error| ObtainError::Read { what: format!("`{name}`"), source: io::Error::other(error) });
        let wheel: File = opened?;
        Metadata::of_wheel(&file.name, wheel).map_err(|source| ObtainError::Metadata { file: name.to_owned(), source })
    }
}
