//! Operations on the host: decisions carried out. One file an operation; commands call these and nothing below.

pub mod assemble;
pub mod collect;
pub mod complete;
pub mod convert;
pub mod dispatch;
pub mod find;
pub mod gather;
pub mod image;
pub mod inside;
mod layer;
mod linked;
pub mod lock;
pub mod obtain;
pub mod prepare;
pub mod ready;
pub mod source_archive;
pub mod store;
mod tree;
pub mod upload;
mod workplace;
pub mod wrap;
