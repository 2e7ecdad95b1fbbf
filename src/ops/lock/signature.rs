//! Signatures of Debian archives, checked by the system's `gpgv`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::indexes::{ObtainError, Signature, SignedText};
use crate::debian::release;
use crate::invocation::Invocation;
use crate::process::{self, Bounds, Interruption, ProcessError, Stream};

/// Checking a signature takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where distributions keep the keys of Debian archives.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-removed-keys.gpg"];

/// Returns the text inside a cleartext signature, and whether one of its signatures was made by a key of the keyrings.
///
/// # Errors
/// The signature was not made over this text, or there is none.
pub(super) fn verify(what: &str, armoured: &str, keyrings: &[PathBuf]) -> Result<SignedText, ObtainError> {
    let text = release::signed_text(armoured)
        .map_err(|error| ObtainError::BadSignature { what: what.to_owned(), reason: error.to_string() })?;
    let unknown = |reason: &str| Signature::NotVerified { reason: reason.to_owned() };
    let present: Vec<&PathBuf> = keyrings.iter().filter(|path| path.is_file()).collect();
    if present.is_empty() {
        return Ok(SignedText { text, signature: unknown("no keyring") });
    }
    let status = match status_of(armoured, &present) {
        Ok(status) => status,
        Err(ProcessError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(SignedText { text, signature: unknown("gpgv is not installed") });
        }
        Err(error) => {
            let source = io::Error::other(error);
            return Err(ObtainError::Read { what: format!("the signature of {what}"), source });
        }
    };
    let says = |word: &str| status.lines().any(|line| line.split_whitespace().nth(1) == Some(word));
    if says("BADSIG") {
        let reason = "it was not made over this text".to_owned();
        return Err(ObtainError::BadSignature { what: what.to_owned(), reason });
    }
    // VALIDSIG also stands for good signatures by keys that have expired since: suites that reached their end are
    // not signed again.
    let signature = if says("VALIDSIG") && !says("REVKEYSIG") {
        Signature::Verified { keyrings: present.into_iter().cloned().collect() }
    } else {
        unknown("none of its keys is in a keyring")
    };
    Ok(SignedText { text, signature })
}

/// Returns the keyrings of the system.
pub fn keyrings() -> Vec<PathBuf> {
    KEYRINGS.iter().map(|path| Path::new(path).to_owned()).collect()
}

fn status_of(armoured: &str, keyrings: &[&PathBuf]) -> Result<String, ProcessError> {
    let mut arguments = vec!["--status-fd".to_owned(), "1".to_owned()];
    for keyring in keyrings {
        arguments.extend(["--keyring".to_owned(), keyring.to_string_lossy().into_owned()]);
    }
    let invocation = Invocation {
        tool: "the check of signatures".to_owned(),
        program: "gpgv".into(),
        arguments,
        environment: BTreeMap::new(),
        working_folder: "/".into(),
        input: armoured.to_owned(),
    };
    let bounds = Bounds { time: PATIENCE, interruption: Interruption::default() };
    let mut status = String::new();
    let run = process::run(&invocation, &bounds, &mut |stream, line| {
        if stream == Stream::Output {
            status.push_str(line);
            status.push('\n');
        }
    });
    match run {
        // Its exit code says no more than its status lines.
        Ok(_) | Err(ProcessError::Failed { .. }) => Ok(status),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: x\n-----BEGIN PGP SIGNATURE-----\n\nxx\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn without_keys_nothing_is_verified_and_without_a_frame_nothing_is_taken() {
        let signed = verify("x", SIGNED, &["/nonexistent".into()]).unwrap();
        assert_eq!(
            (signed.text.as_str(), signed.signature),
            ("Suite: x\n", Signature::NotVerified { reason: "no keyring".into() })
        );
        assert!(matches!(verify("x", "Suite: x\n", &[]), Err(ObtainError::BadSignature { .. })));
    }
}
