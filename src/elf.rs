//! What native libraries need of each other.
