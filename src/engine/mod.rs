//! Running images.
