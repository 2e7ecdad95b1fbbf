//! From a model to one that the vendor's tools can take: cut, bound to shapes, rewritten.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::compile::{Network, Node};
use super::load::{Content, LoadedModel};
use super::supported::{self, Unsupported};
use super::tflite::{self, Translated};
use crate::config::{DataType, Optimization, ResolvedInput, ResolvedStage};
use crate::disk::{self, DiskError};
use crate::exchange::{PreprocessingPlace, Rewriting};
use crate::hint::Hint;
use crate::invocation::proof::NEWEST;
use crate::name::ToolchainName;
use crate::onnx::{self, BindError, FreezeError, Model, NodeLabel, SaveError, SelectError};
use crate::surgery::optimize::{
    DivisionToMultiplication, FuseAfterConvolution, FuseBeforeConvolution, FuseChannelOrder, SubtractionToAddition,
};
use crate::surgery::{
    self, DeadCode, InputPreprocessing, Operation, Pass, Preprocess, Quantization, RemoveNoOps, SurgeryError,
    UnusedDomains,
};
use crate::translation::TranslationError;

/// A model that is ready for the vendor's tools.
#[derive(Debug)]
pub struct OperatedModel {
    /// The stage in the terms of this model.
    pub stage: ResolvedStage,
    /// What it is made of, unless that is an IR.
    pub original: Option<Original>,
    /// The file that tools read.
    pub network: Network,
    /// The network that they read, if it was rewritten.
    pub rewritten: Option<Model>,
    /// The same network in the forms that the Model Optimizer reads, if it does not read them in that file.
    pub for_optimizer: Option<PathBuf>,
    /// What was rewritten.
    pub rewritings: Vec<Rewriting>,
    /// What was rewritten for the Model Optimizer besides.
    pub restatements: Vec<Rewriting>,
    /// Its nodes, for messages.
    pub nodes: Vec<Node>,
    /// Its outputs with their shapes, where those are known; of an IR, none.
    pub outputs: Vec<(String, Option<Vec<u64>>)>,
    /// Inputs that have no part in what the network computes, so that the compiled model has none such.
    pub unused: Vec<String>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// An ONNX model before it is rewritten, given or translated.
#[derive(Clone, Debug)]
pub struct Original {
    /// The model.
    pub model: Model,
    /// Where it is.
    pub path: PathBuf,
}

/// A model that cannot be made ready.
#[derive(Debug, Error)]
pub enum OperateError {
    /// The file system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The model cannot be cut to its outputs.
    #[error(transparent)]
    Select(#[from] Box<SelectError>),
    /// An input cannot have its shape.
    #[error(transparent)]
    Bind(#[from] Box<BindError>),
    /// The network cannot work on inputs of these sizes.
    #[error("with the input {inputs} the network does not work: {node} gets {}", shapes_in_words(shapes))]
    Sizes {
        /// The inputs with their shapes, in words.
        inputs: String,
        /// The node that cannot.
        node: NodeLabel,
        /// The shapes of what it gets.
        shapes: Vec<onnx::Shape>,
    },
    /// No network can work so.
    #[error("the network does not work: {node} gets {}", shapes_in_words(shapes))]
    Contradiction {
        /// The node that cannot.
        node: NodeLabel,
        /// The shapes of what it gets.
        shapes: Vec<onnx::Shape>,
    },
    /// An input cannot be a constant.
    #[error(transparent)]
    Freeze(#[from] FreezeError),
    /// A TFLite model cannot be translated.
    #[error(transparent)]
    Translation(#[from] Box<TranslationError>),
    /// A rewriting failed.
    #[error(transparent)]
    Surgery(#[from] Box<SurgeryError>),
    /// The model cannot be written.
    #[error(transparent)]
    Save(#[from] Box<SaveError>),
    /// The tools surely refuse the model.
    #[error(transparent)]
    Unsupported(#[from] Box<Unsupported>),
    /// Nothing that is fed matters.
    #[error("the network computes the same whatever it is fed: none of its inputs has a part in it")]
    Constant {
        /// Whether some inputs are constants because the configuration says so.
        is_frozen: bool,
    },
    /// The tool would be told to do what the model has in itself.
    #[error("`rvc2.mo_args` has `{flag}`, and input `{input}` has {what}: both would be done")]
    Twice {
        /// The argument.
        flag: &'static str,
        /// The input.
        input: String,
        /// What the configuration says of it.
        what: &'static str,
    },
    /// Nothing is computed between what is fed and what is given out.
    #[error("output `{name}` is an input of the network too, which a compiled network does not give out")]
    Passed {
        /// Its name.
        name: String,
    },
    /// An input has elements that OpenVINO does not know.
    #[error("input `{input}` cannot have elements of type {data_type}: OpenVINO has none such")]
    DataType {
        /// The input.
        input: String,
        /// The type of its elements.
        data_type: DataType,
    },
    /// An IR is taken as it is.
    #[error("input `{input}` of an IR cannot get {what}: only ONNX models are rewritten")]
    Fixed {
        /// The input.
        input: String,
        /// What was asked for.
        what: &'static str,
    },
}

impl Hint for OperateError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Bind(error) => error.hints(),
            Self::Freeze(error) => error.hints(),
            Self::Select(error) => error.hints(),
            Self::Surgery(error) => error.hints(),
            Self::Translation(error) => error.hints(),
            Self::Save(_) => Vec::new(),
            Self::Unsupported(error) => error.hints(),
            Self::Sizes { .. } => vec![
                "give the sizes that the model was made for with `shape`, or export it for these: constants of a model \
                 are of its sizes"
                    .to_owned(),
            ],
            Self::Contradiction { .. } => {
                vec!["check the model with ONNX Runtime, and export it again".to_owned()]
            }
            Self::Constant { is_frozen: true } => {
                vec!["leave `frozen_value` away for what the device is to feed".to_owned()]
            }
            Self::Constant { is_frozen: false } => {
                vec!["check the export: a network's inputs must reach its outputs".to_owned()]
            }
            Self::Twice { .. } => vec![
                "say it in one place; for colours, `encoding.from` and `encoding.to` alike leave them as they are"
                    .to_owned(),
            ],
            Self::Passed { .. } => {
                vec!["name the other outputs under `outputs`: whoever feeds the network has this one".to_owned()]
            }
            Self::DataType { .. } => vec![
                "say a `data_type` of float16, float32, float64, int8 to int64, uint8 to uint64 or boolean, or leave it \
                 out: the model says it"
                    .to_owned(),
            ],
            Self::Fixed { what, .. } => {
                let colors = "or say alone which colours it takes: `encoding RGB` or `encoding BGR`".to_owned();
                let own = "convert the ONNX model that the IR was made of".to_owned();
                [own].into_iter().chain(what.ends_with("channels").then_some(colors)).collect()
            }
        }
    }
}

fn shapes_in_words(shapes: &[onnx::Shape]) -> String {
    let shown: Vec<String> = shapes.iter().map(ToString::to_string).collect();
    match shown.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// What is wanted of a model.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'run> {
    /// Its stage.
    pub stage: &'run ResolvedStage,
    /// Where mean, scale and colours are applied.
    pub preprocessing: PreprocessingPlace,
    /// Whose tools it is made ready for.
    pub toolchain: &'run ToolchainName,
}

/// Makes a model ready and writes what was changed into `folder`, where its source already lies.
///
/// # Errors
/// The model cannot be cut, bound or rewritten as the configuration wants, or the tools surely refuse it.
pub fn operate(model: &LoadedModel, wanted: Wanted<'_>, folder: &Path) -> Result<OperatedModel, OperateError> {
    let Wanted { stage, preprocessing: place, .. } = wanted;
    let source = folder.join(&model.file_name);
    match &model.content {
        Content::Onnx(onnx) => operate_onnx(model, Original { model: (**onnx).clone(), path: source }, wanted),
        Content::Tflite(tflite) => {
            let Translated { model: onnx, stage, rewritings, warnings } = tflite::translated(tflite, stage)?;
            let original = Original { model: onnx, path: folder.join(format!("{}.onnx", model.name)) };
            save(&original.model, &original.path, onnx::MAX_MODEL_BYTES)?;
            let mut operated = operate_onnx(model, original, Wanted { stage: &stage, ..wanted })?;
            operated.rewritings.splice(0..0, rewritings);
            operated.warnings.extend(warnings);
            Ok(operated)
        }
        Content::Ir => {
            accept_ir(stage, place)?;
            Ok(OperatedModel {
                stage: stage.clone(),
                original: None,
                network: Network::Ir(source),
                rewritten: None,
                for_optimizer: None,
                rewritings: Vec::new(),
                restatements: Vec::new(),
                nodes: Vec::new(),
                outputs: Vec::new(),
                unused: Vec::new(),
                warnings: Vec::new(),
            })
        }
    }
}

/// Refuses what an IR cannot get.
///
/// # Errors
/// An input should get what only ONNX models can get.
pub fn accept_ir(stage: &ResolvedStage, place: PreprocessingPlace) -> Result<(), OperateError> {
    for input in &stage.inputs {
        if input.frozen_value.is_some() {
            return Err(OperateError::Fixed { input: input.name.clone(), what: "a frozen value" });
        }
        if place == PreprocessingPlace::Model && input.encoding.reverses_channels() {
            return Err(OperateError::Fixed { input: input.name.clone(), what: "another order of channels" });
        }
        if place == PreprocessingPlace::Model && (input.mean_values.is_some() || input.scale_values.is_some()) {
            return Err(OperateError::Fixed { input: input.name.clone(), what: "mean or scale" });
        }
    }
    Ok(())
}

fn operate_onnx(loaded: &LoadedModel, original: Original, wanted: Wanted<'_>) -> Result<OperatedModel, OperateError> {
    let (name, stage) = (&loaded.name, wanted.stage);
    let rewritten = rewrite(&original.model, stage, wanted.preprocessing)?;
    supported::check(&loaded.file_name, (&original.model, &rewritten), &stage.settings.rvc2, wanted.toolchain)?;
    let Rewritten { model, for_optimizer, operations, restatements, changed } = rewritten;
    let nodes = model.graph().node.iter().map(node).collect();
    let outputs: Vec<_> = model.outputs().into_iter().map(with_shape).collect();
    let reads = onnx::Reads::of(model.graph());
    let is_unused = |name: &String| reads.readers(name).is_empty() && !reads.is_output(name);
    let (mut unused, used): (Vec<String>, Vec<String>) =
        model.inputs().into_iter().map(|input| input.name).partition(is_unused);
    let fed = stage.inputs.iter().filter(|input| input.frozen_value.is_none()).map(|input| &input.name);
    let lost: Vec<String> = fed.filter(|name| !used.contains(name) && !unused.contains(name)).cloned().collect();
    unused.extend(lost);
    if used.is_empty() {
        let is_frozen = stage.inputs.iter().any(|input| input.frozen_value.is_some());
        return Err(OperateError::Constant { is_frozen });
    }
    let warning = |input: &String| format!("input `{input}` has no part in what the network computes, and is left out");
    let mut warnings: Vec<String> = unused.iter().map(warning).collect();
    let names: Vec<String> = outputs.iter().map(|(name, _)| name.clone()).collect();
    let quantized = surgery::quantized_outputs(&original.model, &names).into_iter();
    warnings.extend(quantized.map(|(name, Quantization { scale, zero })| {
        let (sign, zero, scale) = (if zero < 0.0 { '+' } else { '-' }, zero.abs(), scale as f32);
        format!("output `{name}` gives integers as they are: they stand for (integer {sign} {zero}) * {scale}")
    }));
    let free = |stem| loaded.free_stem(stem, &[".onnx", ".onnx_data"]) + ".onnx";
    let path = if changed {
        let path = original.path.with_file_name(free(format!("{name}-modified")));
        save(&model, &path, onnx::MAX_MODEL_BYTES)?;
        path
    } else {
        original.path.clone()
    };
    let for_optimizer = match for_optimizer {
        Some(model) => {
            let path = path.with_file_name(free(format!("{name}-optimizer")));
            save(&model, &path, onnx::MAX_MODEL_BYTES)?;
            Some(path)
        }
        None => None,
    };
    let in_words = |operations: Vec<Operation>| operations.into_iter().map(rewriting).collect();
    Ok(OperatedModel {
        stage: stage.clone(),
        original: Some(original),
        network: Network::Onnx(path),
        rewritten: changed.then_some(model),
        for_optimizer,
        rewritings: in_words(operations),
        restatements: in_words(restatements),
        nodes,
        outputs,
        unused,
        warnings,
    })
}

/// Returns the name and the shape of a value.
fn with_shape(value: onnx::Value) -> (String, Option<Vec<u64>>) {
    let sizes = value.shape().and_then(onnx::Shape::known);
    let shape = sizes.and_then(|sizes| sizes.into_iter().map(u64::try_from).collect::<Result<_, _>>().ok());
    (value.name, shape)
}

/// Writes a model to `path`; one of more than `limit` bytes has its weights in a file of their own, `<path>_data`.
pub(super) fn save(model: &Model, path: &Path, limit: u64) -> Result<(), OperateError> {
    if model.saved_len() as u64 <= limit {
        return save_whole(model, path);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let location = format!("{name}_data");
    let (model, pieces) = model.without_weights(&location);
    let data = path.with_file_name(&location);
    // Nobody relies on these files after a crash, so nobody waits for the disk.
    let mut file = disk::create_anew(&data)?;
    for piece in pieces {
        file.write_all(&piece).map_err(|source| DiskError::new("write", &data, source))?;
    }
    save_whole(&model, path)
}

fn save_whole(model: &Model, path: &Path) -> Result<(), OperateError> {
    Ok(model.write_to(&mut disk::create_anew(path)?).map_err(Box::new)?)
}

/// An ONNX model as the vendor's tools will see it.
#[derive(Debug)]
pub struct Rewritten {
    /// The model.
    pub model: Model,
    /// The model in the forms that the Model Optimizer reads, if those are others.
    pub for_optimizer: Option<Model>,
    /// What was rewritten.
    pub operations: Vec<Operation>,
    /// What was rewritten for the Model Optimizer besides.
    pub restatements: Vec<Operation>,
    /// Whether it differs from the original at all.
    pub changed: bool,
}

/// Cuts, binds and rewrites an ONNX model as its stage wants, in memory alone.
///
/// # Errors
/// The model cannot be cut, bound or rewritten as the configuration wants.
pub fn rewrite(original: &Model, stage: &ResolvedStage, place: PreprocessingPlace) -> Result<Rewritten, OperateError> {
    check_arguments(stage, place)?;
    check_types(stage)?;
    let mut changed = false;
    let wanted: Vec<String> = stage.outputs.iter().map(|output| output.name.clone()).collect();
    let outputs: Vec<String> = original.outputs().into_iter().map(|output| output.name).collect();
    let model = if wanted == outputs {
        original.clone()
    } else {
        changed = true;
        onnx::select_outputs(original, &wanted).map_err(Box::new)?
    };

    // Outputs that were chosen may leave inputs without a part.
    let has_input = |model: &Model, name: &str| model.inputs().iter().any(|input| input.name == name);
    let is_lost = |name: &str| has_input(original, name) && !has_input(&model, name);
    let fed: Vec<ResolvedInput> = stage.inputs.iter().filter(|input| !is_lost(&input.name)).cloned().collect();
    if let Some(output) = wanted.iter().find(|output| has_input(&model, output)) {
        return Err(OperateError::Passed { name: output.clone() });
    }
    let names: Vec<String> = fed.iter().map(|input| input.name.clone()).collect();
    changed |= names.iter().any(|name| model.inputs().iter().all(|input| input.name != *name));
    let model = onnx::select_inputs(&model, &names).map_err(Box::new)?;

    let inputs = model.inputs();
    let is_input = |name: &str| inputs.iter().any(|input| input.name == name);
    let shapes: BTreeMap<String, Vec<i64>> = fed
        .iter()
        .filter(|input| is_input(&input.name))
        .map(|input| {
            (input.name.clone(), input.shape.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect())
        })
        .collect();
    let as_stated =
        |input: &onnx::Value| input.shape().and_then(onnx::Shape::known).as_ref() == shapes.get(&input.name);
    changed |= !inputs.iter().filter(|input| shapes.contains_key(&input.name)).all(as_stated);
    let is_open = onnx::is_resized(&model, &shapes) || !onnx::dynamic_inputs(&model).is_empty();
    let model = onnx::bind_shapes(&model, &shapes).map_err(Box::new)?;
    if let Some(conflict) = onnx::size_conflict(&model) {
        if !is_open {
            return Err(OperateError::Contradiction { node: conflict.node, shapes: conflict.shapes });
        }
        let inputs = stage.inputs.iter().map(|input| format!("`{}` {:?}", input.name, input.shape)).collect::<Vec<_>>();
        return Err(OperateError::Sizes { inputs: inputs.join(", "), node: conflict.node, shapes: conflict.shapes });
    }
    let frozen: BTreeMap<String, Vec<f64>> =
        fed.iter().filter_map(|input| Some((input.name.clone(), input.frozen_value.as_ref()?.numbers()))).collect();
    changed |= !frozen.is_empty();
    let model = onnx::freeze_inputs(&model, &frozen)?;

    let mut preprocess = Preprocess::new(preprocessing(&fed));
    if place == PreprocessingPlace::Archive {
        // The device does it, as the archive says; what cannot be done, it cannot do either.
        surgery::operate(model.clone(), &[&preprocess]).map_err(Box::new)?;
        preprocess = Preprocess::new(BTreeMap::new());
    }
    let plain = surgery::plain_passes();
    let simpler: &[&dyn Pass] = if stage.settings.onnx_simplification.is_some() { &[&RemoveNoOps] } else { &[] };
    let lowered = surgery::myriad_passes();
    let optimized: Vec<&dyn Pass> = stage.settings.onnx_optimizations.iter().map(optimization).collect();
    let passes = [&plain, simpler, &[&preprocess], &lowered, &optimized, &[&DeadCode, &UnusedDomains]].concat();
    let (model, operations) = surgery::operate(model, &passes).map_err(Box::new)?;
    changed |= !operations.is_empty();
    let (model, restated) = onnx::restate_shapes(model);
    changed |= restated;
    // Importers do not look at the version of the file, and ONNX Runtime does.
    let (model, restated) = onnx::restate_versions(model, NEWEST);
    changed |= restated;
    let (restated, restatements) = surgery::for_optimizer(model.clone()).map_err(Box::new)?;
    let for_optimizer = Some(restated).filter(|_| !restatements.is_empty());
    Ok(Rewritten { model, for_optimizer, operations, restatements, changed })
}

/// Refuses arguments for the Model Optimizer that would do again what is put into the model.
fn check_arguments(stage: &ResolvedStage, place: PreprocessingPlace) -> Result<(), OperateError> {
    if place == PreprocessingPlace::Archive {
        return Ok(());
    }
    let has = |flag: &str| {
        stage
            .settings
            .rvc2
            .mo_args
            .iter()
            .any(|word| word.split_once('=').map_or(word.as_str(), |(flag, _)| flag) == flag)
    };
    let mean: fn(&ResolvedInput) -> bool = |input| input.mean_values.is_some();
    let scale: fn(&ResolvedInput) -> bool = |input| input.scale_values.is_some();
    let reversal: fn(&ResolvedInput) -> bool = |input| input.encoding.reverses_channels();
    for (flag, is_done, what) in [
        ("--mean_values", mean, "`mean_values`"),
        ("--scale_values", scale, "`scale_values`"),
        ("--scale", scale, "`scale_values`"),
        ("-s", scale, "`scale_values`"),
        ("--reverse_input_channels", reversal, "another `encoding.to` than `encoding.from`"),
    ] {
        let done = stage.inputs.iter().find(|input| input.frozen_value.is_none() && is_done(input));
        if let Some(input) = done.filter(|_| has(flag)) {
            return Err(OperateError::Twice { flag, input: input.name.clone(), what });
        }
    }
    Ok(())
}

/// Refuses types of elements that OpenVINO does not have.
fn check_types(stage: &ResolvedStage) -> Result<(), OperateError> {
    let is_foreign = |input: &&ResolvedInput| {
        use DataType::{Fxp8, Fxp16, Fxp32, Fxp64, Int4, String, Ufxp8, Ufxp16, Ufxp32, Ufxp64, Uint4};
        matches!(
            input.data_type,
            String | Int4 | Uint4 | Ufxp8 | Ufxp16 | Ufxp32 | Ufxp64 | Fxp8 | Fxp16 | Fxp32 | Fxp64
        )
    };
    match stage.inputs.iter().find(is_foreign) {
        Some(input) => Err(OperateError::DataType { input: input.name.clone(), data_type: input.data_type }),
        None => Ok(()),
    }
}

/// Returns the rewriting that an optimization of the configuration is.
fn optimization<'passes>(wanted: &Optimization) -> &'passes dyn Pass {
    match wanted {
        Optimization::FuseAddMulToBn => &FuseAfterConvolution,
        Optimization::FuseCombAddMulToConv => &FuseBeforeConvolution::Pairs,
        Optimization::FuseSingleAddMulToConv => &FuseBeforeConvolution::Singles,
        Optimization::FuseSplitConcatToConv => &FuseChannelOrder,
        Optimization::SubstituteSubWithAdd => &SubtractionToAddition,
        Optimization::SubstituteDivWithMul => &DivisionToMultiplication,
    }
}

/// Returns what is done to each input that anything is done to.
fn preprocessing(inputs: &[ResolvedInput]) -> BTreeMap<String, InputPreprocessing> {
    inputs
        .iter()
        .filter(|input| input.frozen_value.is_none())
        .map(|input| {
            let wanted = InputPreprocessing {
                reverse_channels: input.encoding.reverses_channels(),
                mean: input.mean_values.clone().unwrap_or_default(),
                scale: input.scale_values.clone().unwrap_or_default(),
                layout: input.layout.as_str().to_owned(),
            };
            (input.name.clone(), wanted)
        })
        .filter(|(_, wanted)| wanted.reverse_channels || !wanted.mean.is_empty() || !wanted.scale.is_empty())
        .collect()
}

fn rewriting(operation: Operation) -> Rewriting {
    let nodes = [&operation.removed_nodes, &operation.added_nodes, &operation.removed_inputs]
        .into_iter()
        .find(|names| !names.is_empty())
        .cloned()
        .unwrap_or_default();
    Rewriting { pass: operation.pass, reason: operation.reason, nodes }
}

fn node(node: &onnx::proto::NodeProto) -> Node {
    let label = onnx::node_label(node);
    Node { operator: label.operator, name: label.name, outputs: node.output.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_beyond_the_limit_of_a_file_has_its_weights_beside_it() {
        use crate::onnx::tests::builder;
        let weights: Vec<f32> = (0..3000_u16).map(f32::from).collect();
        let graph = builder::Graph::new()
            .input("x", builder::FLOAT, &builder::sizes(&[1, 1000]))
            .initializer(builder::Tensor::floats("w", &[1000], &weights[..1000]))
            .initializer(builder::Tensor::floats("small", &[1], &[2.0]))
            .initializer(builder::Tensor::floats("v", &[1000], &weights[2000..]))
            .node(builder::Node::new("Add", &["x", "w"], &["a"]))
            .node(builder::Node::new("Mul", &["a", "small"], &["m"]))
            .node(builder::Node::new("Add", &["m", "v"], &["y"]))
            .output("y", builder::FLOAT, &builder::sizes(&[1, 1000]));
        let model = Model::parse(builder::Model::new(graph).bytes().into()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("é m-modified.onnx");
        save(&model, &path, 1000).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 1000);
        let data = std::fs::read(folder.path().join("é m-modified.onnx_data")).unwrap();
        assert_eq!(data.len(), 4096 + 4000, "the second tensor begins on a page of its own");
        let bare = Model::parse(std::fs::read(&path).unwrap().into()).unwrap();
        let locations: Vec<(String, u64)> =
            bare.external_data().into_iter().map(|data| (data.location, data.offset)).collect();
        let location = "é m-modified.onnx_data".to_owned();
        assert_eq!(locations, [(location.clone(), 0), (location.clone(), 4096)]);
        let whole = bare.with_external_data(&BTreeMap::from([(location, data.into())])).unwrap();
        assert!(whole.graph().initializer == model.graph().initializer);
    }
}
