//! `InRelease`: the signed list of a suite's indexes (repository format, "Release files"; RFC 4880 section 7, "Cleartext
//! signature framework").
//!
//! Whether the signature is good is found out elsewhere, by a program that holds keys; here the text is only taken out
//! of its armour. The date `Valid-Until` is not looked at: a lock may be made from a suite that has reached its end.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::digest::Digest;
use crate::hint::Hint;
use crate::units::ByteSize;

/// What a suite publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The codename: `bullseye-security`.
    pub codename: String,
    /// The suite's name: `oldoldstable-security`.
    pub suite: String,
    /// The size and digest of each index, by its path below the suite.
    pub indexes: BTreeMap<String, (ByteSize, Digest)>,
}

/// A list that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReleaseError {
    /// The text is not framed as a signed one must be.
    #[error("it is no text with a signature around it")]
    Armour,
    /// A line of the table of digests that cannot be read.
    #[error("`{line}` is no line of a table of digests")]
    Line {
        /// The line.
        line: String,
    },
    /// There is no table of SHA-256 digests.
    #[error("it has no SHA-256 digests")]
    NoDigests,
}

impl Hint for ReleaseError {}

/// Returns the text inside a cleartext signature, as it was before signing.
///
/// # Errors
/// The frame is missing or ambiguous, or anything but blank lines stands before or after it.
pub fn signed_text(armoured: &str) -> Result<String, ReleaseError> {
    let mut lines = armoured.lines();
    if lines.by_ref().find(|line| !line.trim().is_empty()) != Some("-----BEGIN PGP SIGNED MESSAGE-----") {
        return Err(ReleaseError::Armour);
    }
    // The armour's own headers end with an empty line.
    if lines.by_ref().find(|line| line.is_empty()).is_none() {
        return Err(ReleaseError::Armour);
    }
    let mut text = String::with_capacity(armoured.len());
    // Whoever checks the signature must see the same text: what another reader could take for the end of it, or for a
    // second text, is refused.
    for line in lines.by_ref() {
        if line == "-----BEGIN PGP SIGNATURE-----" {
            let last = lines.by_ref().find(|line| line.starts_with('-'));
            let is_alone = last == Some("-----END PGP SIGNATURE-----") && lines.all(|line| line.trim().is_empty());
            return if is_alone { Ok(text) } else { Err(ReleaseError::Armour) };
        }
        // Lines that begin with a dash are escaped by "- ".
        match line.strip_prefix("- ") {
            Some(escaped) => text.push_str(escaped),
            None if line.starts_with('-') => return Err(ReleaseError::Armour),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    Err(ReleaseError::Armour)
}

impl Release {
    /// Reads the text of a `Release` file.
    ///
    /// # Errors
    /// A table that cannot be read, or none.
    pub fn read(text: &str) -> Result<Self, ReleaseError> {
        let mut release = Self { codename: String::new(), suite: String::new(), indexes: BTreeMap::new() };
        let mut in_table = false;
        for line in text.lines() {
            if let Some(row) = line.strip_prefix([' ', '\t']) {
                if in_table {
                    let refused = || ReleaseError::Line { line: line.to_owned() };
                    let fields: Vec<&str> = row.split_ascii_whitespace().collect();
                    let [digest, size, path] = fields.as_slice() else { return Err(refused()) };
                    let digest = Digest::from_hex(digest).map_err(|_| refused())?;
                    let size = ByteSize::new(size.parse().map_err(|_| refused())?);
                    release.indexes.insert((*path).to_owned(), (size, digest));
                }
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            in_table = name.eq_ignore_ascii_case("SHA256");
            match name.to_ascii_lowercase().as_str() {
                "codename" => value.trim().clone_into(&mut release.codename),
                "suite" => value.trim().clone_into(&mut release.suite),
                _ => {}
            }
        }
        if release.indexes.is_empty() { Err(ReleaseError::NoDigests) } else { Ok(release) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: Debian\nSuite: oldstable\nCodename: bullseye\nMD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 a\n\
        SHA256:\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 7 main/binary-amd64/Packages.xz\n";

    const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----\n\nxx\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn texts_that_two_readers_could_understand_differently_are_refused() {
        let begin = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n";
        let spaced = SIGNATURE.replace("-----\n", "----- \n");
        for text in [
            // GnuPG takes no notice of blanks at the end of these lines.
            format!("{begin}{TEXT}{spaced}evil\n{SIGNATURE}"),
            format!("{begin}evil\n{}{begin}{TEXT}{SIGNATURE}", spaced.replacen("----- \n", "-----\n", 1)),
            format!("{begin}evil\n{SIGNATURE}{begin}{TEXT}{SIGNATURE}"),
            format!("{begin}{TEXT}-x\n{SIGNATURE}"),
            format!("{begin}{TEXT}{SIGNATURE}more"),
            format!("{begin}{TEXT}-----BEGIN PGP SIGNATURE-----\n\nxx\n"),
        ] {
            assert_eq!(signed_text(&text), Err(ReleaseError::Armour), "{text}");
        }
        assert_eq!(signed_text(&format!("{begin}{TEXT}{SIGNATURE}\n")).unwrap(), TEXT);
    }

    #[test]
    fn the_table_of_digests_is_read() {
        let armoured = format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{TEXT}- --x\n{SIGNATURE}");
        let text = signed_text(&armoured).unwrap();
        assert_eq!(text, format!("{TEXT}--x\n"));
        let release = Release::read(&text).unwrap();
        assert_eq!((release.codename.as_str(), release.suite.as_str()), ("bullseye", "oldstable"));
        let expected = (ByteSize::new(7), Digest::of(b""));
        assert_eq!(
            release.indexes.into_iter().collect::<Vec<_>>(),
            [("main/binary-amd64/Packages.xz".to_owned(), expected)]
        );
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            [TEXT, "", "evil\n-----BEGIN PGP SIGNED MESSAGE-----\n\nx", "-----BEGIN PGP SIGNED MESSAGE-----\n\nx"]
        {
            assert_eq!(signed_text(text), Err(ReleaseError::Armour), "{text}");
        }
        assert_eq!(Release::read("Suite: x\n"), Err(ReleaseError::NoDigests));
        assert!(matches!(Release::read("SHA256:\n 00 1 a\n"), Err(ReleaseError::Line { .. })));
        assert!(matches!(Release::read(&TEXT.replace(" 7 ", " x ")), Err(ReleaseError::Line { .. })));
    }
}
