//! release.
