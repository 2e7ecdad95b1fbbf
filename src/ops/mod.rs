//! Operations on the host: decisions carried out. One file an operation; commands call these and nothing below.

pub mod assemble;
pub mod image;
mod layer;
pub mod lock;
pub mod obtain;
pub mod store;
mod tree;
