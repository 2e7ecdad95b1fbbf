//! NumPy's files (`.npy`, format versions 1.0 to 3.0): tensors of plain numbers in either byte order and either order of
//! elements.
//!
//! The header is a Python literal and read as one. What is written is what `numpy.save` writes, byte for byte.

use std::fmt::Write as _;

use thiserror::Error;

use super::element::{Element, Tensor};
use crate::config::literal;
use crate::config::tree::{Tree, Value};
use crate::hint::Hint;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Headers of plain numbers have some hundred bytes; NumPy itself refuses longer ones.
const LONGEST_HEADER: usize = 10_000;
/// NumPy has no more dimensions.
const MOST_DIMENSIONS: usize = 64;
/// What stands before the elements has a multiple of this length.
const ALIGNMENT: usize = 64;
/// NumPy leaves room for the outermost dimension to grow to this many digits.
const GROWTH: usize = 21;

/// Bytes that are no tensor of plain numbers.
#[derive(Debug, Error, PartialEq)]
pub enum NpyError {
    /// They do not begin as such a file does.
    #[error("the file is no NumPy array")]
    Magic,
    /// The file breaks a rule of the format.
    #[error("the NumPy array is damaged: {rule}")]
    Damaged {
        /// What is wrong.
        rule: &'static str,
    },
    /// The elements are no plain numbers.
    #[error("the NumPy array has elements of type `{descr}`, not plain numbers")]
    Elements {
        /// The type as the file has it.
        descr: String,
    },
    /// There are more or fewer elements than promised.
    #[error("the NumPy array promises {expected} bytes of elements and has {found}")]
    Length {
        /// What shape and type say.
        expected: u64,
        /// What is there.
        found: u64,
    },
}

impl Hint for NpyError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Elements { .. } => vec!["save it as `numpy.save(path, array.astype(\"float32\"))`".to_owned()],
            Self::Magic | Self::Damaged { .. } | Self::Length { .. } => {
                vec!["write the file again with `numpy.save`".to_owned()]
            }
        }
    }
}

/// Returns whether bytes begin as NumPy's files do.
pub fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// A file of NumPy whose header has been read.
#[derive(Debug)]
pub struct Npy<'bytes> {
    header: Header,
    elements: &'bytes [u8],
}

impl Npy<'_> {
    /// Returns the shape that the header states.
    pub fn shape(&self) -> &[u64] {
        &self.header.shape
    }

    /// Returns the tensor.
    ///
    /// # Errors
    /// There are more or fewer elements than the header promises.
    pub fn tensor(self) -> Result<Tensor, NpyError> {
        self.header.tensor(self.elements)
    }
}

/// Reads a tensor.
///
/// # Errors
/// No file of NumPy, a damaged one, or elements that are no plain numbers.
pub fn read(bytes: &[u8]) -> Result<Tensor, NpyError> {
    open(bytes)?.tensor()
}

/// Reads what stands before the elements of a tensor.
///
/// # Errors
/// No file of NumPy, a damaged one, or elements that are no plain numbers.
pub fn open(bytes: &[u8]) -> Result<Npy<'_>, NpyError> {
    let damaged = |rule| NpyError::Damaged { rule };
    let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::Magic)?;
    let short = || damaged("its header ends too soon");
    let (length, rest) = match *rest {
        [1, 0, low, high, ref rest @ ..] => (u32::from(u16::from_le_bytes([low, high])), rest),
        [2 | 3, 0, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]), rest),
        [1..=3, 0, ..] | [] | [_] => return Err(short()),
        _ => return Err(damaged("its format has another version than 1.0, 2.0 and 3.0")),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST_HEADER);
    let length = length.ok_or_else(|| damaged("its header is longer than any of plain numbers"))?;
    let (header, elements) = rest.split_at_checked(length).ok_or_else(short)?;
    let header = std::str::from_utf8(header).map_err(|_| damaged("its header is no text"))?;
    Ok(Npy { header: Header::parse(header)?, elements })
}

/// The order in which elements stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The innermost dimension runs fastest.
    RowMajor,
    /// The outermost dimension runs fastest (Fortran).
    ColumnMajor,
}

#[derive(Debug)]
struct Header {
    element: Element,
    is_big_endian: bool,
    order: Order,
    shape: Vec<u64>,
}

impl Header {
    fn parse(text: &str) -> Result<Self, NpyError> {
        let damaged = |rule| NpyError::Damaged { rule };
        let tree = literal::value(text, "header");
        let (Some(descr), Some(order), Some(shape)) = (tree.get("descr"), tree.get("fortran_order"), tree.get("shape"))
        else {
            return Err(damaged("its header lacks `descr`, `fortran_order` or `shape`"));
        };
        let order = match order.value {
            Value::Boolean(true) => Order::ColumnMajor,
            Value::Boolean(false) => Order::RowMajor,
            _ => return Err(damaged("`fortran_order` is neither True nor False")),
        };
        let Value::List(dimensions) = &shape.value else { return Err(damaged("`shape` is no tuple")) };
        let dimension = |tree: &Tree| match tree.value {
            Value::Integer(size) => u64::try_from(size).ok(),
            _ => None,
        };
        let shape = dimensions.iter().map(dimension).collect::<Option<Vec<u64>>>();
        let shape = shape.filter(|shape| shape.len() <= MOST_DIMENSIONS);
        let shape = shape.ok_or_else(|| damaged("`shape` is no tuple of sizes"))?;
        let other = |descr: &str| NpyError::Elements { descr: descr.to_owned() };
        let Value::Text(descr) = &descr.value else { return Err(other(descr.value.kind())) };
        let is_big_endian = descr.starts_with('>');
        let code = descr.trim_start_matches(['<', '>', '|', '=']);
        let element = Element::ALL.iter().find(|element| element.code() == code).copied();
        let element = element.ok_or_else(|| other(descr))?;
        Ok(Self { element, is_big_endian, order, shape })
    }

    fn tensor(self, elements: &[u8]) -> Result<Tensor, NpyError> {
        let size = self.element.size();
        let count = self.shape.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
        let expected = count.and_then(|count| count.checked_mul(size as u64)).unwrap_or(u64::MAX);
        if expected != elements.len() as u64 {
            return Err(NpyError::Length { expected, found: elements.len() as u64 });
        }
        let mut bytes = match self.order {
            Order::RowMajor => elements.to_vec(),
            Order::ColumnMajor => to_row_major(elements, size, &self.shape),
        };
        if self.is_big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(Tensor { shape: self.shape, element: self.element, bytes })
    }
}

/// Returns elements of `size` bytes that stand in column-major order in row-major order.
fn to_row_major(elements: &[u8], size: usize, shape: &[u64]) -> Vec<u8> {
    let mut result = Vec::with_capacity(elements.len());
    // How far apart neighbours of each dimension stand, and where the walk is.
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1_usize;
    for length in shape {
        strides.push(stride);
        stride = stride.saturating_mul(usize::try_from(*length).unwrap_or(usize::MAX));
    }
    let mut position = vec![0_u64; shape.len()];
    let mut at = 0_usize;
    for _ in 0..elements.len() / size {
        result.extend_from_slice(elements.get(at * size..(at + 1) * size).unwrap_or_default());
        for ((place, length), stride) in position.iter_mut().zip(shape).zip(&strides).rev() {
            *place += 1;
            if *place < *length {
                at += stride;
                break;
            }
            at -= stride * usize::try_from(*length - 1).unwrap_or(0);
            *place = 0;
        }
    }
    result
}

/// Writes a tensor as `numpy.save` writes it (format version 1.0).
pub fn write(tensor: &Tensor) -> Vec<u8> {
    let order = if tensor.element.size() == 1 { '|' } else { '<' };
    let mut shape = String::new();
    for size in &tensor.shape {
        // Writing to a text does not fail.
        let _ = write!(shape, "{}{size}", if shape.is_empty() { "" } else { ", " });
    }
    if tensor.shape.len() == 1 {
        shape.push(',');
    }
    let code = tensor.element.code();
    let mut header = format!("{{'descr': '{order}{code}', 'fortran_order': False, 'shape': ({shape}), }}");
    if let Some(outermost) = tensor.shape.first() {
        header.push_str(&" ".repeat(GROWTH.saturating_sub(outermost.to_string().len())));
    }
    let before = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(before.next_multiple_of(ALIGNMENT) - before));
    header.push('\n');
    // Shorter than 65,536 with any shape that a network has.
    let length = u16::try_from(header.len()).unwrap_or(u16::MAX);
    [MAGIC, &[1, 0], &length.to_le_bytes(), header.as_bytes(), &tensor.bytes].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(header: &str, elements: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), elements].concat()
    }

    #[test]
    fn what_is_written_reads_back() {
        for element in Element::ALL {
            for shape in [vec![], vec![1], vec![0, 3], vec![2, 3, 1]] {
                let count: u64 = shape.iter().product();
                let bytes = vec![1; count as usize * element.size()];
                let tensor = Tensor { shape, element: *element, bytes };
                let written = write(&tensor);
                assert_eq!((written.len() - tensor.bytes.len()) % ALIGNMENT, 0);
                assert_eq!(read(&written), Ok(tensor));
            }
        }
    }

    #[test]
    fn orders_of_bytes_and_elements_are_put_right() {
        let read_values = |header: &str, elements: &[u8]| {
            let tensor = read(&file(header, elements)).unwrap();
            tensor.element.values(&tensor.bytes).collect::<Vec<_>>()
        };
        assert_eq!(read_values("{'descr':'>i2','fortran_order':False,'shape':(2,)}", &[0, 1, 1, 0]), [1.0, 256.0]);
        let columns = "{'shape': (2, 3), 'fortran_order': True, 'descr': '|u1'}";
        assert_eq!(read_values(columns, &[1, 4, 2, 5, 3, 6]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn files_that_are_no_tensors_are_refused() {
        for (header, elements, message) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 4, "promises 8 bytes of elements and has 4"),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 1, "elements of type `|O`"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", 4, "elements of type"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, "no tuple of sizes"),
            ("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}", 4, "neither True nor False"),
            ("{'descr': '<f4', 'shape': ()}", 4, "lacks"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", 4, "promises 18446744"),
            ("__import__('os')", 4, "lacks"),
        ] {
            let error = read(&file(header, &vec![0; elements])).unwrap_err().to_string();
            assert!(error.contains(message), "{header}: {error}");
        }
        assert_eq!(read(b"GIF89a"), Err(NpyError::Magic));
        for bytes in
            [&b"\x93NUMPY"[..], b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", b"\x93NUMPY\x09\x00ab"]
        {
            assert!(matches!(read(bytes), Err(NpyError::Damaged { .. })), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&[MAGIC, &bytes].concat());
            let _ = read(&bytes);
        }

        #[test]
        fn no_header_is_too_strange(
            descr in "[<>|=]?[a-zA-Z][0-9]{0,2}",
            shape in proptest::collection::vec(0_u64..5, 0..5),
            fortran in any::<bool>(),
            elements in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let python = if fortran { "True" } else { "False" };
            let header = format!("{{'descr': '{descr}', 'fortran_order': {python}, 'shape': {shape:?}}}");
            if let Ok(tensor) = read(&file(&header, &elements)) {
                prop_assert_eq!(tensor.bytes.len(), elements.len());
            }
        }
    }
}
