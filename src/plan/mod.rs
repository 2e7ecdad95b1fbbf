//! What is going to be done, as values.
//!
//! Owns plans: complete, comparable, and printable before anything happens. Must not do anything.

pub mod convert;
pub mod image;
