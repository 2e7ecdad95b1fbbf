//! Built-in public defaults for package sources.
