//! Block gzip 1: a gzip stream whose members hold one MiB each.
