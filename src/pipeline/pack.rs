//! From a compiled model to what is handed over: `buildinfo.json`, `config.json`, the NN Archive.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use thiserror::Error;

use super::compile::CompiledModel;
use super::journal::Record;
use crate::config::archive::{self, CompiledFacts, CompiledTensor, DescribeError};
use crate::config::{DataType, FileReference, ResolvedStage, WeightType};
use crate::digest::{Digest, Fingerprint, Hasher, HashingWriter};
use crate::disk::{self, DiskError};
use crate::exchange::{FrontEndReport, Order, PreprocessingPlace, Rewriting};
use crate::hint::Hint;
use crate::image_path::{ImagePath, ImagePathError};
use crate::myriad::{Element, Tensor};
use crate::nn_archive::pack::BUILD_INFO_NAME;
use crate::nn_archive::{self, ArchiveError, ArchiveForm, Contents, Document, Haste, Member};
use crate::units::ByteSize;

/// Results that cannot be packed.
#[derive(Debug, Error)]
pub enum PackError {
    /// The file system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The compiled model cannot be described.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// A file name that cannot stand in an archive.
    #[error(transparent)]
    Name(#[from] ImagePathError),
    /// The archive cannot be written or read back.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The archive holds something else than was put in.
    #[error("the NN Archive that was written has another `{member}` than was put in")]
    Member {
        /// The member.
        member: String,
    },
}

impl Hint for PackError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Archive(error) => error.hints(),
            Self::Name(error) => error.hints(),
            Self::Describe(error) => error.hints(),
            Self::Member { .. } => Vec::new(),
        }
    }
}

/// What `buildinfo.json` says. Keys that the older tool wrote keep their names.
#[derive(Clone, Debug, Serialize)]
pub struct BuildInfo {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    calibration_seeds: BTreeMap<String, u64>,
    cmd_info: BTreeMap<String, Vec<String>>,
    compile_tool_build: Option<String>,
    compile_tool_version: Option<String>,
    front_end: Option<FrontEndReport>,
    image: Option<Digest>,
    input_sha256: BTreeMap<String, Digest>,
    is_superblob: bool,
    model_optimizer_version: Option<String>,
    modelconverter_version: &'static str,
    number_of_cmx_slices: Shaves,
    number_of_shaves: Shaves,
    preprocessing: PreprocessingPlace,
    rewritings: Vec<Rewriting>,
    target_devices: Vec<&'static str>,
    toolchain: String,
}

/// One number, or all of a superblob's.
#[derive(Clone, Debug)]
enum Shaves {
    One(u8),
    All(Vec<u8>),
}

impl Serialize for Shaves {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(count) => count.serialize(serializer),
            Self::All(counts) => counts.serialize(serializer),
        }
    }
}

impl BuildInfo {
    /// Collects what made the compiled model of files with these digests.
    pub fn new(
        (order, preprocessing): (&Order, PreprocessingPlace),
        digests: BTreeMap<String, Digest>,
        compiled: &CompiledModel,
        rewritings: &[Rewriting],
        record: Record,
    ) -> Self {
        let counts: Vec<u8> = compiled.shaves.iter().map(|shaves| shaves.get()).collect();
        let shaves = match counts.as_slice() {
            [one] => Shaves::One(*one),
            _ => Shaves::All(counts.clone()),
        };
        let mut tools = record.tools;
        Self {
            calibration_seeds: record.seeds,
            cmd_info: record.commands,
            compile_tool_build: tools.remove("compile_tool_build"),
            compile_tool_version: tools.remove("compile_tool"),
            front_end: compiled.front_end.clone(),
            image: order.image,
            input_sha256: digests,
            is_superblob: counts.len() > 1,
            model_optimizer_version: tools.remove("model_optimizer"),
            modelconverter_version: env!("CARGO_PKG_VERSION"),
            number_of_cmx_slices: shaves.clone(),
            number_of_shaves: shaves,
            preprocessing,
            rewritings: rewritings.to_vec(),
            target_devices: vec!["MYRIAD"],
            toolchain: order.toolchain().to_string(),
        }
    }

    /// Returns the text of `buildinfo.json`, which also says how the result was proven: with figures, or without.
    pub fn render(&self, proof: &impl Serialize) -> String {
        // Texts, numbers and lists always have a JSON form; a JSON object holds its keys sorted.
        let mut document = serde_json::to_value(self).unwrap_or_default();
        if let Some(keys) = document.as_object_mut() {
            keys.insert("proof".to_owned(), serde_json::to_value(proof).unwrap_or_default());
        }
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    }
}

/// Describes a compiled model for the NN Archive, in which its file is called `path`.
///
/// # Errors
/// Inputs or types of the compiled model do not fit the configuration.
pub fn describe(
    order: &Order,
    stage: &ResolvedStage,
    compiled: &CompiledModel,
    path: &ImagePath,
) -> Result<Document, PackError> {
    let facts = CompiledFacts {
        name: FileReference::new(path.as_str()).stem().to_owned(),
        path: path.to_string(),
        precision: match stage.settings.rvc2.weights {
            WeightType::Float16 => nn_archive::DataType::Float16,
            WeightType::Float32 => nn_archive::DataType::Float32,
        },
        inputs: compiled.blob.inputs.iter().map(tensor).collect(),
        outputs: compiled.blob.outputs.iter().map(tensor).collect(),
    };
    let source = order.source_archive.as_ref().map(|source| &source.document);
    Ok(archive::describe(stage, &facts, order.preprocessing_of(&stage.name), source)?)
}

/// Returns what a blob says of a tensor.
pub fn tensor(tensor: &Tensor) -> CompiledTensor {
    CompiledTensor {
        name: tensor.name.clone(),
        shape: tensor.shape.iter().map(|size| u64::from(*size)).collect(),
        axes: axes(tensor),
        data_type: match tensor.element {
            Element::F16 => DataType::Float16,
            Element::U8 => DataType::Uint8,
            Element::I32 => DataType::Int32,
            Element::F32 => DataType::Float32,
            Element::I8 => DataType::Int8,
        },
    }
}

/// Returns where the dimensions of a blob's tensor were before they were ordered for memory: a digit of the order counts
/// dimensions from the innermost, which is 1.
fn axes(tensor: &Tensor) -> Option<Vec<usize>> {
    let rank = tensor.shape.len();
    let digit = |place: usize| usize::try_from((tensor.order >> (4 * place)) & 0xf).ok();
    (0..rank).rev().map(|place| rank.checked_sub(digit(place)?).filter(|axis| *axis < rank)).collect()
}

/// A file on its way into an archive.
pub struct Packed<'a> {
    /// Where it stands in the archive.
    pub path: ImagePath,
    /// Where it is.
    pub file: &'a Path,
}

/// Writes an NN Archive and sees that what is in it comes out again: xz compares as it writes, others are read back.
/// Whoever takes the file over compares it with the digest.
///
/// # Errors
/// The archive cannot be written, or is not read back as it was written.
pub fn archive(
    path: &Path,
    form: ArchiveForm,
    files: &[Packed<'_>],
    (document, build_info): (&Document, Option<&str>),
    haste: &Haste,
) -> Result<Fingerprint, PackError> {
    let is_read_back = form != ArchiveForm::Xz;
    let mut contents = Vec::with_capacity(files.len());
    for packed in files {
        let file = disk::open(packed.file)?;
        let size = file.metadata().map_err(|source| DiskError::new("read", packed.file, source))?.len();
        contents.push((ByteSize::new(size), Hashed { inner: file, hasher: is_read_back.then(Hasher::default) }));
    }
    let members = std::iter::zip(files, &mut contents);
    let mut members: Vec<Member<'_>> =
        members.map(|(packed, (size, content))| Member { path: packed.path.clone(), size: *size, content }).collect();
    let to = HashingWriter::new(disk::NewFile::create(path)?);
    let written = Contents { document, build_info: build_info.map(str::as_bytes), members: &mut members };
    let (file, size, sha256) = nn_archive::write(written, form, haste, to)?.finish();
    file.commit()?;
    if is_read_back {
        let digests = contents.into_iter().filter_map(|(_, content)| content.finish());
        let mut expected: BTreeMap<String, Digest> =
            std::iter::zip(files.iter().map(|packed| packed.path.to_string()), digests).collect();
        expected.extend(build_info.map(|text| (BUILD_INFO_NAME.to_owned(), Digest::of(text.as_bytes()))));
        check(path, expected, document)?;
    }
    Ok(Fingerprint { size, sha256 })
}

/// Reads an archive back and compares it with what was put in.
fn check(path: &Path, mut missing: BTreeMap<String, Digest>, document: &Document) -> Result<(), PackError> {
    let mut other = None;
    let found = nn_archive::read(disk::open(path)?, nn_archive::LIMITS, &mut |name, _, content| {
        let mut hashed = Hashed { inner: content, hasher: Some(Hasher::default()) };
        io::copy(&mut hashed, &mut io::sink())?;
        if missing.remove(name.as_str()) != hashed.finish() {
            other = Some(name.to_string());
        }
        Ok(())
    })?;
    if found != *document {
        other = Some(nn_archive::pack::CONFIG_NAME.to_owned());
    }
    match other.or_else(|| missing.into_keys().next()) {
        Some(member) => Err(PackError::Member { member }),
        None => Ok(()),
    }
}

/// A reader whose bytes are hashed as they pass, if anybody wants that.
struct Hashed<R> {
    inner: R,
    hasher: Option<Hasher>,
}

impl<R> Hashed<R> {
    fn finish(self) -> Option<Digest> {
        self.hasher.map(|hasher| hasher.finish().1)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_blob_tells_where_dimensions_were() {
        for (order, shape, expected) in [
            (0x4321, &[1, 3, 8, 9][..], Some(vec![0, 1, 2, 3])),
            (0x4213, &[1, 8, 9, 3], Some(vec![0, 2, 3, 1])),
            (0x21, &[1, 10], Some(vec![0, 1])),
            (0x213, &[8, 9, 3], Some(vec![1, 2, 0])),
            (0x1, &[5], Some(vec![0])),
            (0, &[1, 2], None),
            (0x95, &[1, 2], None),
        ] {
            let tensor = Tensor { name: String::new(), element: Element::U8, order, shape: shape.to_vec() };
            assert_eq!(axes(&tensor), expected, "{order:#x}");
        }
    }
}
