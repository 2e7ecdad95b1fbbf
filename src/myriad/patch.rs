//! Binary patches in the format of bsdiff 4.
//!
//! Owns reading and writing of the format: the magic `BSDIFF40`, three lengths, then three bzip2 streams: control
//! triples, differences, extra bytes. Numbers are 64-bit little-endian, sign and magnitude. Which bytes come from where is
//! decided in [`super::difference`].

use std::io::{self, BufReader, Read, Write};

use bzip2::Compression;
use bzip2::read::BzDecoder;
use bzip2::write::BzEncoder;
use thiserror::Error;

use super::blocks;
use crate::hint::Hint;
use crate::units::ByteSize;

const MAGIC: &[u8; 8] = b"BSDIFF40";
const HEADER: usize = 32;
/// How many bytes of instructions are unpacked at once.
const CONTROLS: usize = 1 << 16;

/// One instruction: `add` bytes are the old ones plus a difference, `copy` bytes come from the patch, then the position
/// in the old bytes moves by `seek`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Bytes made from old ones.
    pub add: usize,
    /// Bytes taken from the patch.
    pub copy: usize,
    /// How far the position in the old bytes moves afterwards.
    pub seek: i64,
}

/// A patch that cannot be applied.
#[derive(Debug, Error)]
pub enum PatchError {
    /// The bytes are no patch, or its lengths contradict each other.
    #[error("this is no bsdiff patch: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The result would be longer than the caller allows.
    #[error("the patch makes {announced}, at most {limit} are allowed")]
    TooLong {
        /// The length the patch announces.
        announced: ByteSize,
        /// The limit.
        limit: ByteSize,
    },
    /// A stream of the patch is damaged.
    #[error("a stream of the patch is damaged")]
    Stream(#[source] io::Error),
}

impl Hint for PatchError {}

/// Writes the patch that `controls` describe, which must cover `new` exactly and stay inside `old`.
pub(super) fn write(old: &[u8], new: &[u8], controls: &[Control]) -> Vec<u8> {
    let mut control = Stream::new();
    let mut extra = Stream::new();
    let mut new_at = 0;
    for step in controls {
        control.put(&encode(step.add as i64));
        control.put(&encode(step.copy as i64));
        control.put(&encode(step.seek));
        extra.put(new.get(new_at + step.add..new_at + step.add + step.copy).unwrap_or_default());
        new_at += step.add + step.copy;
    }
    let mut writer = blocks::Writer::new();
    each_difference(old, new, controls, &mut |bytes| writer.put(bytes));
    let differences = writer.finish().unwrap_or_else(|| {
        let mut plain = Stream::new();
        each_difference(old, new, controls, &mut |bytes| plain.put(bytes));
        plain.finish()
    });
    let (control, extra) = (control.finish(), extra.finish());
    let mut patch = MAGIC.to_vec();
    for length in [control.len(), differences.len(), new.len()] {
        patch.extend(encode(length as i64));
    }
    patch.extend(control);
    patch.extend(differences);
    patch.extend(extra);
    patch
}

/// Hands over the differences that are added to old bytes, piece by piece.
fn each_difference(old: &[u8], new: &[u8], controls: &[Control], take: &mut dyn FnMut(&[u8])) {
    let (mut old_at, mut new_at) = (0_i64, 0);
    let mut line = [0; 4096];
    for step in controls {
        let from = usize::try_from(old_at).unwrap_or(usize::MAX);
        let olds = old.get(from..).unwrap_or_default();
        let news = new.get(new_at..new_at + step.add).unwrap_or_default();
        for (olds, news) in olds.chunks(line.len()).zip(news.chunks(line.len())) {
            for ((difference, old), new) in line.iter_mut().zip(olds).zip(news) {
                *difference = new.wrapping_sub(*old);
            }
            take(line.get(..news.len()).unwrap_or_default());
        }
        new_at += step.add + step.copy;
        old_at += step.add as i64 + step.seek;
    }
}

/// Returns what `patch` makes of `old`, which may be at most `limit` long.
///
/// # Errors
/// A patch that is none, that reaches outside `old`, or whose result has another length than announced.
pub fn apply(old: &[u8], patch: &[u8], limit: ByteSize) -> Result<Vec<u8>, PatchError> {
    let malformed = |what| PatchError::Malformed { what };
    let header = patch.get(..HEADER).ok_or(malformed("it is shorter than its header"))?;
    if !header.starts_with(MAGIC) {
        return Err(malformed("the magic is missing"));
    }
    let length = |at: usize| -> Result<u64, PatchError> {
        let value = header.get(at..at + 8).map_or(-1, decode);
        u64::try_from(value).map_err(|_| malformed("a length is negative"))
    };
    let (control, differences, announced) = (length(8)?, length(16)?, length(24)?);
    if announced > limit.bytes() {
        return Err(PatchError::TooLong { announced: ByteSize::new(announced), limit });
    }
    let body = patch.get(HEADER..).unwrap_or_default();
    let overrun = || malformed("its streams are longer than it is");
    let (control, body) = split(body, control).ok_or_else(overrun)?;
    let (differences, extra) = split(body, differences).ok_or_else(overrun)?;
    // Instructions are many and short, so that what they take is unpacked first; each stream gives at most the result.
    let mut control = BufReader::with_capacity(CONTROLS, BzDecoder::new(control));
    let differences = unpacked(differences, announced)?;
    let extra = unpacked(extra, announced)?;
    let (mut differences, mut extra) = (differences.as_slice(), extra.as_slice());

    let announced = usize::try_from(announced).map_err(|_| overrun())?;
    let short = || malformed("a stream ends early");
    // No longer than what the streams gave.
    let mut new = Vec::with_capacity(announced.min(differences.len() + extra.len()));
    let mut old_at = 0_i64;
    while new.len() < announced {
        let mut triple = [0; 24];
        control.read_exact(&mut triple).map_err(PatchError::Stream)?;
        let [add, copy, seek] = [0, 8, 16].map(|at| triple.get(at..at + 8).map_or(0, decode));
        let left = announced - new.len();
        let add = usize::try_from(add).ok().filter(|add| *add <= left);
        let add = add.ok_or(malformed("an instruction writes past the announced length"))?;
        let copy = usize::try_from(copy).ok().filter(|copy| *copy <= left - add);
        let copy = copy.ok_or(malformed("an instruction writes past the announced length"))?;
        let outside = || malformed("an instruction reads outside the old bytes");
        let from = usize::try_from(old_at).map_err(|_| outside())?;
        let olds = old.get(from..from.saturating_add(add)).ok_or_else(outside)?;
        let (added, rest) = differences.split_at_checked(add).ok_or_else(short)?;
        new.extend(added.iter().zip(olds).map(|(difference, old)| difference.wrapping_add(*old)));
        differences = rest;
        let (copied, rest) = extra.split_at_checked(copy).ok_or_else(short)?;
        new.extend_from_slice(copied);
        extra = rest;
        old_at = old_at.checked_add(add as i64).and_then(|at| at.checked_add(seek)).ok_or_else(outside)?;
    }
    // Reading up to the end checks the sum of the stream.
    let is_over = control.read(&mut [0]).map_err(PatchError::Stream)? == 0;
    if !is_over || !differences.is_empty() || !extra.is_empty() {
        return Err(malformed("a stream has more than the instructions use"));
    }
    Ok(new)
}

/// Unpacks a stream that gives at most `most` bytes.
fn unpacked(stream: &[u8], most: u64) -> Result<Vec<u8>, PatchError> {
    let bytes = blocks::unpacked(stream, most).map_err(PatchError::Stream)?;
    if bytes.len() as u64 > most {
        return Err(PatchError::Malformed { what: "a stream has more than the result" });
    }
    Ok(bytes)
}

fn split(bytes: &[u8], length: u64) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(usize::try_from(length).ok()?)
}

/// A bzip2 stream into memory, where writing cannot fail.
struct Stream(BzEncoder<Vec<u8>>);

impl Stream {
    fn new() -> Self {
        Self(BzEncoder::new(Vec::new(), Compression::best()))
    }

    fn put(&mut self, bytes: &[u8]) {
        let written = self.0.write_all(bytes);
        debug_assert!(written.is_ok(), "memory takes every byte");
    }

    fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap_or_default()
    }
}

fn encode(value: i64) -> [u8; 8] {
    let sign = if value < 0 { 1 << 63 } else { 0 };
    (value.unsigned_abs() | sign).to_le_bytes()
}

fn decode(bytes: &[u8]) -> i64 {
    let word = bytes.try_into().map_or(0, u64::from_le_bytes);
    // 63 bits of magnitude always fit.
    let magnitude = (word & !(1 << 63)) as i64;
    if word >> 63 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: ByteSize = ByteSize::new(1 << 20);

    fn sample() -> Vec<u8> {
        let controls = [Control { add: 4, copy: 2, seek: -4 }, Control { add: 3, copy: 0, seek: 0 }];
        write(b"abcdefgh", b"abcdXYabd", &controls)
    }

    #[test]
    fn numbers_are_sign_and_magnitude() {
        for value in [0, 1, -1, 300, -300, i64::MAX] {
            assert_eq!(decode(&encode(value)), value);
        }
        assert_eq!(encode(-2), [2, 0, 0, 0, 0, 0, 0, 0x80]);
    }

    #[test]
    fn what_is_written_can_be_applied() {
        assert_eq!(apply(b"abcdefgh", &sample(), LIMIT).unwrap(), b"abcdXYabd");
    }

    #[test]
    fn hostile_patches_are_refused() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(apply(b"abcdefgh", &whole[..length], LIMIT).is_err(), "{length}");
        }
        assert!(matches!(apply(b"abcdefgh", &whole, ByteSize::new(8)), Err(PatchError::TooLong { .. })));
        assert!(apply(b"ab", &whole, LIMIT).is_err(), "reads outside the old bytes");
        let mut negative = whole.clone();
        negative[31] = 0x80;
        assert!(apply(b"abcdefgh", &negative, LIMIT).is_err());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            let _ = apply(b"abcdefgh", &damaged, LIMIT);
        }
    }
}
