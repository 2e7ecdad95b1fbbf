//! The .xz format, written in blocks on several cores.
//!
//! Owns the frame of the format (The .xz File Format 1.2.1): stream header, blocks, index, stream footer. Each block holds
//! [`BLOCK`] bytes, and what is in them alone decides how: bytes that are as good as random are stored, as half of a
//! superblob is, which is compressed already; weights, which do not repeat, are coded byte by byte; everything else is
//! left to liblzma. Each block is unpacked again as soon as it is made. Neither threads nor what was made early change a
//! byte.

mod chunks;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use liblzma::read::XzDecoder;
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;

use self::chunks::CHUNK;
use crate::digest::Digest;

/// The xz preset of what is left to liblzma.
const PRESET: u32 = 0;
/// The length of what is in one block, four times the dictionary of the preset.
const BLOCK: usize = 1 << 20;
/// The first block is short: it has the headers, which are known last.
const FIRST_BLOCK: usize = CHUNK;
/// Numbers of two and four bytes have few high bytes and random low ones, so bytes are coded by their place in four, and
/// not by the byte before: 2 % less of half floats and 5 % less of single ones.
const PLACE_BITS: u32 = 2;
/// Bytes of more entropy than this, in bits, are stored: they would not become a tenth shorter, and what is hard to code
/// takes the longest, when it is read as well.
const STORED_FROM: f64 = 7.2;

/// Section 2.1.1.1.
const HEADER_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
/// Section 2.1.2.4.
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
/// Section 2.1.1.2: a CRC32 follows each block.
const FLAGS: [u8; 2] = [0, 1];
/// The length of stream header and stream footer, each.
const FRAME: usize = 12;
/// The header of a block (section 3.1): its length, one filter and no lengths, LZMA2 (section 5.3.1) with a dictionary of
/// 64 KiB, padding.
const BLOCK_HEADER: [u8; 8] = [2, 0, 0x21, 1, 8, 0, 0, 0];
/// A block as it stands in the stream, with padding and check.
#[derive(Clone)]
struct Block {
    bytes: Vec<u8>,
    record: Record,
}

/// What the index says of a block (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    /// The length of the block without its padding.
    unpadded: u64,
    /// The length of what is in it.
    uncompressed: u64,
}

/// Blocks that were made before their turn, by the digest of what is in them.
#[derive(Default)]
pub struct EarlyBlocks(Mutex<BTreeMap<Digest, Block>>);

impl EarlyBlocks {
    /// Makes the blocks of a stream in which `bytes` stand from `offset` on, as far as they lie within these bytes, until
    /// `is_over` says that nothing is gained any more.
    ///
    /// # Errors
    /// A block cannot be made.
    pub fn make(&self, offset: usize, bytes: &[u8], is_over: &AtomicBool) -> io::Result<()> {
        let start = FIRST_BLOCK + offset.saturating_sub(FIRST_BLOCK).next_multiple_of(BLOCK);
        let from = start - offset;
        for bytes in bytes.get(from..).unwrap_or_default().chunks_exact(BLOCK) {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let made = block(bytes)?;
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(Digest::of(bytes), made);
        }
        Ok(())
    }

    fn find(&self, bytes: &[u8]) -> Option<Block> {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.is_empty() { None } else { blocks.get(&Digest::of(bytes)).cloned() }
    }
}

/// Bytes on their way to a thread, or a block on its way back, with the number of the block.
type Numbered<T> = (usize, T);

/// Writes one .xz stream.
pub(super) struct XzWriter<W: Write> {
    to: W,
    /// What the next block is made of.
    waiting: Vec<u8>,
    /// Whoever is free takes the next work: blocks take their time, or none.
    work: SyncSender<Numbered<Vec<u8>>>,
    made: Receiver<Numbered<io::Result<Block>>>,
    threads: Vec<JoinHandle<()>>,
    /// Blocks that came before their turn.
    early: BTreeMap<usize, Block>,
    /// How many blocks were handed over.
    begun: usize,
    /// What the index says of the blocks that are written.
    index: Vec<Record>,
}

impl<W: Write> XzWriter<W> {
    /// Begins a stream whose blocks are made by so many threads, unless they were made early.
    pub(super) fn new(mut to: W, threads: NonZeroU32, early: &Arc<EarlyBlocks>) -> io::Result<Self> {
        to.write_all(&HEADER_MAGIC)?;
        to.write_all(&with_crc(&FLAGS))?;
        let count = threads.get().min(64) as usize;
        let (work, waiting) = sync_channel::<Numbered<Vec<u8>>>(count);
        let waiting = Arc::new(Mutex::new(waiting));
        let (results, made) = sync_channel(2 * count);
        let threads = (0..count).map(|_| {
            let (waiting, results, early) = (Arc::clone(&waiting), results.clone(), Arc::clone(early));
            let next = move || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let make = move || {
                while let Ok((number, bytes)) = next() {
                    // A block that never came would be waited for.
                    let make = || early.find(&bytes).map_or_else(|| block(&bytes), Ok);
                    let made = panic::catch_unwind(panic::AssertUnwindSafe(make)).unwrap_or_else(|_| Err(lost()));
                    if results.send((number, made)).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new().name("xz".to_owned()).spawn(make)
        });
        let threads = threads.collect::<io::Result<_>>()?;
        let (early, index, waiting) = (BTreeMap::new(), Vec::new(), Vec::with_capacity(BLOCK));
        Ok(Self { to, waiting, work, made, threads, early, begun: 0, index })
    }

    /// Ends the stream and returns what it was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.waiting.is_empty() {
            self.send()?;
        }
        while self.index.len() < self.begun {
            self.take()?;
        }
        drop(self.work);
        for thread in self.threads {
            // It has nothing left to tell.
            let _ = thread.join();
        }
        let index = index(&self.index);
        self.to.write_all(&index)?;
        self.to.write_all(&footer(index.len()))?;
        Ok(self.to)
    }

    /// Hands over what waits as a block, once few enough are under way.
    fn send(&mut self) -> io::Result<()> {
        while self.begun - self.index.len() >= 2 * self.threads.len() {
            self.take()?;
        }
        let bytes = std::mem::replace(&mut self.waiting, Vec::with_capacity(BLOCK));
        self.work.send((self.begun, bytes)).map_err(|_| lost())?;
        self.begun += 1;
        Ok(())
    }

    /// Waits for a block and writes those whose turn it is.
    fn take(&mut self) -> io::Result<()> {
        let (number, block) = self.made.recv().map_err(|_| lost())?;
        self.early.insert(number, block?);
        while let Some(block) = self.early.remove(&self.index.len()) {
            self.index.push(block.record);
            self.to.write_all(&block.bytes)?;
        }
        Ok(())
    }
}

impl<W: Write> Write for XzWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = if self.begun == 0 { FIRST_BLOCK } else { BLOCK };
        let taken = bytes.len().min(length - self.waiting.len());
        self.waiting.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.waiting.len() == length {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A block is not ended early: its length must not depend on who flushes.
        self.to.flush()
    }
}

fn lost() -> io::Error {
    io::Error::other("a thread that compresses ended unexpectedly")
}

fn block(bytes: &[u8]) -> io::Result<Block> {
    let made = if entropy(bytes) > STORED_FROM {
        framed(bytes, &chunks::stored(bytes))
    } else if bytes.len() < CHUNK || repeats(bytes) {
        compressed(bytes)?
    } else {
        framed(bytes, &chunks::coded(bytes))
    };
    if made.holds(bytes)? {
        Ok(made)
    } else {
        Err(io::Error::other("a block that was compressed does not come out as it went in"))
    }
}

impl Block {
    /// Unpacks the block, as the only one of a stream, and compares.
    fn holds(&self, bytes: &[u8]) -> io::Result<bool> {
        let index = index(&[self.record]);
        let frame = (with_crc(&FLAGS), footer(index.len()));
        let stream = HEADER_MAGIC.chain(frame.0.as_slice()).chain(self.bytes.as_slice()).chain(index.as_slice());
        let mut found = XzDecoder::new(stream.chain(frame.1.as_slice()));
        let mut rest = bytes;
        let mut piece = vec![0; CHUNK];
        loop {
            let count = found.read(&mut piece)?;
            let piece = piece.get(..count).unwrap_or_default();
            match rest.strip_prefix(piece) {
                Some(after) if count > 0 => rest = after,
                after => return Ok(after.is_some_and(<[u8]>::is_empty)),
            }
        }
    }
}

/// Returns whether parts of `bytes` repeat, so that looking for them pays.
fn repeats(bytes: &[u8]) -> bool {
    /// What is compared: too long to be alike by chance, and aligned as weights are.
    const PART: usize = 8;
    const SLOTS: usize = 1 << 16;
    /// One part in so many may be alike.
    const FEW: usize = 32;
    let (parts, _) = bytes.as_chunks::<PART>();
    let mut last = vec![None; SLOTS];
    let mut alike = 0;
    for part in parts {
        let part = u64::from_le_bytes(*part);
        let slot = last.get_mut((part.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize);
        if slot.is_some_and(|slot| slot.replace(part) == Some(part)) {
            alike += 1;
        }
    }
    alike > parts.len() / FEW
}

/// Returns the entropy of bytes by their place in four, in bits for each.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [[0_u32; 256]; 4];
    let mut count = |place: usize, byte: u8| {
        if let Some(count) = counts.get_mut(place).and_then(|table| table.get_mut(usize::from(byte))) {
            *count += 1;
        }
    };
    let (fours, rest) = bytes.as_chunks::<4>();
    for [first, second, third, fourth] in fours {
        count(0, *first);
        count(1, *second);
        count(2, *third);
        count(3, *fourth);
    }
    rest.iter().enumerate().for_each(|(place, byte)| count(place, *byte));
    let bits = |counts: [u32; 256]| {
        let total: f64 = counts.iter().copied().map(f64::from).sum();
        let present = counts.into_iter().filter(|count| *count > 0).map(f64::from);
        present.map(|count| count * libm::log2(total / count)).sum::<f64>()
    };
    counts.into_iter().map(bits).sum::<f64>() / (bytes.len() as f64).max(1.0)
}

/// Lets liblzma make a stream of the bytes and takes its one block.
fn compressed(bytes: &[u8]) -> io::Result<Block> {
    let mut options = LzmaOptions::new_preset(PRESET)?;
    options.literal_position_bits(PLACE_BITS).literal_context_bits(0).position_bits(PLACE_BITS);
    let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32)?;
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes)?;
    let stream = encoder.finish()?;
    let unlike = || io::Error::other("liblzma writes another format than expected");
    let backward = stream.len().checked_sub(FRAME).and_then(|at| stream.get(at + 4..at + 8)).ok_or_else(unlike)?;
    let words = backward.try_into().map_or(0, u32::from_le_bytes) as usize + 1;
    let end = stream.len().checked_sub(FRAME + words * 4).ok_or_else(unlike)?;
    let record = stream.get(end..).and_then(only_record).ok_or_else(unlike)?;
    let block = stream.get(FRAME..end).filter(|block| block.len() as u64 == record.unpadded.next_multiple_of(4));
    let bytes = block.filter(|_| record.uncompressed == bytes.len() as u64).ok_or_else(unlike)?.to_vec();
    Ok(Block { bytes, record })
}

/// Returns the record of an index that has one.
fn only_record(index: &[u8]) -> Option<Record> {
    let mut rest = index.strip_prefix(&[0, 1])?.iter();
    let mut number = || {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = *rest.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    Some(Record { unpadded: number()?, uncompressed: number()? })
}

/// Makes a block of LZMA2 chunks that hold `bytes`.
fn framed(bytes: &[u8], chunks: &[u8]) -> Block {
    let mut block = with_crc(&BLOCK_HEADER);
    block.extend_from_slice(chunks);
    let data = block.len();
    pad(&mut block);
    let check = crc32fast::hash(bytes).to_le_bytes();
    let record = Record { unpadded: (data + check.len()) as u64, uncompressed: bytes.len() as u64 };
    block.extend(check);
    Block { bytes: block, record }
}

/// Section 4.
fn index(records: &[Record]) -> Vec<u8> {
    let mut index = vec![0];
    number(records.len() as u64, &mut index);
    for record in records {
        number(record.unpadded, &mut index);
        number(record.uncompressed, &mut index);
    }
    pad(&mut index);
    with_crc(&index)
}

/// Section 2.1.2.
fn footer(index: usize) -> Vec<u8> {
    // The length of an index of blocks of a mebibyte is far below the limit of 16 GiB.
    let backward = (index / 4 - 1) as u32;
    let fields = [&backward.to_le_bytes()[..], &FLAGS].concat();
    [&crc32fast::hash(&fields).to_le_bytes()[..], &fields, &FOOTER_MAGIC].concat()
}

/// Section 1.2: seven bits in each byte, the lowest first, and one that says whether more follow.
fn number(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn with_crc(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8], threads: u32) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), NonZeroU32::new(threads).unwrap(), &Arc::default()).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_is_written_comes_back_on_any_number_of_threads() {
        let half: Vec<u8> = noise(BLOCK * 2).into_iter().map(|byte| byte & 0x0f).collect();
        for bytes in [
            Vec::new(),
            vec![1],
            vec![0; BLOCK],
            noise(1),
            noise(CHUNK),
            noise(CHUNK + 1),
            noise(BLOCK + 3),
            [half, noise(BLOCK * 3), vec![0; 5]].concat(),
        ] {
            let packed_once = packed(&bytes, 1);
            assert_eq!(packed_once.len() % 4, 0);
            for threads in [2, 3, 5] {
                assert!(packed(&bytes, threads) == packed_once, "{} bytes, {threads} threads", bytes.len());
            }
            let mut back = Vec::new();
            // One stream, and nothing behind it.
            XzDecoder::new(packed_once.as_slice()).read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{} bytes", bytes.len());
        }
    }

    /// Bytes of numbers of four bytes whose places know so many values each.
    fn skewed(length: usize, values: [u8; 4]) -> Vec<u8> {
        // The larger the noise, the rarer the value, so that bytes differ in how frequent they are.
        let value =
            |(at, noise): (usize, u8)| ((u32::from(noise) * u32::from(noise) * u32::from(values[at % 4])) >> 16) as u8;
        noise(length).into_iter().enumerate().map(value).collect()
    }

    #[test]
    fn what_does_not_repeat_is_coded_byte_by_byte() {
        for values in [[255, 90, 255, 9], [1, 2, 3, 4], [255, 255, 255, 60], [0, 0, 255, 255]] {
            for length in [CHUNK, CHUNK + 1, CHUNK * 3 + 5, BLOCK] {
                let bytes = skewed(length, values);
                let made = framed(&bytes, &chunks::coded(&bytes));
                assert!(made.holds(&bytes).unwrap(), "{values:?}, {length}");
                let mut other = bytes.clone();
                other[length / 2] ^= 1;
                assert!(!made.holds(&other).unwrap());
                assert!(!made.holds(&bytes[1..]).unwrap());
            }
        }
        // Little longer than the entropy of the bytes wants, and no longer than what liblzma makes of them.
        let bytes = skewed(BLOCK, [255, 90, 255, 9]);
        let made = chunks::coded(&bytes).len() as f64;
        let ideal = entropy(&bytes) * BLOCK as f64 / 8.0;
        assert!((ideal..ideal * 1.03).contains(&made), "{made} of {ideal}");
        assert!(made < compressed(&bytes).unwrap().bytes.len() as f64);
        assert!(!repeats(&bytes));
        assert!(repeats(&bytes[..BLOCK / 8].repeat(8)));
    }

    #[test]
    fn a_chunk_that_would_grow_is_stored_wherever_it_is() {
        let (dense, random) = (skewed(CHUNK, [255, 90, 255, 9]), noise(CHUNK));
        for parts in [
            [&random, &dense, &dense],
            [&dense, &random, &dense],
            [&random, &random, &dense],
            [&dense, &random, &random],
        ] {
            let bytes = parts.map(Vec::as_slice).concat();
            let made = chunks::coded(&bytes);
            let stored = parts.iter().filter(|part| **part == &random).count();
            let coded = 3 - stored;
            let expected = stored * CHUNK + coded * CHUNK / 2..stored * CHUNK + coded * CHUNK * 4 / 5;
            assert!(expected.contains(&made.len()), "{} of {expected:?}", made.len());
            assert!(framed(&bytes, &made).holds(&bytes).unwrap());
        }
    }

    #[test]
    fn carries_reach_bytes_that_were_held() {
        // Long stretches of one value drive the interval's end towards 0xff bytes.
        for seed in 0..40 {
            let bytes: Vec<u8> =
                noise(CHUNK + seed).into_iter().map(|byte| if byte < 3 + seed as u8 { byte } else { 255 }).collect();
            assert!(framed(&bytes, &chunks::coded(&bytes)).holds(&bytes).unwrap(), "{seed}");
        }
    }

    #[test]
    fn blocks_that_were_made_early_are_the_same() {
        let bytes = skewed(BLOCK * 4, [255, 90, 255, 9]);
        let early = Arc::new(EarlyBlocks::default());
        let make = |offset, bytes: &[u8], is_over| early.make(offset, bytes, &AtomicBool::new(is_over)).unwrap();
        make(700, &bytes[700..], true);
        assert!(early.0.lock().unwrap().is_empty());
        make(700, &bytes[700..FIRST_BLOCK + BLOCK * 3 - 9], false);
        assert_eq!(early.0.lock().unwrap().len(), 2, "the first is not whole, and the fourth neither");
        make(FIRST_BLOCK + 1, &bytes[FIRST_BLOCK + 1..], false);
        assert_eq!(early.0.lock().unwrap().len(), 3);
        make(BLOCK * 9, &bytes[..5], false);
        make(1, &[], false);
        let mut writer = XzWriter::new(Vec::new(), NonZeroU32::new(2).unwrap(), &early).unwrap();
        writer.write_all(&bytes).unwrap();
        assert!(writer.finish().unwrap() == packed(&bytes, 2));
    }

    #[test]
    fn only_what_cannot_become_shorter_is_stored() {
        let random = noise(BLOCK);
        assert!(entropy(&random) > 7.99);
        // Frames and index beside the chunks.
        let chunks = BLOCK + 3 * (BLOCK / CHUNK);
        assert!((chunks..chunks + 100).contains(&packed(&random, 1).len()));
        // The high bytes of half floats are few: 8 and 5 bits.
        let weights: Vec<u8> = noise(BLOCK).chunks(2).flat_map(|pair| [pair[0], pair[1] & 0x8f | 0x30]).collect();
        assert!((entropy(&weights) - 6.5).abs() < 0.01);
        assert!(packed(&weights, 1).len() < BLOCK * 9 / 10);
        assert_eq!((entropy(b"abcdabcd"), entropy(&[]), entropy(&[5; 9])), (0.0, 0.0, 0.0));
        assert!((entropy(b"abcdbbcd") - 0.25).abs() < 1e-12, "one bit of one place in four");
    }

    #[test]
    fn writing_fails_as_its_target_does() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let two = NonZeroU32::new(2).unwrap();
        assert!(XzWriter::new(Full(5), two, &Arc::default()).is_err());
        for room in [30, BLOCK, BLOCK * 5 + 200] {
            let mut writer = XzWriter::new(Full(room), two, &Arc::default()).unwrap();
            let written = writer.write_all(&noise(BLOCK * 5)).and_then(|()| writer.finish().map(drop));
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull, "{room}");
        }
    }
}
