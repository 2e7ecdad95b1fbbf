//! The configuration of a conversion: which model, how it is fed, what is made of it.
//!
//! Owns the schema of the YAML files that users have, the `KEY VALUE` overrides, and their resolution against the facts
//! of a model. The way is one: text ([`yaml`]) to a tree that knows where each value stands ([`tree`]), overrides into
//! the tree ([`merge`]), tree to [`ConversionConfig`] with all problems at once ([`read`]), and that with the facts of
//! the model to [`ResolvedConfig`] ([`resolve`]), which is written as a configuration that reads back the same
//! ([`emit`]). Which keys there are stands once, in [`keys`]; editors get it as a JSON Schema ([`schema`]), and people
//! are told where each value comes from ([`explain`]). Must not read files: whoever has a file hands its text over.

pub mod archive;
pub mod data_type;
pub mod emit;
pub mod encodings;
pub mod explain;
pub mod files;
pub mod input;
pub mod keys;
mod links;
pub mod literal;
pub mod merge;
pub mod problem;
pub mod read;
pub mod resolve;
pub mod schema;
pub mod source;
pub mod targets;
pub mod tree;
pub mod verification;
pub mod yaml;

use std::collections::BTreeMap;
use std::fmt;

use crate::name::{FileName, NameError};

pub use archive::{CompiledFacts, CompiledTensor, DescribeError, PreprocessingPlace};
pub use data_type::DataType;
pub use files::FileRole;
pub use input::{
    Calibration, CalibrationKeys, ChannelValues, Color, Encoding, FrozenValue, InputEntry, InputSettings, LinkSource,
    Number, OutputEntry, ResizeMethod, Setting, Shape,
};
pub use merge::Override;
pub use problem::{Fault, Note, Problem, Problems};
pub use read::Reading;
pub use resolve::Resolution;
pub use source::Source;
pub use targets::{
    BlobForm, EncodingsSource, FrontEnd, FrontEndChoice, HailoOptions, Rvc2Options, Rvc3Options, Rvc4Options,
    WeightType,
};
pub use verification::{Tolerance, Verification};

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In a file.
    File {
        /// The file as people know it.
        file: String,
        /// Counted from 1.
        line: u64,
        /// In characters, counted from 1.
        column: u64,
    },
    /// In a `KEY VALUE` pair.
    Override {
        /// The key as typed.
        key: String,
    },
    /// In `--path`, a model's file.
    Path {
        /// The text as typed.
        path: String,
    },
    /// In the `config.json` of an NN Archive.
    Archive,
    /// As another process told it.
    Told {
        /// Its words.
        origin: String,
    },
    /// Nowhere: a value the program itself made.
    Made,
}

/// Prints `model.yaml:3:5`, or ``override `rvc2.superblob` ``.
impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(formatter, "{file}:{line}:{column}"),
            Self::Override { key } => write!(formatter, "override `{key}`"),
            Self::Path { path } => write!(formatter, "`--path {path}`"),
            Self::Told { origin } => formatter.write_str(origin),
            Self::Archive => formatter.write_str("the NN Archive"),
            Self::Made => formatter.write_str("the program"),
        }
    }
}

/// An enumeration whose variants have names in configurations.
pub trait Named: Copy + 'static {
    /// All variants, in the order they are listed to people.
    const ALL: &'static [Self];

    /// Returns the name as it is typed. Names are case-sensitive.
    fn as_str(self) -> &'static str;
}

/// The key of a stage, which also names its folder among the results.
///
/// Accepted: `yolov8n-seg`, `stage 1`. Refused: the empty text, `.`, `..`, anything with `/` or a NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StageName(String);

impl std::str::FromStr for StageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse::<FileName>().map(|name| Self(name.as_str().to_owned()))
    }
}

impl TryFrom<String> for StageName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<StageName> for String {
    fn from(name: StageName) -> Self {
        name.0
    }
}

impl StageName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A file or folder that a configuration names: a path or a URL, not looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileReference(String);

impl FileReference {
    /// What stands for the query of an address where it is shown.
    pub const HIDDEN: &str = "?…";

    /// Takes a path or a URL as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the text is a URL of another place than this machine.
    pub fn is_remote(&self) -> bool {
        self.0.split_once("://").is_some_and(|(scheme, _)| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
            !scheme.is_empty() && scheme != "file" && scheme.bytes().all(fits)
        })
    }

    /// Splits an address of the web before its query and fragment, which belong to no name of a file; whatever else is
    /// whole.
    fn parts(&self) -> (&str, &str) {
        let scheme = self.0.split_once("://").map_or("", |(scheme, _)| scheme);
        let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
        let end = self.0.find(['?', '#']).filter(|_| is_web).unwrap_or(self.0.len());
        self.0.split_at(end)
    }

    /// Returns the last component.
    pub fn file_name(&self) -> &str {
        self.parts().0.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// Returns the last component up to its last dot: `conv.v2` of `models/conv.v2.onnx`.
    pub fn stem(&self) -> &str {
        match self.file_name().rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => self.file_name(),
        }
    }

    /// Returns the last component from its last dot on: `.onnx`; empty without one.
    pub fn suffix(&self) -> &str {
        self.file_name().get(self.stem().len()..).unwrap_or_default()
    }

    /// Returns the reference with another suffix in the place of its own.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let (path, rest) = self.parts();
        let trimmed = path.trim_end_matches('/');
        let kept = trimmed.strip_suffix(self.suffix()).unwrap_or(trimmed);
        Self(format!("{kept}{suffix}{rest}"))
    }
}

/// Prints the text; of a URL without what may be secret: users, passwords and query strings.
impl fmt::Display for FileReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, rest) = self.parts();
        let (start, place) = match path.split_once("://") {
            Some((scheme, place)) if self.is_remote() => (format!("{scheme}://"), place),
            _ => (String::new(), path),
        };
        let host = place.split('/').next().unwrap_or_default();
        let hidden = if start.is_empty() { None } else { host.rfind('@') };
        let place = place.get(hidden.map_or(0, |at| at + 1)..).unwrap_or_default();
        write!(formatter, "{start}{place}{}", if rest.starts_with('?') { Self::HIDDEN } else { "" })
    }
}

/// The longest name that results are given: file systems take 255 bytes, and suffixes follow.
const LONGEST_NAME: usize = 160;

/// The longest with other letters than those of ASCII: with its suffix, such a name stands in an NN Archive as it is up to
/// 100 bytes.
const LONGEST_FOREIGN_NAME: usize = 88;

/// Returns `text` with everything but letters, digits, `_` and `-` as one `_`: `toy conv.v2` becomes `toy_conv_v2`.
/// Letters of all scripts stay. What is too long for a file is cut.
pub fn sanitised(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for letter in text.chars() {
        let letter = if letter.is_alphanumeric() || letter == '-' { letter } else { '_' };
        if letter != '_' || !result.ends_with('_') {
            result.push(letter);
        }
    }
    let longest = if result.is_ascii() { LONGEST_NAME } else { LONGEST_FOREIGN_NAME };
    result.truncate(result.floor_char_boundary(longest));
    result
}

/// A configuration: its file, archive and overrides made one, nothing known of the model yet.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversionConfig {
    /// What the results are named after.
    pub name: String,
    /// Whether the log has colours.
    pub rich_logging: bool,
    /// The stages, at least one, in the order they were written.
    pub stages: Vec<Stage>,
}

/// One model of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its key.
    pub name: StageName,
    /// Its files.
    pub model: ModelSource,
    /// What does not depend on the model.
    pub settings: StageSettings,
    /// Keys that hold for all inputs which say nothing else.
    pub defaults: InputSettings,
    /// Entries for inputs; none means all inputs of the model.
    pub inputs: Vec<InputEntry>,
    /// Entries for outputs; none means all outputs of the model.
    pub outputs: Vec<OutputEntry>,
}

/// The files of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSource {
    /// The model.
    pub path: FileReference,
    /// Where the path was said.
    pub origin: Origin,
    /// The weights of an IR.
    pub weights: Option<FileReference>,
    /// The format.
    pub kind: ModelKind,
}

targets::named!(
    /// The format of a model.
    ModelKind {
        Onnx "ONNX",
        Ir "IR",
        Tflite "TFLITE",
    }
);

impl fmt::Display for ModelKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a stage says beyond its model, inputs and outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct StageSettings {
    /// Whether the folder of intermediate files stays.
    pub keep_intermediate_outputs: bool,
    /// Who simplifies an ONNX model.
    pub onnx_simplification: Option<Simplifier>,
    /// Which rewritings an ONNX model gets, in their fixed order.
    pub onnx_optimizations: Vec<Optimization>,
    /// Where the results are uploaded.
    pub output_remote_url: Option<FileReference>,
    /// Where the intermediate files are uploaded.
    pub intermediate_outputs_remote_url: Option<FileReference>,
    /// The uploader, by name.
    pub put_file_plugin: Option<String>,
    /// The block `verification`.
    pub verification: Verification,
    /// The block `rvc2`.
    pub rvc2: Rvc2Options,
    /// The block `rvc3`.
    pub rvc3: Rvc3Options,
    /// The block `rvc4`.
    pub rvc4: Rvc4Options,
    /// The block `hailo`.
    pub hailo: HailoOptions,
}

targets::named!(
    /// Who simplifies an ONNX model.
    Simplifier {
        Onnxsim "onnxsim",
        Onnxslim "onnxslim",
    }
);

targets::named!(
    /// A rewriting of an ONNX model.
    Optimization {
        FuseAddMulToBn "fuse_add_mul_to_bn",
        FuseCombAddMulToConv "fuse_comb_add_mul_to_conv",
        FuseSingleAddMulToConv "fuse_single_add_mul_to_conv",
        FuseSplitConcatToConv "fuse_split_concat_to_conv",
        SubstituteSubWithAdd "substitute_sub_with_add",
        SubstituteDivWithMul "substitute_div_with_mul",
    }
);

impl Default for StageSettings {
    fn default() -> Self {
        Self {
            keep_intermediate_outputs: true,
            onnx_simplification: Some(Simplifier::Onnxsim),
            onnx_optimizations: Optimization::ALL.to_vec(),
            output_remote_url: None,
            intermediate_outputs_remote_url: None,
            put_file_plugin: None,
            verification: Verification::default(),
            rvc2: Rvc2Options::default(),
            rvc3: Rvc3Options::default(),
            rvc4: Rvc4Options::default(),
            hailo: HailoOptions::default(),
        }
    }
}

/// What a model itself says about its inputs and outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelFacts {
    /// Inputs, in the model's order, without those that are initializers.
    pub inputs: Vec<TensorFacts>,
    /// Outputs, in the model's order.
    pub outputs: Vec<TensorFacts>,
    /// Other tensors of the model that may be cut to, as far as known.
    pub intermediates: Vec<TensorFacts>,
    /// The first output of each node that has a name.
    pub nodes: BTreeMap<String, String>,
    /// Whether the sizes that the model states are all it can have.
    pub has_fixed_sizes: bool,
}

/// What a model says about one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// Its dimensions, outermost first, if their number is known.
    pub shape: Option<Vec<Dimension>>,
    /// The type of its elements, if known.
    pub data_type: Option<DataType>,
    /// The type of its elements as the model says it, where configurations have no name for it: `complex64`.
    pub foreign_type: Option<String>,
}

/// One dimension of a tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Known.
    Fixed(u64),
    /// Known when the model runs; some models name it.
    Dynamic(Option<String>),
}

impl fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(formatter),
            Self::Dynamic(Some(name)) => formatter.write_str(name),
            Self::Dynamic(None) => formatter.write_str("?"),
        }
    }
}

/// A configuration with everything decided: nothing is left to defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedConfig {
    /// What the results are named after.
    pub name: String,
    /// Whether the log has colours.
    pub rich_logging: bool,
    /// The stages, at least one, in the order they were written.
    pub stages: Vec<ResolvedStage>,
}

/// One model of a resolved configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedStage {
    /// Its key.
    pub name: StageName,
    /// Its files.
    pub model: ModelSource,
    /// What does not depend on the model.
    pub settings: StageSettings,
    /// The inputs, in the model's order; inputs cut into the model come last.
    pub inputs: Vec<ResolvedInput>,
    /// The outputs, in the order they were named, or the model's.
    pub outputs: Vec<ResolvedOutput>,
}

/// One input with everything decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedInput {
    /// The tensor's name.
    pub name: String,
    /// Its dimensions.
    pub shape: Shape,
    /// The letters of its dimensions.
    pub layout: crate::nn_archive::Layout,
    /// The type of its elements.
    pub data_type: DataType,
    /// Its colours; `NONE` on both sides if it is no picture.
    pub encoding: Encoding,
    /// Subtracted from each channel: one value for each, in the order of the model's own channels.
    pub mean_values: Option<Vec<f64>>,
    /// Divided through for each channel: one value for each, none zero, in the order of the model's own channels.
    pub scale_values: Option<Vec<f64>>,
    /// The data it is calibrated with, where calibration takes place.
    pub calibration: Calibration,
    /// The constant in its place.
    pub frozen_value: Option<FrozenValue>,
}

/// One output with everything decided that can be.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedOutput {
    /// The tensor's name.
    pub name: String,
    /// Its dimensions, if they are all known before the model is compiled.
    pub shape: Option<Shape>,
    /// The letters of its dimensions.
    pub layout: Option<crate::nn_archive::Layout>,
    /// The type of its elements.
    pub data_type: DataType,
}
