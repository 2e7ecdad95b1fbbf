//! An NN Archive of the user as files: unpacked into a folder of its own, or the folder that it already is.
//!
//! Owns unpacking and what must be in an archive for a conversion. Each archive gets a fresh folder, which goes with its
//! [`Opened`]: what one archive had never reaches another. Must not know configurations.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::FileReference;
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::exchange::SourceArchive;
use crate::hint::Hint;
use crate::image_path::ImagePath;
use crate::intake::Limits;
use crate::name::{FileName, NameError};
use crate::nn_archive::pack::{CONFIG_NAME, ENCODINGS_NAME};
use crate::nn_archive::{self, ArchiveError, ArchiveForm, Document, LIMITS};
use crate::units::ByteSize;

/// No `config.json` is longer.
const CONFIG_LIMIT: ByteSize = ByteSize::new(64 << 20);

/// What any archive may unpack to, however small it is.
const SMALL: u64 = 1 << 30;

/// How many times its own size an archive may unpack to. Weights hardly compress; zeros do, a few thousand times.
const EXPANSION: u64 = 1000;

/// An NN Archive whose members can be read.
#[derive(Debug)]
pub struct Opened {
    /// What the archive is and says.
    pub source: SourceArchive,
    /// The folder with its members.
    pub folder: PathBuf,
    /// Quantisation encodings for SNPE, by their path in the archive.
    pub encodings: Option<FileReference>,
    /// The folder's end, if it was made for this.
    own: Option<TemporaryFolder>,
}

/// An NN Archive that cannot be converted.
#[derive(Debug, Error)]
pub enum SourceArchiveError {
    /// It is none, or a damaged one.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file has no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A folder that is none.
    #[error("the folder has no `{CONFIG_NAME}`, so it is no NN Archive")]
    NoArchive {
        /// A model in it.
        model: Option<PathBuf>,
    },
    /// An IR without its weights.
    #[error("the NN Archive has the IR `{graph}`, but not its weights `{weights}`")]
    NoWeights {
        /// The graph's path in the archive.
        graph: String,
        /// The weights' path in the archive.
        weights: String,
    },
    /// A link in a folder that leads out of it.
    #[error("`{path}` is outside the folder of the NN Archive")]
    Outside {
        /// The path in the archive.
        path: String,
    },
}

impl Hint for SourceArchiveError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Archive(error) => error.hints(),
            Self::Disk(error) => error.hints(),
            Self::Name(error) => error.hints(),
            Self::NoArchive { model: Some(model) } => vec![format!("name the model itself: {}", model.display())],
            Self::NoArchive { model: None } => {
                vec!["name a configuration, a model, or a folder with an unpacked NN Archive".to_owned()]
            }
            Self::NoWeights { weights, .. } => vec![format!("pack the IR again, with `{weights}` beside it")],
            Self::Outside { .. } => Vec::new(),
        }
    }
}

impl Opened {
    /// Returns whether the members lie in a folder that goes away with this.
    pub const fn is_unpacked(&self) -> bool {
        self.own.is_some()
    }
}

/// Returns whether the file or folder at `path` is to be taken for an NN Archive, as far as its first bytes tell.
///
/// # Errors
/// It cannot be read.
pub fn is_archive(path: &Path) -> Result<bool, DiskError> {
    if !path.is_file() {
        // What is read from a pipe is gone.
        return Ok(path.is_dir());
    }
    let mut start = Vec::new();
    let read = disk::open(path)?.take(512).read_to_end(&mut start);
    read.map_err(|source| DiskError::new("read", path, source))?;
    Ok(nn_archive::looks_like_archive(&start))
}

/// Makes the members of an archive readable; those of a tar are unpacked into a new folder in `temporary`.
///
/// # Errors
/// The archive is none, is damaged or hostile, or lacks what belongs to its models.
pub fn open(path: &Path, temporary: &Path) -> Result<Opened, SourceArchiveError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (document, folder, own) = if path.is_dir() {
        (read_folder(path)?, path.to_owned(), None)
    } else {
        let own = TemporaryFolder::create_in(temporary)?;
        (unpack(path, own.path())?, own.path().to_owned(), Some(own))
    };
    let models = std::iter::once(document.model.metadata.path.clone()).chain(document.postprocessors());
    for graph in models.filter(|model| model.to_ascii_lowercase().ends_with(".xml")) {
        let weights = FileReference::new(graph.as_str()).with_suffix(".bin").as_str().to_owned();
        if disk::metadata(&folder.join(&weights))?.is_none() {
            return Err(SourceArchiveError::NoWeights { graph, weights });
        }
    }
    let has_encodings = disk::metadata(&folder.join(ENCODINGS_NAME))?.is_some();
    let stem = ArchiveForm::split(&name).map_or(name.as_str(), |(stem, _)| stem);
    Ok(Opened {
        source: SourceArchive { name: stem.parse::<FileName>()?, document },
        folder,
        encodings: has_encodings.then(|| FileReference::new(ENCODINGS_NAME)),
        own,
    })
}

fn read_folder(folder: &Path) -> Result<Document, SourceArchiveError> {
    let config = disk::read_if_exists(&folder.join(CONFIG_NAME), CONFIG_LIMIT)?;
    let Some(config) = config else {
        let is_model =
            |file: &PathBuf| ["onnx", "tflite", "xml"].iter().any(|suffix| file.extension() == Some(suffix.as_ref()));
        return Err(SourceArchiveError::NoArchive { model: disk::list(folder)?.into_iter().find(is_model) });
    };
    let document = Document::parse(&config).map_err(ArchiveError::from)?;
    let root = folder.canonicalize().map_err(|source| DiskError::new("open", folder, source))?;
    for path in std::iter::once(document.model.metadata.path.clone()).chain(document.postprocessors()) {
        let file = folder.join(path.trim_start_matches('/'));
        match file.canonicalize() {
            Ok(found) if found.starts_with(&root) && found.is_file() => {}
            Ok(found) if found.starts_with(&root) => return Err(ArchiveError::NoModel { path }.into()),
            Ok(_) => return Err(SourceArchiveError::Outside { path }),
            Err(_) => return Err(ArchiveError::NoModel { path }.into()),
        }
    }
    Ok(document)
}

fn unpack(archive: &Path, folder: &Path) -> Result<Document, SourceArchiveError> {
    let file = disk::open(archive)?;
    let size = file.metadata().map_err(|source| DiskError::new("read", archive, source))?.len();
    let total = size.saturating_mul(EXPANSION).max(SMALL).min(LIMITS.total.bytes());
    let limits = Limits { total: ByteSize::new(total), ..LIMITS };
    Ok(nn_archive::read(file, limits, &mut |path, _, content| place(folder, path, content))?)
}

/// Writes one member. Its path has no `..` and no link above it, for an archive has no links.
fn place(folder: &Path, path: &ImagePath, content: &mut dyn Read) -> io::Result<()> {
    let file = folder.join(path.as_str());
    if let Some(parent) = file.parent() {
        disk::create_folder(parent).map_err(io::Error::other)?;
    }
    let mut to = disk::create_new(&file, 0o666).map_err(io::Error::other)?;
    io::copy(content, &mut to).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::tarball::{FileMode, TarWriter};

    const CONFIG: &str = r#"{"config_version": "1.0", "model": {"metadata": {"name": "net", "path": "m/net.onnx"},
        "inputs": [], "outputs": [], "heads": []}}"#;

    fn tar(members: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        for (name, text) in members {
            let size = ByteSize::new(text.len() as u64);
            tar.file(&name.parse().unwrap(), FileMode::Plain, size, &mut text.as_bytes()).unwrap();
        }
        tar.finish().unwrap()
    }

    #[test]
    fn each_archive_gets_a_folder_of_its_own_that_goes_with_it() {
        let bench = tempfile::tempdir().unwrap();
        let write = |folder: &str, members: &[(&str, &str)]| {
            fs::create_dir(bench.path().join(folder)).unwrap();
            let path = bench.path().join(folder).join("net.v2.tar");
            fs::write(&path, tar(members)).unwrap();
            path
        };
        let model = [("m/net.onnx", "model"), ("m/w/data.bin", "weights"), (CONFIG_NAME, CONFIG)];
        let first = write("a", &[&model[..], &[(ENCODINGS_NAME, "{}")]].concat());
        let second = write("b", &model);
        let temporary = bench.path().join("temporary");
        fs::create_dir(&temporary).unwrap();

        let first = open(&first, &temporary).unwrap();
        let second = open(&second, &temporary).unwrap();
        assert_eq!(first.source.name.as_str(), "net.v2");
        assert_eq!(fs::read(first.folder.join("m/w/data.bin")).unwrap(), b"weights");
        // The archive of the same name has no encodings, whatever the other had.
        assert!(first.encodings.is_some() && second.encodings.is_none());
        assert!(first.is_unpacked() && first.folder != second.folder);
        drop((first, second));
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_is_read_where_it_is() {
        let bench = tempfile::tempdir().unwrap();
        let folder = bench.path().join("my.net");
        fs::create_dir_all(folder.join("m")).unwrap();
        let refused = |part: &str| {
            let error = open(&folder, bench.path()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        refused("the folder has no `config.json`");
        let hints = || open(&folder, bench.path()).unwrap_err().hints();
        assert!(hints()[0].starts_with("name a configuration"), "{:?}", hints());
        fs::write(folder.join("a.onnx"), "model").unwrap();
        assert!(hints()[0].ends_with("my.net/a.onnx"), "{:?}", hints());
        fs::write(folder.join(CONFIG_NAME), CONFIG).unwrap();
        refused("which is no member");
        fs::write(bench.path().join("elsewhere"), "").unwrap();
        symlink(bench.path().join("elsewhere"), folder.join("m/net.onnx")).unwrap();
        refused("outside the folder");
        fs::remove_file(folder.join("m/net.onnx")).unwrap();
        fs::write(folder.join("m/net.onnx"), "model").unwrap();
        let opened = open(&folder, bench.path()).unwrap();
        assert_eq!((opened.source.name.as_str(), &opened.folder), ("my.net", &folder));
        assert!(!opened.is_unpacked());
        assert!(is_archive(&folder).unwrap());
    }

    #[test]
    fn what_is_refused_leaves_nothing() {
        let bench = tempfile::tempdir().unwrap();
        let temporary = bench.path().join("temporary");
        fs::create_dir(&temporary).unwrap();
        let ir = CONFIG.replace("net.onnx", "net.xml");
        let deep = [("net/m/net.onnx", "model"), ("net/config.json", CONFIG)];
        let cases: [(Vec<u8>, &str); 4] = [
            (tar(&[("m/net.onnx", "model")]), "config not found"),
            (tar(&deep), "config not found"),
            (tar(&[("m/net.xml", ""), (CONFIG_NAME, &ir)]), "not its weights `m/net.bin`"),
            (tar(&[("m/net.onnx", "model"), (CONFIG_NAME, CONFIG)])[..700].to_vec(), "cannot be read"),
        ];
        for (bytes, part) in cases {
            let path = bench.path().join("a.tar");
            fs::write(&path, bytes).unwrap();
            let error = open(&path, &temporary).unwrap_err();
            assert!(error.to_string().contains(part), "{part}: {error}");
            assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
        }
        fs::write(bench.path().join("a.tar"), tar(&deep)).unwrap();
        let hints = open(&bench.path().join("a.tar"), &temporary).unwrap_err().hints();
        assert!(hints[0].contains("this one has `net/config.json`"), "{hints:?}");
    }

    #[test]
    fn a_small_archive_cannot_fill_the_disk() {
        let bench = tempfile::tempdir().unwrap();
        let mut tar = TarWriter::new(zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap());
        let size = ByteSize::new(SMALL + 1);
        // Refused by what the header says, before anything is unpacked.
        drop(tar.begin_file(&"zeros".parse().unwrap(), FileMode::Plain, size).unwrap());
        let path = bench.path().join("bomb.tar.zst");
        fs::write(&path, tar.finish().unwrap().finish().unwrap()).unwrap();
        let error = open(&path, bench.path()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("unpacks to more"), "{source}");
    }

    #[test]
    fn archives_are_known_by_their_bytes() {
        let bench = tempfile::tempdir().unwrap();
        let path = bench.path().join("archive-without-ending");
        for (bytes, expected) in [
            (tar(&[("a", "b")]), true),
            (zstd::stream::encode_all(&b"x"[..], 1).unwrap(), true),
            (b"input_model: a.onnx\n".to_vec(), false),
            (Vec::new(), false),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(is_archive(&path).unwrap(), expected);
        }
    }
}
