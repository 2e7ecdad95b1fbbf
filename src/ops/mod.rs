//! Operations on the host.

pub mod assemble;
pub mod image;
pub mod store;

mod layer;
mod tree;
