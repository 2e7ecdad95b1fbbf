//! Settings that say where each kind of artifact is fetched from.
