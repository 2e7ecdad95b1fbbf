//! One layer coming into being: entries of its artifacts written to a staged folder, from several threads at once.
//!
//! Owns the path table of the layer (who brought what where), the merging of `/bin` and its like into `/usr`, and the
//! handlers that do what maintainer scripts would have done. Files are written where they belong as they come; links are
//! made last, so that no path ever leads through one. Must not know other layers.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use globset::GlobSet;
use thiserror::Error;

use super::tree::{self, TreeError};
use crate::archive::{self, GlobError};
use crate::debian::Control;
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::elf::{self, Dynamic};
use crate::entry::{Entry, EntryKind, Sink};
use crate::hint::Hint;
use crate::image_path::{ImagePath, ImagePathError};
use crate::name::Platform;
use crate::plan::image::LayerContent;
use crate::recipe::RecipeFiles;
use crate::store::{StagedTree, Store, StoreError};
use crate::tarball::{FileMode, directory_bits};
use crate::units::ByteSize;

/// Bytes passed on at a time: as much as a decoder hands out, and few calls for large files.
const BUFFER: usize = 256 * 1024;

/// The folders of the root that are parts of `/usr` (Debian's "merged /usr").
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// The certificates that make up the bundle, and the bundle.
const CERTIFICATES: &str = "usr/share/ca-certificates/";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Where what is installed is recorded, in the form that scanners know from images without a package manager.
const STATUS: &str = "var/lib/dpkg/status.d";

/// A layer that cannot be put together.
#[derive(Debug, Error)]
pub enum LayerError {
    /// Two inputs want different things at one path.
    #[error("`/{path}` is {left_kind} in {left} and {right_kind} in {right}")]
    Conflict {
        /// The path.
        path: ImagePath,
        /// One input.
        left: String,
        /// What it has there.
        left_kind: &'static str,
        /// The other input.
        right: String,
        /// What that has there.
        right_kind: &'static str,
    },
    /// Two inputs have files of different bytes or modes, or links to different targets, at one path.
    #[error("`/{path}` comes from {left} and, with another content, from {right}")]
    Differing {
        /// The path.
        path: ImagePath,
        /// One input.
        left: String,
        /// The other input.
        right: String,
    },
    /// A hard link to something that is not there.
    #[error("`/{path}` of {input} is another name of `/{original}`, which is no file of this layer")]
    Dangling {
        /// The link.
        path: ImagePath,
        /// What it names.
        original: ImagePath,
        /// Who brought it.
        input: String,
    },
    /// A package has a maintainer script that nobody has judged.
    #[error("package {package} has a `{script}` script that the lock does not know")]
    Script {
        /// The package.
        package: String,
        /// The script.
        script: String,
    },
    /// The bundle of certificate authorities would be empty.
    #[error("the layer has no certificates below `/{CERTIFICATES}`, so there is no bundle to make")]
    NoCertificates,
    /// A path that the recipe or a package leads to is none.
    #[error(transparent)]
    Path(#[from] ImagePathError),
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] GlobError),
    /// A file of the recipe's folder cannot be read.
    #[error("file `{from}` of the recipe cannot be read")]
    RecipeFile {
        /// Its path below the recipe's folder.
        from: String,
        /// Why.
        source: io::Error,
    },
    /// The folder cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The folder does not stand for a layer.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LayerError {
    /// Returns whether the lock or the recipe is to blame: on every machine the same would happen.
    pub(super) fn is_about_the_project(&self) -> bool {
        !matches!(self, Self::RecipeFile { .. } | Self::Disk(_) | Self::Tree(_) | Self::Store(_))
    }
}

impl Hint for LayerError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Conflict { path, .. } | Self::Differing { path, .. } => {
                vec![format!("leave one of them out with `exclude = [\"{path}\"]` in the recipe's layer")]
            }
            Self::Script { .. } => vec!["run `modelconverter lock` to have it judged".to_owned()],
            Self::Disk(error) => error.hints_in_store(),
            Self::Store(error) => error.hints(),
            Self::Tree(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

/// What stands at a path, and who brought it.
#[derive(Clone)]
struct Claim {
    owner: usize,
    kind: Claimed,
}

#[derive(Clone, PartialEq, Eq)]
enum Claimed {
    Directory,
    File(FileMode),
    Symlink(String),
    /// Another name of a file. A kind of its own: whether a path is a file or a name of another one must not depend on
    /// which of two inputs came first.
    Hardlink {
        mode: FileMode,
        original: ImagePath,
    },
}

impl Claimed {
    const fn name(&self) -> &'static str {
        match self {
            Self::Directory => "a folder",
            Self::File(_) => "a file",
            Self::Symlink(_) => "a link",
            Self::Hardlink { .. } => "another name of a file",
        }
    }

    /// Returns the mode of what is a file, under whichever name.
    const fn file_mode(&self) -> Option<FileMode> {
        match self {
            Self::File(mode) | Self::Hardlink { mode, .. } => Some(*mode),
            Self::Directory | Self::Symlink(_) => None,
        }
    }
}

/// A file that two inputs have, to be compared when both are there.
struct Twice {
    path: ImagePath,
    owner: usize,
    /// The second one's bytes.
    second: PathBuf,
}

#[derive(Default)]
struct State {
    claims: HashMap<ImagePath, Claim>,
    twice: Vec<Twice>,
    /// Path and earlier name, in an order in which they can be made.
    hardlinks: Vec<(ImagePath, ImagePath)>,
    controls: Vec<(String, Control)>,
    elf: Vec<ImagePath>,
}

/// A layer that artifacts are being unpacked into. The last input is the recipe.
pub(super) struct Layer<'a> {
    content: &'a LayerContent,
    staged: StagedTree,
    aside: TemporaryFolder,
    exclude: GlobSet,
    state: Mutex<State>,
}

/// A layer that is complete, but for its name in the store.
pub(super) struct Finished {
    /// The folder.
    pub staged: StagedTree,
    /// The files that the dynamic loader knows.
    pub elf: BTreeMap<ImagePath, Dynamic>,
}

impl<'a> Layer<'a> {
    /// Begins a layer.
    pub fn begin(content: &'a LayerContent, store: &Store) -> Result<Self, LayerError> {
        let staged = store.stage_tree()?;
        disk::set_mode(staged.path(), 0o755)?;
        let exclude = archive::globs(content.exclude.iter().map(String::as_str))?;
        Ok(Self { content, staged, aside: store.scratch()?, exclude, state: Mutex::default() })
    }

    /// Returns what takes the entries of the artifact at `index`.
    pub fn sink(&self, index: usize) -> LayerSink<'_, 'a> {
        LayerSink { layer: self, owner: index, buffer: vec![0; BUFFER], aside: 0, failure: None }
    }

    /// Takes the control data of a package.
    pub fn control(&self, package: &str, control: Control) {
        self.state().controls.push((package.to_owned(), control));
    }

    /// Adds what does not come from artifacts, and makes the links.
    pub fn finish(self, files: &dyn RecipeFiles, platform: Platform) -> Result<Finished, LayerError> {
        let mut recipe = self.sink(self.content.artifacts.len());
        recipe.recipe_files(files)?;
        recipe.records()?;
        if self.content.ca_bundle {
            recipe.bundle()?;
        }
        recipe.links()?;
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let root = self.staged.path();
        for (path, original) in &state.hardlinks {
            disk::hard_link(&root.join(original.as_str()), &root.join(path.as_str()))?;
        }
        for twice in &state.twice {
            if !tree::equal_files(&root.join(twice.path.as_str()), &twice.second)? {
                let first = state.claims.get(&twice.path).map_or(twice.owner, |claim| claim.owner);
                return Err(differing(self.content, &twice.path, first, twice.owner));
            }
        }
        let mut elf = BTreeMap::new();
        for path in state.elf {
            let host = root.join(path.as_str());
            // A damaged file is loaded by nobody; vendors ship some as test data.
            if let Ok(Some(dynamic)) = elf::read(platform, disk::open(&host)?) {
                elf.insert(path, dynamic);
            }
        }
        for (path, claim) in &state.claims {
            if let Claimed::Symlink(target) = &claim.kind {
                disk::symlink(target, &root.join(path.as_str()))?;
            }
        }
        Ok(Finished { staged: self.staged, elf })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked under the lock brings the whole assembly down; its table is never used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the entries of one input.
pub(super) struct LayerSink<'l, 'a> {
    layer: &'l Layer<'a>,
    owner: usize,
    buffer: Vec<u8>,
    /// How many files were put aside.
    aside: usize,
    /// The error behind the one that the reader of the artifact was stopped with.
    failure: Option<LayerError>,
}

impl Sink for LayerSink<'_, '_> {
    fn take(&mut self, entry: Entry<'_>) -> io::Result<()> {
        self.place(entry).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            io::Error::other(text)
        })
    }
}

impl LayerSink<'_, '_> {
    /// Returns what stopped the reader, if it was this sink.
    pub fn failure(self) -> Option<LayerError> {
        self.failure
    }

    fn place(&mut self, entry: Entry<'_>) -> Result<(), LayerError> {
        let path = match &entry.kind {
            // Packages that merge the folders themselves have the links that the lowest layer has anyway.
            EntryKind::Symlink { target } if is_merged_link(&entry.path, target) => entry.path.clone(),
            _ => merged(&entry.path)?,
        };
        if self.layer.exclude.is_match(path.as_str()) {
            return Ok(());
        }
        match entry.kind {
            EntryKind::Directory => self.directory(&path),
            EntryKind::File { executable, size, content } => self.file(&path, FileMode::of(executable), size, content),
            EntryKind::Symlink { target } => self.symlink(&path, merged_target(&entry.path, &path, target)),
            EntryKind::Hardlink { original } => self.hardlink(&path, merged(&original)?),
        }
    }

    /// Adds the recipe's own files and folders.
    fn recipe_files(&mut self, files: &dyn RecipeFiles) -> Result<(), LayerError> {
        for folder in &self.layer.content.folders {
            self.directory(&merged(folder)?)?;
        }
        for file in &self.layer.content.files {
            let read = files.read(&file.from);
            let bytes = read.map_err(|source| LayerError::RecipeFile { from: file.from.clone(), source })?;
            self.bytes(&merged(&file.to)?, FileMode::of(file.executable), &bytes)?;
        }
        Ok(())
    }

    /// Records the packages.
    fn records(&mut self) -> Result<(), LayerError> {
        let controls = std::mem::take(&mut self.layer.state().controls);
        let folder: ImagePath = STATUS.parse()?;
        for (package, control) in controls {
            let stanza = format!("{}\n", control.stanza.trim_end());
            self.bytes(&folder.join(&package)?, FileMode::Plain, stanza.as_bytes())?;
            if let Some(sums) = control.md5sums {
                self.bytes(&folder.join(&format!("{package}.md5sums"))?, FileMode::Plain, sums.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Makes the bundle of certificate authorities, as `update-ca-certificates` would.
    fn bundle(&mut self) -> Result<(), LayerError> {
        let mut paths: Vec<ImagePath> = {
            let state = self.layer.state();
            let certificates = state.claims.iter().filter(|(path, claim)| {
                let named = path.as_str().starts_with(CERTIFICATES) && path.as_str().ends_with(".crt");
                named && matches!(claim.kind, Claimed::File(_))
            });
            certificates.map(|(path, _)| path.clone()).collect()
        };
        paths.sort();
        let mut bundle = Vec::new();
        for path in paths {
            let host = self.layer.staged.path().join(path.as_str());
            let certificate = disk::read(&host, ByteSize::new(1 << 20))?;
            let text: Vec<u8> = certificate.into_iter().filter(|byte| *byte != b'\r').collect();
            bundle.extend_from_slice(text.trim_ascii_end());
            bundle.push(b'\n');
        }
        if bundle.is_empty() {
            return Err(LayerError::NoCertificates);
        }
        self.bytes(&BUNDLE.parse()?, FileMode::Plain, &bundle)
    }

    /// Adds the recipe's links and, in the lowest layer, those that make parts of the root parts of `/usr`.
    fn links(&mut self) -> Result<(), LayerError> {
        if self.layer.content.lowest {
            for name in MERGED {
                let target = format!("usr/{name}");
                self.directory(&target.parse()?)?;
                self.symlink(&name.parse()?, target)?;
            }
        }
        for (path, target) in &self.layer.content.links {
            let place = if is_merged_link(path, target) { path.clone() } else { merged(path)? };
            self.symlink(&place, merged_target(path, &place, target.clone()))?;
        }
        Ok(())
    }

    fn bytes(&mut self, path: &ImagePath, mode: FileMode, mut bytes: &[u8]) -> Result<(), LayerError> {
        self.file(path, mode, ByteSize::new(bytes.len() as u64), &mut bytes)
    }

    fn directory(&self, path: &ImagePath) -> Result<(), LayerError> {
        // Its parents are claimed by way of something that would be in it.
        let mut state = self.layer.state();
        self.claim_folders(&mut state, path)?;
        self.claim_folder(&mut state, path)
    }

    fn symlink(&self, path: &ImagePath, target: String) -> Result<(), LayerError> {
        // Some write them with a leading slash.
        let target = if is_merged_link(path, &target) { format!("usr/{path}") } else { target };
        let mut state = self.layer.state();
        self.claim_folders(&mut state, path)?;
        self.claim(&mut state, path, Claimed::Symlink(target)).map(drop)
    }

    fn hardlink(&mut self, path: &ImagePath, original: ImagePath) -> Result<(), LayerError> {
        let mut state = self.layer.state();
        let dangling = || LayerError::Dangling {
            path: path.clone(),
            original: original.clone(),
            input: name(self.layer.content, self.owner),
        };
        let mode = state.claims.get(&original).and_then(|claim| claim.kind.file_mode()).ok_or_else(dangling)?;
        self.claim_folders(&mut state, path)?;
        if self.claim(&mut state, path, Claimed::Hardlink { mode, original: original.clone() })? {
            state.hardlinks.push((path.clone(), original));
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &ImagePath,
        mode: FileMode,
        size: ByteSize,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let first = {
            let mut state = self.layer.state();
            self.claim_folders(&mut state, path)?;
            self.claim(&mut state, path, Claimed::File(mode))?
        };
        let host = if first {
            self.layer.staged.path().join(path.as_str())
        } else {
            self.aside += 1;
            self.layer.aside.path().join(format!("{}-{}", self.owner, self.aside))
        };
        let is_elf = self.write(&host, mode, size, content)?;
        if first && is_elf {
            self.layer.state().elf.push(path.clone());
        }
        if !first {
            self.layer.state().twice.push(Twice { path: path.clone(), owner: self.owner, second: host });
        }
        Ok(())
    }

    /// Writes a file and returns whether it begins like an ELF file.
    fn write(
        &mut self,
        host: &Path,
        mode: FileMode,
        size: ByteSize,
        content: &mut dyn Read,
    ) -> Result<bool, DiskError> {
        let mut file = disk::create_new(host, mode.bits())?;
        disk::set_file_mode(&file, mode.bits(), host)?;
        let failed = |error| DiskError::new("unpack", host, error);
        let mut written = 0;
        let mut is_elf = false;
        loop {
            let mut length = 0;
            while let Some(room) = self.buffer.get_mut(length..).filter(|room| !room.is_empty()) {
                match content.read(room) {
                    Ok(0) => break,
                    Ok(count) => length += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            let bytes = self.buffer.get(..length).unwrap_or_default();
            if written == 0 {
                is_elf = bytes.starts_with(&elf::MAGIC);
            }
            if length == 0 {
                break;
            }
            disk::write_all(&mut file, bytes, host)?;
            written += length as u64;
            if written > size.bytes() {
                break;
            }
        }
        if written == size.bytes() {
            return Ok(is_elf);
        }
        let lengths = format!("expected {} bytes, found {written}", size.bytes());
        Err(failed(io::Error::new(io::ErrorKind::InvalidData, lengths)))
    }

    /// Claims all folders above a path, and makes those that are new. They are made under the lock of the table, so that
    /// whoever finds a folder claimed finds it made.
    fn claim_folders(&self, state: &mut State, path: &ImagePath) -> Result<(), LayerError> {
        let mut missing = Vec::new();
        for folder in path.ancestors() {
            match state.claims.get(&folder) {
                Some(Claim { kind: Claimed::Directory, .. }) => break,
                Some(claim) => return Err(self.conflict(&folder, claim, &Claimed::Directory)),
                None => missing.push(folder),
            }
        }
        missing.iter().rev().try_for_each(|folder| self.claim_folder(state, folder))
    }

    fn claim_folder(&self, state: &mut State, path: &ImagePath) -> Result<(), LayerError> {
        if self.claim(state, path, Claimed::Directory)? {
            let host = self.layer.staged.path().join(path.as_str());
            disk::create_folder(&host)?;
            disk::set_mode(&host, directory_bits(path))?;
        }
        Ok(())
    }

    /// Claims a path and returns whether nobody else had claimed the same before.
    fn claim(&self, state: &mut State, path: &ImagePath, kind: Claimed) -> Result<bool, LayerError> {
        let Some(claim) = state.claims.get(path) else {
            state.claims.insert(path.clone(), Claim { owner: self.owner, kind });
            return Ok(true);
        };
        if claim.kind == kind {
            Ok(false)
        } else if claim.kind.name() == kind.name() {
            Err(differing(self.layer.content, path, claim.owner, self.owner))
        } else {
            Err(self.conflict(path, claim, &kind))
        }
    }

    fn conflict(&self, path: &ImagePath, claim: &Claim, kind: &Claimed) -> LayerError {
        // Ordered, so that the message does not depend on who came first.
        let mut sides = [(claim.owner, claim.kind.name()), (self.owner, kind.name())];
        sides.sort_unstable();
        let [(left, left_kind), (right, right_kind)] = sides;
        let (left, right) = (name(self.layer.content, left), name(self.layer.content, right));
        LayerError::Conflict { path: path.clone(), left, left_kind, right, right_kind }
    }
}

/// Names an input.
fn name(content: &LayerContent, owner: usize) -> String {
    content.artifacts.get(owner).map_or_else(|| "the recipe".to_owned(), |artifact| artifact.file.to_string())
}

fn differing(content: &LayerContent, path: &ImagePath, one: usize, other: usize) -> LayerError {
    let (left, right) = (name(content, one.min(other)), name(content, one.max(other)));
    LayerError::Differing { path: path.clone(), left, right }
}

/// Returns where a path of a package stands once the parts of the root are parts of `/usr`.
fn merged(path: &ImagePath) -> Result<ImagePath, ImagePathError> {
    let first = path.as_str().split('/').next().unwrap_or_default();
    if MERGED.contains(&first) { format!("usr/{path}").parse() } else { Ok(path.clone()) }
}

/// Returns whether a link is one of those that make parts of the root parts of `/usr`.
fn is_merged_link(path: &ImagePath, target: &str) -> bool {
    MERGED.contains(&path.as_str()) && target.trim_start_matches('/') == format!("usr/{path}")
}

/// Returns what a link must say once it has moved from `from` to `to`: the same, unless it climbs to the root, which is
/// now one step further up.
fn merged_target(from: &ImagePath, to: &ImagePath, target: String) -> String {
    if from == to || target.starts_with('/') {
        return target;
    }
    let mut folder: Vec<&str> = from.as_str().split('/').collect();
    folder.pop();
    let mut climbed = false;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                folder.pop();
                climbed |= folder.is_empty();
            }
            component => folder.push(component),
        }
    }
    if climbed { format!("/{}", folder.join("/")) } else { target }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        text.parse().unwrap()
    }

    struct NoFiles;

    impl RecipeFiles for NoFiles {
        fn read(&self, _: &str) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn content() -> LayerContent {
        LayerContent {
            artifacts: Vec::new(),
            files: Vec::new(),
            folders: Default::default(),
            links: BTreeMap::new(),
            exclude: Vec::new(),
            ca_bundle: false,
            lowest: false,
        }
    }

    fn file(sink: &mut LayerSink<'_, '_>, at: &str, mut bytes: &[u8]) -> io::Result<()> {
        let size = ByteSize::new(bytes.len() as u64);
        sink.take(Entry { path: path(at), kind: EntryKind::File { executable: false, size, content: &mut bytes } })
    }

    fn hardlink(sink: &mut LayerSink<'_, '_>, at: &str, original: &str) -> io::Result<()> {
        sink.take(Entry { path: path(at), kind: EntryKind::Hardlink { original: path(original) } })
    }

    #[test]
    fn names_of_one_file_do_not_depend_on_who_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let content = content();
        for order in [[0, 1], [1, 0]] {
            let layer = Layer::begin(&content, &store).unwrap();
            for input in order {
                let mut sink = layer.sink(input);
                file(&mut sink, "usr/a", b"same").unwrap();
                hardlink(&mut sink, "usr/b", "usr/a").unwrap();
                hardlink(&mut sink, "usr/c", "usr/b").unwrap();
                assert!(hardlink(&mut sink, "usr/d", "usr/later").is_err());
            }
            let finished = layer.finish(&NoFiles, Platform::LinuxAmd64).unwrap();
            let names = tree::nodes(finished.staged.path()).unwrap();
            let links = names.iter().filter(|(_, node)| matches!(node, tree::Node::Hardlink { .. }));
            assert_eq!(links.count(), 2, "{order:?}");

            let layer = Layer::begin(&content, &store).unwrap();
            let mut last = Ok(());
            for input in order {
                let mut sink = layer.sink(input);
                file(&mut sink, "usr/a", b"same").unwrap();
                last =
                    if input == 0 { file(&mut sink, "usr/b", b"same") } else { hardlink(&mut sink, "usr/b", "usr/a") };
            }
            let text = last.unwrap_err().to_string();
            assert!(text.contains("a file in") && text.contains("another name of a file in"), "{text}");
        }
    }

    #[test]
    fn parts_of_the_root_become_parts_of_usr() {
        for (from, to) in [
            ("bin/sh", "usr/bin/sh"),
            ("lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
            ("lib64", "usr/lib64"),
            ("library/a", "library/a"),
            ("opt/bin/a", "opt/bin/a"),
        ] {
            assert_eq!(merged(&path(from)).unwrap(), path(to));
        }
    }

    #[test]
    fn links_lead_to_the_same_place_after_they_moved() {
        for (from, target, expected) in [
            ("bin/a", "b", "b"),
            ("bin/a", "../usr/bin/a", "/usr/bin/a"),
            ("bin/a", "/opt/a", "/opt/a"),
            ("lib64/ld.so", "../lib/x/ld.so", "/lib/x/ld.so"),
            ("lib/x/a", "../y/a", "../y/a"),
            ("lib/x/a", "../../etc/./a", "/etc/a"),
            ("usr/bin/a", "../../etc/a", "../../etc/a"),
        ] {
            let to = merged(&path(from)).unwrap();
            assert_eq!(merged_target(&path(from), &to, target.to_owned()), expected, "{from}");
        }
    }
}
