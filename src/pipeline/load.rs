//! From the order to models in memory and a configuration with everything decided.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thiserror::Error;

use super::ir::{self, IrError};
use crate::config::resolve::{Resolution, resolve};
use crate::config::{
    ConversionConfig, DataType, Dimension, ModelFacts, ModelKind, Problems, Stage, StageName, TensorFacts, sanitised,
};
use crate::digest::Digest;
use crate::disk::{self, DiskError};
use crate::hint::Hint;
use crate::onnx::{self, ElementType, Model, OnnxError, Whereabouts};
use crate::tflite::{self, TfliteError};
use crate::units::ByteSize;

/// No reader of ONNX accepts more in one file.
const MODEL_LIMIT: ByteSize = ByteSize::new(onnx::MAX_MODEL_BYTES);
/// Weights beside a model may be larger than a model, but what a MyriadX can hold is far below.
const WEIGHTS_LIMIT: ByteSize = ByteSize::new(16 << 30);

/// The model of one stage, read.
#[derive(Debug)]
pub struct LoadedModel {
    /// The stem of all files that are made of it.
    pub name: String,
    /// Its file name, with harmless letters.
    pub file_name: String,
    /// The bytes of its main file.
    pub bytes: Bytes,
    /// Files beside it that belong to it: path relative to the model, and bytes.
    pub beside: Vec<(PathBuf, Bytes)>,
    /// The names of all its files as they were given, the main one first.
    pub given_names: Vec<String>,
    /// What it is.
    pub content: Content,
}

/// What a model is.
#[derive(Debug)]
pub enum Content {
    /// An ONNX model, with all its tensors in itself.
    Onnx(Box<Model>),
    /// An IR.
    Ir,
    /// A TFLite model, to be translated to ONNX.
    Tflite(tflite::Model),
}

impl LoadedModel {
    /// Returns the length of all its files.
    pub fn size(&self) -> ByteSize {
        let beside = self.beside.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        ByteSize::new(self.bytes.len() as u64 + beside)
    }

    /// Returns a stem for files beside the model: `stem`, or a longer one if with one of `endings` it is one of the model's.
    pub fn free_stem(&self, mut stem: String, endings: &[&str]) -> String {
        let is_taken = |name: &str| self.beside.iter().any(|(path, _)| path == Path::new(name));
        while endings.iter().any(|ending| is_taken(&format!("{stem}{ending}"))) {
            stem.push('_');
        }
        stem
    }

    /// Returns the digest of each file, by the name that it was given with.
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        let all = std::iter::once(&self.bytes).chain(self.beside.iter().map(|(_, bytes)| bytes));
        self.given_names.iter().cloned().zip(all.map(|bytes| Digest::of(bytes))).collect()
    }
}

/// A model or configuration that cannot be taken.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is no ONNX model, or a broken one.
    #[error("cannot read the model {}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<OnnxError>,
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
    /// The model's tensors are in a file elsewhere.
    #[error("the tensor `{tensor}` of the model is in `{location}`, outside the model's folder")]
    Outside {
        /// The tensor.
        tensor: String,
        /// The file, as the model names it.
        location: String,
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
    /// Configuration and model do not fit together.
    #[error(transparent)]
    Config(#[from] Problems),
}

impl Hint for LoadError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Onnx { source, .. } => source.hints(),
            Self::Ir { source, .. } => source.hints(),
            Self::Tflite { source, .. } => source.hints(),
            Self::Config(problems) => problems.hints(),
            Self::Outside { .. } => vec!["place the file beside the model and export the model again".to_owned()],
        }
    }
}

/// Reads the model of a stage.
///
/// # Errors
/// A file is missing or no model.
pub fn load(stage: &Stage) -> Result<LoadedModel, LoadError> {
    let path = Path::new(stage.model.path.as_str());
    let bytes = disk::map(path, MODEL_LIMIT)?;
    let (content, beside) = match stage.model.kind {
        ModelKind::Onnx => {
            let onnx = |error| LoadError::Onnx { path: path.to_owned(), source: Box::new(error) };
            let model = Model::parse(bytes.clone()).map_err(onnx)?;
            let files = external_files(&model, path)?;
            let model = model.with_external_data(&files).map_err(onnx)?;
            let beside = files.into_iter().map(|(location, bytes)| (PathBuf::from(location), bytes)).collect();
            (Content::Onnx(Box::new(model)), beside)
        }
        ModelKind::Ir => {
            let weights = stage.model.weights.as_ref();
            let place = weights.map_or_else(|| path.with_extension("bin"), |weights| PathBuf::from(weights.as_str()));
            (Content::Ir, vec![(path.with_extension("bin"), disk::map(&place, WEIGHTS_LIMIT)?)])
        }
        ModelKind::Tflite => {
            let tflite = |source| LoadError::Tflite { path: path.to_owned(), source };
            (Content::Tflite(tflite::Model::parse(&bytes).map_err(tflite)?), Vec::new())
        }
    };
    let name = sanitised(stage.model.path.stem());
    let file_name = format!("{name}{}", stage.model.path.suffix());
    let others = beside.iter().map(|(path, _)| path.to_string_lossy().into_owned());
    let given_names = std::iter::once(stage.model.path.file_name().to_owned()).chain(others).collect();
    let beside = match content {
        Content::Ir => beside.into_iter().map(|(_, bytes)| (PathBuf::from(format!("{name}.bin")), bytes)).collect(),
        Content::Onnx(_) | Content::Tflite(_) => beside,
    };
    Ok(LoadedModel { name, file_name, bytes, beside, given_names, content })
}

/// Reads the files that hold tensors of the model, each once, by location. They must be below the model's folder, links
/// followed.
fn external_files(model: &Model, path: &Path) -> Result<BTreeMap<String, Bytes>, LoadError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let real = |path: &Path| path.canonicalize().map_err(|source| DiskError::new("read", path, source));
    // Caches of models keep the files in one folder, and links to them in another.
    let own = real(path)?;
    let homes = [real(folder)?, own.parent().unwrap_or(&own).to_owned()];
    let mut files = BTreeMap::new();
    for data in model.external_data() {
        let file = folder.join(&data.location);
        if data.whereabouts == Whereabouts::Outside || {
            let file = real(&file)?;
            !homes.iter().any(|home| file.starts_with(home))
        } {
            return Err(LoadError::Outside { tensor: data.tensor, location: data.location });
        }
        if let Entry::Vacant(vacant) = files.entry(data.location) {
            vacant.insert(disk::map(&file, WEIGHTS_LIMIT)?);
        }
    }
    Ok(files)
}

/// Decides everything that the configuration leaves open, from what the models say.
///
/// # Errors
/// Configuration and models do not fit together.
pub fn resolved(config: &ConversionConfig, models: &BTreeMap<StageName, LoadedModel>) -> Result<Resolution, LoadError> {
    let mut facts = BTreeMap::new();
    for stage in &config.stages {
        if let Some(model) = models.get(&stage.name) {
            let of_stage = match &model.content {
                Content::Onnx(model) => onnx_facts(model),
                Content::Tflite(model) => super::tflite::facts(model),
                Content::Ir => ir::facts(&model.bytes)
                    .map_err(|source| LoadError::Ir { path: PathBuf::from(stage.model.path.as_str()), source })?,
            };
            facts.insert(stage.name.clone(), of_stage);
        }
    }
    Ok(resolve(config, &|name| facts.get(name).cloned())?)
}

/// Returns what is known about the tensors of an ONNX model.
pub fn onnx_facts(model: &Model) -> ModelFacts {
    let facts = onnx::Facts::of(model);
    let tensor = |name: &str| {
        let (data_type, foreign_type) = data_type(facts.element(name));
        let shape = facts.shape(name).map(|shape| shape.0.iter().map(dimension).collect());
        TensorFacts { name: name.to_owned(), shape, data_type, foreign_type }
    };
    let (inputs, outputs) = (model.inputs(), model.outputs());
    let known: HashSet<&str> = inputs.iter().chain(&outputs).map(|value| value.name.as_str()).collect();
    let computed = model.graph().node.iter().flat_map(|node| &node.output);
    let inner = computed.filter(|name| !name.is_empty() && !known.contains(name.as_str()));
    let named = model.graph().node.iter().filter(|node| !node.name().is_empty());
    let first = |node: &onnx::proto::NodeProto| Some((node.name().to_owned(), node.output.first()?.clone()));
    ModelFacts {
        nodes: named.filter_map(first).collect(),
        has_fixed_sizes: false,
        intermediates: inner.map(|name| tensor(name)).collect(),
        inputs: inputs.iter().map(|value| tensor(&value.name)).collect(),
        outputs: outputs.iter().map(|value| tensor(&value.name)).collect(),
    }
}

/// Returns the name that configurations have for a type of elements, or else its own.
pub fn data_type(element: Option<ElementType>) -> (Option<DataType>, Option<String>) {
    let data_type = element.and_then(|element| DataType::from_onnx(element.code()));
    (data_type, element.filter(|_| data_type.is_none()).map(|element| element.to_string()))
}

fn dimension(dimension: &onnx::Dimension) -> Dimension {
    match dimension {
        onnx::Dimension::Known(size) => u64::try_from(*size).map_or(Dimension::Dynamic(None), Dimension::Fixed),
        onnx::Dimension::Symbolic(name) => Dimension::Dynamic(Some(name.clone())),
        onnx::Dimension::Unknown => Dimension::Dynamic(None),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::onnx::tests::builder;

    /// A folder `model` with a model whose weights are in `data dir/wéights`, and a file outside that folder.
    fn model_with_weights_outside() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let description = [("location", "data dir/wéights"), ("offset", "4"), ("length", "8")];
        let graph = builder::Graph::new()
            .input("x", builder::FLOAT, &builder::sizes(&[2]))
            .initializer(builder::Tensor::external("w", builder::FLOAT, &[2], &description))
            .node(builder::Node::new("Add", &["x", "w"], &["y"]))
            .output("y", builder::FLOAT, &builder::sizes(&[2]));
        fs::create_dir_all(folder.path().join("model/data dir")).unwrap();
        fs::write(folder.path().join("model/m.onnx"), builder::Model::new(graph).bytes()).unwrap();
        fs::write(folder.path().join("weights"), [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
        folder
    }

    fn load_from(folder: &Path) -> Result<LoadedModel, LoadError> {
        let text = format!("input_model: {}", folder.join("model/m.onnx").display());
        let config = crate::config::read::read(&crate::config::yaml::parse(&text, "f.yaml").unwrap()).unwrap().config;
        load(&config.stages[0])
    }

    #[test]
    fn weights_in_other_files_become_part_of_the_model() {
        let folder = model_with_weights_outside();
        let missing = load_from(folder.path()).unwrap_err().to_string();
        assert!(missing.contains("data dir/wéights"), "{missing}");
        fs::copy(folder.path().join("weights"), folder.path().join("model/data dir/wéights")).unwrap();
        let loaded = load_from(folder.path()).unwrap();
        assert_eq!(loaded.beside[0].0, Path::new("data dir/wéights"));
        let Content::Onnx(model) = loaded.content else { panic!("it is ONNX") };
        assert!(model.external_data().is_empty());
        assert_eq!(onnx::read_floats(&model.graph().initializer[0]).unwrap(), [1.0, 2.0]);
        fs::write(folder.path().join("model/data dir/wéights"), [0; 11]).unwrap();
        let short = load_from(folder.path()).unwrap_err();
        let cause = std::error::Error::source(&short).unwrap().to_string();
        assert!(cause.contains("ends behind the end of its file"), "{cause}");
    }

    #[test]
    fn links_out_of_the_folder_are_refused_by_name() {
        let folder = model_with_weights_outside();
        symlink("../../weights", folder.path().join("model/data dir/wéights")).unwrap();
        let error = load_from(folder.path()).unwrap_err();
        let expected = "the tensor `w` of the model is in `data dir/wéights`, outside the model's folder";
        assert_eq!(error.to_string(), expected);
        // A link that stays inside is a name like any other.
        fs::remove_file(folder.path().join("model/data dir/wéights")).unwrap();
        fs::copy(folder.path().join("weights"), folder.path().join("model/w")).unwrap();
        symlink("../w", folder.path().join("model/data dir/wéights")).unwrap();
        assert!(load_from(folder.path()).is_ok());
    }
}
