//! Who this machine is to S3 and Google Cloud Storage, from variables and the files that their own tools keep.
//!
//! Owns the names of the variables and their order. Values are secrets: nothing here can be printed.
//!
//! S3: the variables, else the profile (`AWS_PROFILE`) of the shared files, else a role that the variables name (web
//! identity, container), else nobody: public buckets are read without a signature. The metadata services of rented
//! machines are not asked: elsewhere that would cost a wait, and what answers there is not ours to know.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::problem::Problem;
use crate::disk;
use crate::units::ByteSize;

/// No file of credentials is longer.
const LIMIT: ByteSize = ByteSize::new(1 << 20);

/// Where S3 is, if not at Amazon's; the first that is set counts.
pub(super) const S3_ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL"];

/// Where Google Cloud Storage is, if not at Google's: the variable that all emulators know.
pub(super) const GS_ENDPOINT: &str = "STORAGE_EMULATOR_HOST";

/// The file with the credentials of Google Cloud Storage.
pub(super) const GS_CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// Variables of a role that somebody gave this process; they are handed on to the client of S3.
pub(super) const S3_ROLE: [&str; 6] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Variables of the environment. Their values are never printed.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Takes variables over; empty ones count as unset.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }
}

/// Prints the names only.
impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// Who asks S3.
#[derive(PartialEq, Eq)]
pub(super) enum S3Account {
    /// Somebody with a key.
    Key { id: String, secret: String, token: Option<String> },
    /// Somebody in a role that the client of S3 asks for.
    Role,
    /// A profile that the files do not have.
    NoProfile,
    /// Nobody.
    Nobody,
}

/// What the machine says about S3.
pub(super) struct S3Settings {
    pub(super) account: S3Account,
    region: Option<String>,
    endpoint: Option<String>,
}

impl S3Settings {
    pub(super) fn read(variables: &Variables, home: Option<&Path>) -> Self {
        let named = variables.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
        let profile = named.unwrap_or("default");
        let file = |variable: &str, name: &str| -> String {
            let place = variables.get(variable).map(PathBuf::from).or_else(|| Some(home?.join(".aws").join(name)));
            // A file that is not there or cannot be read says nothing.
            let bytes = place.and_then(|place| disk::read_if_exists(&place, LIMIT).ok().flatten());
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        let credentials = section(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile);
        let config = section(&file("AWS_CONFIG_FILE", "config"), profile);
        let kept = |key: &str| credentials.get(key).or_else(|| config.get(key)).cloned();
        let given = |name: &str| variables.get(name).map(str::to_owned);
        let pair = |id: Option<String>, secret: Option<String>, token: Option<String>| {
            Some(S3Account::Key { id: id?, secret: secret?, token })
        };
        let account = pair(given("AWS_ACCESS_KEY_ID"), given("AWS_SECRET_ACCESS_KEY"), given("AWS_SESSION_TOKEN"))
            .or_else(|| pair(kept("aws_access_key_id"), kept("aws_secret_access_key"), kept("aws_session_token")))
            .unwrap_or(match (variables.first(&S3_ROLE), named) {
                (Some(_), _) => S3Account::Role,
                (None, Some(_)) if credentials.is_empty() && config.is_empty() => S3Account::NoProfile,
                (None, _) => S3Account::Nobody,
            });
        Self {
            account,
            region: variables
                .first(&["AWS_REGION", "AWS_DEFAULT_REGION"])
                .map(str::to_owned)
                .or_else(|| kept("region")),
            endpoint: variables.first(&S3_ENDPOINTS).map(str::to_owned).or_else(|| kept("endpoint_url")),
        }
    }
}

impl S3Settings {
    /// Returns the region.
    ///
    /// # Errors
    /// There is no such region anywhere.
    pub(super) fn region(&self) -> Result<Option<&str>, Problem> {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let is_region = |region: &str| region.chars().all(is_part);
        match &self.region {
            Some(region) if !is_region(region) => Err(Problem::Setting {
                what: "the region of S3",
                rule: "it must have letters, digits and `-` only",
                places: "`AWS_REGION`, `AWS_DEFAULT_REGION`, or `region` in the files of `~/.aws`",
            }),
            region => Ok(region.as_deref()),
        }
    }

    /// Returns where S3 is, if not at Amazon's.
    ///
    /// # Errors
    /// That is no address.
    pub(super) fn endpoint(&self) -> Result<Option<String>, Problem> {
        let places = "`AWS_ENDPOINT_URL_S3`, `AWS_S3_ENDPOINT_URL`, `AWS_ENDPOINT_URL`, or `endpoint_url` in `~/.aws`";
        let wrong = Problem::Setting { what: "the endpoint of S3", rule: ENDPOINT_RULE, places };
        self.endpoint.as_deref().map(|text| endpoint(text).ok_or(wrong)).transpose()
    }
}

impl S3Account {
    /// Refuses what nobody can ask with: a profile that is nowhere, a key that the header of a request cannot hold.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let is_plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        match self {
            Self::NoProfile => Err(Problem::Setting {
                what: "the profile of S3",
                rule: "it must be in the files of `~/.aws`",
                places: "`AWS_PROFILE` or `AWS_DEFAULT_PROFILE`",
            }),
            Self::Key { id, token, .. } if !is_plain(id) || !token.iter().all(is_plain) => Err(Problem::Credentials),
            Self::Key { .. } | Self::Role | Self::Nobody => Ok(()),
        }
    }
}

/// Returns where Google Cloud Storage is, if not at Google's. Emulators are often named without a scheme.
pub(super) fn gs_endpoint(variables: &Variables) -> Result<Option<String>, Problem> {
    let Some(text) = variables.get(GS_ENDPOINT) else { return Ok(None) };
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = Problem::Setting {
        what: "the endpoint of Google Cloud Storage",
        rule: ENDPOINT_RULE,
        places: "`STORAGE_EMULATOR_HOST`",
    };
    endpoint(&text).map(Some).ok_or(wrong)
}

/// What an endpoint is.
const ENDPOINT_RULE: &str = "it must be an address such as `http://localhost:9000`";

/// Reads an address to which paths are added.
fn endpoint(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_address = matches!(url.scheme(), "http" | "https") && url.has_host();
    let is_whole = url.query().is_none() && url.fragment().is_none();
    (is_address && is_whole).then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// Reads one section of a shared file of the AWS tools: `[name]`, or `[profile name]` in the file `config`.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        // An indented line belongs to a nested setting, which nobody here asks for.
        if line.trim_start().starts_with(['#', ';']) || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(header) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let header = header.trim();
            inside = header.strip_prefix("profile ").unwrap_or(header).trim() == name;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    values.retain(|_, value| !value.is_empty());
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn variables_win_over_the_shared_files() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".aws");
        disk::create_folder(&folder).unwrap();
        let credentials = "[other]\naws_access_key_id=O\naws_secret_access_key = o\n# [default]\n[default]\n\
                           aws_access_key_id = D\naws_secret_access_key=d\naws_session_token=t\n";
        disk::write(&folder.join("credentials"), credentials.as_bytes()).unwrap();
        let config = "[profile other]\nregion = eu-west-3\ns3 =\n  region = nested\n[default]\nregion=eu-central-1\n";
        disk::write(&folder.join("config"), config.as_bytes()).unwrap();
        let read = |pairs: &[(&str, &str)]| S3Settings::read(&variables(pairs), Some(home.path()));
        let key = |settings: S3Settings| match settings.account {
            S3Account::Key { id, secret, token } => (id, secret, token),
            _ => Default::default(),
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(key(read(&[])), (text("D"), text("d"), Some(text("t"))));
        assert_eq!(read(&[]).region().unwrap(), Some("eu-central-1"));
        let other = [("AWS_PROFILE", "other")];
        assert_eq!((key(read(&other)), read(&other).region), ((text("O"), text("o"), None), Some(text("eu-west-3"))));
        let given = [("AWS_ACCESS_KEY_ID", "G"), ("AWS_SECRET_ACCESS_KEY", "g"), ("AWS_REGION", "x")];
        assert_eq!((key(read(&given)), read(&given).region), ((text("G"), text("g"), None), Some(text("x"))));
        // Half a pair is no account.
        assert_eq!(key(read(&given[..1])).0, "D");
    }

    #[test]
    fn settings_that_nothing_can_be_asked_with_are_refused() {
        let read = |pairs: &[(&str, &str)]| S3Settings::read(&variables(pairs), None);
        for text in ["localhost:9000", "not a url", "ftp://h", "http://", "http://h/?q", "http://h/#f"] {
            let error = read(&[("AWS_S3_ENDPOINT_URL", text)]).endpoint().unwrap_err().to_string();
            assert!(error.contains("the endpoint of S3 cannot be used"), "{text}: {error}");
        }
        assert!(gs_endpoint(&variables(&[("STORAGE_EMULATOR_HOST", "not a url")])).is_err());
        for (text, address) in [("http://h:1/", "http://h:1"), ("https://h/a b", "https://h/a%20b")] {
            assert_eq!(read(&[("AWS_ENDPOINT_URL", text)]).endpoint().unwrap().as_deref(), Some(address));
            assert_eq!(gs_endpoint(&variables(&[("STORAGE_EMULATOR_HOST", text)])).unwrap().as_deref(), Some(address));
        }
        let emulator = gs_endpoint(&variables(&[("STORAGE_EMULATOR_HOST", "localhost:4443")])).unwrap();
        assert_eq!(emulator.as_deref(), Some("http://localhost:4443"));
        assert!(read(&[("AWS_REGION", "eu west")]).region().is_err());
        for (id, token, is_usable) in
            [("A", "t", true), ("A\nB", "t", false), ("é", "t", false), ("A", "t\u{1}", false)]
        {
            let key = [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", token)];
            assert_eq!(read(&key).account.check().is_ok(), is_usable, "{id:?} {token:?}");
        }
        let error = read(&[("AWS_PROFILE", "none")]).account.check().unwrap_err().to_string();
        assert!(error.contains("the profile of S3"), "{error}");
    }

    #[test]
    fn without_anything_nobody_asks() {
        let settings = S3Settings::read(&variables(&[("AWS_ACCESS_KEY_ID", "")]), None);
        assert!(settings.account == S3Account::Nobody);
        let role = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"), ("AWS_ROLE_ARN", "arn")];
        assert!(S3Settings::read(&variables(&role), None).account == S3Account::Role);
    }

    #[test]
    fn values_are_not_printed() {
        let printed = format!("{:?}", variables(&[("AWS_SECRET_ACCESS_KEY", "hush")]));
        assert_eq!(printed, r#"{"AWS_SECRET_ACCESS_KEY"}"#);
    }
}
