//! SHA-256 digests of bytes, and the readers and writers that compute or check them while bytes stream.
//!
//! Owns [`Digest`] (stored bytes, compressed or not) and [`DiffId`] (the unpacked tar of a layer; OCI image
//! specification, "Layer DiffID"). Text form is `sha256:` and 64 lower-case hex digits (OCI image specification,
//! "Digests"). Must not know what the bytes are.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::hint::Hint;
use crate::units::ByteSize;

/// The SHA-256 of a sequence of bytes.
///
/// Accepted: `sha256:` and 64 lower-case hex digits. Refused: another algorithm, upper case, a bare hex string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// What a sequence of bytes is, so that others can be compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Its length.
    pub size: ByteSize,
    /// Its digest.
    pub sha256: Digest,
}

impl Fingerprint {
    /// Returns that of `pieces`, one after the other.
    pub fn of<'bytes>(pieces: impl IntoIterator<Item = &'bytes [u8]>) -> Self {
        let mut hasher = Hasher::default();
        pieces.into_iter().for_each(|piece| hasher.update(piece));
        Self::from(hasher)
    }

    /// Returns that of all that `content` gives.
    ///
    /// # Errors
    /// Those of `content`.
    pub fn read(mut content: impl Read) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        each_piece(&mut content, |bytes| hasher.update(bytes))?;
        Ok(Self::from(hasher))
    }
}

impl From<Hasher> for Fingerprint {
    fn from(hasher: Hasher) -> Self {
        let (size, sha256) = hasher.finish();
        Self { size, sha256 }
    }
}

/// Reads to the end, in pieces so large that the system calls do not show.
fn each_piece(content: &mut impl Read, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The [`Digest`] of a layer's uncompressed tar stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// A text that is no digest.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no digest: expected `sha256:` and 64 lower-case hex digits")]
pub struct DigestError {
    text: String,
}

impl Hint for DigestError {}

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the 64 lower-case hex digits alone, as file names and vendor lists write them.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Reads 64 hex digits without the `sha256:` prefix.
    ///
    /// # Errors
    /// Anything but 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let refused = || DigestError { text: text.to_owned() };
        if text.len() != 64 || text.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| refused())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| DigestError { text: text.to_owned() })?;
        Self::from_hex(hex)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for DiffId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for DiffId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

/// A running SHA-256 that also counts its bytes.
#[derive(Clone, Default)]
pub struct Hasher {
    state: Sha256,
    length: u64,
}

impl Hasher {
    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Returns how many bytes went in and their digest.
    pub fn finish(self) -> (ByteSize, Digest) {
        (ByteSize::new(self.length), Digest(self.state.finalize().into()))
    }

    /// Returns how many bytes went in so far.
    pub fn length(&self) -> ByteSize {
        ByteSize::new(self.length)
    }
}

/// Passes bytes on to a writer and hashes them on the way.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// Returns the writer, the number of bytes that passed and their digest.
    pub fn finish(self) -> (W, ByteSize, Digest) {
        let (size, digest) = self.hasher.finish();
        (self.inner, size, digest)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Bytes that are not the ones that were promised.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Mismatch {
    /// Fewer or more bytes than promised. `found` is a lower bound when reading stopped at the first byte too many.
    #[error("size differs: expected {expected} bytes, found {found}", expected = expected.bytes(), found = found.bytes())]
    Size {
        /// The promised size.
        expected: ByteSize,
        /// The size seen.
        found: ByteSize,
    },
    /// Other bytes than promised.
    #[error("digest differs: expected {expected}, found {found}")]
    Digest {
        /// The promised digest.
        expected: Digest,
        /// The digest of the bytes seen.
        found: Digest,
    },
}

/// Passes bytes on from a reader and fails at the end, or at the first byte too many, if they are not as promised.
///
/// The failure is an [`io::Error`] of kind `InvalidData` whose source is a [`Mismatch`].
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Hasher,
    size: ByteSize,
    digest: Digest,
    verified: bool,
}

impl<R: Read> VerifyingReader<R> {
    /// Wraps `inner`, which must yield exactly `size` bytes with `digest`.
    pub fn new(inner: R, size: ByteSize, digest: Digest) -> Self {
        Self { inner, hasher: Hasher::default(), size, digest, verified: false }
    }

    /// Reads to the end, for nothing but the check.
    ///
    /// # Errors
    /// Those of the reader, and bytes that are not as promised.
    pub fn check(mut self) -> io::Result<()> {
        each_piece(&mut self, |_| ())
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let refused = |mismatch: Mismatch| io::Error::new(io::ErrorKind::InvalidData, mismatch);
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        let found = self.hasher.length();
        if found > self.size {
            return Err(refused(Mismatch::Size { expected: self.size, found }));
        }
        if count == 0 && !buffer.is_empty() && !self.verified {
            if found != self.size {
                return Err(refused(Mismatch::Size { expected: self.size, found }));
            }
            let (_, digest) = self.hasher.clone().finish();
            if digest != self.digest {
                return Err(refused(Mismatch::Digest { expected: self.digest, found: digest }));
            }
            self.verified = true;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_round_trips_and_other_texts_are_refused() {
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let upper = EMPTY.to_uppercase();
        for refused in ["", "sha256:", &EMPTY[7..], &EMPTY[..70], &upper, "sha512:00"] {
            assert!(refused.parse::<Digest>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_verifying_reader_passes_the_promised_bytes_and_no_others() {
        let read = |bytes: &[u8], size: u64, digest: Digest| {
            let mut out = Vec::new();
            VerifyingReader::new(bytes, ByteSize::new(size), digest).read_to_end(&mut out).map(|_| out)
        };
        assert_eq!(read(b"abc", 3, Digest::of(b"abc")).unwrap(), b"abc");
        for (bytes, size, digest) in [
            (&b"ab"[..], 3, Digest::of(b"abc")),
            (&b"abcd"[..], 3, Digest::of(b"abc")),
            (&b"abd"[..], 3, Digest::of(b"abc")),
        ] {
            assert_eq!(read(bytes, size, digest).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
