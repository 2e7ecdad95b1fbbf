//! Images of the store.
