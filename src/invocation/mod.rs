//! Command lines of vendor tools.
