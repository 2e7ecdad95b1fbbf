//! Built-in public defaults for package sources: the only place that names a host.
//!
//! Each list is tried after the project's mirrors and the machine's own settings.

use crate::sources::{Base, Mirrors};

/// Roots of Debian archives by the archive's name in the lock. The second of each keeps suites that are retired.
const DEBIAN: [(&str, [&str; 2]); 2] = [
    ("debian", ["https://deb.debian.org/debian", "https://archive.debian.org/debian"]),
    ("debian-security", ["https://deb.debian.org/debian-security", "https://archive.debian.org/debian-security"]),
];

/// Roots of Simple repository APIs.
const PYPI: [&str; 1] = ["https://pypi.org/simple"];

/// Roots of vendors' public servers by origin.
const HTTPS: [(&str, &str); 2] = [
    ("openvino", "https://storage.openvinotoolkit.org/repositories/openvino/packages"),
    ("qualcomm", "https://softwarecenter.qualcomm.com/api/download/software"),
];

/// Registries that hold public images by name.
const OCI: [&str; 2] = ["ghcr.io", "docker.io"];

/// Returns the name under which Docker's configuration keeps the credentials of a registry.
pub fn credentials_key(host: &str) -> &str {
    // Docker Hub's credentials have always been filed under the address of its first API.
    if host == "docker.io" { "https://index.docker.io/v1/" } else { host }
}

/// Returns the public defaults of every kind.
pub fn mirrors() -> Mirrors {
    let bases = |texts: &[&str]| texts.iter().filter_map(|text| Base::parse(text)).collect();
    Mirrors {
        debian: DEBIAN.iter().map(|(name, texts)| ((*name).to_owned(), bases(texts))).collect(),
        pypi: bases(&PYPI),
        https: HTTPS.iter().map(|(origin, text)| ((*origin).to_owned(), bases(&[text]))).collect(),
        oci: OCI.iter().filter_map(|text| Base::parse_registry(text)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_base() {
        let mirrors = mirrors();
        assert!(mirrors.debian.values().all(|bases| bases.len() == 2));
        assert_eq!((mirrors.pypi.len(), mirrors.https.len(), mirrors.oci.len()), (PYPI.len(), HTTPS.len(), OCI.len()));
        assert!(mirrors.https.values().all(|bases| bases.len() == 1));
    }
}
