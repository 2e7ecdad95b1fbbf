//! Blobs and superblobs of MyriadX.
//!
//! Owns the header of a compiled network ([`Blob`]), the container of sixteen of them ([`superblob`]) and the binary
//! patches inside it ([`patch`], [`difference`]). Must not run anything and must not read files. There is no published
//! standard: the blob header was established by comparing with the independent reader in the package `depthai`; patches
//! are the format of bsdiff 4.

mod blob;
pub mod difference;
mod blocks;
pub mod patch;
pub mod superblob;

pub use blob::{Blob, BlobError, Element, Tensor};
pub use superblob::{Superblob, SuperblobError};
