//! The header of a compiled network.
//!
//! Little-endian throughout: 52 bytes in the manner of an ELF header (magic `7f 65 6c 66`), 20 words of the blob's own
//! header (magic 9709), then sections for inputs, outputs, stages and constant data. Shapes stand in the constant data,
//! innermost dimension first.

use serde::Serialize;
use thiserror::Error;

use crate::hint::Hint;
use crate::units::ByteSize;

/// What the first bytes of every blob are.
const MAGIC: [u8; 4] = *b"\x7felf";
const HEADER_MAGIC: u32 = 9709;
const ELF_HEADER: usize = 52;
const HEADER: usize = ELF_HEADER + 20 * 4;

/// Far above any real network, far below what could hurt.
const MAXIMUM_ENDS: u32 = 4096;
const MAXIMUM_NAME: u32 = 4096;
const MAXIMUM_DIMENSIONS: u32 = 16;

/// What a blob says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blob {
    /// The version of the blob format, major and minor.
    pub version: (u32, u32),
    /// The length of the whole blob.
    pub size: ByteSize,
    /// SHAVE cores it occupies on the device.
    pub shaves: u32,
    /// Slices of the device's fast memory it occupies.
    pub cmx_slices: u32,
    /// Steps of the compiled network.
    pub stages: u32,
    /// The inputs, in the order of the blob.
    pub inputs: Vec<Tensor>,
    /// The outputs, in the order of the blob.
    pub outputs: Vec<Tensor>,
}

/// One input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub element: Element,
    /// The order of its dimensions in memory, one hexadecimal digit each: 0x4321 is NCHW, 0x4213 is NHWC.
    pub order: u32,
    /// Its dimensions, outermost first.
    pub shape: Vec<u32>,
}

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Element {
    /// 16-bit floating point.
    F16,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 32-bit integer.
    I32,
    /// 32-bit floating point.
    F32,
    /// Signed 8-bit integer.
    I8,
}

/// Bytes that are no blob.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BlobError {
    /// The bytes end before what they announce.
    #[error("the blob ends at byte {length}, but its {what} reaches to byte {end}")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Where it should end.
        end: u64,
        /// Where the bytes end.
        length: u64,
    },
    /// The bytes begin otherwise.
    #[error("this is no MyriadX blob: {what} is {found:#x}, expected {expected:#x}")]
    Magic {
        /// Which of the two magic numbers.
        what: &'static str,
        /// The right value.
        expected: u32,
        /// The value found.
        found: u32,
    },
    /// The bytes go on after the blob.
    #[error("the blob announces {announced} bytes and has {found}")]
    Length {
        /// The length in the header.
        announced: u64,
        /// The length of the bytes.
        found: u64,
    },
    /// A value that no blob has.
    #[error("the blob's {what} is {found}")]
    Value {
        /// What it stands for.
        what: &'static str,
        /// The value.
        found: u64,
    },
    /// A name that is no text.
    #[error("the name of {what} {index} of the blob is not UTF-8")]
    Name {
        /// Input or output.
        what: &'static str,
        /// Which one, from 0.
        index: u32,
    },
}

impl Hint for BlobError {}

impl Blob {
    /// Reads what `bytes` say of themselves; they must be one whole blob.
    ///
    /// # Errors
    /// Anything but a whole blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlobError> {
        let mut reader = Reader { bytes, at: 0 };
        let magic = reader.take("magic number", MAGIC.len())?;
        if magic != MAGIC {
            let found = magic.try_into().map_or(0, u32::from_be_bytes);
            return Err(BlobError::Magic { what: "the first word", expected: u32::from_be_bytes(MAGIC), found });
        }
        reader.at = ELF_HEADER;
        let mut words = [0; (HEADER - ELF_HEADER) / 4];
        for word in &mut words {
            *word = reader.word("header")?;
        }
        let [
            magic,
            size,
            major,
            minor,
            inputs,
            outputs,
            stages,
            _,
            _,
            _,
            _,
            cmx_slices,
            shaves,
            _,
            _,
            _,
            ins,
            outs,
            _,
            data,
        ] = words;
        if magic != HEADER_MAGIC {
            return Err(BlobError::Magic { what: "the header's magic number", expected: HEADER_MAGIC, found: magic });
        }
        match (u64::from(size), bytes.len() as u64) {
            (announced, length) if length < announced => {
                return Err(BlobError::Truncated { what: "content", end: announced, length });
            }
            (announced, found) if announced != found => return Err(BlobError::Length { announced, found }),
            _ => {}
        }
        Ok(Self {
            version: (major, minor),
            size: ByteSize::new(u64::from(size)),
            shaves,
            cmx_slices,
            stages,
            inputs: ends(bytes, "input", inputs, ins, data)?,
            outputs: ends(bytes, "output", outputs, outs, data)?,
        })
    }
}

/// Reads a section of inputs or outputs; entries ending in `@shape` are the plugin's own and left out.
fn ends(bytes: &[u8], what: &'static str, count: u32, section: u32, data: u32) -> Result<Vec<Tensor>, BlobError> {
    if count > MAXIMUM_ENDS {
        return Err(BlobError::Value { what: "number of inputs or outputs", found: u64::from(count) });
    }
    let mut reader = Reader { bytes, at: section as usize };
    let mut tensors = Vec::new();
    for index in 0..count {
        let found = reader.word("section of inputs or outputs")?;
        if found != index {
            return Err(BlobError::Value { what: "index of an input or output", found: u64::from(found) });
        }
        reader.word("offset in the buffer")?;
        let length = reader.word("length of a name")?;
        if length > MAXIMUM_NAME {
            return Err(BlobError::Value { what: "length of a name", found: u64::from(length) });
        }
        let name = reader.take("name", length as usize)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(|_| BlobError::Name { what, index })?.to_owned();
        let element = Element::from_code(reader.word("type")?)?;
        let order = reader.word("order of dimensions")?;
        let dimensions = reader.word("number of dimensions")?;
        if dimensions > MAXIMUM_DIMENSIONS {
            return Err(BlobError::Value { what: "number of dimensions", found: u64::from(dimensions) });
        }
        reader.word("place of the shape")?;
        let shape_at = u64::from(data) + u64::from(reader.word("offset of the shape")?);
        reader.word("place of the strides")?;
        reader.word("offset of the strides")?;
        let mut shape_reader = Reader { bytes, at: usize::try_from(shape_at).unwrap_or(usize::MAX) };
        let mut shape = (0..dimensions).map(|_| shape_reader.word("shape")).collect::<Result<Vec<u32>, BlobError>>()?;
        shape.reverse();
        if !name.ends_with("@shape") {
            tensors.push(Tensor { name, element, order, shape });
        }
    }
    Ok(tensors)
}

impl Element {
    fn from_code(code: u32) -> Result<Self, BlobError> {
        match code {
            0 => Ok(Self::F16),
            1 => Ok(Self::U8),
            2 => Ok(Self::I32),
            3 => Ok(Self::F32),
            4 => Ok(Self::I8),
            _ => Err(BlobError::Value { what: "type of elements", found: u64::from(code) }),
        }
    }

    /// Returns the name that the Inference Engine has for the type.
    pub fn precision(self) -> &'static str {
        match self {
            Self::F16 => "FP16",
            Self::U8 => "U8",
            Self::I32 => "I32",
            Self::F32 => "FP32",
            Self::I8 => "I8",
        }
    }
}

/// A position in bytes that never reads past their end.
struct Reader<'bytes> {
    bytes: &'bytes [u8],
    at: usize,
}

impl<'bytes> Reader<'bytes> {
    fn take(&mut self, what: &'static str, length: usize) -> Result<&'bytes [u8], BlobError> {
        let end = self.at.saturating_add(length);
        let taken = self.bytes.get(self.at..end);
        self.at = end;
        taken.ok_or(BlobError::Truncated { what, end: end as u64, length: self.bytes.len() as u64 })
    }

    fn word(&mut self, what: &'static str) -> Result<u32, BlobError> {
        // Four bytes were taken, so the conversion cannot fail.
        Ok(self.take(what, 4)?.try_into().map_or(0, u32::from_le_bytes))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes a small blob: one U8 input `image` [1, 3, 4, 5] and one F16 output `score` [1, 2].
    pub(crate) fn small_blob(shaves: u32) -> Vec<u8> {
        let mut data = Vec::new();
        for dimension in [5_u32, 4, 3, 1, 2, 1] {
            data.extend(dimension.to_le_bytes());
        }
        let end = |name: &str, element: u32, order: u32, dimensions: u32, shape: u32| {
            let mut entry = Vec::new();
            for word in [0, 0, name.len() as u32] {
                entry.extend(word.to_le_bytes());
            }
            entry.extend(name.as_bytes());
            for word in [element, order, dimensions, 3, shape, 3, 0] {
                entry.extend(word.to_le_bytes());
            }
            entry
        };
        let input = end("image\0\0\0", 1, 0x4321, 4, 0);
        let output = end("score\0\0\0", 0, 0x21, 2, 16);
        let inputs_at = HEADER as u32;
        let outputs_at = inputs_at + input.len() as u32;
        let data_at = outputs_at + output.len() as u32;
        let size = data_at + data.len() as u32;
        let mut bytes = MAGIC.to_vec();
        bytes.resize(ELF_HEADER, 0);
        for word in
            [HEADER_MAGIC, size, 6, 0, 1, 1, 7, 0, 0, 1, 0, shaves, shaves, 1, 1, 1, inputs_at, outputs_at, 0, data_at]
        {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(input);
        bytes.extend(output);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_blob_says_what_it_is() {
        let blob = Blob::parse(&small_blob(6)).unwrap();
        assert_eq!((blob.shaves, blob.cmx_slices, blob.stages, blob.version), (6, 6, 7, (6, 0)));
        let image = Tensor { name: "image".into(), element: Element::U8, order: 0x4321, shape: vec![1, 3, 4, 5] };
        let score = Tensor { name: "score".into(), element: Element::F16, order: 0x21, shape: vec![1, 2] };
        assert_eq!((blob.inputs, blob.outputs), (vec![image], vec![score]));
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = small_blob(8);
        for length in 0..whole.len() {
            assert!(Blob::parse(&whole[..length]).is_err(), "{length}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        let found = longer.len() as u64;
        assert_eq!(Blob::parse(&longer), Err(BlobError::Length { announced: found - 1, found }));
    }

    #[test]
    fn no_single_damaged_word_panics_or_allocates_without_bound() {
        let whole = small_blob(8);
        for at in (0..whole.len()).step_by(4) {
            for word in [0_u32, 1, 0x7fff_ffff, 0xffff_ffff] {
                let mut damaged = whole.clone();
                let end = (at + 4).min(damaged.len());
                damaged[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
                let _ = Blob::parse(&damaged);
            }
        }
    }
}
