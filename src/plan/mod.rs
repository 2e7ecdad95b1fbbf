//! What is going to be done, as values.
