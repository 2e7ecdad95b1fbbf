//! Block gzip 1: the compressed form of layers, whose bytes follow from the uncompressed bytes alone.
//!
//! The input is cut into blocks of exactly 1 MiB; each becomes one whole gzip member (RFC 1952; section 2.2 allows any
//! number of them) made by one in-memory call. So neither the number of threads nor the sizes of writes can matter, all
//! processors work, and every reader of gzip reads it. Owns the cut, the header, the encoder and its level. Must not
//! know what the bytes are. Other bytes mean another number of the layer format.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crc32fast::Hasher as Crc32;
use libdeflater::{CompressionLvl, Compressor};

/// The length of a block before compression. Cutting costs 0.1 % of size against one stream.
pub const BLOCK: usize = 1 << 20;

/// The lowest level of libdeflate that is never larger than `gzip -6`. Measured on 212 MB of unpacked OpenVINO wheels
/// (`benches/assembly`), against `gzip -6`: level 5 +0.1 %, level 6 -0.9 % for 16 % more time, level 7 -1.6 % for 52 %.
const LEVEL: i32 = 6;

/// No name, no time, no level ("XFL"), unknown system: nothing that could differ between two runs.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// CRC-32 and length.
const TRAILER: usize = 8;

/// The longest stored block of deflate (RFC 1951, section 3.2.4).
const STORED: usize = u16::MAX as usize;

/// Makes gzip members of blocks, one at a time.
struct BlockEncoder {
    compressor: Compressor,
}

impl BlockEncoder {
    fn new() -> Self {
        // The level is a constant within libdeflate's range, so the default never stands in for it.
        Self { compressor: Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default()) }
    }

    /// Returns the member of `block`, which is not longer than [`BLOCK`].
    fn member(&mut self, block: &[u8]) -> Vec<u8> {
        let pieces = block.len().div_ceil(STORED).max(1);
        let stored = block.len() + 5 * pieces;
        let mut member = Vec::with_capacity(HEADER.len() + stored + TRAILER);
        member.extend_from_slice(&HEADER);
        member.resize(HEADER.len() + stored, 0);
        let room = member.get_mut(HEADER.len()..).unwrap_or_default();
        // Whatever does not get smaller is stored, so that this decision is ours and not the encoder's.
        match self.compressor.deflate_compress(block, room) {
            Ok(length) if length < stored => member.truncate(HEADER.len() + length),
            _ => {
                member.truncate(HEADER.len());
                store(block, &mut member);
            }
        }
        let mut crc = Crc32::new();
        crc.update(block);
        member.extend_from_slice(&crc.finalize().to_le_bytes());
        member.extend_from_slice(&(block.len() as u32).to_le_bytes());
        member
    }
}

/// Appends `block` in stored blocks, the last one marked as such.
fn store(block: &[u8], member: &mut Vec<u8>) {
    let mut pieces = block.chunks(STORED).peekable();
    if pieces.peek().is_none() {
        member.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    while let Some(piece) = pieces.next() {
        let length = piece.len() as u16;
        member.push(u8::from(pieces.peek().is_none()));
        member.extend_from_slice(&length.to_le_bytes());
        member.extend_from_slice(&(!length).to_le_bytes());
        member.extend_from_slice(piece);
    }
}

/// A block on its way to a thread, and where its member is awaited.
struct Job {
    block: Vec<u8>,
    done: Sender<Vec<u8>>,
}

/// Compresses what is written to it on several threads and passes it on in order.
///
/// Memory is bounded by about three blocks per thread. Dropping it without [`BlockGzip::finish`] leaves an unfinished
/// stream behind.
pub struct BlockGzip<W: Write> {
    inner: W,
    block: Vec<u8>,
    wrote: bool,
    jobs: Option<Sender<Job>>,
    waiting: VecDeque<Receiver<Vec<u8>>>,
    limit: usize,
    threads: Vec<JoinHandle<()>>,
}

impl<W: Write> BlockGzip<W> {
    /// Begins a stream that is compressed on that many threads.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(inner: W, threads: NonZero<usize>) -> io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let threads: Vec<_> = (0..threads.get())
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new().name("block-gzip".to_owned()).spawn(move || compress_jobs(&queue))
            })
            .collect::<io::Result<_>>()?;
        let limit = 2 * threads.len();
        let block = Vec::with_capacity(BLOCK);
        Ok(Self { inner, block, wrote: false, jobs: Some(jobs), waiting: VecDeque::new(), limit, threads })
    }

    /// Compresses what is left and returns the writer. A stream without any bytes becomes one member without any.
    ///
    /// # Errors
    /// The writer fails.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() || !self.wrote {
            self.send()?;
        }
        self.jobs = None;
        while self.receive()? {}
        for thread in self.threads {
            // A thread that panicked has been noticed as a member that never came.
            let _ = thread.join();
        }
        self.inner.flush()?;
        Ok(self.inner)
    }

    /// Hands the block over to the threads.
    fn send(&mut self) -> io::Result<()> {
        while self.waiting.len() >= self.limit {
            self.receive()?;
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let (done, member) = channel();
        let jobs = self.jobs.as_ref().ok_or_else(died)?;
        jobs.send(Job { block, done }).map_err(|_| died())?;
        self.waiting.push_back(member);
        self.wrote = true;
        Ok(())
    }

    /// Passes the next member on, if one is on its way.
    fn receive(&mut self) -> io::Result<bool> {
        let Some(member) = self.waiting.pop_front() else { return Ok(false) };
        let member = member.recv().map_err(|_| died())?;
        self.inner.write_all(&member)?;
        Ok(true)
    }
}

impl<W: Write> Write for BlockGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK - self.block.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.block.extend_from_slice(taken);
        if self.block.len() == BLOCK {
            self.send()?;
        }
        Ok(taken.len())
    }

    /// Does nothing, as only whole blocks are passed on.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress_jobs(queue: &Mutex<Receiver<Job>>) {
    let mut encoder = BlockEncoder::new();
    loop {
        // Waiting for a job under the mutex is fine: the others would only wait for the same.
        let Ok(job) = queue.lock().map_err(|_| ()).and_then(|queue| queue.recv().map_err(|_| ())) else { return };
        // Nobody waits any more where the stream was dropped.
        let _ = job.done.send(encoder.member(&job.block));
    }
}

fn died() -> io::Error {
    io::Error::other("a thread that compresses has died")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;

    use super::*;
    use crate::digest::Digest;

    /// Numbers that are the same everywhere (SplitMix64).
    fn numbers(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }
    }

    fn text() -> Vec<u8> {
        const WORDS: [&str; 12] =
            ["layer", "the ", "import ", "self.", "return ", "\n    ", "numpy", " = ", "def ", "(", ")", "tensor"];
        let mut next = numbers(1);
        let mut text = String::new();
        while text.len() < 5 * BLOCK / 2 {
            text.push_str(WORDS[(next() % 12) as usize]);
            if next().is_multiple_of(7) {
                text.push_str(&(next() % 1000).to_string());
            }
        }
        text.into_bytes()
    }

    fn binary() -> Vec<u8> {
        let mut next = numbers(2);
        let mut bytes = Vec::new();
        while bytes.len() < 2 * BLOCK + 12345 {
            let number = next();
            match number % 3 {
                0 => bytes.extend_from_slice(&(number as u32 & 0xffff).to_le_bytes()),
                1 => bytes.extend_from_slice(&[0x48, 0x8b, (number >> 8) as u8 & 7, 0x24]),
                _ => bytes.resize(bytes.len() + (number >> 8) as usize % 24, 0),
            }
        }
        bytes
    }

    fn incompressible() -> Vec<u8> {
        let mut next = numbers(3);
        (0..(BLOCK + BLOCK / 3) / 8).flat_map(|_| next().to_le_bytes()).collect()
    }

    fn compress(bytes: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut gzip = BlockGzip::new(Vec::new(), NonZero::new(threads).unwrap()).unwrap();
        for piece in bytes.chunks(piece) {
            gzip.write_all(piece).unwrap();
        }
        gzip.finish().unwrap()
    }

    fn decompress(bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        MultiGzDecoder::new(bytes).read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn the_bytes_of_block_gzip_1_never_change() {
        for (what, bytes, content, expected) in [
            (
                "text",
                text(),
                "dfe182c6c296ecb68986a1f7dc4f44fa6203d4fb18ab7ade36b97b2589660dfb",
                "85855e31951c66269fee685e7ca10d944dc80bc3102ee0081087aa1ac3344b60",
            ),
            (
                "binary",
                binary(),
                "8643b5560b194c83b6e0ade1b9460682b30c632ac8a0e800b3f43296ad9bd44e",
                "eb6f51f5307936b28078e1f47bfe9bdb8eeab236d57385d70291dbef8b6f8e26",
            ),
            (
                "incompressible",
                incompressible(),
                "3351d3c42804d663c8e072290e285ecd66c1ee9fb5fc1919b3292014845a1897",
                "0ab3d697bfe1d4f27d7cb19e741096f7ddc7083fcf43112196a2258879e7d5fb",
            ),
            (
                "nothing",
                Vec::new(),
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "30e6fa98fb48c2b132824d1ac5e2243c0be9e9082ff32598d34d7687ca7f6c7f",
            ),
        ] {
            let found = (Digest::of(&bytes).hex(), Digest::of(&compress(&bytes, 2, BLOCK)).hex());
            assert_eq!(found, (content.to_owned(), expected.to_owned()), "{what}");
        }
    }

    #[test]
    fn neither_threads_nor_writes_nor_history_matter() {
        let bytes = [text(), incompressible(), binary()].concat();
        let expected = compress(&bytes, 1, bytes.len());
        assert_eq!(decompress(&expected), bytes);
        for (threads, piece) in [(1, 999), (2, 32 * 1024), (3, BLOCK), (8, 3 * BLOCK + 1)] {
            assert!(compress(&bytes, threads, piece) == expected, "{threads} threads, {piece} bytes at a time");
        }
        let alone: Vec<u8> = bytes.chunks(BLOCK).flat_map(|block| BlockEncoder::new().member(block)).collect();
        assert!(alone == expected);
    }

    #[test]
    fn what_does_not_get_smaller_is_stored() {
        let bytes = incompressible();
        let members = compress(&bytes, 1, BLOCK);
        let overhead =
            2 * (HEADER.len() + TRAILER) + 5 * (BLOCK.div_ceil(STORED) + (bytes.len() - BLOCK).div_ceil(STORED));
        assert_eq!(members.len(), bytes.len() + overhead);
        assert_eq!(decompress(&members), bytes);
    }

    #[test]
    fn every_length_survives() {
        let bytes = text();
        for length in [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            let members = compress(&bytes[..length], 2, 4096);
            assert_eq!(decompress(&members), &bytes[..length]);
            assert_eq!(members.windows(10).filter(|window| *window == HEADER).count(), length.div_ceil(BLOCK).max(1));
        }
    }

    #[test]
    fn a_writer_that_fails_stops_the_stream() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = BlockGzip::new(Full, NonZero::<usize>::MIN).unwrap();
        let result = gzip.write_all(&text()).and_then(|()| gzip.finish().map(|_| ()));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
