//! Operations on the host.

pub mod obtain;
pub mod store;
