//! bzip2 streams whose long runs of zeros cost nothing.
//!
//! Blobs of one network for other numbers of shaves differ in few bytes, so that the differences of a patch are mostly
//! zeros: megabytes, each of which bzip2 looks at, for a few bytes in the end. A stream of bzip2 is a sequence of blocks
//! that know nothing of each other, each with its own sum, and a block of so many zeros is always the same bits. Such
//! blocks are made once, put between those that the library makes, and recognized when a stream is read. Owns the frame of
//! a stream: its header, where blocks begin, the sum of all.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::OnceLock;

use bzip2::Compression;
use bzip2::read::BzDecoder;
use bzip2::write::BzEncoder;

/// The header of a stream whose blocks hold 900,000 bytes at most.
const HEADER: [u8; 4] = *b"BZh9";
const HEADER_BITS: usize = 32;
/// What a block begins with, and what stands behind the last one, each followed by a sum.
const BLOCK: u64 = 0x3141_5926_5359;
const END: u64 = 0x1772_4538_5090;
const MAGIC_BITS: usize = 48;
const SUM_BITS: usize = 32;

/// The zeros of one block.
const ZEROS: usize = 1 << 19;

/// Zeros to compare with, which is much faster than to look at one byte after the other.
const LINE: [u8; 4096] = [0; 4096];

fn is_zeros(bytes: &[u8]) -> bool {
    bytes.chunks(LINE.len()).all(|bytes| LINE.starts_with(bytes))
}

/// A stream being written.
pub(super) struct Writer {
    blocks: Vec<Block>,
    /// What the library makes at the moment.
    part: Option<BzEncoder<Vec<u8>>>,
    /// Zeros that wait for what follows them.
    zeros: usize,
    is_understood: bool,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { blocks: Vec::new(), part: None, zeros: 0, is_understood: true }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        if is_zeros(bytes) {
            self.zeros += bytes.len();
        } else {
            self.put_zeros();
            self.compress(bytes);
        }
    }

    /// Returns the stream, unless the library's blocks could not be told from each other: the bits that begin one may
    /// stand within another.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        self.put_zeros();
        self.end_part();
        self.is_understood.then(|| stream(&self.blocks))
    }

    fn put_zeros(&mut self) {
        let mut left = std::mem::take(&mut self.zeros);
        if let Some(zeros) = zeros().filter(|_| left >= ZEROS) {
            self.end_part();
            self.blocks.extend(std::iter::repeat_n(zeros, left / ZEROS).cloned());
            left %= ZEROS;
        }
        while left > 0 {
            let line = LINE.get(..left).unwrap_or(&LINE);
            self.compress(line);
            left -= line.len();
        }
    }

    fn compress(&mut self, bytes: &[u8]) {
        let part = self.part.get_or_insert_with(encoder);
        let written = part.write_all(bytes);
        debug_assert!(written.is_ok(), "memory takes every byte");
    }

    fn end_part(&mut self) {
        if let Some(part) = self.part.take() {
            match blocks(&part.finish().unwrap_or_default()) {
                Some(blocks) => self.blocks.extend(blocks),
                None => self.is_understood = false,
            }
        }
    }
}

/// Unpacks a stream to its end, which checks its sums. Of one that is longer than `most` bytes, some more than these are
/// returned. Memory grows with what arrives, so that a short stream cannot make a large allocation.
///
/// # Errors
/// The stream is damaged.
pub(super) fn unpacked(stream: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let append = |bytes: &mut Vec<u8>, stream: &[u8]| {
        let left = most.saturating_add(1).saturating_sub(bytes.len() as u64);
        BzDecoder::new(stream).take(left).read_to_end(bytes)
    };
    let divided = zeros().zip(blocks(stream)).filter(|(zeros, blocks)| blocks.contains(zeros));
    match divided {
        None => {
            append(&mut bytes, stream)?;
        }
        Some((zeros, blocks)) => {
            for run in blocks.chunk_by(|left, right| left != zeros && right != zeros) {
                if bytes.len() as u64 > most {
                    break;
                }
                if run.first() == Some(zeros) {
                    bytes.resize(bytes.len() + ZEROS, 0);
                } else {
                    append(&mut bytes, &self::stream(run))?;
                }
            }
        }
    }
    Ok(bytes)
}

/// A block of a stream.
#[derive(Clone, PartialEq, Eq)]
struct Block {
    /// All of it, from the bits that it begins with.
    bits: Bits,
    /// The sum of what is in it.
    sum: u32,
}

/// The block of [`ZEROS`] zeros, if the library makes a single one of them; without it the library sees to all of them.
fn zeros() -> Option<&'static Block> {
    static MADE: OnceLock<Option<Block>> = OnceLock::new();
    let make = || {
        let mut encoder = encoder();
        encoder.write_all(&vec![0; ZEROS]).ok()?;
        <[Block; 1]>::try_from(blocks(&encoder.finish().ok()?)?).ok().map(|[block]| block)
    };
    MADE.get_or_init(make).as_ref()
}

fn encoder() -> BzEncoder<Vec<u8>> {
    BzEncoder::new(Vec::new(), Compression::best())
}

/// Makes a stream of blocks.
fn stream(blocks: &[Block]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.append(&HEADER, 0..HEADER_BITS);
    for block in blocks {
        bits.append(&block.bits.bytes, 0..block.bits.length);
    }
    bits.push(END, MAGIC_BITS);
    bits.push(sum(blocks).into(), SUM_BITS);
    bits.bytes
}

fn sum(blocks: &[Block]) -> u32 {
    blocks.iter().fold(0, |sum: u32, block| sum.rotate_left(1) ^ block.sum)
}

/// Divides a stream into its blocks, if it is one stream and its sum is that of the blocks.
fn blocks(stream: &[u8]) -> Option<Vec<Block>> {
    let rest = stream.strip_prefix(&HEADER)?;
    let mut starts = Vec::new();
    let mut window = 0;
    let end = rest.iter().enumerate().find_map(|(at, byte)| {
        (0..8).find_map(|bit| {
            window = (window << 1 | u64::from(byte >> (7 - bit) & 1)) & ((1 << MAGIC_BITS) - 1);
            let start = (HEADER_BITS + at * 8 + bit + 1).checked_sub(MAGIC_BITS);
            if window == BLOCK {
                starts.extend(start);
            }
            start.filter(|_| window == END)
        })
    })?;
    let behind = end + MAGIC_BITS + SUM_BITS;
    let is_whole = starts.first().copied().unwrap_or(end) == HEADER_BITS && behind.div_ceil(8) == stream.len();
    let ends = starts.iter().skip(1).copied().chain([end]);
    let block = |(start, end): (usize, usize)| {
        let mut bits = Bits::default();
        bits.append(stream, start..end);
        Block { bits, sum: read(stream, start + MAGIC_BITS..start + MAGIC_BITS + SUM_BITS) as u32 }
    };
    let blocks: Vec<Block> = starts.iter().copied().zip(ends).map(block).collect();
    let stated = read(stream, end + MAGIC_BITS..behind) as u32;
    (is_whole && sum(&blocks) == stated).then_some(blocks)
}

/// Returns up to 64 bits, the first one highest; there are zeros behind the last byte.
fn read(bytes: &[u8], bits: Range<usize>) -> u64 {
    bits.fold(0, |value, at| {
        let byte = bytes.get(at / 8).copied().unwrap_or(0);
        value << 1 | u64::from(byte >> (7 - at % 8) & 1)
    })
}

/// Bits, the first one highest in the first byte.
#[derive(Clone, Default, PartialEq, Eq)]
struct Bits {
    bytes: Vec<u8>,
    length: usize,
}

impl Bits {
    /// Appends the lowest `count` bits of a value.
    fn push(&mut self, value: u64, count: usize) {
        for place in (0..count).rev() {
            let bit = (value >> place & 1) as u8;
            let at = self.length % 8;
            if at == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - at);
            }
            self.length += 1;
        }
    }

    /// Appends bits of `bytes`.
    fn append(&mut self, bytes: &[u8], bits: Range<usize>) {
        let whole = bits.len() / 8;
        let shift = bits.start % 8;
        let from = bytes.get(bits.start / 8..).unwrap_or_default();
        let at = self.length % 8;
        self.bytes.reserve(whole + 2);
        for (index, byte) in from.iter().take(whole).enumerate() {
            // The byte that begins at `shift`, then divided between the last byte and a new one.
            let next = from.get(index + 1).copied().unwrap_or(0);
            let byte = (u16::from_be_bytes([*byte, next]) >> (8 - shift)) as u8;
            if at > 0
                && let Some(last) = self.bytes.last_mut()
            {
                *last |= byte >> at;
                self.bytes.push(byte << (8 - at));
            } else {
                self.bytes.push(byte);
            }
        }
        self.length += whole * 8;
        let left = bits.start + whole * 8..bits.end;
        self.push(read(bytes, left.clone()), left.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut writer = Writer::new();
        bytes.chunks(piece).for_each(|piece| writer.put(piece));
        writer.finish().unwrap()
    }

    /// What the library alone makes of a stream.
    fn plain(stream: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut decoder = BzDecoder::new(stream);
        decoder.read_to_end(&mut bytes)?;
        assert!(decoder.into_inner().is_empty(), "nothing stands behind the stream");
        Ok(bytes)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 9_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn the_library_reads_what_is_written_and_so_do_we() {
        let (few, many) = (noise(77), noise(1_000_000));
        let zeros = |count: usize| vec![0; count];
        for parts in [
            vec![],
            vec![few.clone()],
            vec![zeros(ZEROS)],
            vec![zeros(ZEROS - 1)],
            vec![zeros(3 * ZEROS + 5)],
            vec![few.clone(), zeros(2 * ZEROS + 100), few.clone()],
            vec![many.clone(), zeros(ZEROS), many, zeros(9 * ZEROS)],
            vec![zeros(4 * ZEROS), few, zeros(4 * ZEROS)],
        ] {
            let bytes = parts.concat();
            let stream = written(&bytes, 4096);
            assert!(plain(&stream).unwrap() == bytes, "{}", bytes.len());
            assert!(unpacked(&stream, bytes.len() as u64).unwrap() == bytes, "{}", bytes.len());
            let mut whole = encoder();
            whole.write_all(&bytes).unwrap();
            assert!(unpacked(&whole.finish().unwrap(), u64::MAX).unwrap() == bytes, "{}", bytes.len());
        }
        assert!(
            super::zeros().is_some_and(|block| block.bits.length < 500),
            "the library makes one short block of them"
        );
        assert!(written(&zeros(20 * ZEROS), 4096).len() < 1000);
    }

    #[test]
    fn damage_is_seen() {
        let bytes = [noise(500), vec![0; 2 * ZEROS], noise(500)].concat();
        let stream = written(&bytes, 500);
        for at in HEADER_BITS..stream.len() * 8 {
            let mut damaged = stream.clone();
            damaged[at / 8] ^= 0x80 >> (at % 8);
            // Some bits say nothing: those behind the sum, and one that is for longer blocks.
            assert!(unpacked(&damaged, u64::MAX).map_or(true, |found| found == bytes), "{at}");
        }
        for length in 0..stream.len() {
            assert!(unpacked(&stream[..length], u64::MAX).is_err() || length == 0, "{length}");
        }
    }

    #[test]
    fn no_more_is_unpacked_than_may_be() {
        let stream = written(&vec![0; 40 * ZEROS], 4096);
        let some = unpacked(&stream, 1000).unwrap();
        assert!((1001..=ZEROS + 1000).contains(&some.len()));
    }

    proptest! {
        #[test]
        fn bits_are_appended_anywhere(head in 0_usize..9, bytes in proptest::collection::vec(any::<u8>(), 0..20), from in 0_usize..40, length in 0_usize..100) {
            let end = (from + length).min(bytes.len() * 8);
            let from = from.min(end);
            let mut fast = Bits::default();
            fast.push(0x155, head);
            let mut slow = fast.clone();
            fast.append(&bytes, from..end);
            (from..end).for_each(|at| slow.push(read(&bytes, at..at + 1), 1));
            prop_assert!(fast == slow);
        }
    }
}
