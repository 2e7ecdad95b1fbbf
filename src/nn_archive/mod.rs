//! NN Archives.
