//! An existing model of the user, wrapped in an NN Archive whose description follows from the model alone.
//!
//! Owns which formats that is possible for, which files belong to a model, and where the archive goes: both may be on
//! another machine. The model is read and described; it is never changed.

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::find::companions;
use crate::config::archive::{BareError, BareModel, BareTensor, describe_bare};
use crate::config::{FileReference, TensorFacts};
use crate::digest::{Digest, Fingerprint, VerifyingReader};
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::hint::Hint;
use crate::image_path::{ImagePath, ImagePathError};
use crate::myriad::{Blob, BlobError, Superblob, SuperblobError};
use crate::nn_archive::{ArchiveForm, DataType, Document, Haste};
use crate::onnx::{self, ElementType, Model, OnnxError, Whereabouts};
use crate::pipeline::ir::{self, IrError};
use crate::pipeline::pack::{self, PackError, Packed};
use crate::pipeline::{self, load};
use crate::remote::{Location, LocationError, Remote, RemoteError};
use crate::tflite::{self, TfliteError};
use crate::units::{ByteSize, ShaveCount};

/// No reader of ONNX accepts more in one file, and no other model's main file is as large.
const MODEL_LIMIT: ByteSize = ByteSize::new(onnx::MAX_MODEL_BYTES);

/// The ending of archives when nobody chose one.
const USUAL: &str = "tar.xz";

/// What was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wrapped {
    /// The archive: its path, or its URL.
    pub archive: PathBuf,
    /// Its size.
    pub size: ByteSize,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// Its `config.json`.
    pub config: Document,
    /// What people should know.
    pub notes: Vec<String>,
}

/// A model that is not wrapped.
#[derive(Debug, Error)]
pub enum WrapError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file elsewhere that cannot be had, or a place elsewhere that does not take the archive.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A folder that does not exist.
    #[error("there is no folder {}", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A format that only its vendor's tools read.
    #[error("`{path}` cannot be wrapped: {reason}")]
    Format {
        /// The file.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// The file is no ONNX model, or a broken one.
    #[error("cannot read the model {}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<OnnxError>,
    },
    /// The model's tensors are in a file elsewhere.
    #[error("the tensor `{tensor}` of the model is in `{location}`, outside the model's folder")]
    Outside {
        /// The tensor.
        tensor: String,
        /// The file, as the model names it.
        location: String,
    },
    /// The file is no IR, or a broken one.
    #[error("cannot read the model {}", path.display())]
    Ir {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: IrError,
    },
    /// The file is no TFLite model, or a broken one.
    #[error("cannot read the model {}", path.display())]
    Tflite {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TfliteError,
    },
    /// The file is no blob, or a broken one.
    #[error("cannot read the model {}", path.display())]
    Blob {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: BlobError,
    },
    /// The file is no superblob, or a broken one.
    #[error("cannot read the model {}", path.display())]
    Superblob {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SuperblobError,
    },
    /// A name that cannot stand in an archive.
    #[error(transparent)]
    Name(#[from] ImagePathError),
    /// The model does not say what an archive needs to know.
    #[error(transparent)]
    Describe(#[from] BareError),
    /// The archive cannot be written or read back.
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl Hint for WrapError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Remote(error) => error.hints(),
            Self::NoFolder { .. } => {
                vec![format!("make the folder, or name a file that ends with `.{USUAL}`, `.tar.gz` or `.tar.bz2`")]
            }
            Self::Format { .. } => {
                vec!["wrap a model in .onnx, .xml with .bin, .tflite, .blob or .superblob".to_owned()]
            }
            Self::Onnx { source, .. } => source.hints(),
            Self::Outside { .. } => vec!["place the file beside the model and export the model again".to_owned()],
            Self::Ir { source, .. } => source.hints(),
            Self::Tflite { source, .. } => source.hints(),
            Self::Blob { source, .. } => source.hints(),
            Self::Superblob { source, .. } => source.hints(),
            Self::Name(error) => error.hints(),
            Self::Describe(error) => error.hints(),
            Self::Pack(error) => error.hints(),
        }
    }
}

/// Where an archive goes and how it is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its form.
    pub form: ArchiveForm,
}

impl Place {
    /// Decides what `--save-path` means for a model in the file `model`, seen from the folder `working`: a file where it
    /// ends like an archive, else a folder that exists. Without it, the working folder.
    ///
    /// # Errors
    /// The folder does not exist.
    pub fn of(save_path: Option<&str>, model: &Path, working: &Path) -> Result<Self, WrapError> {
        let reference = FileReference::new(save_path.unwrap_or_default());
        let path = working.join(reference.as_str());
        let is_file = !reference.as_str().ends_with('/') && !path.is_dir();
        let (folder, place) = match ArchiveForm::split(reference.file_name()).filter(|_| is_file) {
            Some((_, form)) => (path.parent().unwrap_or(working).to_owned(), Self { file: path.clone(), form }),
            None => {
                let stem = model.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                (path.clone(), Self { file: path.join(format!("{stem}.{USUAL}")), form: ArchiveForm::Xz })
            }
        };
        if folder.is_dir() { Ok(place) } else { Err(WrapError::NoFolder { folder }) }
    }
}

/// A model and the files that belong to it.
struct Found {
    model: BareModel,
    /// The model first.
    files: Vec<(ImagePath, PathBuf)>,
}

/// Brings the model of a URL with all files that belong to it, and returns where it is on this machine.
///
/// # Errors
/// One of the files cannot be had.
pub fn bring(reference: &FileReference, remote: &Remote<'_>) -> Result<PathBuf, WrapError> {
    let at = |reference: &FileReference| Location::parse(reference).map_err(RemoteError::from);
    let location = at(reference)?;
    let half = match reference.suffix().to_ascii_lowercase().as_str() {
        ".xml" => ".bin",
        ".bin" => ".xml",
        ".onnx" => {
            let path = remote.fetch(&location)?;
            let companions = companions(&path);
            return Ok(if companions.is_empty() { path } else { remote.fetch_with(&location, &companions)? });
        }
        _ => return Ok(remote.fetch(&location)?),
    };
    let other = at(&reference.with_suffix(half))?;
    Ok(remote.fetch_together(&location, vec![(other.name(), other)])?)
}

/// Wraps the model at `path` and uploads the archive to `url`: a file where that ends like an archive, else a folder. It
/// is made in the folder `temporary`.
///
/// # Errors
/// The place takes no files, or the same as those of [`wrap`].
pub fn wrap_for(url: &FileReference, path: &Path, temporary: &Path, remote: &Remote<'_>) -> Result<Wrapped, WrapError> {
    let to = Location::parse_target(url).map_err(RemoteError::from)?;
    remote.check_target(&to)?;
    let is_file = !url.as_str().ends_with('/') && ArchiveForm::split(url.file_name()).is_some();
    let scratch = TemporaryFolder::create_in(temporary)?;
    let place = Place::of(is_file.then(|| to.name()).as_deref(), path, scratch.path())?;
    let wrapped = wrap(path, &place)?;
    let name = place.file.file_name().unwrap_or_default().to_string_lossy();
    let no_key = || RemoteError::from(LocationError::Key { reference: FileReference::new(name.as_ref()) });
    let to = if is_file { to } else { to.below(&name).ok_or_else(no_key)? };
    remote.upload(&wrapped.archive, &to)?;
    Ok(Wrapped { archive: PathBuf::from(to.to_string()), ..wrapped })
}

/// Wraps the model at `path`. An archive that stands at `place` already is replaced as a whole.
///
/// # Errors
/// The model cannot be read or described, or the archive cannot be written.
pub fn wrap(path: &Path, place: &Place) -> Result<Wrapped, WrapError> {
    let Found { model, files } = find(path)?;
    let config = describe_bare(&model)?;
    let open = model.inputs.iter().filter(|tensor| tensor.is_open());
    let notes = open
        .map(|tensor| format!("the model leaves sizes of input `{}` open: they are 0 in the NN Archive", tensor.name));
    let packed: Vec<Packed<'_>> =
        files.iter().map(|(path, file)| Packed { path: path.clone(), file: file.as_path() }).collect();
    let Fingerprint { size, sha256 } =
        pack::archive(&place.file, place.form, &packed, (&config, None), &Haste::on_all_cores())?;
    VerifyingReader::new(disk::open(&place.file)?, size, sha256)
        .check()
        .map_err(|source| DiskError::new("read back", &place.file, source))?;
    Ok(Wrapped { archive: place.file.clone(), size, sha256, config, notes: notes.collect() })
}

fn find(path: &Path) -> Result<Found, WrapError> {
    let reference = FileReference::new(path.to_string_lossy());
    let refused = |reason| Err(WrapError::Format { path: reference.as_str().to_owned(), reason });
    match reference.suffix().to_ascii_lowercase().as_str() {
        ".onnx" => onnx(path),
        ".xml" => ir(path, &path.with_extension("bin")),
        ".bin" => ir(&path.with_extension("xml"), path),
        ".blob" => {
            let bytes = disk::read(path, MODEL_LIMIT)?;
            let blob = Blob::parse(&bytes).map_err(|source| WrapError::Blob { path: path.to_owned(), source })?;
            blob_of(path, &blob)
        }
        ".superblob" => superblob(path),
        ".tflite" => tflite(path),
        ".dlc" => refused("what it takes and gives can be read by Qualcomm's tools alone"),
        ".hef" | ".har" => refused("what it takes and gives can be read by Hailo's tools alone"),
        ".pt" | ".pth" => refused("a model of PyTorch does not say what it takes and gives"),
        _ => refused("it is no model of a known format"),
    }
}

fn bare(path: &Path, precision: Option<DataType>, inputs: Vec<BareTensor>, outputs: Vec<BareTensor>) -> BareModel {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    BareModel {
        name: text(path.file_stem()).unwrap_or_default(),
        path: text(path.file_name()).unwrap_or_default(),
        precision,
        inputs,
        outputs,
    }
}

/// Returns a file under its own name.
fn own(path: &Path) -> Result<(ImagePath, PathBuf), WrapError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((name.parse()?, path.to_owned()))
}

fn onnx(path: &Path) -> Result<Found, WrapError> {
    let refused = |source| WrapError::Onnx { path: path.to_owned(), source: Box::new(source) };
    let model = Model::parse(bytes::Bytes::from(disk::read(path, MODEL_LIMIT)?)).map_err(refused)?;
    let mut files = vec![own(path)?];
    let folder = path.parent().unwrap_or(Path::new(""));
    for data in model.external_data() {
        if data.whereabouts == Whereabouts::Outside {
            return Err(WrapError::Outside { tensor: data.tensor, location: data.location });
        }
        let place: ImagePath = data.location.parse()?;
        if !files.iter().any(|(known, _)| *known == place) {
            files.push((place, folder.join(&data.location)));
        }
    }
    let facts = load::onnx_facts(&model);
    let tensors = |facts: &[TensorFacts]| facts.iter().map(BareTensor::of_model).collect();
    let bare = bare(path, Some(precision(&model)), tensors(&facts.inputs), tensors(&facts.outputs));
    Ok(Found { model: bare, files })
}

fn tflite(path: &Path) -> Result<Found, WrapError> {
    let refused = |source| WrapError::Tflite { path: path.to_owned(), source };
    let model = tflite::Model::parse(&bytes::Bytes::from(disk::read(path, MODEL_LIMIT)?)).map_err(refused)?;
    let facts = pipeline::tflite::facts(&model);
    let tensors = |facts: &[TensorFacts]| facts.iter().map(BareTensor::of_model).collect();
    // Integers may stand for real numbers in some layers and not in others.
    let bare = bare(path, None, tensors(&facts.inputs), tensors(&facts.outputs));
    Ok(Found { model: bare, files: vec![own(path)?] })
}

/// Returns the type of an ONNX model's weights: half floats where there are no others.
fn precision(model: &Model) -> DataType {
    let elements = model.graph().initializer.iter().filter_map(|tensor| ElementType::from_code(tensor.data_type?));
    let mut floats =
        elements.filter(|element| matches!(element, ElementType::Float32 | ElementType::Float16)).peekable();
    if floats.peek().is_some() && floats.all(|element| element == ElementType::Float16) {
        DataType::Float16
    } else {
        DataType::Float32
    }
}

fn ir(graph: &Path, weights: &Path) -> Result<Found, WrapError> {
    let facts = ir::facts(&disk::read(graph, MODEL_LIMIT)?)
        .map_err(|source| WrapError::Ir { path: graph.to_owned(), source })?;
    // An IR without its weights is no model, and is refused here rather than by the device.
    disk::open(weights)?;
    let tensors = |facts: &[TensorFacts]| facts.iter().map(BareTensor::of_model).collect();
    // Weights may be half floats or floats, and are compressed without a word about it.
    let bare = bare(graph, None, tensors(&facts.inputs), tensors(&facts.outputs));
    Ok(Found { model: bare, files: vec![own(graph)?, own(weights)?] })
}

fn superblob(path: &Path) -> Result<Found, WrapError> {
    let bytes = disk::read(path, MODEL_LIMIT)?;
    let refused = |source| WrapError::Superblob { path: path.to_owned(), source };
    let superblob = Superblob::parse(&bytes).map_err(refused)?;
    let base = superblob.blob(ShaveCount::EIGHT).map_err(refused)?;
    let blob = Blob::parse(&base).map_err(|source| WrapError::Blob { path: path.to_owned(), source })?;
    blob_of(path, &blob)
}

fn blob_of(path: &Path, blob: &Blob) -> Result<Found, WrapError> {
    let tensors = |tensors: &[crate::myriad::Tensor]| {
        tensors.iter().map(|tensor| BareTensor::of_compiled(&pack::tensor(tensor))).collect()
    };
    // The device computes in half floats.
    let bare = bare(path, Some(DataType::Float16), tensors(&blob.inputs), tensors(&blob.outputs));
    Ok(Found { model: bare, files: vec![own(path)?] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_save_path_is_a_file_or_a_folder() {
        let bench = tempfile::tempdir().unwrap();
        let working = bench.path();
        std::fs::create_dir(working.join("a.tar.gz")).unwrap();
        let of = |save_path| Place::of(save_path, Path::new("/m/my.net.onnx"), working);
        for (save_path, file, form) in [
            (None, "./my.net.tar.xz", ArchiveForm::Xz),
            (Some("x.tar.bz2"), "x.tar.bz2", ArchiveForm::Bzip2),
            (Some("./x.v2.TAR"), "x.v2.TAR", ArchiveForm::Plain),
            // Folders may be called anything.
            (Some("a.tar.gz"), "a.tar.gz/my.net.tar.xz", ArchiveForm::Xz),
            (Some("a.tar.gz/"), "a.tar.gz/my.net.tar.xz", ArchiveForm::Xz),
        ] {
            let place = of(save_path).unwrap();
            assert_eq!((place.file, place.form), (working.join(file), form), "{save_path:?}");
        }
        for missing in ["nowhere", "nowhere/x.tar.xz", "x.tar.xz/"] {
            assert!(matches!(of(Some(missing)), Err(WrapError::NoFolder { .. })), "{missing}");
        }
    }

    #[test]
    fn formats_of_vendors_are_refused_with_the_reason() {
        for (path, part) in [("a.dlc", "Qualcomm"), ("a.hef", "Hailo"), ("a.pt", "PyTorch"), ("a", "no model")] {
            let error = find(Path::new(path)).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
