//! Verdicts on maintainer scripts: looked up by the digest of their bytes, never guessed.

use std::collections::BTreeMap;
use std::fmt;

use crate::digest::Digest;
use crate::lock::{ScriptVerdict, Verdict};
use crate::recipe::{KnownScript, Recipe};

/// A package name in a verdict that stands for every package: the bytes alone decide.
const ANY_PACKAGE: &str = "*";

/// A maintainer script that no verdict is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScript {
    /// The package that has it.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// Which script.
    pub script: String,
    /// The digest of its bytes.
    pub sha256: Digest,
    /// Its text, as far as it is one.
    pub text: String,
}

/// Returns the verdicts on all scripts of a package, or those scripts that have none.
pub(super) fn judge(
    recipe: &Recipe,
    package: &str,
    version: &str,
    scripts: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<ScriptVerdict>, Vec<UnknownScript>> {
    let mut verdicts = Vec::new();
    let mut unknown = Vec::new();
    for (script, bytes) in scripts {
        let sha256 = Digest::of(bytes);
        match verdict(recipe, package, script, sha256) {
            Some(verdict) => verdicts.push(ScriptVerdict { script: script.clone(), sha256, verdict }),
            None => unknown.push(UnknownScript {
                package: package.to_owned(),
                version: version.to_owned(),
                script: script.clone(),
                sha256,
                text: String::from_utf8_lossy(bytes).into_owned(),
            }),
        }
    }
    if unknown.is_empty() { Ok(verdicts) } else { Err(unknown) }
}

/// Returns the verdict on a script of that digest, if the recipe has one.
pub(super) fn verdict(recipe: &Recipe, package: &str, script: &str, sha256: Digest) -> Option<Verdict> {
    let about = |known: &&KnownScript| {
        (known.package == package || known.package == ANY_PACKAGE) && known.script == script && known.sha256 == sha256
    };
    let known = recipe.scripts.iter().find(about)?;
    match (&known.noop, &known.handled) {
        (Some(reason), _) => Some(Verdict::Noop { reason: reason.clone() }),
        (None, Some(by)) => Some(Verdict::Handled { by: by.clone() }),
        (None, None) => None,
    }
}

impl UnknownScript {
    /// Returns a stanza for the recipe, to be read against the script before it is pasted.
    pub fn proposal(&self) -> String {
        let only_ldconfig = self.script == "triggers"
            && self.text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).all(|line| {
                line.split_whitespace().eq(["activate-noawait", "ldconfig"])
                    || line.split_whitespace().eq(["activate", "ldconfig"])
            });
        let (package, reason) = match self.script.as_str() {
            "triggers" if only_ldconfig => {
                (ANY_PACKAGE, "its libraries stand in folders that the loader searches without a cache")
            }
            "prerm" | "postrm" => (self.package.as_str(), "runs only when the package is replaced or removed"),
            _ => (self.package.as_str(), "say why nothing is lost, or write `handled` and by what"),
        };
        let Self { script, sha256, .. } = self;
        format!(
            "[[script]]\npackage = \"{package}\"\nscript = \"{script}\"\nsha256 = \"{sha256}\"\nnoop = \"{reason}\"\n"
        )
    }
}

/// Prints the script under a heading, and the stanza that would accept it.
impl fmt::Display for UnknownScript {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, version, script, text, .. } = self;
        writeln!(formatter, "--- {script} of {package} {version}")?;
        for line in text.lines() {
            writeln!(formatter, "    {line}")?;
        }
        writeln!(formatter, "--- if nothing is lost without it, add to the recipe:")?;
        formatter.write_str(&self.proposal())
    }
}
