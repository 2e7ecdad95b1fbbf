//! What differs between two images: packages by version, files by path.
//!
//! Either image may be in the store or in a file or folder that anybody wrote as an OCI image layout. Layers of strangers
//! are only read, never unpacked.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Serialize;

use super::ImageError;
use crate::digest::{Digest, Hasher};
use crate::disk;
use crate::image_path::ImagePath;
use crate::oci::{Compression, Document, INDEX, Index, Manifest, MediaType, blob_path};
use crate::ops::assemble::AssembledImage;
use crate::ops::tree::{self, Node};
use crate::tarball::FileMode;
use crate::units::ByteSize;

/// Documents larger than this are no documents of images or packages.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// One of the two images.
#[derive(Clone, Copy, Debug)]
pub enum Side<'a> {
    /// An image in the store.
    Assembled(&'a AssembledImage),
    /// An exported image: a file or a folder.
    Exported(&'a Path),
}

/// What differs, seen from the first to the second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImageDifference {
    /// Packages that came, went or changed their version, by name.
    pub packages: BTreeMap<String, PackageChange>,
    /// Files that came, went or changed, by path.
    pub files: BTreeMap<ImagePath, FileChange>,
}

impl ImageDifference {
    /// Returns whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.files.is_empty()
    }
}

/// What became of a package: its version before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// The version before.
    pub before: Option<String>,
    /// The version after.
    pub after: Option<String>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// It came.
    Added,
    /// It went.
    Removed,
    /// It has other bytes, another mode, another target, or is something else.
    Changed,
}

/// Prints one line for each thing, packages first.
impl fmt::Display for ImageDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, change) in &self.packages {
            match (&change.before, &change.after) {
                (Some(before), Some(after)) => writeln!(formatter, "package {name}: {before} -> {after}")?,
                (None, Some(after)) => writeln!(formatter, "package {name}: + {after}")?,
                (Some(before), None) => writeln!(formatter, "package {name}: - {before}")?,
                (None, None) => {}
            }
        }
        for (path, change) in &self.files {
            let sign = match change {
                FileChange::Added => '+',
                FileChange::Removed => '-',
                FileChange::Changed => '~',
            };
            writeln!(formatter, "{sign} /{path}")?;
        }
        Ok(())
    }
}

/// Compares two images.
///
/// # Errors
/// One of them cannot be read.
pub fn compare(before: Side<'_>, after: Side<'_>) -> Result<ImageDifference, ImageError> {
    let (before, after) = (Content::of(before)?, Content::of(after)?);
    let mut difference = ImageDifference::default();
    for (name, version) in both(&before.packages, &after.packages) {
        let (before, after) = (version.0.cloned(), version.1.cloned());
        difference.packages.insert(name.clone(), PackageChange { before, after });
    }
    for (path, items) in both(&before.items, &after.items) {
        let change = match items {
            (None, _) => FileChange::Added,
            (_, None) => FileChange::Removed,
            _ => FileChange::Changed,
        };
        difference.files.insert(path.clone(), change);
    }
    Ok(difference)
}

/// Returns what differs between two maps.
fn both<'a, K: Ord, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, (Option<&'a V>, Option<&'a V>))> {
    let came = after.keys().filter(|key| !before.contains_key(key));
    let keys = before.keys().chain(came);
    keys.map(|key| (key, (before.get(key), after.get(key)))).filter(|(_, (before, after))| before != after)
}

#[derive(Clone, PartialEq, Eq)]
enum Item {
    Directory,
    File { mode: FileMode, digest: Digest },
    Symlink { target: String },
    Other,
}

/// What an image has, its layers taken together.
#[derive(Default)]
struct Content {
    items: BTreeMap<ImagePath, Item>,
    packages: BTreeMap<String, String>,
    /// Which file says which package, so that a package goes with its file.
    records: BTreeMap<ImagePath, (String, String)>,
}

impl Content {
    fn of(side: Side<'_>) -> Result<Self, ImageError> {
        let mut content = Self::default();
        match side {
            Side::Assembled(image) => {
                for layer in &image.layers {
                    content.add_tree(&layer.tree)?;
                }
            }
            Side::Exported(path) => content.add_export(path)?,
        }
        content.packages = std::mem::take(&mut content.records).into_values().collect();
        Ok(content)
    }

    fn add_tree(&mut self, root: &Path) -> Result<(), ImageError> {
        for (path, node) in tree::nodes(root)? {
            let item = match node {
                Node::Directory => Item::Directory,
                Node::Symlink { target } => Item::Symlink { target },
                Node::File { mode, .. } | Node::Hardlink { mode, .. } => {
                    let host = root.join(path.as_str());
                    let digest = self
                        .read_file(&path, &mut disk::open(&host)?)
                        .map_err(|source| disk::DiskError::new("read", &host, source))?;
                    Item::File { mode, digest }
                }
            };
            self.items.insert(path, item);
        }
        Ok(())
    }

    fn add_export(&mut self, path: &Path) -> Result<(), ImageError> {
        let unreadable = |source| ImageError::Read { path: path.to_owned(), source };
        let layout = Layout::open(path).map_err(unreadable)?;
        let index = Index::from_bytes(&layout.document(INDEX).map_err(unreadable)?)?;
        let [descriptor] = index.manifests.as_slice() else {
            return Err(ImageError::Count { path: path.to_owned(), count: index.manifests.len() });
        };
        let manifest = layout.document(&blob_path(&descriptor.digest)).map_err(unreadable)?;
        for layer in Manifest::from_bytes(&manifest)?.layers {
            let blob = layout.member(&blob_path(&layer.digest)).map_err(unreadable)?;
            let blob = BufReader::new(blob);
            match layer.media_type {
                MediaType::Layer(Compression::None) => self.add_layer(blob),
                MediaType::Layer(Compression::Gzip) => self.add_layer(MultiGzDecoder::new(blob)),
                MediaType::Layer(Compression::Zstd) => zstd::Decoder::new(blob).and_then(|blob| self.add_layer(blob)),
                other => Err(invalid(format!("layer {} is of type `{other}`", layer.digest))),
            }
            .map_err(unreadable)?;
        }
        Ok(())
    }

    fn add_layer(&mut self, stream: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(invalid)?;
            if path.trim_matches(['.', '/']).is_empty() {
                continue;
            }
            let path: ImagePath = path.parse().map_err(invalid)?;
            if self.remove_hidden(&path)? {
                continue;
            }
            let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
            let mode = FileMode::of(entry.header().mode()? & 0o100 != 0);
            let item = match entry.header().entry_type() {
                tar::EntryType::Directory => Item::Directory,
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    Item::File { mode, digest: self.read_file(&path, &mut entry)? }
                }
                tar::EntryType::Symlink => Item::Symlink { target: target.unwrap_or_default() },
                tar::EntryType::Link => {
                    let original: ImagePath = target.unwrap_or_default().parse().map_err(invalid)?;
                    let missing = || invalid(format!("`{path}` is another name of `{original}`, which is not there"));
                    self.items.get(&original).cloned().ok_or_else(missing)?
                }
                tar::EntryType::XGlobalHeader => continue,
                _ => Item::Other,
            };
            // A file in place of a folder hides what was in the folder.
            if item != Item::Directory && self.items.get(&path) == Some(&Item::Directory) {
                self.remove_below(&path);
            }
            self.items.insert(path, item);
        }
        Ok(())
    }

    /// Removes what an upper layer hides (OCI image specification, "Whiteouts"), if `path` says so.
    fn remove_hidden(&mut self, path: &ImagePath) -> io::Result<bool> {
        let Some(hidden) = path.file_name().strip_prefix(".wh.") else { return Ok(false) };
        let parent = path.parent();
        if hidden == ".wh..opq" {
            if let Some(parent) = parent {
                self.remove_below(&parent);
            }
            return Ok(true);
        }
        let hidden = parent.map_or_else(|| hidden.parse(), |parent| parent.join(hidden)).map_err(invalid)?;
        self.remove_below(&hidden);
        self.items.remove(&hidden);
        self.records.remove(&hidden);
        Ok(true)
    }

    fn remove_below(&mut self, folder: &ImagePath) {
        let prefix = format!("{folder}/");
        self.items.retain(|path, _| !path.as_str().starts_with(&prefix));
        self.records.retain(|path, _| !path.as_str().starts_with(&prefix));
    }

    /// Hashes a file, and notes the package that it records, if it does.
    fn read_file(&mut self, path: &ImagePath, content: &mut dyn Read) -> io::Result<Digest> {
        let mut hasher = Hasher::default();
        let mut start = Vec::new();
        let is_record = is_record(path);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            hasher.update(bytes);
            if is_record && start.len() < 64 * 1024 {
                start.extend_from_slice(bytes);
            }
        }
        if let Some(package) = is_record.then(|| package(&String::from_utf8_lossy(&start))).flatten() {
            self.records.insert(path.clone(), package);
        }
        Ok(hasher.finish().1)
    }
}

/// Returns whether a file says which package was installed: of Debian, or of Python.
fn is_record(path: &ImagePath) -> bool {
    let path = path.as_str();
    let debian = path.strip_prefix("var/lib/dpkg/status.d/").is_some_and(|name| !name.ends_with(".md5sums"));
    debian || path.ends_with(".dist-info/METADATA")
}

/// Returns name and version from the first lines of a control stanza or of a wheel's metadata.
fn package(text: &str) -> Option<(String, String)> {
    let field = |keys: [&str; 2]| {
        text.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            keys.contains(&key).then(|| value.trim().to_owned())
        })
    };
    Some((field(["Package", "Name"])?, field(["Version", "Version"])?))
}

/// The parts of an image layout, in a folder or in a tar.
enum Layout<'a> {
    Folder(&'a Path),
    Archive { path: &'a Path, members: BTreeMap<String, (u64, u64)> },
}

impl<'a> Layout<'a> {
    fn open(path: &'a Path) -> io::Result<Self> {
        let file = disk::open(path).map_err(io::Error::other)?;
        if file.metadata()?.is_dir() {
            return Ok(Self::Folder(path));
        }
        let mut members = BTreeMap::new();
        let mut archive = tar::Archive::new(BufReader::new(file));
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            members.insert(name, (entry.raw_file_position(), entry.size()));
        }
        Ok(Self::Archive { path, members })
    }

    fn member(&self, name: &str) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Folder(path) => Ok(Box::new(disk::open(&path.join(name)).map_err(io::Error::other)?)),
            Self::Archive { path, members } => {
                let missing = || io::Error::new(io::ErrorKind::NotFound, format!("it has no `{name}`"));
                let (position, size) = *members.get(name).ok_or_else(missing)?;
                let mut file = disk::open(path).map_err(io::Error::other)?;
                file.seek(SeekFrom::Start(position))?;
                Ok(Box::new(file.take(size)))
            }
        }
    }

    fn document(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.member(name)?.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(invalid(format!("`{name}` is larger than {}", ByteSize::new(LARGEST_DOCUMENT))));
        }
        Ok(bytes)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(members: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn content(layers: &[&[(&str, &str)]]) -> Content {
        let mut content = Content::default();
        layers.iter().for_each(|members| content.add_layer(&layer(members)[..]).unwrap());
        content
    }

    #[test]
    fn upper_layers_replace_and_hide() {
        let found = content(&[
            &[("a/x", "1"), ("a/y", "1"), ("b", "1"), ("c/d", "1")],
            &[("a/.wh..wh..opq", ""), ("a/z", "2"), (".wh.b", ""), ("c/d", "2")],
        ]);
        let expected = content(&[&[("a/z", "2"), ("c/d", "2")]]);
        assert!(found.items == expected.items);
    }

    #[test]
    fn packages_are_named_by_their_records() {
        let found = content(&[&[
            ("var/lib/dpkg/status.d/libc6", "Package: libc6\nVersion: 2.31-13\n\nVersion: no\n"),
            ("var/lib/dpkg/status.d/libc6.md5sums", "Package: x\nVersion: y\n"),
            (
                "usr/lib/python3/dist-packages/numpy-1.dist-info/METADATA",
                "Metadata-Version: 2\nName: numpy\nVersion: 1\n",
            ),
        ]]);
        let packages: Vec<_> = found.records.into_values().collect();
        assert_eq!(packages, [("numpy".into(), "1".into()), ("libc6".into(), "2.31-13".into())]);
    }

    #[test]
    fn differences_go_both_ways() {
        let map = |pairs: &[(&str, u8)]| {
            pairs.iter().map(|(key, value)| (key.to_string(), *value)).collect::<BTreeMap<_, _>>()
        };
        let (before, after) = (map(&[("a", 1), ("b", 1), ("c", 1)]), map(&[("b", 2), ("c", 1), ("d", 1)]));
        let found: Vec<_> = both(&before, &after).map(|(key, pair)| format!("{key} {pair:?}")).collect();
        assert_eq!(found, ["a (Some(1), None)", "b (Some(1), Some(2))", "d (None, Some(1))"]);
    }

    #[test]
    fn paths_that_leave_the_image_are_refused() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..4].copy_from_slice(b"../x");
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        assert!(Content::default().add_layer(&builder.into_inner().unwrap()[..]).is_err());
    }
}
