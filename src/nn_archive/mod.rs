//! NN Archives: a tar of a compiled model, the record of its making and `config.json`, which says how to feed it.
//!
//! Owns the archive's `config.json` (schema of Luxonis, version 1.0), the archive as bytes, and the layouts of tensors.
//! Must not know how a model was made: `config` describes its own results in these types.

pub mod carried;
pub mod document;
pub mod frame;
pub mod layout;
pub mod pack;
mod xz;

pub use carried::Carried;
pub use document::{DataType, Document, DocumentError, Head, Input, InputType, Metadata, Model, Output, Preprocessing};
pub use frame::{ChannelPlace, ColorOrder, DaiType, Frames};
pub use layout::{Layout, LayoutError};
pub use pack::{ArchiveError, ArchiveForm, Contents, Haste, LIMITS, Member, looks_like_archive, read, write};
pub use xz::EarlyBlocks;
