//! The configuration of a conversion.
