//! Superblobs: blobs of one network for 1 to 16 shaves in one file.
//!
//! Seventeen unsigned 64-bit big-endian numbers (the length of the blob for 8 shaves, then the lengths of the patches for
//! 1 to 16 shaves, 0 for 8), the blob for 8 shaves, the patches in ascending order. Each patch makes its blob from the
//! one for 8.

use std::collections::BTreeMap;
use std::iter;

use thiserror::Error;

use super::patch::{self, PatchError};
use crate::hint::Hint;
use crate::units::{ByteSize, ShaveCount};

const NUMBERS: usize = 17;
const HEADER: usize = NUMBERS * 8;

/// Where the blob for 8 shaves begins.
pub const BASE: usize = HEADER;

/// A superblob read from bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblob<'bytes> {
    base: &'bytes [u8],
    patches: BTreeMap<ShaveCount, &'bytes [u8]>,
}

/// Bytes that are no superblob, or a part of one that is missing.
#[derive(Debug, Error)]
pub enum SuperblobError {
    /// The parts are not as long as the header says.
    #[error("the superblob has {found}, but its header announces {announced}")]
    Length {
        /// What the header announces, as far as it can be counted.
        announced: ByteSize,
        /// The length of the bytes.
        found: ByteSize,
    },
    /// There is no patch for this number of shaves.
    #[error("the superblob has no patch for {shaves} shaves")]
    Missing {
        /// The number of shaves.
        shaves: ShaveCount,
    },
    /// The header has a patch for 8 shaves, which is the blob itself.
    #[error("the superblob has a patch for 8 shaves")]
    BasePatched,
    /// A patch cannot be applied.
    #[error("the superblob's patch for {shaves} shaves cannot be applied")]
    Patch {
        /// The number of shaves.
        shaves: ShaveCount,
        /// Why.
        #[source]
        source: PatchError,
    },
}

impl Hint for SuperblobError {}

impl<'bytes> Superblob<'bytes> {
    /// Reads the parts of a superblob. A number of shaves whose patch has no length is missing.
    ///
    /// # Errors
    /// Bytes that are shorter or longer than their header announces.
    pub fn parse(bytes: &'bytes [u8]) -> Result<Self, SuperblobError> {
        let found = ByteSize::new(bytes.len() as u64);
        let length = |announced| SuperblobError::Length { announced: ByteSize::new(announced), found };
        let (header, mut rest) = bytes.split_at_checked(HEADER).ok_or_else(|| length(HEADER as u64))?;
        let (numbers, _) = header.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
        let announced = numbers.iter().fold(HEADER as u64, |sum, number| sum.saturating_add(*number));
        if announced != bytes.len() as u64 {
            return Err(length(announced));
        }
        let mut take = |size: u64| -> Result<&'bytes [u8], SuperblobError> {
            let size = usize::try_from(size).map_err(|_| length(announced))?;
            let (part, after) = rest.split_at_checked(size).ok_or_else(|| length(announced))?;
            rest = after;
            Ok(part)
        };
        let base = take(numbers.first().copied().unwrap_or(0))?;
        let mut patches = BTreeMap::new();
        for (shaves, size) in ShaveCount::all().zip(numbers.iter().skip(1)) {
            if *size > 0 {
                patches.insert(shaves, take(*size)?);
            }
        }
        if patches.contains_key(&ShaveCount::EIGHT) {
            return Err(SuperblobError::BasePatched);
        }
        Ok(Self { base, patches })
    }

    /// Returns the blob for `shaves`.
    ///
    /// # Errors
    /// A missing patch, or one that cannot be applied.
    pub fn blob(&self, shaves: ShaveCount) -> Result<Vec<u8>, SuperblobError> {
        if shaves == ShaveCount::EIGHT {
            return Ok(self.base.to_vec());
        }
        let patch = self.patches.get(&shaves).ok_or(SuperblobError::Missing { shaves })?;
        patched(self.base, shaves, patch)
    }

    /// Returns the lowest number of shaves whose part is not the one given; for 8 that is the base.
    pub fn first_difference(&self, base: &[u8], patches: &BTreeMap<ShaveCount, Vec<u8>>) -> Option<ShaveCount> {
        ShaveCount::all().find(|shaves| match *shaves {
            ShaveCount::EIGHT => self.base != base,
            _ => self.patches.get(shaves).copied() != patches.get(shaves).map(Vec::as_slice),
        })
    }
}

/// Returns the blob for `shaves` that a patch makes of the one for 8.
///
/// # Errors
/// The patch cannot be applied.
pub fn patched(base: &[u8], shaves: ShaveCount, patch: &[u8]) -> Result<Vec<u8>, SuperblobError> {
    // Blobs of one network differ by a few percent; the limit only keeps a hostile patch from filling the memory.
    let limit = ByteSize::new(base.len() as u64 * 4 + (64 << 20));
    patch::apply(base, patch, limit).map_err(|source| SuperblobError::Patch { shaves, source })
}

/// Returns what stands before a blob for 8 shaves and, in ascending order, the patches for all other numbers.
///
/// # Errors
/// A patch that is missing, or one for 8 shaves; a superblob without all sixteen is never written.
pub fn header(base: &[u8], patches: &BTreeMap<ShaveCount, Vec<u8>>) -> Result<Vec<u8>, SuperblobError> {
    let length = |shaves: ShaveCount| match (shaves, patches.get(&shaves)) {
        (ShaveCount::EIGHT, None) => Ok(0),
        (ShaveCount::EIGHT, Some(_)) => Err(SuperblobError::BasePatched),
        (_, Some(bytes)) if !bytes.is_empty() => Ok(bytes.len()),
        _ => Err(SuperblobError::Missing { shaves }),
    };
    let lengths = ShaveCount::all().map(length).collect::<Result<Vec<usize>, SuperblobError>>()?;
    Ok(iter::once(base.len()).chain(lengths).flat_map(|length| (length as u64).to_be_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::myriad::Blob;
    use crate::myriad::blob::tests::small_blob;
    use crate::myriad::difference::Differ;

    fn sample() -> Vec<u8> {
        let base = small_blob(8);
        let differ = Differ::new(&base);
        let others = ShaveCount::all().filter(|shaves| *shaves != ShaveCount::EIGHT);
        let patches = others.map(|shaves| (shaves, differ.patch(&small_blob(u32::from(shaves.get()))))).collect();
        let header = header(&base, &patches).unwrap();
        [header, base].into_iter().chain(patches.into_values()).flatten().collect()
    }

    #[test]
    fn every_blob_comes_out_as_it_went_in() {
        let bytes = sample();
        let superblob = Superblob::parse(&bytes).unwrap();
        for shaves in ShaveCount::all() {
            let blob = superblob.blob(shaves).unwrap();
            assert_eq!(blob, small_blob(u32::from(shaves.get())));
            assert_eq!(Blob::parse(&blob).unwrap().shaves, u32::from(shaves.get()));
        }
    }

    #[test]
    fn the_header_is_seventeen_big_endian_numbers() {
        let bytes = sample();
        assert_eq!(bytes[..8], (small_blob(8).len() as u64).to_be_bytes());
        assert_eq!(bytes[64..72], [0; 8], "no patch for 8 shaves");
        assert_eq!(&bytes[HEADER..HEADER + 4], b"\x7felf");
    }

    #[test]
    fn damaged_superblobs_are_refused() {
        let whole = sample();
        for length in [0, 7, HEADER - 1, HEADER, whole.len() - 1] {
            assert!(matches!(Superblob::parse(&whole[..length]), Err(SuperblobError::Length { .. })), "{length}");
        }
        let mut huge = whole.clone();
        huge[0] = 0xff;
        huge[8] = 0xff;
        assert!(Superblob::parse(&huge).is_err());
        let mut patches = BTreeMap::new();
        assert!(matches!(header(b"base", &patches), Err(SuperblobError::Missing { shaves }) if shaves.get() == 1));
        patches.extend(ShaveCount::all().map(|shaves| (shaves, b"patch".to_vec())));
        assert!(matches!(header(b"base", &patches), Err(SuperblobError::BasePatched)));
    }
}
