//! What can go wrong with files of other machines.
//!
//! Holds nothing that could show a secret: of what servers and libraries say, only codes are kept.

use std::error::Error;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};
use thiserror::Error;

use super::account::{GS_CREDENTIALS, S3_ENDPOINTS};
use super::location::{Location, LocationError, Service};
use crate::disk::DiskError;
use crate::hint::Hint;
use crate::units::ByteSize;

/// Nobody is waited for longer between two requests.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A remote file that could not be read or written.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// The URL leads nowhere.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// It could not be read.
    #[error("cannot read `{location}`")]
    Read {
        /// Where it is.
        location: Location,
        /// Why.
        #[source]
        source: Problem,
    },
    /// It could not be written.
    #[error("cannot write to `{location}`")]
    Write {
        /// Where it was to go.
        location: Location,
        /// Why.
        #[source]
        source: Problem,
    },
    /// A folder where a file is wanted.
    #[error("`{location}` is a folder")]
    Folder {
        /// Where it is.
        location: Location,
    },
    /// The network may not be used, and the file is not on this machine.
    #[error("offline, and `{location}` was not downloaded before")]
    Offline {
        /// Where it is.
        location: Location,
    },
    /// The network may not be used, and results were to be uploaded.
    #[error("offline: results cannot be uploaded to `{location}`")]
    OfflineTarget {
        /// Where they were to go.
        location: Location,
    },
    /// There is no folder to keep downloads in.
    #[error("there is no folder to keep downloads in")]
    NoFolder,
    /// The network could not be set up.
    #[error("cannot set up {what}")]
    Setup {
        /// What was being set up.
        what: &'static str,
    },
    /// The cache of downloads cannot be used.
    #[error("cannot use the cache of downloads")]
    Disk(#[from] DiskError),
}

impl RemoteError {
    /// Returns whether the machine, the network or an account is to blame, and not the words of the user.
    pub fn is_about_the_machine(&self) -> bool {
        match self {
            Self::Location(_) | Self::Folder { .. } => false,
            Self::Read { source, .. } => !matches!(source, Problem::Missing | Problem::NoBucket),
            _ => true,
        }
    }

    /// Returns whether a server does not let this account read something.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Read { source: Problem::Denied { .. }, .. })
    }
}

impl Hint for RemoteError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Location(error) => error.hints(),
            Self::Read { location, source } | Self::Write { location, source } => source.advice(location.service()),
            Self::Folder { .. } => vec!["name a file in it".to_owned()],
            Self::Offline { .. } => vec!["run it once without `--offline`".to_owned()],
            Self::OfflineTarget { .. } => {
                let keys = "`output_remote_url None` and `intermediate_outputs_remote_url None`";
                vec![format!("run it without `--offline`, or upload nothing: {keys}")]
            }
            Self::NoFolder => vec!["set `MODELCONVERTER_CACHE_DIR` to a folder with some room".to_owned()],
            Self::Setup { .. } => Vec::new(),
            Self::Disk(error) => error.hints_in_store(),
        }
    }
}

/// What went wrong with one file.
#[derive(Debug, Error)]
pub enum Problem {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// There is no such bucket.
    #[error("there is no such bucket")]
    NoBucket,
    /// The server does not let this account do that.
    #[error("the server refuses{}", code.as_deref().map(|code| format!(": {code}")).unwrap_or_default())]
    Denied {
        /// Its own word for the reason.
        code: Option<String>,
    },
    /// The credentials on this machine cannot be used.
    #[error("the credentials on this machine cannot be used")]
    Credentials,
    /// A setting of this machine that nothing can be asked with.
    #[error("{what} cannot be used: {rule}")]
    Setting {
        /// What it says.
        what: &'static str,
        /// What it would have to be.
        rule: &'static str,
        /// Where it may be said.
        places: &'static str,
    },
    /// The bucket is elsewhere.
    #[error("the bucket is in another region")]
    Region,
    /// Another answer that is no success.
    #[error("the server answered {status}{}", code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Status {
        /// The HTTP status.
        status: u16,
        /// The server's own word for the reason.
        code: Option<String>,
        /// For how many seconds it asks not to be asked again.
        wait: u32,
    },
    /// No connection.
    #[error("no connection ({reason})")]
    Unreachable {
        /// The innermost cause, as the system says it.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("the server fell silent")]
    Silent,
    /// The connection broke.
    #[error("the connection broke ({reason})")]
    Broke {
        /// The innermost cause, as the system says it.
        reason: String,
    },
    /// Fewer or more bytes than promised.
    #[error("the file ended early: {found} of {expected} bytes", found = found.bytes(), expected = expected.bytes())]
    Length {
        /// The length that the server stated.
        expected: ByteSize,
        /// How many came.
        found: ByteSize,
    },
    /// It is another file than when the download began.
    #[error("it changed while it was read")]
    Changed,
    /// Other bytes than those asked for.
    #[error("the server sent another part than asked for")]
    WrongRange,
    /// A redirect that would give up encryption, or one too many.
    #[error("a redirect that is not followed")]
    Redirect,
    /// A folder of a web server cannot be listed.
    #[error("folders of web servers cannot be listed")]
    NoListing,
    /// Anything else, in the words of the innermost cause.
    #[error("the answer cannot be understood ({reason})")]
    Unexpected {
        /// The words.
        reason: String,
    },
}

impl Problem {
    /// Returns whether the same request may succeed a little later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Silent | Self::Broke { .. } | Self::Length { .. } | Self::Changed => true,
            _ => false,
        }
    }

    /// Returns how long to wait before the same request is made again, `next` if the server does not ask for more;
    /// nothing if that cannot help, or only much later.
    pub(super) fn pause(&self, next: Duration) -> Option<Duration> {
        let asked = match self {
            Self::Status { wait, .. } => Duration::from_secs((*wait).into()),
            _ => Duration::ZERO,
        };
        (self.passes() && asked <= LONGEST_WAIT).then(|| asked.max(next))
    }

    /// Adds for how many seconds the server asks not to be asked again.
    pub(super) fn asking(self, wait: u32) -> Self {
        match self {
            Self::Status { status, code, .. } => Self::Status { status, code, wait },
            other => other,
        }
    }

    fn advice(&self, service: Option<Service>) -> Vec<String> {
        let text = match (self, service) {
            (Self::Denied { .. } | Self::Credentials, Some(Service::S3)) => {
                "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` (and `AWS_SESSION_TOKEN` for temporary ones) to an \
                 account that may do this, in the environment or in `.env`"
                    .to_owned()
            }
            (Self::Denied { .. } | Self::Credentials, Some(Service::Gs)) => {
                format!("set `{GS_CREDENTIALS}` to the key file of an account that may do this")
            }
            (Self::Denied { .. }, None) => "ask the server's owner for access, or for another address".to_owned(),
            (Self::Setting { places, .. }, _) => format!("correct {places}"),
            (Self::Region, _) => "set `AWS_REGION` to the region of the bucket".to_owned(),
            (Self::NoBucket, Some(Service::S3)) => {
                format!("correct the name of the bucket; if it is not at Amazon, set `{}`", S3_ENDPOINTS[0])
            }
            (Self::Missing | Self::NoBucket, _) => "correct the URL".to_owned(),
            (Self::Unreachable { .. }, Some(Service::S3)) => {
                format!("check the network, and `{}` if the bucket is not at Amazon", S3_ENDPOINTS[0])
            }
            (Self::Unreachable { .. } | Self::Silent | Self::Broke { .. }, _) => "check the network".to_owned(),
            (Self::NoListing, _) => "give a zip file".to_owned(),
            (Self::Status { wait, .. }, _) if u64::from(*wait) > LONGEST_WAIT.as_secs() => {
                format!("the server asks to wait {wait} seconds: try again then")
            }
            (Self::Status { .. }, _) if self.passes() => {
                "the server is busy or out of order, and was asked several times: try again later".to_owned()
            }
            _ => return Vec::new(),
        };
        vec![text]
    }

    /// Makes a problem of an HTTP status.
    pub(super) fn of_status(status: u16, code: Option<String>) -> Self {
        let is = |wanted: &str| code.as_deref() == Some(wanted);
        match status {
            404 if is("NoSuchBucket") => Self::NoBucket,
            404 | 410 => Self::Missing,
            401 | 403 => Self::Denied { code },
            400 if is("ExpiredToken") || is("InvalidToken") => Self::Denied { code },
            301 | 307 => Self::Region,
            400 if is("AuthorizationHeaderMalformed") => Self::Region,
            412 => Self::Changed,
            416 => Self::WrongRange,
            status => Self::Status { status, code, wait: 0 },
        }
    }
}

/// Sorts what the HTTP client says, leaving out the URL.
impl From<reqwest::Error> for Problem {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let reason = innermost(&error);
        if error.is_redirect() {
            Self::Redirect
        } else if error.is_connect() {
            Self::Unreachable { reason }
        } else if error.is_timeout() {
            Self::Silent
        } else {
            Self::Broke { reason }
        }
    }
}

/// Sorts what the client of buckets says. Its texts hold whole answers of servers, so only codes are taken from them.
impl From<object_store::Error> for Problem {
    fn from(error: object_store::Error) -> Self {
        let text = chain(&error);
        let code = code(&text);
        let status = match &error {
            object_store::Error::NotFound { .. } => Some(404),
            object_store::Error::PermissionDenied { .. } => Some(403),
            object_store::Error::Unauthenticated { .. } => Some(401),
            object_store::Error::Precondition { .. } => Some(412),
            object_store::Error::AlreadyExists { .. } => Some(409),
            _ => status(&text),
        };
        if let Some(status) = status {
            return Self::of_status(status, code);
        }
        if text.contains("redirect without LOCATION") {
            return Self::Region;
        }
        if text.contains("Content-Range") || text.contains("non-partial response") {
            return Self::WrongRange;
        }
        let reason = innermost(&error);
        match http_kind(&error) {
            Some(HttpErrorKind::Connect) => Self::Unreachable { reason },
            Some(HttpErrorKind::Timeout) => Self::Silent,
            Some(HttpErrorKind::Request | HttpErrorKind::Interrupted | HttpErrorKind::Decode) => Self::Broke { reason },
            _ => Self::Unexpected { reason: reason.lines().next().unwrap_or_default().chars().take(200).collect() },
        }
    }
}

fn http_kind(error: &(dyn Error + 'static)) -> Option<HttpErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        next = error.source();
    }
    None
}

/// Returns all texts of an error; for reading codes only.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push('\n');
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// Returns the code in an answer of S3 or of Google's XML interface: `<Code>NoSuchKey</Code>`.
fn code(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| code.to_owned())
}

fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// Returns the text of the innermost cause: the system's own words, which know no URL.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Problem {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }.into()
    }

    #[test]
    fn answers_of_buckets_are_sorted_and_only_codes_are_kept() {
        let body = |code: &str| format!("<Error><Code>{code}</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>");
        let not_found = object_store::Error::NotFound { path: "k".to_owned(), source: body("NoSuchBucket").into() };
        assert!(matches!(Problem::from(not_found), Problem::NoBucket));
        let denied = object_store::Error::PermissionDenied {
            path: "k".to_owned(),
            source: body("SignatureDoesNotMatch").into(),
        };
        assert_eq!(Problem::from(denied).to_string(), "the server refuses: SignatureDoesNotMatch");
        let slow = generic("Server returned non-2xx status code: 503 Service Unavailable: <Code>SlowDown</Code>");
        assert!(slow.passes());
        assert_eq!(slow.to_string(), "the server answered 503 (SlowDown)");
        let region = "Received redirect without LOCATION, this normally indicates an incorrectly configured region";
        assert!(matches!(generic(region), Problem::Region));
        assert_eq!(code("<Code>not a code</Code>"), None);
    }
}
