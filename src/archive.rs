//! Vendor archives (tar, zip) as entries.
