//! Documents and layouts of the OCI image format.
