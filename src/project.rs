//! The project: lock and recipes.
