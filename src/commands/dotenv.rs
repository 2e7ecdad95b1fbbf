//! The file `.env` of the working folder, which users of the earlier tool keep their credentials in.
//!
//! Owns its syntax, `NAME=value` a line, and which names count. Must not print values: they are secrets.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk;
use crate::ops::assemble::{LAYERS_VARIABLE, TOOLCHAIN_VARIABLE};
use crate::units::ByteSize;

/// No such file is longer.
const LIMIT: ByteSize = ByteSize::new(1 << 20);

/// How the names begin that are read.
const NAMES: [&str; 3] = ["AWS_", "GOOGLE_", "MODELCONVERTER_"];

/// What only an image says of itself.
const NEVER: [&str; 2] = [LAYERS_VARIABLE, TOOLCHAIN_VARIABLE];

/// Adds to `environment` what the file `.env` in `folder` says of names that are not set.
pub(super) fn add(folder: &Path, environment: &mut BTreeMap<String, String>) {
    let path = folder.join(".env");
    // A pipe would be waited for; a file that cannot be read says nothing.
    if !path.is_file() {
        return;
    }
    let bytes = disk::read_if_exists(&path, LIMIT).ok().flatten().unwrap_or_default();
    for (name, value) in parse(&String::from_utf8_lossy(&bytes)) {
        environment.entry(name).or_insert(value);
    }
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim();
        if NAMES.iter().any(|start| name.starts_with(start)) && !NEVER.contains(&name) {
            values.insert(name.to_owned(), unquoted(value.trim()).to_owned());
        }
    }
    values
}

/// Returns a value without its quotes, or without the comment behind it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inner;
        }
    }
    value.split(" #").next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_count_are_read_as_shells_would() {
        let text = "# AWS_A=0\nAWS_B=1 # one\n export GOOGLE_C = 'a # b'\nMODELCONVERTER_D=\"x=y\" # z\nPATH=/evil\n\
                    AWS_E=a#b\nno pair\nAWS_F=\n";
        let expected =
            [("AWS_B", "1"), ("AWS_E", "a#b"), ("AWS_F", ""), ("GOOGLE_C", "a # b"), ("MODELCONVERTER_D", "x=y")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), BTreeMap::from(expected));
        assert!(parse(&format!("{TOOLCHAIN_VARIABLE}=rvc2 1\n")).is_empty());
    }

    #[test]
    fn what_is_set_stays() {
        let folder = tempfile::tempdir().unwrap();
        disk::write(&folder.path().join(".env"), b"AWS_A=file\nAWS_B=file\n").unwrap();
        let mut environment = BTreeMap::from([("AWS_A".to_owned(), "set".to_owned())]);
        add(folder.path(), &mut environment);
        assert_eq!(environment["AWS_A"], "set");
        assert_eq!(environment["AWS_B"], "file");
    }
}
