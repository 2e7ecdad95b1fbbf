//! Debian binary packages and archive indexes as data (deb(5), deb-control(5), Debian policy chapters 5 and 7).
//!
//! Owns reading: [`unpack`] turns a `.deb` into entries and its [`Control`] data, [`index`] reads what an archive has,
//! [`relation`] what packages want of each other, [`release`] the signed list of indexes. Maintainer scripts are bytes
//! here and never run; merging `/bin` into `/usr/bin` is the assembler's work.

mod ar;
pub mod index;
mod package;
pub mod relation;
pub mod release;

pub use package::{Control, DebianError, SCRIPTS, unpack};
