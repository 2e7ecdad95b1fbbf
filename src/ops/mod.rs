//! Operations on the host.

pub mod assemble;
pub mod image;
pub mod lock;
pub mod obtain;
pub mod store;
mod layer;
mod tree;
