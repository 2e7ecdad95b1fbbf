//! Between configurations and NN Archives: an archive taken as a source, a compiled model described for the device, and
//! a bare model described from itself.

mod bare;
mod describe;
mod source;

pub use bare::{BareError, BareModel, BareTensor, describe_bare};
pub use describe::{CompiledFacts, CompiledTensor, DescribeError, describe};
pub use source::{from_archive, main_stage_of};

/// Where mean, scale and colours are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreprocessingPlace {
    /// In the model.
    #[default]
    Model,
    /// On the device, as the NN Archive says.
    Archive,
}
