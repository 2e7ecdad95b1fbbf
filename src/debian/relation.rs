//! relation.
