//! The compressions that packages and vendors' archives come in, recognised by their first bytes.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, IGNORE_CHECK, Stream};

/// How much compressed input is read at once: large enough that system calls do not count.
const INPUT_BUFFER: usize = 256 << 10;

/// The most memory that one xz or lzma stream may ask for. `xz -9` needs 65 MiB to decompress.
const XZ_MEMORY: u64 = 512 << 20;

/// A compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Plain bytes.
    None,
    /// RFC 1952, one or more members.
    Gzip,
    /// The .xz file format.
    Xz,
    /// The older .lzma format. Has no signature, so it is known by file names alone.
    Lzma,
    /// RFC 8878.
    Zstandard,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// Returns the compression of bytes that begin with `start`, `None` where no signature fits.
    pub fn of_bytes(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstandard,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }

    /// Returns the compression that the end of a file name stands for: `.gz`, or nothing after the dot of `tar`.
    pub fn of_suffix(suffix: &str) -> Option<Self> {
        match suffix {
            "" => Some(Self::None),
            ".gz" => Some(Self::Gzip),
            ".xz" => Some(Self::Xz),
            ".lzma" => Some(Self::Lzma),
            ".zst" => Some(Self::Zstandard),
            ".bz2" => Some(Self::Bzip2),
            _ => None,
        }
    }

    /// Returns the plain bytes of `compressed`.
    ///
    /// # Errors
    /// The decoder cannot be set up.
    pub fn reader<'a>(self, compressed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let input = BufReader::with_capacity(INPUT_BUFFER, compressed);
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            // Without the CRC-64 of xz, a twelfth of the time: whatever is read here has a SHA-256 of its own.
            Self::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED | IGNORE_CHECK)?;
                Box::new(XzDecoder::new_stream(input, stream))
            }
            Self::Lzma => Box::new(XzDecoder::new_stream(input, Stream::new_lzma_decoder(XZ_MEMORY)?)),
            Self::Zstandard => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => bytes.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Lzma => {
                let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
                let stream = Stream::new_lzma_encoder(&options).unwrap();
                let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstandard => zstd::stream::encode_all(bytes, 1).unwrap(),
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn every_compression_is_read_and_cut_streams_are_refused() {
        let text = b"the quick brown fox ".repeat(5000);
        for (suffix, sniffed) in
            [("", true), (".gz", true), (".xz", true), (".lzma", false), (".zst", true), (".bz2", true)]
        {
            let compression = Compression::of_suffix(suffix).unwrap();
            let bytes = compressed(compression, &text);
            if sniffed {
                assert_eq!(Compression::of_bytes(&bytes), compression);
            }
            let read = |bytes: &[u8]| {
                let mut out = Vec::new();
                compression.reader(bytes).unwrap().read_to_end(&mut out).map(|_| out)
            };
            assert_eq!(read(&bytes).unwrap(), text, "{suffix}");
            if compression != Compression::None {
                assert!(read(&bytes[..bytes.len() - 5]).is_err(), "{suffix}");
            }
        }
        assert_eq!(Compression::of_suffix(".rar"), None);
    }
}
