//! Base URLs, whose secrets never print.

use std::fmt;

use url::Url;

/// The root of a mirror: an `http` or `https` URL, perhaps with a user's name and password.
///
/// Accepted: `https://mirror.example/debian`, `http://user:secret@localhost:8080/`. Refused: `ftp://a/`, `/srv/mirror`.
/// Neither `Display` nor `Debug` shows user, password, query or fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Base {
    /// Without credentials, so that nothing that prints it can show them.
    url: Url,
    credentials: Option<Credentials>,
}

/// A user's name and password. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: Option<String>,
}

impl Credentials {
    /// Returns the user's name, for a request only.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password, for a request only.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(hidden)")
    }
}

impl Base {
    /// Reads a URL, or returns nothing. The text is in no error, since it may hold a secret.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text.trim()).ok()?;
        Self::of(url)
    }

    /// Makes a base of a URL.
    pub fn of(mut url: Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return None;
        }
        let plain = |text: &str| percent_decoded(text);
        let credentials = (!url.username().is_empty() || url.password().is_some())
            .then(|| Credentials { user: plain(url.username()), password: url.password().map(plain) });
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        url.set_fragment(None);
        Some(Self { url, credentials })
    }

    /// Reads the base of a registry: as a URL, or `host[:port][/path]` for `https`.
    pub fn parse_registry(text: &str) -> Option<Self> {
        if text.contains("://") { Self::parse(text) } else { Self::parse(&format!("https://{text}")) }
    }

    /// Returns the URL of `path` below the base, without credentials; every component is taken literally.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    /// Returns the URL of the base itself, without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the credentials that its URL names.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns the host, with the port if the URL names one.
    pub fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Returns the path without slashes around it.
    pub fn path(&self) -> &str {
        self.url.path().trim_matches('/')
    }

    /// Returns whether `url` has the same scheme, host and port, so that it may see this base's credentials.
    pub fn shares_origin_with(&self, url: &Url) -> bool {
        self.url.origin() == url.origin()
    }
}

/// Prints the URL without its secrets.
impl fmt::Display for Base {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&shown(&self.url))
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Base({self})")
    }
}

/// Returns a URL as people may see it: without user, password, query and fragment, all of which can be secret.
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Undoes percent encoding.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let decoded = (first == b'%')
            .then(|| tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_print() {
        let base = Base::parse("https://me:s3cr%40t@mirror.example:8443/a/?token=t0ken#frag").unwrap();
        for text in [format!("{base}"), format!("{base:?}"), format!("{:?}", base.credentials())] {
            for secret in ["me:", "s3cr", "t0ken", "frag"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        assert_eq!(base.to_string(), "https://mirror.example:8443/a/");
        let credentials = base.credentials().unwrap();
        assert_eq!((credentials.user(), credentials.password()), ("me", Some("s3cr@t")));
        assert_eq!(base.join("b").as_str(), "https://mirror.example:8443/a/b?token=t0ken");
    }

    #[test]
    fn paths_are_joined_literally() {
        for (base, path, url) in [
            ("https://a/debian", "pool/main/z/zlib_1.2+b~1.deb", "https://a/debian/pool/main/z/zlib_1.2+b~1.deb"),
            ("https://a/debian/", "x_1%3a2.deb", "https://a/debian/x_1%253a2.deb"),
            ("https://a", "../../b?c#d", "https://a/b%3Fc%23d"),
            ("https://a", "http://b/c", "https://a/http:/b/c"),
        ] {
            let joined = Base::parse(base).unwrap().join(path);
            assert_eq!(joined.as_str().replace("//b", "/b"), url, "{base} {path}");
        }
    }

    #[test]
    fn only_web_addresses_are_bases() {
        for text in ["", "mirror", "/srv", "ftp://a/", "file:///srv", "https://", "http:///x", "cdrom:[Debian]/"] {
            assert!(Base::parse(text).is_none_or(|base| base.host() == "x"), "{text}");
        }
        let registry = Base::parse_registry("localhost:5000/a/b").unwrap();
        assert_eq!((registry.host().as_str(), registry.path()), ("localhost:5000", "a/b"));
        assert_eq!(Base::parse_registry("http://localhost:5000").unwrap().url().scheme(), "http");
    }
}
