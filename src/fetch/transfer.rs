//! One artifact from one base after the other, and one document.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;

use super::problem::{Cause, Problem, Reason};
use super::registry::Access;
use super::web::{Answer, Manner, Request, Start};
use super::{Document, Fetcher, Network, Sockets, Wanted, locked};
use crate::digest::{Digest, Mismatch};
use crate::disk::{self, DiskError};
use crate::lock::{Artifact, DebianSource, Pin, Source};
use crate::name::FileName;
use crate::progress::{Progress, Subject};
use crate::python::simple::ACCEPT;
use crate::sources::{Base, simple};
use crate::store::{Partial, Slot, Store, StoreError};
use crate::units::ByteSize;

/// A server that asks for more patience than this is left for the next base.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// An attempt that brought this much is no failed attempt, however it ended.
const REAL_PROGRESS: ByteSize = ByteSize::new(1 << 20);

/// The pages of the largest projects have some megabytes.
const PAGE_LIMIT: ByteSize = ByteSize::new(64 << 20);

impl Fetcher {
    /// Brings one artifact into the store and returns its path.
    pub(super) fn bring(&self, wanted: &Wanted<'_>, store: &Store, progress: &dyn Progress) -> Result<PathBuf, Cause> {
        let artifact = wanted.artifact;
        let Some(pin) = artifact.pin else {
            let placed = placed(&self.sources.extra_packages, &artifact.file, &wanted.also_known_as);
            return Err(Cause::Unpinned { obtain: self.way_to_obtain(artifact), placed });
        };
        if let Some(path) = store.blob(&pin.sha256).map_err(Cause::Store)? {
            return Ok(path);
        }
        let subject = Subject::Download(artifact.file.to_string());
        progress.started(&subject, Some(pin.size));
        let result = match self.placed(wanted, pin, store)? {
            Some((path, from)) => {
                progress.advanced(&subject, pin.size);
                progress.said(&subject, format!("taken from {}", from.display()));
                Ok(path)
            }
            None => self.download(artifact, pin, store, progress, &subject),
        };
        progress.ended(&subject, &result);
        result
    }

    /// Returns how to obtain an artifact by hand.
    fn way_to_obtain(&self, artifact: &Artifact) -> String {
        match &artifact.source {
            Source::File { obtain } => obtain.clone(),
            Source::Https { origin, path } => {
                match self.sources.mirrors.https.get(origin).and_then(|all| all.first()) {
                    Some(base) => format!("download {base}/{path}"),
                    None => format!("obtain {} from its publisher", artifact.file),
                }
            }
            _ => format!("obtain {} from its publisher", artifact.file),
        }
    }

    /// Looks for a file placed by hand. One under the artifact's name must be the artifact.
    fn placed(&self, wanted: &Wanted<'_>, pin: Pin, store: &Store) -> Result<Option<(PathBuf, PathBuf)>, Cause> {
        let file = &wanted.artifact.file;
        for folder in &self.sources.extra_packages {
            for name in std::iter::once(file).chain(&wanted.also_known_as) {
                if let Some(found) = take(&folder.join(name.as_str()), pin, store)? {
                    return Ok(Some(found));
                }
            }
        }
        if let Source::Pypi { .. } = wanted.artifact.source {
            for folder in &self.sources.pip.find_links {
                if !disk::metadata(&folder.join(file.as_str())).is_ok_and(|found| found.is_some()) {
                    continue;
                }
                // These folders were not made for us: a file that differs is another build of the same version.
                match take(&folder.join(file.as_str()), pin, store) {
                    Ok(Some(found)) => return Ok(Some(found)),
                    Ok(None) | Err(Cause::Placed { .. }) => {}
                    Err(cause) => return Err(cause),
                }
            }
        }
        Ok(None)
    }

    fn download(
        &self,
        artifact: &Artifact,
        pin: Pin,
        store: &Store,
        progress: &dyn Progress,
        subject: &Subject,
    ) -> Result<PathBuf, Cause> {
        if let Source::File { obtain } = &artifact.source {
            return Err(Cause::ByHand { obtain: obtain.clone() });
        }
        if self.options.network == Network::Offline {
            return Err(Cause::Bases(Vec::new()));
        }
        let slot = match store.try_slot(pin).map_err(Cause::Store)? {
            Some(slot) => slot,
            None => {
                progress.said(subject, "another process is downloading it; waiting");
                store.slot(pin).map_err(Cause::Store)?
            }
        };
        let mut partial = match slot {
            Slot::Present(path) => return Ok(path),
            Slot::Missing(partial) => partial,
        };
        let job = Job { artifact, pin, progress, subject };
        job.advanced(partial.length());
        if partial.is_whole() {
            return partial.commit().map_err(Cause::Store);
        }
        let mut reasons = Vec::new();
        for base in self.bases(&artifact.source) {
            match self.fill_from(base, &job, &mut partial) {
                Ok(()) => return partial.commit().map_err(Cause::Store),
                Err(Problem::Store(error @ StoreError::Disk { .. })) => return Err(Cause::Store(error)),
                Err(problem) => {
                    job.said(format!("{base}: {problem}"));
                    reasons.push(Reason { from: base.to_string(), problem });
                }
            }
        }
        Err(Cause::Bases(reasons))
    }

    /// Fills `partial` from one base, asking again as long as that may help.
    fn fill_from(&self, base: &Base, job: &Job<'_>, partial: &mut Partial) -> Result<(), Problem> {
        let sockets = self.sockets().map_err(|error| Problem::Unreachable { reason: error.to_string() })?;
        let origin = base.url().origin().ascii_serialization();
        if let Some(reason) = locked(&self.unreachable).get(&origin) {
            return Err(Problem::Unreachable { reason: reason.clone() });
        }
        // Bytes that were there before may be the wrong ones, or the server cannot go on; one clean start is granted.
        let mut clean_start = true;
        let mut waits = self.waits();
        loop {
            let before = partial.length();
            let result = sockets.runtime.block_on(self.attempt(sockets, base, job, partial));
            let problem = match result.and_then(|()| checked(partial, job.pin)) {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            let resumed = before > ByteSize::default();
            if resumed && clean_start && may_be_cured_by_a_clean_start(&problem) {
                clean_start = false;
                partial.restart(None).map_err(Problem::Store)?;
                job.again();
                continue;
            }
            if let Problem::Unreachable { reason } = &problem {
                locked(&self.unreachable).insert(origin.clone(), reason.clone());
            }
            if !problem.passes() {
                return Err(problem);
            }
            if partial.length().bytes() >= before.bytes().saturating_add(REAL_PROGRESS.bytes()) {
                waits = self.waits();
            }
            let Some(wait) = pause(&mut waits, &problem) else { return Err(problem) };
            job.said(format!("{base}: {problem}; trying again"));
            std::thread::sleep(wait);
        }
    }

    /// Asks once and takes what comes.
    async fn attempt(
        &self,
        sockets: &Sockets,
        base: &Base,
        job: &Job<'_>,
        partial: &mut Partial,
    ) -> Result<(), Problem> {
        let (answer, source) = match &job.artifact.source {
            Source::Oci { repository } => {
                let access = Access { files: &self.sources.registry_files, silence: self.options.silence };
                let offset = partial.length();
                (sockets.registries.get(base, repository, &job.pin.sha256, offset, &access).await?, String::new())
            }
            source => {
                let (url, manner) = self.address(sockets, base, source, job).await?;
                // The address may hold a secret, and the validator lies on the disk.
                let source = Digest::of(url.as_str().as_bytes()).hex();
                let tag = partial.validator().and_then(|validator| validator.strip_prefix(&format!("{source} ")));
                let tag = tag.map(str::to_owned);
                let request = Request {
                    manner,
                    base,
                    url,
                    accept: None,
                    offset: partial.length(),
                    if_range: tag.as_deref(),
                    size: Some(job.pin.size),
                };
                (sockets.clients.get(&self.sources, request).await?, source)
            }
        };
        let Answer { start, tag, mut body, .. } = answer;
        if start == Start::Beginning {
            let again = partial.length() > ByteSize::default();
            let validator = tag.map(|tag| format!("{source} {tag}"));
            partial.restart(validator.as_deref()).map_err(Problem::Store)?;
            if again {
                job.again();
            }
        }
        while let Some(bytes) = body.next().await {
            match bytes {
                Ok(bytes) => {
                    partial.append(&bytes).map_err(refused)?;
                    job.advanced(ByteSize::new(bytes.len() as u64));
                }
                // A stream that fails after the last byte has said all it had to say.
                Err(_) if partial.is_whole() => break,
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    /// Returns the address of an artifact below a base; an index is asked where the file lies.
    async fn address(
        &self,
        sockets: &Sockets,
        base: &Base,
        source: &Source,
        job: &Job<'_>,
    ) -> Result<(reqwest::Url, Manner), Problem> {
        match source {
            Source::Debian(DebianSource { path, .. }) => Ok((base.join(path), Manner::Apt)),
            Source::Https { path, .. } => Ok((base.join(path), Manner::Plain)),
            Source::Pypi { project, .. } => {
                let answer = self.page(sockets, base, project).await?;
                let address = answer.address.clone();
                let page = gathered(answer, PAGE_LIMIT).await?;
                let listed = simple::find(&page, &address, job.artifact.file.as_str()).map_err(|_| Problem::NoPage)?;
                let listed = listed.ok_or(Problem::NotListed)?;
                match listed.sha256 {
                    Some(found) if found != job.pin.sha256 => {
                        Err(Problem::ListedOtherwise { expected: job.pin.sha256, found })
                    }
                    _ => Ok((listed.url, Manner::Pip)),
                }
            }
            Source::Oci { .. } | Source::File { .. } => Err(Problem::NotListed),
        }
    }

    async fn page(&self, sockets: &Sockets, base: &Base, project: &str) -> Result<Answer, Problem> {
        let url = base.join(&format!("{project}/"));
        sockets.clients.get(&self.sources, plain(Manner::Pip, base, url, Some(ACCEPT))).await
    }

    /// Reads a document from one base, asking again as long as that may help.
    pub(super) fn read(
        &self,
        sockets: &Sockets,
        base: &Base,
        document: &Document,
        limit: ByteSize,
    ) -> Result<Vec<u8>, Problem> {
        let mut waits = self.waits();
        loop {
            let result = sockets.runtime.block_on(async {
                let answer = match document {
                    Document::Debian { path, .. } => {
                        let request = plain(Manner::Apt, base, base.join(path), None);
                        sockets.clients.get(&self.sources, request).await?
                    }
                    Document::Https { path, .. } => {
                        let request = plain(Manner::Plain, base, base.join(path), None);
                        sockets.clients.get(&self.sources, request).await?
                    }
                    Document::Pypi { project } => self.page(sockets, base, project).await?,
                };
                gathered(answer, limit).await
            });
            let problem = match result {
                Ok(bytes) => return Ok(bytes),
                Err(problem) if problem.passes() => problem,
                Err(problem) => return Err(problem),
            };
            let Some(wait) = pause(&mut waits, &problem) else { return Err(problem) };
            std::thread::sleep(wait);
        }
    }

    /// Returns the waits between attempts: each about twice as long as the one before, none exactly.
    fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(self.options.first_wait)
            .with_max_delay(Duration::from_secs(30))
            .with_max_times(self.options.retries)
            .build()
    }
}

impl Document {
    /// Returns a source of the same kind, which has the same bases.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Debian { archive, path } => Source::Debian(DebianSource {
                archive: archive.clone(),
                package: String::new(),
                version: String::new(),
                architecture: String::new(),
                path: path.clone(),
                scripts: Vec::new(),
            }),
            Self::Pypi { project } => Source::Pypi { project: project.clone(), version: String::new() },
            Self::Https { origin, path } => Source::Https { origin: origin.clone(), path: path.clone() },
        }
    }
}

/// One artifact to download, and whom to tell about it.
struct Job<'a> {
    artifact: &'a Artifact,
    pin: Pin,
    progress: &'a dyn Progress,
    subject: &'a Subject,
}

impl Job<'_> {
    fn advanced(&self, by: ByteSize) {
        if by > ByteSize::default() {
            self.progress.advanced(self.subject, by);
        }
    }

    fn said(&self, line: String) {
        self.progress.said(self.subject, line);
    }

    /// Tells that the download begins again from nothing.
    fn again(&self) {
        self.progress.started(self.subject, Some(self.pin.size));
    }
}

/// Returns whether the problem may lie in the bytes that a download went on from.
fn may_be_cured_by_a_clean_start(problem: &Problem) -> bool {
    matches!(problem, Problem::Content(_) | Problem::WrongRange { .. } | Problem::Status { code: 416, .. })
}

/// Returns the next wait, or nothing when enough has been tried or the server asks for too much patience.
fn pause(waits: &mut impl Iterator<Item = Duration>, problem: &Problem) -> Option<Duration> {
    let wait = waits.next()?;
    match problem {
        Problem::Status { wait: Some(asked), .. } if *asked > LONGEST_WAIT => None,
        Problem::Status { wait: Some(asked), .. } => Some(wait.max(*asked)),
        _ => Some(wait),
    }
}

fn plain<'a>(manner: Manner, base: &'a Base, url: reqwest::Url, accept: Option<&'static str>) -> Request<'a> {
    Request { manner, base, url, accept, offset: ByteSize::default(), if_range: None, size: None }
}

/// Reads a whole body of at most `limit`.
async fn gathered(answer: Answer, limit: ByteSize) -> Result<Vec<u8>, Problem> {
    let mut body = answer.body;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 > limit.bytes() {
            return Err(Problem::TooLarge { limit });
        }
    }
    Ok(bytes)
}

/// Checks what has come: all of it, and the right bytes.
fn checked(partial: &mut Partial, pin: Pin) -> Result<(), Problem> {
    if !partial.is_whole() {
        return Err(Problem::Truncated { expected: pin.size, found: partial.length() });
    }
    partial.verify().map_err(refused)
}

/// Tells wrong bytes, which the base is to blame for, from failures of the store.
fn refused(error: StoreError) -> Problem {
    match error {
        StoreError::Mismatch { source, .. } => Problem::Content(source),
        error => Problem::Store(error),
    }
}

/// Returns the first file that somebody placed by hand in one of `folders` under one of its names.
pub fn placed(folders: &[PathBuf], file: &FileName, other_names: &BTreeSet<FileName>) -> Option<PathBuf> {
    let names = || std::iter::once(file).chain(other_names);
    let mut places = folders.iter().flat_map(|folder| names().map(|name| folder.join(name.as_str())));
    // A folder that cannot be looked into holds nothing that could be imported.
    places.find(|place| disk::metadata(place).is_ok_and(|found| found.is_some()))
}

/// Copies a file placed by hand into the store, if it is there; returns where it is and where it came from.
fn take(path: &Path, pin: Pin, store: &Store) -> Result<Option<(PathBuf, PathBuf)>, Cause> {
    let disk_failed = |source: DiskError| Cause::Store(StoreError::Disk { root: store.root().to_owned(), source });
    let Some(mut file) = disk::open_if_exists(path).map_err(disk_failed)? else { return Ok(None) };
    let wrong = |mismatch| Cause::Placed { path: path.to_owned(), mismatch };
    match store.insert(&mut file, pin) {
        Ok(blob) => Ok(Some((blob, path.to_owned()))),
        Err(StoreError::Mismatch { source: Mismatch::Size { expected, .. }, .. }) => {
            // Storing stops at the first byte too many; people want to know how large their file is.
            let found = disk::metadata(path).map_err(disk_failed)?.map_or(0, |metadata| metadata.len());
            Err(wrong(Mismatch::Size { expected, found: ByteSize::new(found) }))
        }
        Err(StoreError::Mismatch { source, .. }) => Err(wrong(source)),
        Err(error) => Err(Cause::Store(error)),
    }
}
