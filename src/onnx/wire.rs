//! A look at the bytes of a model before they are decoded.
//!
//! Owns two questions: are the bytes protobuf at all (and if not, what are they and where do they break), and how much
//! memory will their decoded form take. A message of two bytes can decode to a structure of hundreds, so a small
//! hostile file could otherwise exhaust memory. Weights are stepped over, not read. Follows the protobuf encoding guide.

use std::mem::size_of;

use super::OnnxError;
use super::proto;
use crate::intake::foreign;

/// How deep messages may nest; the decoder's own limit is the same.
const MAX_DEPTH: usize = 100;

/// How many bytes the decoded structures, without raw weights, may take. A network of a hundred thousand nodes with
/// every intermediate shape takes about a tenth of it.
const MAX_STRUCTURE: u64 = 2 << 30;

/// Checks that `bytes` are well-formed protobuf whose decoded form as a model takes a sane amount of memory.
pub(super) fn survey(bytes: &[u8]) -> Result<(), OnnxError> {
    if bytes.is_empty() {
        return Err(OnnxError::Empty);
    }
    if let Some(what) = foreign(bytes) {
        return Err(OnnxError::Foreign { what });
    }
    // In UTF-8 text the first byte would have to be a field key; no ONNX model holds printable characters only.
    let head = bytes.get(..512).unwrap_or(bytes);
    if head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e)) {
        return Err(OnnxError::Foreign { what: "a text file" });
    }
    match (Survey { bytes, offset: 0, structure: 0 }).message(Kind::Model, bytes.len(), 0) {
        // Any bytes break somewhere; it is a broken model only if what breaks began as a field of a model.
        Err(OnnxError::Truncated { offset, .. }) if !bytes.get(offset).is_some_and(|key| MODEL_KEYS.contains(key)) => {
            Err(OnnxError::Malformed { offset })
        }
        outcome => outcome,
    }
}

/// First bytes of the keys of the fields of `ModelProto`.
const MODEL_KEYS: &[u8] = &[0x08, 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72, 0xa2, 0xca, 0xd2];

/// The messages that hold other messages, and the rest.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    ElementType,
    MapType,
    TensorType,
    Shape,
    Function,
    Annotation,
    /// A message with plain fields only.
    Plain,
}

impl Kind {
    /// Returns what the length-delimited field `tag` holds, and the bytes it takes in memory besides its contents.
    fn child(self, tag: u64) -> (Option<Self>, usize) {
        use Kind::*;
        let plain = (Some(Plain), size_of::<proto::StringStringEntryProto>());
        let graph = (Some(Graph), size_of::<proto::GraphProto>());
        let node = (Some(Node), size_of::<proto::NodeProto>());
        let attribute = (Some(Attribute), size_of::<proto::AttributeProto>());
        let tensor = (Some(Tensor), size_of::<proto::TensorProto>());
        let sparse = (Some(SparseTensor), size_of::<proto::SparseTensorProto>());
        let value = (Some(ValueInfo), size_of::<proto::ValueInfoProto>());
        let typed = (Some(Type), size_of::<proto::TypeProto>());
        match (self, tag) {
            (Model, 7) | (Attribute, 6 | 11) => graph,
            (Model, 25) => (Some(Function), size_of::<proto::FunctionProto>()),
            (Model, 8 | 14) | (Node, 9) | (Tensor, 3 | 13 | 16) | (ValueInfo, 4) | (Annotation, 2) => plain,
            (Graph, 1) | (Function, 7) => node,
            (Graph, 5) | (Attribute, 5 | 10) | (SparseTensor, 1 | 2) => tensor,
            (Graph, 11..=13) | (Function, 12) => value,
            (Graph, 14) => (Some(Annotation), size_of::<proto::TensorAnnotation>()),
            (Graph, 15) | (Attribute, 22 | 23) => sparse,
            (Graph, 16) | (Function, 9 | 14) | (Type, 7) => plain,
            (Node, 5) | (Function, 11) => attribute,
            (Attribute, 14 | 15) | (ValueInfo, 2) | (ElementType, 1) | (MapType, 2) => typed,
            (Type, 1 | 8) => (Some(TensorType), 0),
            (Type, 4 | 9) => (Some(ElementType), size_of::<proto::ElementTypeProto>()),
            (Type, 5) => (Some(MapType), size_of::<proto::MapTypeProto>()),
            (TensorType, 2) => (Some(Shape), 0),
            (Shape, 1) => (Some(Plain), size_of::<proto::DimensionProto>()),
            _ => (None, size_of::<String>()),
        }
    }

    /// Returns how many bytes of memory one byte of a leaf field can become.
    fn growth(self, tag: u64) -> u64 {
        match (self, tag) {
            (Self::Tensor, 5) => 4,
            (Self::Tensor, 7 | 11) | (Self::Attribute, 8) | (Self::SparseTensor, 3) => 8,
            // Shared with the file, not copied.
            (Self::Tensor, 9) => 0,
            _ => 1,
        }
    }
}

struct Survey<'a> {
    bytes: &'a [u8],
    offset: usize,
    structure: u64,
}

impl Survey<'_> {
    /// Walks the fields of one message that ends at `end`.
    fn message(&mut self, kind: Kind, end: usize, depth: usize) -> Result<(), OnnxError> {
        if depth >= MAX_DEPTH {
            return Err(OnnxError::TooDeep { limit: MAX_DEPTH });
        }
        while self.offset < end {
            let start = self.offset;
            let key = self.varint(end, start)?;
            let tag = key >> 3;
            if tag == 0 {
                return Err(OnnxError::Malformed { offset: start });
            }
            match key & 7 {
                0 => {
                    self.varint(end, start)?;
                    self.grow(size_of::<u64>() as u64)?;
                }
                1 => self.skip(8, end, start)?,
                2 => {
                    let length = self.varint(end, start)?;
                    let (child, size) = kind.child(tag);
                    self.grow(size as u64)?;
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    match child {
                        Some(child) => {
                            let child_end = self.end_of(length, end, start)?;
                            // The message itself is whole, so what breaks in it is nonsense, not cut off.
                            self.message(child, child_end, depth + 1).map_err(|error| match error {
                                OnnxError::Truncated { offset, .. } => OnnxError::Malformed { offset },
                                other => other,
                            })?;
                        }
                        None => {
                            self.skip(length, end, start)?;
                            self.grow((length as u64).saturating_mul(kind.growth(tag)))?;
                        }
                    }
                }
                5 => {
                    self.skip(4, end, start)?;
                    self.grow(size_of::<f32>() as u64)?;
                }
                _ => return Err(OnnxError::Malformed { offset: start }),
            }
        }
        Ok(())
    }

    /// Reads a number that belongs to the field at `start`.
    fn varint(&mut self, end: usize, start: usize) -> Result<u64, OnnxError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.offset).filter(|_| self.offset < end) else {
                return Err(self.cut_off(start));
            };
            self.offset += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(OnnxError::Malformed { offset: start })
    }

    fn skip(&mut self, length: usize, end: usize, start: usize) -> Result<(), OnnxError> {
        self.offset = self.end_of(length, end, start)?;
        Ok(())
    }

    fn end_of(&self, length: usize, end: usize, start: usize) -> Result<usize, OnnxError> {
        match self.offset.checked_add(length) {
            Some(own) if own <= end => Ok(own),
            _ => Err(self.cut_off(start)),
        }
    }

    fn cut_off(&self, start: usize) -> OnnxError {
        OnnxError::Truncated { offset: start, length: self.bytes.len() }
    }

    fn grow(&mut self, bytes: u64) -> Result<(), OnnxError> {
        self.structure = self.structure.saturating_add(bytes);
        if self.structure > MAX_STRUCTURE { Err(OnnxError::TooLarge { limit: MAX_STRUCTURE }) } else { Ok(()) }
    }
}
