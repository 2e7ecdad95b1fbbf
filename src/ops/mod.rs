//! Operations on the host.
