//! From a compiled model to what is handed over: `buildinfo.json`, `config.json`, the NN Archive.

use std::collections::BTreeMap;
use std::num::{NonZero, NonZeroU32};
use std::path::Path;

use serde::Serialize;
use thiserror::Error;

use super::compile::CompiledModel;
use super::journal::Record;
use super::load::LoadedModel;
use crate::config::{Color, ResolvedInput, ResolvedOutput, ResolvedStage, WeightType};
use crate::digest::Digest;
use crate::disk::{self, DiskError};
use crate::exchange::{FrontEndReport, Order, PreprocessingPlace, Rewriting};
use crate::hint::Hint;
use crate::myriad::{Element, Tensor};
use crate::name::NameError;
use crate::nn_archive::document::{ChannelPlace, ColorOrder, VERSION};
use crate::nn_archive::pack::BUILD_INFO_NAME;
use crate::nn_archive::{
    self, ArchiveError, DaiType, DataType, Document, Input, InputType, Layout, LayoutError, Member, Metadata, Model,
    Output, Preprocessing,
};
use crate::units::ByteSize;

const ARCHIVE_LIMIT: ByteSize = ByteSize::new(16 << 30);

/// Results that cannot be packed.
#[derive(Debug, Error)]
pub enum PackError {
    /// The file system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A layout does not fit a shape.
    #[error("the layout of `{name}` does not fit the compiled model")]
    Layout {
        /// The input or output.
        name: String,
        /// Why not.
        #[source]
        source: LayoutError,
    },
    /// The compiled model lacks an input, or has one that was not there before.
    #[error("the compiled model has the inputs {compiled:?}, but {ordered:?} were ordered")]
    Inputs {
        /// Inputs of the compiled model.
        compiled: Vec<String>,
        /// Inputs of the configuration.
        ordered: Vec<String>,
    },
    /// A file name that cannot stand in an archive.
    #[error(transparent)]
    Name(#[from] NameError),
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
            Self::Layout { .. } | Self::Inputs { .. } | Self::Member { .. } => Vec::new(),
        }
    }
}

/// What `buildinfo.json` says. Keys that the older tool wrote keep their names.
#[derive(Clone, Debug, Serialize)]
pub struct BuildInfo {
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
    /// Collects what made the compiled model.
    pub fn new(
        order: &Order,
        loaded: &LoadedModel,
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
            cmd_info: record.commands,
            compile_tool_build: tools.remove("compile_tool_build"),
            compile_tool_version: tools.remove("compile_tool"),
            front_end: compiled.front_end.clone(),
            image: order.image,
            input_sha256: loaded.digests.clone(),
            is_superblob: counts.len() > 1,
            model_optimizer_version: tools.remove("model_optimizer"),
            modelconverter_version: env!("CARGO_PKG_VERSION"),
            number_of_cmx_slices: shaves.clone(),
            number_of_shaves: shaves,
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

/// Describes a compiled model for the NN Archive.
///
/// # Errors
/// Inputs or layouts of the compiled model do not fit the configuration.
pub fn describe(order: &Order, stage: &ResolvedStage, compiled: &CompiledModel) -> Result<Document, PackError> {
    let ordered: Vec<&ResolvedInput> = stage.inputs.iter().filter(|input| input.frozen_value.is_none()).collect();
    let mut inputs = Vec::new();
    for input in &ordered {
        let Some(tensor) = compiled.blob.inputs.iter().find(|tensor| tensor.name == input.name) else { break };
        inputs.push(described_input(input, tensor, order.preprocessing)?);
    }
    if inputs.len() != ordered.len() || inputs.len() != compiled.blob.inputs.len() {
        return Err(PackError::Inputs {
            compiled: compiled.blob.inputs.iter().map(|tensor| tensor.name.clone()).collect(),
            ordered: ordered.iter().map(|input| input.name.clone()).collect(),
        });
    }
    // In the configuration's order as far as the names are kept; readers on the device go by the blob's names.
    let position = |tensor: &&Tensor| stage.outputs.iter().position(|output| output.name == tensor.name);
    let mut tensors: Vec<&Tensor> = compiled.blob.outputs.iter().collect();
    tensors.sort_by_key(|tensor| position(tensor).unwrap_or(usize::MAX));
    let outputs = tensors
        .into_iter()
        .map(|tensor| described_output(stage.outputs.iter().find(|output| output.name == tensor.name), tensor));
    let outputs = outputs.collect::<Result<Vec<Output>, PackError>>()?;

    let text =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    let metadata = Metadata {
        name: text(compiled.artifact.file_stem()),
        path: text(compiled.artifact.file_name()),
        precision: Some(match stage.settings.rvc2.weights {
            WeightType::Float16 => DataType::Float16,
            WeightType::Float32 => DataType::Float32,
        }),
        extra: BTreeMap::new(),
    };
    let heads = order.source_archive.as_ref().and_then(|archive| archive.model.heads.clone());
    Ok(Document { config_version: VERSION.to_owned(), model: Model { metadata, inputs, outputs, heads } })
}

fn described_input(input: &ResolvedInput, tensor: &Tensor, place: PreprocessingPlace) -> Result<Input, PackError> {
    let shape = sizes(tensor);
    let layout = relabelled(&input.name, &input.layout, &input.shape, &shape)?;
    let dtype = data_type(tensor.element);
    let raw = input.encoding.is_raw() || layout.position('C').is_none();
    // What the model gets: its own colours if the device does the rest, else what the model was rewritten to take.
    let color = match place {
        PreprocessingPlace::Model => input.encoding.to,
        PreprocessingPlace::Archive => input.encoding.from,
    };
    let neutral = |values: &Option<Vec<f64>>, value: f64| match place {
        PreprocessingPlace::Model => values.as_ref().map(|values| vec![value; values.len()]),
        PreprocessingPlace::Archive => values.clone(),
    };
    let preprocessing = if raw && place == PreprocessingPlace::Model {
        Preprocessing::default()
    } else {
        Preprocessing {
            mean: neutral(&input.mean_values, 0.0),
            scale: neutral(&input.scale_values, 1.0),
            reverse_channels: (!raw).then_some(color == Color::Rgb),
            interleaved_to_planar: (!raw).then_some(layout.is_interleaved()),
            dai_type: if raw { None } else { frame(color, dtype, &layout).map(|frame| frame.to_string()) },
        }
    };
    let input_type = if raw { InputType::Raw } else { InputType::Image };
    Ok(Input { name: input.name.clone(), dtype, input_type, shape, layout: Some(layout), preprocessing })
}

fn frame(color: Color, dtype: DataType, layout: &Layout) -> Option<DaiType> {
    let place = if layout.is_interleaved() { ChannelPlace::Interleaved } else { ChannelPlace::Planar };
    let half = dtype == DataType::Float16;
    match (color, half) {
        (Color::Rgb, true) => Some(DaiType::ColorF16(ColorOrder::Rgb, place)),
        (Color::Rgb, false) => Some(DaiType::Color8(ColorOrder::Rgb, place)),
        (Color::Bgr, true) => Some(DaiType::ColorF16(ColorOrder::Bgr, place)),
        (Color::Bgr, false) => Some(DaiType::Color8(ColorOrder::Bgr, place)),
        (Color::Gray, true) => Some(DaiType::GrayF16),
        (Color::Gray, false) => Some(DaiType::Gray8),
        (Color::None, _) => None,
    }
}

fn described_output(output: Option<&ResolvedOutput>, tensor: &Tensor) -> Result<Output, PackError> {
    let shape = sizes(tensor);
    let known = output.and_then(|output| Some((output.layout.as_ref()?, output.shape.as_ref()?)));
    let layout = match known {
        Some((layout, old)) => relabelled(&tensor.name, layout, old, &shape),
        None => default_layout(&tensor.name, &shape),
    }?;
    Ok(Output { name: tensor.name.clone(), dtype: data_type(tensor.element), shape: Some(shape), layout: Some(layout) })
}

/// Returns the letters for `new` sizes: those of the old ones if they are the same sizes, else the usual ones.
fn relabelled(name: &str, layout: &Layout, old: &[u64], new: &[u64]) -> Result<Layout, PackError> {
    layout.relabel(old, new).or_else(|_| default_layout(name, new))
}

fn default_layout(name: &str, shape: &[u64]) -> Result<Layout, PackError> {
    Layout::default_for(shape).map_err(|source| PackError::Layout { name: name.to_owned(), source })
}

fn sizes(tensor: &Tensor) -> Vec<u64> {
    tensor.shape.iter().map(|size| u64::from(*size)).collect()
}

const fn data_type(element: Element) -> DataType {
    match element {
        Element::F16 => DataType::Float16,
        Element::U8 => DataType::Uint8,
        Element::I32 => DataType::Int32,
        Element::F32 => DataType::Float32,
        Element::I8 => DataType::Int8,
    }
}

/// Writes the NN Archive of a compiled model and reads it back.
///
/// # Errors
/// The archive cannot be written, or is not read back as it was written.
pub fn archive(path: &Path, model: &Path, build_info: &str, document: &Document) -> Result<(), PackError> {
    let name = model.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let bytes = disk::read(model, ARCHIVE_LIMIT)?;
    let size = ByteSize::new(bytes.len() as u64);
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let threads = NonZeroU32::try_from(threads).unwrap_or(NonZeroU32::MIN);
    let file = disk::NewFile::create(path)?;
    let mut content = bytes.as_slice();
    let mut members = [Member { name: name.parse()?, size, content: &mut content }];
    nn_archive::write(document, Some(build_info.as_bytes()), &mut members, threads, file)?.commit()?;
    check(
        path,
        &BTreeMap::from([(name.as_str(), bytes.as_slice()), (BUILD_INFO_NAME, build_info.as_bytes())]),
        document,
    )
}

/// Reads an archive back and compares it with what was put in.
fn check(path: &Path, members: &BTreeMap<&str, &[u8]>, document: &Document) -> Result<(), PackError> {
    let mut missing = members.clone();
    let mut other = None;
    let found = nn_archive::read(disk::open(path)?, &mut |name, _, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        if missing.remove(name.as_str()) != Some(&bytes) {
            other = Some(name.to_string());
        }
        Ok(())
    })?;
    if found != *document {
        other = Some("config.json".to_owned());
    }
    match other.or_else(|| missing.into_keys().next().map(str::to_owned)) {
        Some(member) => Err(PackError::Member { member }),
        None => Ok(()),
    }
}
