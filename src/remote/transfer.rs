//! Files and folders onto the shelf: what is asked again, and how a broken download goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;

use super::location::{Kind, Location};
use super::problem::{LONGEST_WAIT, Problem, RemoteError};
use super::shelf::{Held, Key, Slot};
use super::source::{Answer, Body, Source, Version, Wanted};
use super::{Found, Network, Remote};
use crate::config::FileReference;
use crate::disk::DiskError;
use crate::progress::Subject;
use crate::units::ByteSize;

/// So many files of a folder are brought at once.
const PARALLEL: usize = 8;

/// Whoever brings so much at each attempt may go on trying: a long download over a bad line ends some time.
const REAL_PROGRESS: u64 = 1 << 20;

/// Files that can be samples; where a number of them is asked for, other files beside them do not count.
const SAMPLES: [&str; 10] = [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".npy", ".raw"];

/// One file of a folder.
struct Listed {
    /// Its path in the folder.
    relative: String,
    location: Location,
    version: Option<Version>,
}

/// Why an attempt failed.
enum Failed {
    Problem(Problem),
    Disk(DiskError),
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<DiskError> for Failed {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl Remote<'_> {
    /// Brings the file or folder of a URL, whichever is there, and returns where it is on this machine.
    ///
    /// # Errors
    /// There is nothing, or it cannot be had.
    pub fn fetch_any(&self, reference: &FileReference) -> Result<PathBuf, RemoteError> {
        let location = Location::parse(reference)?;
        match self.look(&location)? {
            Some(Found::File) => self.fetch(&location),
            Some(Found::Folder) => self.fetch_folder(&location, None),
            None => Err(RemoteError::Read { location, source: Problem::Missing }),
        }
    }

    /// Brings a file and returns where it is on this machine; it has the name that it has there.
    ///
    /// # Errors
    /// It cannot be had. Offline: it was not downloaded before.
    pub fn fetch(&self, location: &Location) -> Result<PathBuf, RemoteError> {
        let path = self.bring(location, None)?.path;
        self.note(&path, location);
        Ok(path)
    }

    /// Brings the files of a folder, at most `limit` samples in the order of their names, and returns the folder they
    /// are in on this machine. Folders in it are left out, unless there is nothing else.
    ///
    /// # Errors
    /// They cannot be had, or there are none. Offline: the same was not downloaded before.
    pub fn fetch_folder(&self, location: &Location, limit: Option<usize>) -> Result<PathBuf, RemoteError> {
        let shelf = self.shelf()?;
        let key = Key::of_folder(location, limit);
        if self.options.network == Network::Offline {
            let held = shelf.held_folder(&key)?;
            let folder = held.ok_or_else(|| RemoteError::Offline { location: location.clone() })?;
            self.note(&folder, location);
            return Ok(folder);
        }
        let files = self.bring_all(self.list(location, limit)?)?;
        let name = location.name();
        let (contents, folder) = shelf.folder(&name, &files)?;
        // Under its own key too, so that without network it is known to be a folder.
        shelf.remember_folder([&key, &Key::of(location)], contents, &name)?;
        self.note(&folder, location);
        Ok(folder)
    }

    /// Brings a file and others that belong to it, by their paths relative to its folder, and returns the file in a
    /// folder in which they all are.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub fn fetch_with(&self, location: &Location, companions: &[String]) -> Result<PathBuf, RemoteError> {
        let beside = |relative: &String| {
            let missing = || RemoteError::Read { location: location.clone(), source: Problem::Missing };
            Ok((relative.clone(), location.beside(relative).ok_or_else(missing)?))
        };
        let companions = companions.iter().map(beside).collect::<Result<Vec<(String, Location)>, RemoteError>>()?;
        self.fetch_together(location, companions)
    }

    /// Brings a file and others, and returns the file in a folder in which they all are; the others at their paths there.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub fn fetch_together(&self, location: &Location, others: Vec<(String, Location)>) -> Result<PathBuf, RemoteError> {
        let listed = |(relative, location): (String, Location)| Listed { relative, location, version: None };
        let own = location.name();
        let mut files = self.bring_all(others.iter().cloned().map(listed).collect())?;
        files.push((own.clone(), self.bring(location, None)?));
        let (_, folder) = self.shelf()?.folder("files", &files)?;
        others.iter().for_each(|(relative, location)| self.note(&folder.join(relative), location));
        self.note(&folder.join(&own), location);
        Ok(folder.join(own))
    }

    /// Brings several files at once.
    fn bring_all(&self, files: Vec<Listed>) -> Result<Vec<(String, Held)>, RemoteError> {
        let threads = PARALLEL.min(files.len());
        let queue = Mutex::new(files);
        let (brought, failure) = (Mutex::new(BTreeMap::new()), Mutex::new(None));
        // A function of its own, so that the queue is free again before the work begins.
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            while let Some(file) = next() {
                match self.bring(&file.location, file.version.as_ref()) {
                    Ok(held) => {
                        drop(brought.lock().unwrap_or_else(PoisonError::into_inner).insert(file.relative, held));
                    }
                    Err(error) => {
                        // Without one of them the others are of no use.
                        queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(brought.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()),
        }
    }

    /// Brings a file. A listing that names its version spares the question whether it is still the same.
    fn bring(&self, location: &Location, listed: Option<&Version>) -> Result<Held, RemoteError> {
        let shelf = self.shelf()?;
        let key = Key::of(location);
        if self.options.network == Network::Offline {
            return shelf.held(&key)?.ok_or_else(|| RemoteError::Offline { location: location.clone() });
        }
        if let (Some(listed), Some(held)) = (listed, shelf.held(&key)?)
            && held.version.as_ref() == Some(listed)
        {
            return Ok(held);
        }
        let source = self.source(location)?;
        let mut slot = shelf.slot(key)?;
        let subject = Subject::Download(location.name());
        let version = match self.fill(location, &source, &mut slot, &subject) {
            Ok(Filled::Held(held)) => return Ok(held),
            Ok(Filled::Version(version)) => version,
            Err(error) => {
                self.progress.ended(&subject, &Err::<(), _>(&error));
                return Err(error);
            }
        };
        let held = slot.commit(&location.name(), version);
        self.progress.ended(&subject, &held);
        Ok(held?)
    }

    /// Asks as long as that may help.
    fn fill(
        &self,
        location: &Location,
        source: &Source,
        slot: &mut Slot<'_>,
        subject: &Subject,
    ) -> Result<Filled, RemoteError> {
        let runtime = &self.sockets()?.runtime;
        // Bytes of an earlier run may be of another file; one clean start is granted.
        let mut clean_start = true;
        let mut waits = self.waits();
        loop {
            let before = slot.length();
            let problem = match runtime.block_on(self.attempt(location, source, slot, subject)) {
                Ok(filled) => return Ok(filled),
                Err(Failed::Disk(error)) => return Err(error.into()),
                Err(Failed::Problem(problem)) => problem,
            };
            if before > 0 && clean_start && matches!(problem, Problem::Changed | Problem::WrongRange) {
                clean_start = false;
                slot.restart(None)?;
                continue;
            }
            let failed = |source| RemoteError::Read { location: location.clone(), source };
            if slot.length() >= before.saturating_add(REAL_PROGRESS) {
                waits = self.waits();
            }
            if !self.waited(location, subject, &problem, &mut waits) {
                return Err(failed(problem));
            }
        }
    }

    /// Asks once and takes what comes.
    async fn attempt(
        &self,
        location: &Location,
        source: &Source,
        slot: &mut Slot<'_>,
        subject: &Subject,
    ) -> Result<Filled, Failed> {
        let held = slot.held()?;
        let resumed = slot.version().filter(|_| slot.length() > 0).cloned();
        let wanted = match &resumed {
            Some(version) => Wanted::Rest { offset: slot.length(), version },
            None => Wanted::Whole { known: held.as_ref().and_then(|held| held.version.as_ref()) },
        };
        let answer = source.open(wanted).await;
        tracing::debug!(%location, offset = slot.length(), ok = answer.is_ok(), "asked");
        let Body { start, size, version, mut bytes } = match (answer?, held) {
            (Answer::Bytes(body), _) => body,
            (Answer::Unchanged, Some(held)) => return Ok(Filled::Held(held)),
            (Answer::Unchanged, None) => return Err(Problem::Changed.into()),
        };
        if start == 0 {
            slot.restart(version.clone())?;
        } else if start != slot.length() {
            return Err(Problem::WrongRange.into());
        } else if version.is_some() && version != resumed {
            return Err(Problem::Changed.into());
        }
        self.progress.started(subject, size.map(ByteSize::new));
        self.progress.advanced(subject, ByteSize::new(slot.length()));
        while let Some(chunk) = bytes.next().await {
            match chunk {
                Ok(chunk) => {
                    slot.append(&chunk)?;
                    self.progress.advanced(subject, ByteSize::new(chunk.len() as u64));
                }
                // A stream that fails after the last byte has said all it had to say.
                Err(_) if size == Some(slot.length()) => break,
                Err(problem) => return Err(problem.into()),
            }
        }
        match size {
            Some(size) if size != slot.length() => {
                let found = ByteSize::new(slot.length());
                if slot.length() > size {
                    slot.restart(None)?;
                }
                Err(Problem::Length { expected: ByteSize::new(size), found }.into())
            }
            _ => Ok(Filled::Version(version.or(resumed))),
        }
    }

    /// Returns whether a file of the web is there, and asks as long as that may help; the client of buckets does so itself.
    pub(super) fn is_there(&self, location: &Location, source: &Source) -> Result<bool, RemoteError> {
        let runtime = &self.sockets()?.runtime;
        let subject = Subject::Download(location.name());
        let mut waits = self.waits();
        loop {
            let problem = match runtime.block_on(source.exists()) {
                Ok(is_there) => return Ok(is_there),
                Err(problem) => problem,
            };
            let is_web = matches!(source, Source::Web(..));
            if !is_web || !self.waited(location, &subject, &problem, &mut waits) {
                return Err(RemoteError::Read { location: location.clone(), source: problem });
            }
        }
    }

    /// Waits and returns true if asking again may help after that.
    fn waited(
        &self,
        location: &Location,
        subject: &Subject,
        problem: &Problem,
        waits: &mut impl Iterator<Item = Duration>,
    ) -> bool {
        let Some(wait) = waits.next().and_then(|next| problem.pause(next)) else { return false };
        self.progress.said(subject, format!("{location}: {problem}; trying again"));
        thread::sleep(wait);
        true
    }

    /// Returns the waits between attempts: each about twice as long as the one before, none exactly.
    fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(self.options.first_wait)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(self.options.retries)
            .build()
    }

    /// Returns whether there is any key below a location.
    pub(super) fn has_some(&self, location: &Location) -> Result<bool, RemoteError> {
        let failed = |source| RemoteError::Read { location: location.clone(), source };
        let (store, prefix) = self.object(location)?;
        let first = self.sockets()?.runtime.block_on(async { store.list(Some(&prefix)).next().await });
        match first {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) => Err(failed(Problem::from(error))),
        }
    }

    /// Lists the files of a folder in the order of their names.
    fn list(&self, location: &Location, limit: Option<usize>) -> Result<Vec<Listed>, RemoteError> {
        let failed = |source| RemoteError::Read { location: location.clone(), source };
        let (store, prefix) = self.object(location)?;
        let objects = self.sockets()?.runtime.block_on(async {
            let listing = store.list_with_delimiter(Some(&prefix)).await?;
            if listing.objects.iter().any(|object| object.size > 0) || listing.common_prefixes.is_empty() {
                return Ok(listing.objects);
            }
            store.list(Some(&prefix)).try_collect::<Vec<ObjectMeta>>().await
        });
        let objects = objects.map_err(|error: object_store::Error| failed(Problem::from(error)))?;
        let mut files: Vec<Listed> = objects.iter().filter_map(|object| listed(location, object, &objects)).collect();
        files.sort_by(|left, right| left.relative.cmp(&right.relative));
        if let Some(limit) = limit {
            let is_sample = |file: &Listed| {
                let name = file.relative.to_ascii_lowercase();
                SAMPLES.iter().any(|ending| name.ends_with(ending))
            };
            if files.iter().any(is_sample) {
                files.retain(is_sample);
            }
            files.truncate(limit);
        }
        if files.is_empty() { Err(failed(Problem::Missing)) } else { Ok(files) }
    }
}

/// What filled a slot.
enum Filled {
    /// Nothing: what was downloaded before is still right.
    Held(Held),
    /// Bytes of this version.
    Version(Option<Version>),
}

/// Makes an entry of an object below `folder`; nothing of the empty objects that stand for folders.
fn listed(folder: &Location, object: &ObjectMeta, all: &[ObjectMeta]) -> Option<Listed> {
    let Kind::Bucket { key, .. } = folder.kind() else { return None };
    let path = object.location.as_ref();
    let below = format!("{path}/");
    if object.size == 0 && all.iter().any(|other| other.location.as_ref().starts_with(&below)) {
        return None;
    }
    let key = key.trim_end_matches('/');
    let relative = if key.is_empty() { path } else { path.strip_prefix(key)?.strip_prefix('/')? };
    let stays = Path::new(relative).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if relative.is_empty() || !stays {
        return None;
    }
    Some(Listed {
        relative: relative.to_owned(),
        location: folder.below(relative)?,
        version: Version::of_object(object.e_tag.as_deref()),
    })
}
