//! Element types of tensors, in the words of configurations.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Named;
use crate::hint::{Hint, nearest};
use crate::nn_archive;

/// Declares the types with their names.
macro_rules! data_types {
    ($($variant:ident $name:literal,)*) => {
        /// The type of a tensor's elements. `Fxp` and `Ufxp` are the fixed-point numbers of quantised networks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each name says all there is")]
        pub enum DataType {
            $($variant,)*
        }

        impl Named for DataType {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

data_types! {
    Bfloat16 "bfloat16",
    Float16 "float16",
    Float32 "float32",
    Float64 "float64",
    Int4 "int4",
    Int8 "int8",
    Int16 "int16",
    Int32 "int32",
    Int64 "int64",
    Uint4 "uint4",
    Uint8 "uint8",
    Uint16 "uint16",
    Uint32 "uint32",
    Uint64 "uint64",
    Boolean "boolean",
    String "string",
    Ufxp8 "ufxp8",
    Ufxp16 "ufxp16",
    Ufxp32 "ufxp32",
    Ufxp64 "ufxp64",
    Fxp8 "fxp8",
    Fxp16 "fxp16",
    Fxp32 "fxp32",
    Fxp64 "fxp64",
}

/// A text that names no data type.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no data type")]
pub struct DataTypeError {
    text: String,
}

impl Hint for DataTypeError {
    fn hints(&self) -> Vec<String> {
        let names = DataType::ALL.iter().map(|data_type| data_type.as_str());
        nearest(&self.text, names).map(|name| format!("did you mean `{name}`?")).into_iter().collect()
    }
}

impl DataType {
    /// Returns the type in the words of OpenVINO's command lines, if it has one: `f32`, `u8`.
    pub fn openvino(self) -> Option<String> {
        let name = self.as_str();
        match self {
            Self::Float16 | Self::Float32 | Self::Float64 => Some(name.replacen("float", "f", 1)),
            Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64 => Some(name.replacen("int", "i", 1)),
            Self::Uint8 | Self::Uint16 | Self::Uint32 | Self::Uint64 => Some(name.replacen("uint", "u", 1)),
            _ => None,
        }
    }

    /// Returns the type that OpenVINO's older interfaces call `name`, in any case: `FP32`, `u8`.
    pub fn from_openvino_precision(name: &str) -> Option<Self> {
        Self::PRECISIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, data_type)| *data_type)
    }

    /// The names of the older interfaces.
    const PRECISIONS: &[(&str, Self)] = &[
        ("FP16", Self::Float16),
        ("FP32", Self::Float32),
        ("FP64", Self::Float64),
        ("I8", Self::Int8),
        ("I16", Self::Int16),
        ("I32", Self::Int32),
        ("I64", Self::Int64),
        ("U8", Self::Uint8),
        ("U16", Self::Uint16),
        ("U32", Self::Uint32),
        ("U64", Self::Uint64),
        ("BOOL", Self::Boolean),
    ];

    /// Returns the type that the elements of an ONNX tensor have, if the element type is one of ONNX's plain ones
    /// (`TensorProto.DataType`).
    pub const fn from_onnx(element_type: i32) -> Option<Self> {
        Some(match element_type {
            1 => Self::Float32,
            2 => Self::Uint8,
            3 => Self::Int8,
            4 => Self::Uint16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            8 => Self::String,
            9 => Self::Boolean,
            10 => Self::Float16,
            11 => Self::Float64,
            12 => Self::Uint32,
            13 => Self::Uint64,
            16 => Self::Bfloat16,
            21 => Self::Uint4,
            22 => Self::Int4,
            _ => return None,
        })
    }

    /// Returns the type in the words of NN Archives, if it has one. Fixed-point numbers count as integers.
    pub const fn archive(self) -> Option<nn_archive::DataType> {
        use nn_archive::DataType as Archive;
        Some(match self {
            Self::Float16 => Archive::Float16,
            Self::Float32 => Archive::Float32,
            Self::Float64 => Archive::Float64,
            Self::Int4 => Archive::Int4,
            Self::Int8 | Self::Fxp8 => Archive::Int8,
            Self::Int16 | Self::Fxp16 => Archive::Int16,
            Self::Int32 | Self::Fxp32 => Archive::Int32,
            Self::Int64 | Self::Fxp64 => Archive::Int64,
            Self::Uint4 => Archive::Uint4,
            Self::Uint8 | Self::Ufxp8 => Archive::Uint8,
            Self::Uint16 | Self::Ufxp16 => Archive::Uint16,
            Self::Uint32 | Self::Ufxp32 => Archive::Uint32,
            Self::Uint64 | Self::Ufxp64 => Archive::Uint64,
            Self::Boolean => Archive::Boolean,
            Self::String => Archive::String,
            Self::Bfloat16 => return None,
        })
    }

    /// Returns whether elements are floating-point numbers.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Bfloat16 | Self::Float16 | Self::Float32 | Self::Float64)
    }
}

impl From<nn_archive::DataType> for DataType {
    fn from(data_type: nn_archive::DataType) -> Self {
        use nn_archive::DataType as Archive;
        match data_type {
            Archive::Int4 => Self::Int4,
            Archive::Int8 => Self::Int8,
            Archive::Int16 => Self::Int16,
            Archive::Int32 => Self::Int32,
            Archive::Int64 => Self::Int64,
            Archive::Uint4 => Self::Uint4,
            Archive::Uint8 => Self::Uint8,
            Archive::Uint16 => Self::Uint16,
            Archive::Uint32 => Self::Uint32,
            Archive::Uint64 => Self::Uint64,
            Archive::Float16 => Self::Float16,
            Archive::Float32 => Self::Float32,
            Archive::Float64 => Self::Float64,
            Archive::Boolean => Self::Boolean,
            Archive::String => Self::String,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for DataType {
    type Err = DataTypeError;

    fn from_str(text: &str) -> Result<Self, DataTypeError> {
        Self::ALL
            .iter()
            .find(|data_type| data_type.as_str() == text)
            .copied()
            .ok_or_else(|| DataTypeError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_near_misses_get_a_hint() {
        for data_type in DataType::ALL {
            assert_eq!(data_type.as_str().parse::<DataType>(), Ok(*data_type));
            if let Some(archive) = data_type.archive() {
                assert_eq!(DataType::from(archive).archive(), Some(archive));
            }
        }
        assert_eq!("Float32".parse::<DataType>().unwrap_err().hints(), ["did you mean `float32`?"]);
    }

    #[test]
    fn openvino_has_its_own_words() {
        assert_eq!(DataType::Uint8.openvino().as_deref(), Some("u8"));
        assert_eq!(DataType::Float16.openvino().as_deref(), Some("f16"));
        assert_eq!(DataType::Boolean.openvino(), None);
        assert_eq!(DataType::from_openvino_precision("fp16"), Some(DataType::Float16));
    }
}
