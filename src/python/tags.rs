//! Which wheels an interpreter takes, best first (PEP 425 "Compatibility Tags", PEP 600 "manylinux_x_y").

use crate::hint::Hint;
use thiserror::Error;

/// One compatibility tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// `cp39`, `py3`.
    pub python: String,
    /// `cp39`, `abi3`, `none`.
    pub abi: String,
    /// `manylinux2014_x86_64`, `any`.
    pub platform: String,
}

/// A CPython on Linux, x86-64, with a glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Its minor version: 9 in 3.9.
    pub minor: u32,
    /// The minor version of the glibc it runs on: 31 in 2.31.
    pub glibc_minor: u32,
}

/// A version that is none of CPython 3 or glibc 2.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no version of {what}")]
pub struct InterpreterError {
    text: String,
    what: &'static str,
}

impl Hint for InterpreterError {}

impl Interpreter {
    /// Reads two versions such as `3.9` and `2.31`.
    ///
    /// # Errors
    /// Anything but `3.` and a number, `2.` and a number.
    pub fn new(python: &str, glibc: &str) -> Result<Self, InterpreterError> {
        let minor = |text: &str, prefix: &str, what: &'static str| {
            let number = text.strip_prefix(prefix).and_then(|minor| minor.parse().ok());
            number.ok_or_else(|| InterpreterError { text: text.to_owned(), what })
        };
        Ok(Self { minor: minor(python, "3.", "CPython 3")?, glibc_minor: minor(glibc, "2.", "glibc 2")? })
    }

    /// Returns how well one of `tags` suits, higher is better, or nothing if none can be used.
    pub fn rank(&self, tags: &[Tag]) -> Option<u32> {
        tags.iter().filter_map(|tag| self.rank_one(tag)).max()
    }

    /// The order is that of PEP 425: the most specific interpreter first, then the ABI, then the newest platform.
    fn rank_one(&self, tag: &Tag) -> Option<u32> {
        let own = format!("cp3{}", self.minor);
        let older = |text: &str, prefix: &str| {
            text.strip_prefix(prefix).and_then(|minor| minor.parse::<u32>().ok()).filter(|minor| *minor <= self.minor)
        };
        let interpreter = match (tag.python.as_str(), tag.abi.as_str()) {
            (python, abi) if python == own && abi == own => 5000,
            (python, abi) if self.minor < 8 && python == own && abi == format!("{own}m") => 5000,
            (python, "abi3") => 3000 + older(python, "cp3")?,
            (python, "none") if python == own => 2900,
            ("py3", "none") => 1000,
            (python, "none") => 1000 + older(python, "py3")?,
            _ => return None,
        };
        Some((interpreter * 1000) + self.rank_platform(&tag.platform)?)
    }

    fn rank_platform(&self, platform: &str) -> Option<u32> {
        if platform == "any" {
            return Some(0);
        }
        let system = platform.strip_suffix("_x86_64")?;
        let glibc = match system {
            "linux" => return Some(1),
            "manylinux1" => 5,
            "manylinux2010" => 12,
            "manylinux2014" => 17,
            other => other.strip_prefix("manylinux_2_")?.parse().ok()?,
        };
        (glibc <= self.glibc_minor).then_some(2 + glibc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(text: &str) -> Option<u32> {
        let [python, abi, platform] = text.split('-').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let tag = Tag { python: python.to_owned(), abi: abi.to_owned(), platform: platform.to_owned() };
        Interpreter::new("3.9", "2.31").unwrap().rank(&[tag])
    }

    #[test]
    fn better_wheels_rank_higher_and_others_not_at_all() {
        let descending = [
            "cp39-cp39-manylinux_2_31_x86_64",
            "cp39-cp39-manylinux_2_28_x86_64",
            "cp39-cp39-manylinux2014_x86_64",
            "cp39-cp39-manylinux2010_x86_64",
            "cp39-cp39-manylinux1_x86_64",
            "cp39-cp39-linux_x86_64",
            "cp39-abi3-manylinux2014_x86_64",
            "cp37-abi3-manylinux2014_x86_64",
            "cp39-none-any",
            "py39-none-any",
            "py32-none-any",
            "py3-none-any",
        ];
        let ranks: Vec<_> = descending.iter().map(|text| rank(text).unwrap()).collect();
        assert!(ranks.is_sorted_by(|left, right| left > right), "{ranks:?}");
        for text in [
            "cp310-cp310-manylinux2014_x86_64",
            "cp39-cp39-manylinux_2_34_x86_64",
            "cp39-cp39-manylinux2014_aarch64",
            "cp39-cp39-musllinux_1_1_x86_64",
            "cp39-cp39-macosx_10_9_x86_64",
            "cp39-cp39-win_amd64",
            "cp310-abi3-manylinux2014_x86_64",
            "py2-none-any",
            "py310-none-any",
            "pp39-pypy39_pp73-manylinux2014_x86_64",
        ] {
            assert_eq!(rank(text), None, "{text}");
        }
    }
}
