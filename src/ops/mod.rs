//! Operations on the host.

pub mod store;
