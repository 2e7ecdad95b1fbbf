//! Debian packages, indexes and relations as data.
