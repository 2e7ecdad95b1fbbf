//! Speaking to people.
