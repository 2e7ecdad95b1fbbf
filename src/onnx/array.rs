//! Constant tensors as kernels compute with them.
//!
//! Owns one form of elements, row-major and little-endian, for every way in which a `TensorProto` may hold them.
//! Arrays share their bytes: to make one of raw data, or to give one another shape, copies nothing.

use bytes::Bytes;
use half::{bf16, f16};

use super::element::ElementType;
use super::proto::{DataLocation, TensorProto};

/// A tensor of elements that take whole bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    element: ElementType,
    sizes: Vec<usize>,
    bytes: Bytes,
}

/// The elements of an array as numbers that hold each of them exactly.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    /// Of a floating type.
    Floats(Vec<f64>),
    /// Of an integer type, or truth values as 0 and 1.
    Whole(Vec<i128>),
}

/// Returns how many bytes one element takes, if they are whole.
pub(super) fn width(element: ElementType) -> Option<usize> {
    element.bits().filter(|bits| bits % 8 == 0).and_then(|bits| usize::try_from(bits / 8).ok())
}

impl Array {
    /// Makes an array, if there are as many bytes as the sizes need.
    pub fn new(element: ElementType, sizes: Vec<usize>, bytes: Bytes) -> Option<Self> {
        let expected = sizes.iter().try_fold(width(element)?, |bytes, size| bytes.checked_mul(*size))?;
        (expected == bytes.len()).then_some(Self { element, sizes, bytes })
    }

    /// Reads a tensor. `None` if its elements are text, do not take whole bytes, or are in another file.
    pub fn of(tensor: &TensorProto) -> Option<Self> {
        if tensor.data_location() == DataLocation::External {
            return None;
        }
        let element = ElementType::from_code(tensor.data_type())?;
        let sizes = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>()?;
        let bytes = match tensor.raw_data.as_ref().filter(|raw| !raw.is_empty()) {
            Some(raw) => raw.clone(),
            None => typed_bytes(tensor, element, width(element)?),
        };
        Self::new(element, sizes, bytes)
    }

    /// Makes an array of 64-bit integers.
    pub fn integers(sizes: Vec<usize>, values: &[i64]) -> Option<Self> {
        Self::new(ElementType::Int64, sizes, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Makes an array of a floating type; numbers are rounded to it.
    pub(super) fn of_floats(element: ElementType, sizes: Vec<usize>, values: &[f64]) -> Option<Self> {
        let bytes: Vec<u8> = match element {
            // By way of binary32, on every machine: no result of an operation on such numbers is rounded twice by it.
            ElementType::Float16 => values.iter().flat_map(|&it| f16::from_f32(it as f32).to_le_bytes()).collect(),
            ElementType::Bfloat16 => values.iter().flat_map(|&it| bf16::from_f32(it as f32).to_le_bytes()).collect(),
            ElementType::Float32 => values.iter().flat_map(|&it| (it as f32).to_le_bytes()).collect(),
            ElementType::Float64 => values.iter().flat_map(|&it| it.to_le_bytes()).collect(),
            _ => return None,
        };
        Self::new(element, sizes, bytes.into())
    }

    /// Makes an array of an integer type or of truth values; what does not fit wraps.
    pub(super) fn of_whole(element: ElementType, sizes: Vec<usize>, values: &[i128]) -> Option<Self> {
        use ElementType::*;
        let integer = matches!(element, Uint8 | Int8 | Uint16 | Int16 | Uint32 | Int32 | Uint64 | Int64);
        let width = width(element).filter(|_| integer || element == Boolean)?;
        let mut bytes = Vec::with_capacity(values.len().checked_mul(width)?);
        for value in values {
            let value = if element == Boolean { i128::from(*value != 0) } else { *value };
            bytes.extend_from_slice(value.to_le_bytes().get(..width)?);
        }
        Self::new(element, sizes, bytes.into())
    }

    /// Returns the type of the elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Returns the sizes, outermost first.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Returns the elements as bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the number of elements.
    pub fn count(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Returns how many bytes one element takes.
    pub fn width(&self) -> usize {
        width(self.element).unwrap_or(1)
    }

    /// Returns the same elements in another shape, if it has room for just these.
    pub fn reshaped(&self, sizes: Vec<usize>) -> Option<Self> {
        Self::new(self.element, sizes, self.bytes.clone())
    }

    /// Returns the elements, if they are integers or truth values that fit.
    pub fn to_integers(&self) -> Option<Vec<i64>> {
        match self.numbers()? {
            Numbers::Whole(values) => values.into_iter().map(|value| i64::try_from(value).ok()).collect(),
            Numbers::Floats(_) => None,
        }
    }

    /// Returns the only element, if it is an integer or truth value that fits.
    pub fn to_integer(&self) -> Option<i64> {
        if self.count() == 1 { self.to_integers()?.first().copied() } else { None }
    }

    /// Returns the elements, if they are of a floating type.
    pub fn to_floats(&self) -> Option<Vec<f64>> {
        match self.numbers()? {
            Numbers::Floats(values) => Some(values),
            Numbers::Whole(_) => None,
        }
    }

    /// Returns the elements as numbers.
    pub(super) fn numbers(&self) -> Option<Numbers> {
        use ElementType::*;
        fn read<const SIZE: usize, T>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
            bytes.as_chunks::<SIZE>().0.iter().map(|chunk| number(*chunk)).collect()
        }
        let bytes = &self.bytes;
        Some(match self.element {
            Float16 => Numbers::Floats(read(bytes, |it| f64::from(f16::from_le_bytes(it).to_f32()))),
            Bfloat16 => Numbers::Floats(read(bytes, |it| f64::from(bf16::from_le_bytes(it).to_f32()))),
            Float32 => Numbers::Floats(read(bytes, |it| f64::from(f32::from_le_bytes(it)))),
            Float64 => Numbers::Floats(read(bytes, f64::from_le_bytes)),
            Float8E4M3Fn => Numbers::Floats(read(bytes, |[it]: [u8; 1]| float8(it, 3, 7, 0x7f))),
            Float8E4M3Fnuz => Numbers::Floats(read(bytes, |[it]: [u8; 1]| float8(it, 3, 8, 0x80))),
            Float8E5M2 => Numbers::Floats(read(bytes, |[it]: [u8; 1]| f64::from(f16::from_le_bytes([0, it]).to_f32()))),
            Float8E5M2Fnuz => Numbers::Floats(read(bytes, |[it]: [u8; 1]| float8(it, 2, 16, 0x80))),
            Int8 => Numbers::Whole(read(bytes, |it| i8::from_le_bytes(it).into())),
            Int16 => Numbers::Whole(read(bytes, |it| i16::from_le_bytes(it).into())),
            Int32 => Numbers::Whole(read(bytes, |it| i32::from_le_bytes(it).into())),
            Int64 => Numbers::Whole(read(bytes, |it| i64::from_le_bytes(it).into())),
            Uint8 => Numbers::Whole(read(bytes, |it| u8::from_le_bytes(it).into())),
            Uint16 => Numbers::Whole(read(bytes, |it| u16::from_le_bytes(it).into())),
            Uint32 => Numbers::Whole(read(bytes, |it| u32::from_le_bytes(it).into())),
            Uint64 => Numbers::Whole(read(bytes, |it| u64::from_le_bytes(it).into())),
            Boolean => Numbers::Whole(read(bytes, |[it]: [u8; 1]| i128::from(it != 0))),
            _ => return None,
        })
    }

    /// Returns the array as a message.
    pub fn to_tensor(&self, name: &str) -> TensorProto {
        TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(self.element.code()),
            dims: self.sizes.iter().map(|&size| size as i64).collect(),
            raw_data: Some(self.bytes.clone()),
            ..TensorProto::default()
        }
    }
}

/// A finite number of 8 bits with so many bits behind its point, or none if it is `nothing`.
fn float8(byte: u8, mantissa: u32, bias: i32, nothing: u8) -> f64 {
    // Where zero has one sign only, the other one means that it is no number.
    if byte == nothing || (nothing != 0x80 && byte & 0x7f == nothing) {
        return f64::NAN;
    }
    let exponent = i32::from((byte & 0x7f) >> mantissa);
    let part = f64::from(byte & ((1 << mantissa) - 1)) / f64::from(1 << mantissa);
    let size = match exponent {
        0 => part * 2_f64.powi(1 - bias),
        _ => (1.0 + part) * 2_f64.powi(exponent - bias),
    };
    if byte & 0x80 == 0 { size } else { -size }
}

/// Collects elements that are held as numbers of the schema.
fn typed_bytes(tensor: &TensorProto, element: ElementType, width: usize) -> Bytes {
    use ElementType::*;
    match element {
        Float32 | Complex64 => tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Float64 | Complex128 => tensor.double_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Int64 => tensor.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Uint32 | Uint64 => {
            tensor.uint64_data.iter().flat_map(|value| value.to_le_bytes().into_iter().take(width)).collect()
        }
        // Everything smaller is the low bits of an entry.
        _ => tensor.int32_data.iter().flat_map(|value| value.to_le_bytes().into_iter().take(width)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_tensor_is_read() {
        let typed = |element: ElementType, dims: &[i64]| TensorProto {
            data_type: Some(element.code()),
            dims: dims.to_vec(),
            ..TensorProto::default()
        };
        let cases = [
            (TensorProto { int32_data: vec![-1, 7], ..typed(ElementType::Int8, &[2]) }, vec![-1, 7]),
            (TensorProto { int32_data: vec![1, 0], ..typed(ElementType::Boolean, &[2]) }, vec![1, 0]),
            (TensorProto { uint64_data: vec![u32::MAX.into()], ..typed(ElementType::Uint32, &[]) }, vec![4294967295]),
            (TensorProto { int64_data: vec![i64::MIN], ..typed(ElementType::Int64, &[1]) }, vec![i64::MIN]),
            (TensorProto { raw_data: Some(vec![1, 255].into()), ..typed(ElementType::Int16, &[1]) }, vec![-255]),
        ];
        for (tensor, expected) in cases {
            assert_eq!(Array::of(&tensor).unwrap().to_integers().unwrap(), expected);
        }
        let half = TensorProto { int32_data: vec![0x3c00], ..typed(ElementType::Float16, &[]) };
        assert_eq!(Array::of(&half).unwrap().to_floats().unwrap(), [1.0]);
        assert_eq!(Array::of(&typed(ElementType::Int4, &[2])), None);
        assert_eq!(Array::of(&typed(ElementType::String, &[0])), None);
        assert_eq!(Array::of(&typed(ElementType::Float32, &[1])), None, "an element is missing");
    }

    #[test]
    fn numbers_of_8_bits_are_read() {
        let cases = [
            (ElementType::Float8E4M3Fn, 0x7e, 448.0),
            (ElementType::Float8E4M3Fn, 0x81, -0.001_953_125),
            (ElementType::Float8E4M3Fnuz, 0x7f, 240.0),
            (ElementType::Float8E5M2, 0xbc, -1.0),
            (ElementType::Float8E5M2, 0x7c, f64::INFINITY),
            (ElementType::Float8E5M2Fnuz, 0x7f, 57344.0),
        ];
        for (element, byte, expected) in cases {
            let array = Array::new(element, vec![1], vec![byte].into()).unwrap();
            assert_eq!(array.to_floats().unwrap(), [expected], "{element} {byte:x}");
        }
        for (element, byte) in [(ElementType::Float8E4M3Fn, 0xff), (ElementType::Float8E4M3Fnuz, 0x80)] {
            assert!(Array::new(element, vec![1], vec![byte].into()).unwrap().to_floats().unwrap()[0].is_nan());
        }
    }

    #[test]
    fn integers_wrap_and_floats_are_rounded() {
        let small = Array::of_whole(ElementType::Uint8, vec![2], &[300, -1]).unwrap();
        assert_eq!(small.to_integers().unwrap(), [44, 255]);
        let half = Array::of_floats(ElementType::Float16, vec![1], &[1.0 / 3.0]).unwrap();
        assert_eq!(half.bytes().as_ref(), [0x55, 0x35]);
        assert!(Array::of_floats(ElementType::Int8, vec![], &[1.0]).is_none());
        assert!(Array::of_whole(ElementType::Float32, vec![], &[1]).is_none());
    }
}
