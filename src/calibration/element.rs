//! The elements of tensors as bytes: little-endian, without gaps.

use std::fmt;

use half::f16;
use serde::{Serialize, Serializer};

use crate::config::{DataType, Shape};

/// A tensor in row-major order.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    /// Dimensions, outermost first.
    pub shape: Shape,
    /// The type of the elements.
    pub element: Element,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tensor({:?}, {}, {} bytes)", self.shape, self.element, self.bytes.len())
    }
}

/// Declares the types with NumPy's name and code of each.
macro_rules! elements {
    ($($variant:ident $type:ty, $name:literal $code:literal,)*) => {
        /// How one element stands in memory, in the words of NumPy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each name says all there is")]
        pub enum Element {
            $($variant,)*
        }

        impl Element {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns NumPy's name: `float32`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns kind and number of bytes as NumPy's files have them: `f4`.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// Returns the number of bytes of one element.
            pub const fn size(self) -> usize {
                match self {
                    $(Self::$variant => size_of::<$type>(),)*
                }
            }
        }
    };
}

elements! {
    Boolean u8, "bool" "b1",
    Uint8 u8, "uint8" "u1",
    Uint16 u16, "uint16" "u2",
    Uint32 u32, "uint32" "u4",
    Uint64 u64, "uint64" "u8",
    Int8 i8, "int8" "i1",
    Int16 i16, "int16" "i2",
    Int32 i32, "int32" "i4",
    Int64 i64, "int64" "i8",
    Float16 u16, "float16" "f2",
    Float32 f32, "float32" "f4",
    Float64 f64, "float64" "f8",
}

/// What people look at first in a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// The least value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The mean of all values.
    pub mean: f64,
}

impl Statistics {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut min, mut max, mut sum, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0.0);
        for value in values {
            min = min.min(value);
            max = max.max(value);
            sum += value;
            count += 1.0;
        }
        Self { min, max, mean: sum / count }
    }
}

impl Element {
    /// Returns how tensors of a data type are held; nothing for texts.
    ///
    /// NumPy has no `bfloat16` and nothing of four bits: these are held in the next larger type. Fixed-point numbers are
    /// held as integers.
    pub const fn of(data_type: DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Uint4 | DataType::Uint8 | DataType::Ufxp8 => Self::Uint8,
            DataType::Uint16 | DataType::Ufxp16 => Self::Uint16,
            DataType::Uint32 | DataType::Ufxp32 => Self::Uint32,
            DataType::Uint64 | DataType::Ufxp64 => Self::Uint64,
            DataType::Int4 | DataType::Int8 | DataType::Fxp8 => Self::Int8,
            DataType::Int16 | DataType::Fxp16 => Self::Int16,
            DataType::Int32 | DataType::Fxp32 => Self::Int32,
            DataType::Int64 | DataType::Fxp64 => Self::Int64,
            DataType::Float16 => Self::Float16,
            DataType::Bfloat16 | DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::String => return None,
        })
    }

    /// Returns the values of `bytes`; whole numbers beyond 2^53 lose their last digits.
    pub fn values(self, bytes: &[u8]) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::Boolean => Box::new(bytes.iter().map(|byte| f64::from(u8::from(*byte != 0)))),
            Self::Uint8 => Box::new(bytes.iter().map(|byte| f64::from(*byte))),
            Self::Int8 => Box::new(bytes.iter().map(|byte| f64::from(byte.cast_signed()))),
            Self::Uint16 => Box::new(words(bytes).map(|word| f64::from(u16::from_le_bytes(word)))),
            Self::Int16 => Box::new(words(bytes).map(|word| f64::from(i16::from_le_bytes(word)))),
            Self::Float16 => Box::new(words(bytes).map(|word| f16::from_le_bytes(word).to_f64())),
            Self::Uint32 => Box::new(words(bytes).map(|word| f64::from(u32::from_le_bytes(word)))),
            Self::Int32 => Box::new(words(bytes).map(|word| f64::from(i32::from_le_bytes(word)))),
            Self::Float32 => Box::new(words(bytes).map(|word| f64::from(f32::from_le_bytes(word)))),
            Self::Uint64 => Box::new(words(bytes).map(|word| u64::from_le_bytes(word) as f64)),
            Self::Int64 => Box::new(words(bytes).map(|word| i64::from_le_bytes(word) as f64)),
            Self::Float64 => Box::new(words(bytes).map(f64::from_le_bytes)),
        }
    }

    /// Returns the place of the first value of `bytes` that is not a number, if there is one.
    pub fn first_nan(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Float16 => words(bytes).position(|word| f16::from_le_bytes(word).is_nan()),
            Self::Float32 => words(bytes).position(|word| f32::from_le_bytes(word).is_nan()),
            Self::Float64 => words(bytes).position(|word| f64::from_le_bytes(word).is_nan()),
            _ => None,
        }
    }

    /// Returns the least, the largest and the mean of the values of `bytes`, which must have some.
    pub fn statistics(self, bytes: &[u8]) -> Statistics {
        match self {
            // Whole numbers are summed exactly and many at once.
            Self::Uint8 => {
                let (min, max) = bytes.iter().fold((u8::MAX, 0), |(min, max), byte| (min.min(*byte), max.max(*byte)));
                let of_part = |part: &[u8]| part.iter().map(|byte| u32::from(*byte)).sum::<u32>();
                let sum: u64 = bytes.chunks(1 << 16).map(of_part).map(u64::from).sum();
                Statistics { min: min.into(), max: max.into(), mean: sum as f64 / bytes.len() as f64 }
            }
            Self::Float32 => Statistics::of(words(bytes).map(|word| f64::from(f32::from_le_bytes(word)))),
            _ => Statistics::of(self.values(bytes)),
        }
    }

    /// Appends one value: whole numbers lose their fraction, and what is out of range becomes the nearest end of it.
    pub fn push(self, value: f64, bytes: &mut Vec<u8>) {
        match self {
            Self::Boolean => bytes.push(u8::from(value != 0.0)),
            Self::Uint8 => bytes.push(value as u8),
            Self::Int8 => bytes.push((value as i8).cast_unsigned()),
            Self::Uint16 => bytes.extend((value as u16).to_le_bytes()),
            Self::Int16 => bytes.extend((value as i16).to_le_bytes()),
            Self::Float16 => bytes.extend(f16::from_f64(value).to_le_bytes()),
            Self::Uint32 => bytes.extend((value as u32).to_le_bytes()),
            Self::Int32 => bytes.extend((value as i32).to_le_bytes()),
            Self::Float32 => bytes.extend((value as f32).to_le_bytes()),
            Self::Uint64 => bytes.extend((value as u64).to_le_bytes()),
            Self::Int64 => bytes.extend((value as i64).to_le_bytes()),
            Self::Float64 => bytes.extend(value.to_le_bytes()),
        }
    }

    /// Returns whether the type has this value; floating-point numbers may round it but not make it infinite.
    pub fn holds(self, value: f64) -> bool {
        /// Up to here an `f64` has every whole number.
        const WHOLE: f64 = (1_u64 << 53) as f64;
        let whole = |least: f64, most: f64| value.fract() == 0.0 && value >= least && value <= most;
        match self {
            Self::Boolean => value == 0.0 || value == 1.0,
            Self::Uint8 => whole(0.0, f64::from(u8::MAX)),
            Self::Int8 => whole(f64::from(i8::MIN), f64::from(i8::MAX)),
            Self::Uint16 => whole(0.0, f64::from(u16::MAX)),
            Self::Int16 => whole(f64::from(i16::MIN), f64::from(i16::MAX)),
            Self::Uint32 => whole(0.0, f64::from(u32::MAX)),
            Self::Int32 => whole(f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::Uint64 => whole(0.0, WHOLE),
            Self::Int64 => whole(-WHOLE, WHOLE),
            Self::Float16 => value.is_infinite() || !f16::from_f64(value).is_infinite(),
            Self::Float32 => value.is_infinite() || !(value as f32).is_infinite(),
            Self::Float64 => true,
        }
    }

    /// Returns `bytes` of this type as another, or the first value that the other does not have.
    ///
    /// # Errors
    /// The other type does not have one of the values.
    pub fn convert(self, bytes: Vec<u8>, to: Self) -> Result<Vec<u8>, f64> {
        if self == to {
            return Ok(bytes);
        }
        let mut converted = Vec::with_capacity(bytes.len() / self.size() * to.size());
        for value in self.values(&bytes) {
            if !to.holds(value) {
                return Err(value);
            }
            to.push(value, &mut converted);
        }
        Ok(converted)
    }

    /// Returns pixels of 8 bits in this type, or the first that it does not have, as `int8` has none above 127. Of
    /// truth values all but 0 are true.
    ///
    /// # Errors
    /// The type does not have one of the pixels.
    pub fn pixels(self, pixels: Vec<u8>) -> Result<Vec<u8>, u8> {
        Ok(match self {
            Self::Uint8 => pixels,
            Self::Int8 => match pixels.iter().find(|pixel| i8::try_from(**pixel).is_err()) {
                Some(pixel) => return Err(*pixel),
                None => pixels,
            },
            Self::Float32 => pixels.iter().flat_map(|pixel| f32::from(*pixel).to_le_bytes()).collect(),
            _ => {
                let mut bytes = Vec::with_capacity(pixels.len() * self.size());
                pixels.iter().for_each(|pixel| self.push(f64::from(*pixel), &mut bytes));
                bytes
            }
        })
    }

    /// Returns the pixels of 8 bits that [`Element::pixels`] makes `bytes` of; what is no pixel becomes the nearest one.
    pub fn to_pixels(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Uint8 => bytes.to_vec(),
            _ => self.values(bytes).map(|value| value.round() as u8).collect(),
        }
    }
}

/// Returns the words of `bytes`; a last one that is not whole is left out.
fn words<const SIZE: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; SIZE]> + '_ {
    bytes.as_chunks::<SIZE>().0.iter().copied()
}

impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Named;

    #[test]
    fn values_survive_in_every_type() {
        for element in Element::ALL {
            let mut bytes = Vec::new();
            for value in [0.0, 1.0, 1.0] {
                element.push(value, &mut bytes);
            }
            assert_eq!(bytes.len(), 3 * element.size());
            assert_eq!(element.values(&bytes).collect::<Vec<_>>(), [0.0, 1.0, 1.0], "{element}");
        }
        for data_type in DataType::ALL {
            assert_eq!(Element::of(*data_type).is_none(), *data_type == DataType::String);
        }
    }

    #[test]
    fn statistics_are_the_same_however_they_are_computed() {
        let bytes: Vec<u8> = (0..200_000_u64).map(|at| 3 + (at * at % 241) as u8).collect();
        let floats: Vec<u8> = bytes.iter().flat_map(|byte| f32::from(*byte).to_le_bytes()).collect();
        let expected = Statistics::of(Element::Uint8.values(&bytes));
        assert_eq!((expected.min, expected.max), (3.0, 243.0));
        assert_eq!(Element::Uint8.statistics(&bytes), expected);
        assert_eq!(Element::Float32.statistics(&floats), expected);
    }

    #[test]
    fn conversions_refuse_what_would_be_another_value() {
        let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let from = Element::Float32;
        assert_eq!(from.convert(floats(&[0.0, 255.0]), Element::Uint8), Ok(vec![0, 255]));
        assert_eq!(from.convert(floats(&[0.0, 0.5]), Element::Uint8), Err(0.5));
        assert_eq!(from.convert(floats(&[256.0]), Element::Uint8), Err(256.0));
        assert_eq!(from.convert(floats(&[1e6]), Element::Float16), Err(1e6));
        assert!(from.convert(floats(&[f32::NAN]), Element::Int32).is_err());
        assert_eq!(Element::Int8.convert(vec![0x80], Element::Int16), Ok(vec![0x80, 0xff]));
    }

    #[test]
    fn pixels_keep_their_values_and_come_back() {
        let pixels: Vec<u8> = (0..=255).collect();
        let narrow = [Element::Boolean, Element::Int8];
        for element in Element::ALL.iter().filter(|element| !narrow.contains(element)) {
            assert_eq!(element.to_pixels(&element.pixels(pixels.clone()).unwrap()), pixels, "{element}");
        }
        assert_eq!(Element::Boolean.pixels(vec![0, 200]), Ok(vec![0, 1]));
        assert_eq!(Element::Int8.pixels(vec![0, 127]), Ok(vec![0, 127]));
        assert_eq!(Element::Int8.pixels(vec![127, 128, 255]), Err(128), "not -128");
        assert_eq!(Element::Int8.to_pixels(&[0x80, 127]), [0, 127]);
    }
}
