//! The keys of a configuration: one table for the reader, the JSON Schema and the tests, so that they cannot drift.
//!
//! Owns names, kinds and what is said about them. Defaults stand with the types that hold them, and the schema takes
//! them from there.

use serde_json::Value;

use super::schema;
use super::targets::{HailoArchitecture, HtpSoc, PotTargetDevice, QuantizationMode};
use super::{Color, DataType, FrontEndChoice, Named, ResizeMethod, Verification};

/// One key of a mapping.
#[derive(Debug)]
pub struct Key {
    /// As it is typed.
    pub name: &'static str,
    /// What may stand behind it.
    pub kind: Kind,
    /// What it does, for people.
    pub about: &'static str,
    /// Whether null may stand behind it too.
    pub null: Null,
    /// Whether people should type it.
    pub standing: Standing,
}

/// What null says behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// It is refused.
    Refused,
    /// It is as good as silence, or turns off what holds for all.
    Taken,
}

/// Whether people should type a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They may.
    Current,
    /// It is read for the sake of old configurations.
    Deprecated,
}

/// What may stand behind a key.
#[derive(Debug)]
pub enum Kind {
    /// A boolean, or a word for one.
    Boolean,
    /// An integer from the first to the second.
    Integer(i64, i64),
    /// A finite number.
    Number,
    /// A finite number of at least 0.
    Positive,
    /// A number from 0 to 1.
    Fraction,
    /// A text that is not empty.
    Text,
    /// A list of texts.
    Texts,
    /// One of these words.
    Choice(fn() -> Vec<&'static str>),
    /// A list of these words, at least one.
    Choices(fn() -> Vec<&'static str>),
    /// A mapping with these keys.
    Mapping(&'static [Key]),
    /// A list of mappings with these keys.
    Mappings(&'static [Key]),
    /// A mapping of names to stages.
    Stages,
    /// What this piece of a JSON Schema says.
    Other(fn() -> Value),
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, about, null: Null::Refused, standing: Standing::Current }
}

impl Key {
    const fn or_null(self) -> Self {
        Self { null: Null::Taken, ..self }
    }

    const fn deprecated(self) -> Self {
        Self { standing: Standing::Deprecated, ..self }
    }
}

/// Returns the names of keys.
pub fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// Returns the names of an enumeration's variants.
pub fn choices<T: Named>() -> Vec<&'static str> {
    T::ALL.iter().map(|variant| variant.as_str()).collect()
}

/// No list of numbers of anything is longer.
pub const MOST: i64 = i32::MAX as i64;

/// What holds for the whole configuration, beside the keys of a stage.
pub const DOCUMENT: &[Key] = &[
    key(
        "name",
        Kind::Text,
        "What the results are named after; without it the name of the model, or of the stages joined by `-`.",
    )
    .or_null(),
    key("rich_logging", Kind::Boolean, "Whether the log has colours."),
    key(
        "stages",
        Kind::Stages,
        "Several models, by name, in the order in which they are converted. All other keys then hold for every stage \
         that does not say them itself.",
    )
    .or_null(),
];

/// What holds for one model: the keys of a stage, or of a configuration without stages.
pub const STAGE: &[Key] = &[
    key("input_model", Kind::Text, "The model: a path or URL of .onnx, .tflite, or .xml with .bin beside it.")
        .or_null(),
    key("input_bin", Kind::Text, "The weights of an IR; they stand beside it, under the same name.").or_null(),
    key(
        "input_file_type",
        Kind::Choice(|| vec!["ONNX", "IR", "TFLITE", "DLC", "HAR", "PYTORCH"]),
        "The format of the model; the suffix of `input_model` tells it.",
    )
    .or_null(),
    key(
        "inputs",
        Kind::Mappings(INPUT),
        "The inputs about which something is to be said; none means all of the model's.",
    )
    .or_null(),
    key("outputs", Kind::Mappings(OUTPUT), "The outputs to keep, in this order; none means all of the model's.")
        .or_null(),
    SHAPE,
    LAYOUT,
    DATA_TYPE,
    ENCODING,
    MEAN_VALUES,
    SCALE_VALUES,
    CALIBRATION,
    key("keep_intermediate_outputs", Kind::Boolean, "Whether the folder of intermediate files stays."),
    key(
        "onnx_simplification",
        Kind::Other(schema::simplification),
        "Whether an ONNX model is simplified: `onnxsim` and `onnxslim` both mean our own simplifier.",
    ),
    key(
        "onnx_optimizations",
        Kind::Other(schema::optimizations),
        "Which rewritings an ONNX model gets: `all`, `none`, or each by name.",
    )
    .or_null(),
    key(
        "output_remote_url",
        Kind::Text,
        "Where the results are uploaded or copied: a bucket, or a folder of this machine.",
    )
    .or_null(),
    key("intermediate_outputs_remote_url", Kind::Text, "The same for the intermediate files.").or_null(),
    key("put_file_plugin", Kind::Text, "The uploader, by name.").or_null(),
    key("disable_calibration", Kind::Boolean, "Whether quantisation is left out, for all targets.").or_null(),
    key("verification", Kind::Mapping(VERIFICATION), "How the conversion shows that it did not change the network.")
        .or_null(),
    key("rvc2", Kind::Mapping(RVC2), "What holds for RVC2 alone.").or_null(),
    key("rvc3", Kind::Mapping(RVC3), "What holds for RVC3 alone.").or_null(),
    key("rvc4", Kind::Mapping(RVC4), "What holds for RVC4 alone.").or_null(),
    key("hailo", Kind::Mapping(HAILO), "What holds for Hailo alone.").or_null(),
    key(
        "yolo_input_shape",
        Kind::Other(schema::yolo_input_shape),
        "The size of pictures of a YOLO model in PyTorch's format. It has no effect: such models are not converted.",
    )
    .or_null()
    .deprecated(),
    key("disable_onnx_simplification", Kind::Boolean, "Write `onnx_simplification: false`.").deprecated(),
    key("disable_onnx_optimizations", Kind::Boolean, "Write `onnx_optimizations: none`.").deprecated(),
    key("disable_onnx_optimization", Kind::Boolean, "Write `onnx_optimizations: none`.").deprecated(),
];

const SHAPE: Key = key(
    "shape",
    Kind::Other(schema::shape),
    "Dimensions, outermost first. A leading 0 or -1 is a batch of any size and becomes 1.",
)
.or_null();
const LAYOUT: Key = key(
    "layout",
    Kind::Other(schema::layout),
    "One letter for each dimension, each once: N batch, C channels, H height, W width.",
)
.or_null();
const DATA_TYPE: Key = key("data_type", Kind::Choice(choices::<DataType>), "The type of elements.").or_null();
const ENCODING: Key = key(
    "encoding",
    Kind::Other(schema::encoding),
    "The colours the model was trained on (`from`) and those the compiled model will be fed (`to`); one word means \
     both. `NONE` is for what is no picture.",
)
.or_null();
const MEAN_VALUES: Key = key(
    "mean_values",
    Kind::Other(schema::mean_values),
    "Subtracted from each channel, in the order of the model's own channels: a number for all, one for each, or \
     `imagenet`.",
)
.or_null();
const SCALE_VALUES: Key = key(
    "scale_values",
    Kind::Other(schema::scale_values),
    "Each channel is divided by it, after the mean, in the order of the model's own channels: a number for all, one for \
     each, or `imagenet`. Never zero.",
)
.or_null();
const CALIBRATION: Key = key(
    "calibration",
    Kind::Other(schema::calibration),
    "What quantisation is calibrated with: `random`, a folder of files (`path`), random data of a certain kind, or what \
     an earlier stage makes of its own data (`stage`).",
)
.or_null();

/// The keys of one entry of `inputs`.
pub const INPUT: &[Key] = &[
    key("name", Kind::Other(schema::tensor_name), "The name of the tensor."),
    SHAPE,
    LAYOUT,
    DATA_TYPE,
    ENCODING,
    MEAN_VALUES,
    SCALE_VALUES,
    CALIBRATION,
    FROZEN_VALUE,
    key("freeze_value", Kind::Other(schema::frozen_value), "Write `frozen_value`.").or_null().deprecated(),
];

const FROZEN_VALUE: Key = key(
    "frozen_value",
    Kind::Other(schema::frozen_value),
    "A constant in the place of the input: a number or a list of numbers (RVC2 and RVC3).",
)
.or_null();

/// The keys of one entry of `outputs`.
pub const OUTPUT: &[Key] =
    &[key("name", Kind::Other(schema::tensor_name), "The name of the tensor."), SHAPE, LAYOUT, DATA_TYPE];

/// The keys of `encoding`.
pub const COLORS: &[Key] = &[
    key("from", Kind::Choice(choices::<Color>), "What the model was trained on.").or_null(),
    key("to", Kind::Choice(choices::<Color>), "What the compiled model will be fed.").or_null(),
    key("from_", Kind::Choice(choices::<Color>), "Write `from`.").or_null().deprecated(),
];

/// The keys of `calibration`, of all kinds of data.
pub const CALIBRATION_DATA: &[Key] = &[
    key(
        "path",
        Kind::Text,
        "A folder, or a zip file, of pictures (.jpg, .png, .webp, .bmp, .tiff, .gif) or tensors (.npy, .raw).",
    )
    .or_null(),
    key("max_images", Kind::Integer(i64::MIN, i64::MAX), "How many samples; negative for all there are.").or_null(),
    key("resize_method", Kind::Choice(choices::<ResizeMethod>), "How pictures of another size become the input's.")
        .or_null(),
    key("min_value", Kind::Number, "Random values below become this.").or_null(),
    key("max_value", Kind::Number, "Random values above become this.").or_null(),
    key("mean", Kind::Number, "The middle of random values.").or_null(),
    key("std", Kind::Number, "The spread of random values.").or_null(),
    key("data_type", Kind::Choice(choices::<DataType>), "The type of random values.").or_null(),
    key("stage", Kind::Text, "An earlier stage whose results are the data.").or_null(),
    key("output", Kind::Text, "The output of that stage to take as it is.").or_null(),
    key("script", Kind::Text, "Python source, or a .py file, that makes data of that stage's outputs.").or_null(),
];

/// The keys of the block `verification`.
pub const VERIFICATION: &[Key] = &[
    key("enabled", Kind::Boolean, "Whether the rewritten network is compared with the original one."),
    key("device", Kind::Boolean, "Whether the network is also compared as the vendor's library reads it."),
    key(
        "samples",
        Kind::Integer(1, Verification::MOST_SAMPLES as i64),
        "How many seeded sets of inputs are compared, and how many calibration samples at most.",
    ),
    key("seed", Kind::Integer(0, u32::MAX as i64), "What the inputs are drawn from."),
    key("cosine", Kind::Fraction, "The least cosine similarity of an output."),
    key("relative", Kind::Positive, "The largest error of an element as a part of its value."),
    key("absolute", Kind::Positive, "Errors up to this count as none."),
    key("differing", Kind::Fraction, "The largest part of elements that differ, where none may be off by little."),
];

const DISABLE_CALIBRATION: Key = key("disable_calibration", Kind::Boolean, "Whether quantisation is left out.");
const MO_ARGS: Key = key("mo_args", Kind::Texts, "Arguments of the model optimizer, before the converter's own.");
const COMPILE_TOOL_ARGS: Key =
    key("compile_tool_args", Kind::Texts, "Arguments of the compile tool, before the converter's own.");
const COMPRESS_TO_FP16: Key =
    key("compress_to_fp16", Kind::Boolean, "Whether weights have 16 bits instead of 32 in the IR.");

/// The keys of the block `rvc2`.
pub const RVC2: &[Key] = &[
    key(
        "disable_calibration",
        Kind::Boolean,
        "RVC2 never calibrates; then the proof of equality is made without calibration samples.",
    ),
    MO_ARGS,
    COMPILE_TOOL_ARGS,
    COMPRESS_TO_FP16,
    key("number_of_shaves", Kind::Integer(1, 16), "How many SHAVE cores a single blob uses."),
    key("superblob", Kind::Boolean, "Whether one file holds the blobs for all of 1 to 16 SHAVE cores."),
    key(
        "n_workers",
        Kind::Integer(1, u32::MAX as i64),
        "How many blobs of a superblob are compiled at once; without it as many as processors and memory allow.",
    )
    .or_null(),
    key(
        "front_end",
        Kind::Choice(choices::<FrontEndChoice>),
        "Who reads an ONNX model: the compiler's own importer, the model optimizer, or whoever can.",
    ),
];

/// The keys of the block `rvc3`.
pub const RVC3: &[Key] = &[
    DISABLE_CALIBRATION,
    MO_ARGS,
    COMPILE_TOOL_ARGS,
    COMPRESS_TO_FP16,
    key(
        "pot_target_device",
        Kind::Choice(choices::<PotTargetDevice>),
        "The device that the post-training optimizer quantises for.",
    ),
];

/// The keys of the block `rvc4`.
pub const RVC4: &[Key] = &[
    DISABLE_CALIBRATION,
    key("snpe_onnx_to_dlc_args", Kind::Texts, "Arguments of the converter to DLC, before the converter's own."),
    key("snpe_dlc_quant_args", Kind::Texts, "Arguments of the quantiser, before the converter's own."),
    key("snpe_dlc_graph_prepare_args", Kind::Texts, "Arguments of the graph preparation, before the converter's own."),
    key("keep_raw_images", Kind::Boolean, "Whether the raw calibration files stay among the results."),
    key("use_per_channel_quantization", Kind::Boolean, "Whether weights have one scale for each channel."),
    key("use_per_row_quantization", Kind::Boolean, "Whether matrix multiplications have one scale for each row."),
    key("optimization_level", Kind::Integer(1, 3), "How hard the graph preparation tries."),
    key(
        "quantization_mode",
        Kind::Choice(choices::<QuantizationMode>),
        "What is quantised to what; `CUSTOM` leaves it to the arguments. `FP16_STANDARD` needs no calibration.",
    ),
    key("htp_socs", Kind::Choices(choices::<HtpSoc>), "The chips that the graph is prepared for."),
    key(
        "encodings",
        Kind::Other(schema::encodings),
        "Quantisation encodings that override the quantiser's own: a JSON file, or a mapping.",
    )
    .or_null(),
    key(
        "strict_quantization_overrides",
        Kind::Boolean,
        "Whether an encoding for a tensor that the model lacks is an error.",
    ),
    key(
        "normalize_io_encodings",
        Kind::Boolean,
        "Whether inputs and outputs always get encodings that DepthAI can use.",
    ),
];

/// The keys of the block `hailo`.
pub const HAILO: &[Key] = &[
    DISABLE_CALIBRATION,
    key("force_onnx_names", Kind::Boolean, "Whether outputs keep the names they have in the ONNX model."),
    key("optimization_level", Kind::Other(schema::hailo_level), "How hard the quantiser tries: 0 to 4, or -100."),
    key("compression_level", Kind::Integer(0, 5), "How many weights get 4 bits."),
    key("batch_size", Kind::Integer(1, u32::MAX as i64), "How many samples one step of the quantiser takes."),
    key("disable_compilation", Kind::Boolean, "Whether only the quantised archive is made."),
    key("alls", Kind::Texts, "Lines of the model script, before the converter's own."),
    key("hw_arch", Kind::Choice(choices::<HailoArchitecture>), "The chip."),
];

/// The keys of `rvc4.encodings`.
pub const ENCODING_GROUPS: &[Key] = &[
    key("activation_encodings", Kind::Other(schema::encoding_group), "Encodings of what flows through the network.")
        .or_null(),
    key("param_encodings", Kind::Other(schema::encoding_group), "Encodings of weights.").or_null(),
    key("version", Kind::Other(schema::anything), "What the maker of the file says of itself; not looked at.")
        .or_null(),
    key("producer", Kind::Other(schema::anything), "What the maker of the file says of itself; not looked at.")
        .or_null(),
    key("quantizer_args", Kind::Other(schema::anything), "How the encodings were made; not looked at.").or_null(),
    key("excluded_layers", Kind::Other(schema::anything), "What the maker left out; not looked at.").or_null(),
];
