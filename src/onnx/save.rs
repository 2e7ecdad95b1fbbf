//! Writing a model: the one place where its bytes are put in order.
//!
//! Weights go from where they are straight to the writer. The fields of the model come in the schema's order, except
//! that the graph, by far the largest, is last.

use std::io::{self, Write};

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, BytesMut};
use prost::Message;
use thiserror::Error;

use super::Model;

/// The most bytes that readers of protobuf accept in one message.
pub const MAX_MODEL_BYTES: u64 = (1 << 31) - 1;

/// Key of `ModelProto.graph`: field 7, length-delimited.
const GRAPH_KEY: u8 = 0x3a;

/// How much small matter is collected before it is written; longer byte strings are passed through.
const PIECE: usize = 64 << 10;

/// A model that could not be written.
#[derive(Debug, Error)]
pub enum SaveError {
    /// Readers would refuse the file.
    #[error(
        "the model would take {bytes} bytes, but no reader of ONNX accepts more than {MAX_MODEL_BYTES} in one file"
    )]
    TooLarge {
        /// The size it would have.
        bytes: u64,
    },
    /// The writer failed.
    #[error("the model could not be written")]
    Write(#[source] io::Error),
}

impl Model {
    /// Returns how many bytes the model takes when written.
    pub fn saved_len(&self) -> usize {
        let graph = self.graph.encoded_len();
        self.proto.encoded_len() + 1 + prost::length_delimiter_len(graph) + graph
    }

    /// Returns the model as bytes.
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.saved_len());
        self.encode(&mut bytes);
        bytes
    }

    /// Writes the model without holding a second copy of its weights.
    ///
    /// # Errors
    /// The model is too large for one file, or the writer fails.
    pub fn write_to(&self, to: &mut dyn Write) -> Result<(), SaveError> {
        let bytes = self.saved_len() as u64;
        if bytes > MAX_MODEL_BYTES {
            return Err(SaveError::TooLarge { bytes });
        }
        let mut through = Through { to, waiting: BytesMut::with_capacity(2 * PIECE), outcome: Ok(()) };
        self.encode(&mut through);
        through.flush();
        through.outcome.map_err(SaveError::Write)
    }

    fn encode(&self, buffer: &mut impl BufMut) {
        self.proto.encode_raw(buffer);
        buffer.put_u8(GRAPH_KEY);
        let length = self.graph.encoded_len() as u64;
        put_varint(length, buffer);
        self.graph.encode_raw(buffer);
    }
}

fn put_varint(mut value: u64, buffer: &mut impl BufMut) {
    while value >= 0x80 {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// A buffer that empties itself into a writer. The encoder knows no failure, so the first one is kept for the end.
struct Through<'a> {
    to: &'a mut dyn Write,
    waiting: BytesMut,
    outcome: io::Result<()>,
}

impl Through<'_> {
    fn flush(&mut self) {
        if self.outcome.is_ok() {
            self.outcome = self.to.write_all(&self.waiting);
        }
        self.waiting.clear();
    }
}

// SAFETY: `chunk_mut` and `advance_mut` are those of `waiting`, which is grown by nobody between the two.
unsafe impl BufMut for Through<'_> {
    fn remaining_mut(&self) -> usize {
        usize::MAX
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has initialised `count` bytes of the chunk it was given.
        unsafe { self.waiting.advance_mut(count) };
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if self.waiting.len() >= PIECE {
            self.flush();
        }
        self.waiting.chunk_mut()
    }

    fn put<T: Buf>(&mut self, mut source: T) {
        if source.remaining() < PIECE {
            self.waiting.put(source);
            if self.waiting.len() >= PIECE {
                self.flush();
            }
            return;
        }
        self.flush();
        while source.has_remaining() && self.outcome.is_ok() {
            let chunk = source.chunk();
            let length = chunk.len();
            self.outcome = self.to.write_all(chunk);
            source.advance(length);
        }
    }

    fn put_slice(&mut self, source: &[u8]) {
        self.put(source);
    }
}
