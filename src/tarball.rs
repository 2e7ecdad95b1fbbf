//! Layer format 1: the deterministic tar stream of a layer.
