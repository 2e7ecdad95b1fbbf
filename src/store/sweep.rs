//! How much lies in the store, whether it is intact, and the removal of what nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{BUFFER, Store, StoreError, partial, session};
use crate::digest::{DiffId, Digest, Hasher};
use crate::disk::{self, DiskError, FileLock, Sharing};
use crate::lock::{Lock, Pin};
use crate::progress::{Progress, Subject};
use crate::units::ByteSize;

/// What lies in the store, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Every kind, sorted by name.
    pub kinds: Vec<UsageOfKind>,
}

/// How much of one kind there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageOfKind {
    /// The kind: `blobs`, `trees`, `documents`, `caches`, `partial`, `scratch`.
    pub kind: &'static str,
    /// How many things there are.
    pub count: u64,
    /// The sum of the lengths of their files.
    pub size: ByteSize,
}

/// Things that `gc` must not remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Blobs by digest.
    pub blobs: BTreeSet<Digest>,
    /// Unpacked layers.
    pub trees: BTreeSet<DiffId>,
    /// Caches by the digest of their image.
    pub caches: BTreeSet<Digest>,
    /// Documents by kind and key.
    pub documents: BTreeSet<(String, String)>,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// What was removed, by kind.
    pub removed: Usage,
    /// How many things no lock names, but a live process relies on.
    pub in_use: u64,
}

/// What a check of the whole store found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many blobs and trees are intact.
    pub intact: u64,
    /// How many trees could not be judged, because nobody knows what their bytes should be.
    pub unjudged: u64,
    /// What is broken, sorted by path.
    pub broken: Vec<Broken>,
}

/// A thing that is not what its name says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Where it was found.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
    /// Whether it has been removed; not from a store that cannot be written.
    pub removed: bool,
}

/// The judgement of a tree by somebody who can compute its diff id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It has the diff id it is named by.
    Intact,
    /// It has not.
    Broken {
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody can tell.
    Unknown,
}

impl Usage {
    fn of(sizes: BTreeMap<&'static str, (u64, ByteSize)>) -> Self {
        Self { kinds: sizes.into_iter().map(|(kind, (count, size))| UsageOfKind { kind, count, size }).collect() }
    }

    /// Returns the size of everything together.
    pub fn size(&self) -> ByteSize {
        self.kinds.iter().map(|kind| kind.size).sum()
    }
}

/// Prints one line per kind and a sum.
impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for UsageOfKind { kind, count, size } in &self.kinds {
            writeln!(formatter, "{kind:<10} {count:>7}  {:>10}", size.to_string())?;
        }
        let count: u64 = self.kinds.iter().map(|kind| kind.count).sum();
        write!(formatter, "{:<10} {count:>7}  {:>10}", "together", self.size().to_string())
    }
}

/// Prints what was removed by kind, and how much is spared for live processes.
impl fmt::Display for Collected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.removed)?;
        if self.in_use > 0 {
            write!(formatter, "\nin use by running processes: {}", self.in_use)?;
        }
        Ok(())
    }
}

/// Prints every broken thing and a sum.
impl fmt::Display for Verified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Broken { path, reason, removed } in &self.broken {
            let fate = if *removed { "removed" } else { "still there" };
            writeln!(formatter, "{}: {reason} ({fate})", path.display())?;
        }
        write!(formatter, "{} intact, {} broken", self.intact, self.broken.len())?;
        if self.unjudged > 0 {
            write!(formatter, ", {} could not be judged", self.unjudged)?;
        }
        Ok(())
    }
}

impl Kept {
    /// Returns what the toolchains of a lock are made of: artifacts, layers, compressed layers.
    pub fn by_lock(lock: &Lock) -> Self {
        let mut kept = Self::default();
        kept.blobs.extend(lock.artifacts().filter_map(|artifact| artifact.pin).map(|pin| pin.sha256));
        for layer in lock.toolchains().iter().flat_map(|toolchain| &toolchain.layers) {
            if let Some(bytes) = &layer.bytes {
                kept.trees.insert(bytes.diff_id);
                kept.blobs.insert(bytes.compressed);
            }
        }
        kept
    }

    /// Adds what `other` keeps.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.blobs.extend(other.blobs);
        self.trees.extend(other.trees);
        self.caches.extend(other.caches);
        self.documents.extend(other.documents);
        self
    }
}

/// A thing in the store that can be removed by moving its paths away.
struct Thing {
    kind: &'static str,
    /// As sessions note it; nothing for what no session notes.
    noted: Option<String>,
    paths: Vec<PathBuf>,
    kept: bool,
}

impl Store {
    /// Counts and measures everything in the store.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let mut sizes = BTreeMap::new();
        for thing in self.things(&Kept::default())? {
            self.measure(&thing, &thing.paths, &mut sizes)?;
        }
        for path in self.disk(disk::list(&self.folder("scratch")))? {
            let size = self.disk(measure(&path))?;
            let entry: &mut (u64, ByteSize) = sizes.entry("scratch").or_default();
            *entry = (entry.0 + 1, entry.1 + size);
        }
        Ok(Usage::of(sizes))
    }

    /// Removes what is neither kept nor relied on by a live process.
    pub fn collect(&self, kept: &Kept) -> Result<Collected, StoreError> {
        let session = self.session()?;
        let mut in_use = 0;
        let mut removed = Vec::new();
        let gate = self.disk(FileLock::wait(&session::gate(self.root()), Sharing::Alone))?;
        let uses = self.disk(session::uses(self.root()))?;
        for thing in self.things(kept)? {
            if thing.kept {
                continue;
            }
            if thing.noted.as_ref().is_some_and(|noted| uses.contains(noted)) {
                in_use += 1;
                continue;
            }
            // Whoever brings a blob holds its lock; the lock is let go only when the partial is out of sight.
            let lock = match partial_of(&thing) {
                Some(digest) => match self.try_lock(&partial::key(&digest))? {
                    Some(lock) => Some(lock),
                    None => {
                        in_use += 1;
                        continue;
                    }
                },
                None => None,
            };
            let mut graves = Vec::new();
            for path in &thing.paths {
                let grave = session.fresh("removed");
                self.disk(disk::rename(path, &grave))?;
                graves.push(grave);
            }
            drop(lock);
            removed.push((thing, graves));
        }
        for path in self.disk(disk::list(&self.folder("locks")))? {
            let is_key = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("key-"));
            if is_key && let Some(_lock) = self.disk(FileLock::attempt(&path))? {
                self.disk(disk::remove_file(&path))?;
            }
        }
        drop(gate);
        let mut sizes = BTreeMap::new();
        for (thing, graves) in removed {
            self.measure(&thing, &graves, &mut sizes)?;
            for grave in graves {
                self.disk(disk::remove_all(&grave))?;
            }
        }
        Ok(Collected { removed: Usage::of(sizes), in_use })
    }

    /// Reads every blob again and has every tree judged; what is broken is removed, so that it is brought or made again.
    pub fn verify(
        &self,
        judge: &dyn Fn(&DiffId, &Path) -> Judgement,
        progress: &dyn Progress,
    ) -> Result<Verified, StoreError> {
        let subject = Subject::Step("verify store".to_owned());
        progress.started(&subject, Some(self.usage()?.of_kind("blobs")));
        let result = self.verify_all(judge, &|by| progress.advanced(&subject, by));
        progress.ended(&subject, &result);
        result
    }

    /// Reads one blob again: `None` if it is not there, else whether its bytes are the pinned ones.
    pub fn check(&self, pin: Pin) -> Result<Option<bool>, StoreError> {
        let Some(path) = self.blob(&pin.sha256)? else { return Ok(None) };
        Ok(Some(self.rehash(&path, &pin.sha256, &|_| ())? == Judgement::Intact))
    }

    fn verify_all(
        &self,
        judge: &dyn Fn(&DiffId, &Path) -> Judgement,
        advanced: &dyn Fn(ByteSize),
    ) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        for thing in self.things(&Kept::default())? {
            let Some(path) = thing.paths.first() else { continue };
            let judgement = match (thing.kind, hex_name(path)) {
                ("blobs", Some(digest)) => self.rehash(path, &digest, advanced)?,
                ("trees", Some(digest)) => match self.trusted_state(&DiffId(digest))? {
                    Some(_) => judge(&DiffId(digest), path),
                    None => Judgement::Broken { reason: "its making was cut short".to_owned() },
                },
                ("blobs" | "trees", None) => Judgement::Broken { reason: "its name is no digest".to_owned() },
                _ => continue,
            };
            match judgement {
                Judgement::Intact => verified.intact += 1,
                Judgement::Unknown => verified.unjudged += 1,
                Judgement::Broken { reason } => {
                    let removed = self.remove(&thing)?;
                    verified.broken.push(Broken { path: path.clone(), reason, removed });
                }
            }
        }
        verified.broken.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(verified)
    }

    fn rehash(&self, path: &Path, digest: &Digest, advanced: &dyn Fn(ByteSize)) -> Result<Judgement, StoreError> {
        let mut file = self.disk(disk::open(path))?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                // A disk that cannot give the bytes back has lost them.
                Err(error) => return Ok(Judgement::Broken { reason: format!("it cannot be read: {error}") }),
            };
            hasher.update(buffer.get(..count).unwrap_or_default());
            advanced(ByteSize::new(count as u64));
        }
        let (_, found) = hasher.finish();
        let reason = format!("its bytes have {found}");
        Ok(if found == *digest { Judgement::Intact } else { Judgement::Broken { reason } })
    }

    /// Removes one thing, whoever relies on it; returns whether the store let it.
    fn remove(&self, thing: &Thing) -> Result<bool, StoreError> {
        let Ok(session) = self.session() else { return Ok(false) };
        let gate = self.disk(FileLock::wait(&session::gate(self.root()), Sharing::Alone))?;
        let mut graves = Vec::new();
        for path in &thing.paths {
            let grave = session.fresh("broken");
            self.disk(disk::rename(path, &grave))?;
            graves.push(grave);
        }
        drop(gate);
        for grave in graves {
            self.disk(disk::remove_all(&grave))?;
        }
        Ok(true)
    }

    /// Lists everything in the store but scratch and locks.
    fn things(&self, kept: &Kept) -> Result<Vec<Thing>, StoreError> {
        let list = |folder: &str| self.disk(disk::list(&self.folder(folder)));
        let mut things = Vec::new();
        for path in list("blobs/sha256")? {
            let digest = hex_name(&path);
            things.push(Thing {
                kind: "blobs",
                noted: digest.map(|digest| format!("blob {}", digest.hex())),
                kept: digest.is_some_and(|digest| kept.blobs.contains(&digest)),
                paths: vec![path],
            });
        }
        for (stem, paths) in by_stem(list("trees/sha256")?) {
            let id = Digest::from_hex(&stem).ok().map(DiffId);
            things.push(Thing {
                kind: "trees",
                noted: Some(format!("tree {stem}")),
                kept: id.is_some_and(|id| kept.trees.contains(&id)),
                paths,
            });
        }
        for path in list("caches")? {
            let digest = hex_name(&path);
            things.push(Thing {
                kind: "caches",
                noted: digest.map(|digest| format!("cache {}", digest.hex())),
                kept: digest.is_some_and(|digest| kept.caches.contains(&digest)),
                paths: vec![path],
            });
        }
        for folder in list("documents")? {
            let kind = name_of(&folder);
            for path in self.disk(disk::list(&folder))? {
                let key = name_of(&path.with_extension(""));
                let kept = kept.documents.contains(&(kind.clone(), key));
                things.push(Thing { kind: "documents", noted: None, kept, paths: vec![path] });
            }
        }
        for (_, paths) in by_stem(list("partial")?) {
            things.push(Thing { kind: "partial", noted: None, kept: false, paths });
        }
        Ok(things)
    }

    fn measure(
        &self,
        thing: &Thing,
        paths: &[PathBuf],
        sizes: &mut BTreeMap<&'static str, (u64, ByteSize)>,
    ) -> Result<(), StoreError> {
        let entry = sizes.entry(thing.kind).or_default();
        entry.0 += 1;
        for path in paths {
            entry.1 = entry.1 + self.disk(measure(path))?;
        }
        Ok(())
    }
}

impl Usage {
    fn of_kind(&self, wanted: &str) -> ByteSize {
        self.kinds.iter().filter(|kind| kind.kind == wanted).map(|kind| kind.size).sum()
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn hex_name(path: &Path) -> Option<Digest> {
    Digest::from_hex(&name_of(path)).ok()
}

/// Puts files that differ in their extension only together, the one without an extension first.
fn by_stem(paths: Vec<PathBuf>) -> BTreeMap<String, Vec<PathBuf>> {
    let mut stems = BTreeMap::<String, Vec<PathBuf>>::new();
    for path in paths {
        stems.entry(name_of(&path.with_extension(""))).or_default().push(path);
    }
    stems
}

/// Returns the blob that a thing is the partial of.
fn partial_of(thing: &Thing) -> Option<Digest> {
    let first = thing.paths.first().filter(|_| thing.kind == "partial")?;
    hex_name(&first.with_extension(""))
}

/// Adds up the lengths of all files at and below `path`; what vanishes meanwhile counts nothing.
fn measure(path: &Path) -> Result<ByteSize, DiskError> {
    let mut size = ByteSize::default();
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        let Some(metadata) = disk::metadata(&path)? else { continue };
        if metadata.is_dir() {
            paths.extend(disk::list(&path)?);
        } else {
            size = size + ByteSize::new(metadata.len());
        }
    }
    Ok(size)
}
