//! The blocks of a configuration that belong to one target each.

use std::num::NonZeroU32;

use super::FileReference;
use super::encodings::Encodings;
use crate::units::ShaveCount;

/// The block `rvc2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rvc2Options {
    /// Accepted for all targets alike; this one never calibrates.
    pub disable_calibration: bool,
    /// Arguments of the model optimizer, before ours.
    pub mo_args: Vec<String>,
    /// Arguments of the compile tool, before ours.
    pub compile_tool_args: Vec<String>,
    /// The type of weights in the IR.
    pub weights: WeightType,
    /// What is compiled.
    pub blob: BlobForm,
    /// How many shave counts are compiled at once, or as many as cores and memory allow.
    pub workers: Option<NonZeroU32>,
    /// Who reads the ONNX model.
    pub front_end: FrontEndChoice,
}

/// The type of weights in the IR (`compress_to_fp16`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum WeightType {
    Float16,
    Float32,
}

/// What is compiled for MyriadX (`superblob`, `number_of_shaves`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobForm {
    /// All shave counts in one file.
    Superblob,
    /// One blob for one shave count.
    Blob(ShaveCount),
}

/// Who may read the ONNX model (`front_end`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontEndChoice {
    /// Whoever can; the choice and its reason stand in the report.
    Auto,
    /// This one.
    Only(FrontEnd),
}

/// Who reads the ONNX model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrontEnd {
    /// The ONNX importer inside the Inference Engine.
    Importer,
    /// The model optimizer.
    Mo,
}

/// The block `rvc3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rvc3Options {
    /// Whether quantisation is left out.
    pub disable_calibration: bool,
    /// Arguments of the model optimizer, before ours.
    pub mo_args: Vec<String>,
    /// Arguments of the compile tool, before ours.
    pub compile_tool_args: Vec<String>,
    /// The type of weights in the IR.
    pub weights: WeightType,
    /// The device that the post-training optimizer quantises for.
    pub pot_target_device: PotTargetDevice,
}

/// The block `rvc4`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rvc4Options {
    /// Whether quantisation is left out.
    pub disable_calibration: bool,
    /// Arguments of the converter, before ours.
    pub snpe_onnx_to_dlc_args: Vec<String>,
    /// Arguments of the quantiser, before ours.
    pub snpe_dlc_quant_args: Vec<String>,
    /// Arguments of the graph preparation, before ours.
    pub snpe_dlc_graph_prepare_args: Vec<String>,
    /// Whether the raw calibration files stay in the output.
    pub keep_raw_images: bool,
    /// One scale per channel.
    pub use_per_channel_quantization: bool,
    /// One scale per row of matrix multiplications.
    pub use_per_row_quantization: bool,
    /// 1 to 3.
    pub optimization_level: u8,
    /// What is quantised to what.
    pub quantization_mode: QuantizationMode,
    /// Which chips the graph is prepared for.
    pub htp_socs: Vec<HtpSoc>,
    /// Encodings that override the quantiser's own.
    pub encodings: Option<EncodingsSource>,
    /// Whether an encoding for a tensor that the model lacks is an error.
    pub strict_quantization_overrides: bool,
    /// Whether inputs and outputs always get the encodings that DepthAI can use.
    pub normalize_io_encodings: bool,
}

/// Where quantisation encodings come from (`rvc4.encodings`).
#[derive(Clone, Debug, PartialEq)]
pub enum EncodingsSource {
    /// A JSON file.
    File(FileReference),
    /// A mapping with `activation_encodings` and `param_encodings`, in the configuration itself.
    Inline(Encodings),
}

/// The block `hailo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HailoOptions {
    /// Whether quantisation is left out.
    pub disable_calibration: bool,
    /// Whether tensors keep the names they have in the ONNX model.
    pub force_onnx_names: bool,
    /// -100, or 0 to 4.
    pub optimization_level: i8,
    /// 0 to 5.
    pub compression_level: u8,
    /// Samples in one step of the quantiser.
    pub batch_size: NonZeroU32,
    /// Whether only the quantised archive is made.
    pub disable_compilation: bool,
    /// Lines of the model script.
    pub alls: Vec<String>,
    /// The chip.
    pub hw_arch: HailoArchitecture,
}

/// Declares an enumeration whose variants have names in configurations.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each name says all there is")]
        pub enum $name {
            $($variant,)*
        }

        impl $crate::config::Named for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}
pub(super) use named;

named!(
    /// What is quantised to what on RVC4.
    QuantizationMode {
        Int8Standard "INT8_STANDARD",
        Int8AccuracyFocused "INT8_ACCURACY_FOCUSED",
        Int8Int16Mixed "INT8_INT16_MIXED",
        Int8Int16MixedAccuracyFocused "INT8_INT16_MIXED_ACCURACY_FOCUSED",
        Int16Standard "INT16_STANDARD",
        Fp16Standard "FP16_STANDARD",
        Custom "CUSTOM",
    }
);

named!(
    /// A Qualcomm chip.
    HtpSoc {
        Sm8350 "sm8350",
        Sm8450 "sm8450",
        Sm8550 "sm8550",
        Sm8650 "sm8650",
        Qcs6490 "qcs6490",
        Qcs8550 "qcs8550",
    }
);

named!(
    /// The device that the post-training optimizer quantises for.
    PotTargetDevice {
        Vpu "VPU",
        Any "ANY",
    }
);

named!(
    /// A Hailo chip.
    HailoArchitecture {
        Hailo8 "hailo8",
        Hailo8l "hailo8l",
        Hailo8r "hailo8r",
        Hailo10h "hailo10h",
        Hailo15h "hailo15h",
        Hailo15m "hailo15m",
    }
);

impl Default for Rvc2Options {
    fn default() -> Self {
        Self {
            disable_calibration: false,
            mo_args: Vec::new(),
            compile_tool_args: Vec::new(),
            weights: WeightType::Float16,
            blob: BlobForm::Superblob,
            workers: None,
            front_end: FrontEndChoice::Auto,
        }
    }
}

impl Default for Rvc3Options {
    fn default() -> Self {
        Self {
            disable_calibration: false,
            mo_args: Vec::new(),
            compile_tool_args: Vec::new(),
            weights: WeightType::Float16,
            pot_target_device: PotTargetDevice::Vpu,
        }
    }
}

impl Default for Rvc4Options {
    fn default() -> Self {
        Self {
            disable_calibration: false,
            snpe_onnx_to_dlc_args: Vec::new(),
            snpe_dlc_quant_args: Vec::new(),
            snpe_dlc_graph_prepare_args: Vec::new(),
            keep_raw_images: false,
            use_per_channel_quantization: true,
            use_per_row_quantization: false,
            optimization_level: 2,
            quantization_mode: QuantizationMode::Int8Standard,
            htp_socs: vec![HtpSoc::Sm8550],
            encodings: None,
            strict_quantization_overrides: false,
            normalize_io_encodings: true,
        }
    }
}

impl Default for HailoOptions {
    fn default() -> Self {
        Self {
            disable_calibration: false,
            force_onnx_names: true,
            optimization_level: 2,
            compression_level: 2,
            batch_size: NonZeroU32::MIN.saturating_add(7),
            disable_compilation: false,
            alls: Vec::new(),
            hw_arch: HailoArchitecture::Hailo8,
        }
    }
}
