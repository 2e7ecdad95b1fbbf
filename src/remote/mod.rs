//! Files of other machines: models, configurations and data from buckets and web servers, and results into buckets.
//!
//! Owns the network for these, and the cache of what was downloaded ([`shelf`]). A file is downloaded once for each
//! version: later runs ask whether it is still the same. A download that breaks off goes on where it stopped, if the
//! server can tell that the rest belongs to the beginning. Secrets come as [`Variables`] and end here: they are in no
//! error, no log, no event and no file, and nothing of this module goes into a container. Must not know what files mean.

mod account;
mod budget;
mod location;
mod problem;
mod shelf;
mod source;
mod transfer;
mod upload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};
use reqwest::{Client, redirect};
use tokio::runtime::Runtime;

use crate::fetch::{self, Network};
use crate::progress::Progress;
use crate::units::ByteSize;

pub use account::Variables;
pub use location::{Location, LocationError, Service};
pub use problem::{Problem, RemoteError};

use account::{GS_CREDENTIALS, S3_ROLE, S3Account, S3Settings, gs_endpoint};
use location::Kind;
use shelf::{Key, Shelf};
use source::Source;

/// How remote files are reached.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Where downloads are kept; nothing where there is no place.
    pub folder: Option<PathBuf>,
    /// How much of what is there already is kept; nothing for all.
    pub most: Option<ByteSize>,
    /// The variables that say who this machine is.
    pub variables: Variables,
    /// The user's own folder, where tools keep credentials.
    pub home: Option<PathBuf>,
    /// Whether the network may be used.
    pub network: Network,
    /// How often a request is repeated that failed for a reason that may pass.
    pub retries: usize,
    /// How long the first wait before that is; later ones are longer.
    pub first_wait: Duration,
    /// How long a connection may be silent.
    pub silence: Duration,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            folder: None,
            most: None,
            variables: Variables::default(),
            home: None,
            network: Network::Online,
            retries: 4,
            first_wait: Duration::from_millis(300),
            silence: Duration::from_secs(30),
        }
    }
}

/// Removes every download below `folder`, and returns how much that was; nothing if another process may be using them.
///
/// # Errors
/// They cannot be removed.
pub fn clear(folder: &Path) -> Result<Option<ByteSize>, RemoteError> {
    Ok(Shelf::clear(folder)?)
}

/// What is at a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File,
    /// A folder: keys that begin like it.
    Folder,
}

/// Brings remote files, and takes results away. Nothing is connected before it is needed.
pub struct Remote<'a> {
    options: RemoteOptions,
    progress: &'a dyn Progress,
    shelf: OnceLock<Shelf>,
    sockets: OnceLock<Sockets>,
    /// The URLs of what was brought, without what may be secret, by where it is.
    brought: Mutex<BTreeMap<PathBuf, String>>,
}

/// Everything that needs the network.
struct Sockets {
    runtime: Runtime,
    web: Client,
    connector: Connector,
    buckets: Mutex<BTreeMap<(Service, String), Arc<dyn ObjectStore>>>,
}

/// Our HTTP for buckets: one that refuses to go without encryption, and one for endpoints that the user named so.
#[derive(Clone, Debug)]
struct Connector {
    encrypted: Client,
    any: Client,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let any = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|allowed| allowed == "true");
        Ok(HttpClient::new(if any { self.any.clone() } else { self.encrypted.clone() }))
    }
}

impl<'a> Remote<'a> {
    /// Takes over how files are reached.
    pub fn new(options: RemoteOptions, progress: &'a dyn Progress) -> Self {
        Self { options, progress, shelf: OnceLock::new(), sockets: OnceLock::new(), brought: Mutex::default() }
    }

    /// Returns what is at a location, if anything is. Offline, that is what was downloaded before.
    ///
    /// # Errors
    /// Nobody can tell: no connection, no right to ask, or offline and unknown.
    pub fn look(&self, location: &Location) -> Result<Option<Found>, RemoteError> {
        if self.options.network == Network::Offline {
            let shelf = self.shelf()?;
            if shelf.held(&Key::of(location))?.is_some() {
                return Ok(Some(Found::File));
            }
            if shelf.held_folder(&Key::of(location))?.is_some() {
                return Ok(Some(Found::Folder));
            }
            return Err(RemoteError::Offline { location: location.clone() });
        }
        tracing::debug!(%location, "looked for");
        if !location.is_folder() && self.is_there(location, &self.source(location)?)? {
            return Ok(Some(Found::File));
        }
        let Kind::Bucket { .. } = location.kind() else { return Ok(None) };
        let has_some = self.has_some(location)?;
        Ok(has_some.then_some(Found::Folder))
    }

    /// Returns a text with the URLs of what was brought in the place of where it is, which nobody knows.
    pub fn with_urls(&self, text: &str) -> String {
        let brought = self.brought.lock().unwrap_or_else(PoisonError::into_inner);
        // The longer one of two that begin alike comes first.
        brought.iter().rev().fold(text.to_owned(), |text, (path, url)| text.replace(&*path.to_string_lossy(), url))
    }

    /// Notes where the file or folder of a URL is.
    fn note(&self, path: &Path, location: &Location) {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), location.to_string());
    }

    fn shelf(&self) -> Result<&Shelf, RemoteError> {
        if let Some(shelf) = self.shelf.get() {
            return Ok(shelf);
        }
        let folder = self.options.folder.as_ref().ok_or(RemoteError::NoFolder)?;
        let shelf = Shelf::open(folder, self.options.most)?;
        Ok(self.shelf.get_or_init(|| shelf))
    }

    fn sockets(&self) -> Result<&Sockets, RemoteError> {
        if let Some(sockets) = self.sockets.get() {
            return Ok(sockets);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("remote")
            .enable_all()
            .build()
            .map_err(|_| RemoteError::Setup { what: "network threads" })?;
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|_| RemoteError::Setup { what: "encrypted connections" })
        };
        // A redirect of a bucket has another signature.
        let bucket = || fetch::client(self.options.silence).redirect(redirect::Policy::none());
        let connector = Connector { encrypted: built(bucket().https_only(true))?, any: built(bucket())? };
        let web = built(fetch::client(self.options.silence))?;
        let sockets = Sockets { runtime, web, connector, buckets: Mutex::default() };
        Ok(self.sockets.get_or_init(|| sockets))
    }

    fn source(&self, location: &Location) -> Result<Source, RemoteError> {
        match location.kind() {
            Kind::Web(url) => Ok(Source::Web(self.sockets()?.web.clone(), url.clone())),
            Kind::Bucket { .. } => {
                let (store, path) = self.object(location)?;
                Ok(Source::Bucket(store, path))
            }
        }
    }

    /// Returns the bucket of a location, and its key there.
    fn object(&self, location: &Location) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path), RemoteError> {
        let failed = |source| RemoteError::Read { location: location.clone(), source };
        let Kind::Bucket { service, bucket, key } = location.kind() else { return Err(failed(Problem::NoListing)) };
        let path = object_store::path::Path::parse(key)
            .map_err(|error| failed(Problem::from(object_store::Error::from(error))))?;
        let sockets = self.sockets()?;
        let mut buckets = sockets.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (*service, bucket.clone());
        if let Some(store) = buckets.get(&name) {
            return Ok((store.clone(), path));
        }
        let store: Arc<dyn ObjectStore> = match service {
            Service::S3 => self.s3(bucket, &sockets.connector).map_err(failed)?,
            Service::Gs => self.gs(bucket, &sockets.connector).map_err(failed)?,
        };
        buckets.insert(name, store.clone());
        Ok((store, path))
    }

    fn s3(&self, bucket: &str, connector: &Connector) -> Result<Arc<dyn ObjectStore>, Problem> {
        let settings = S3Settings::read(&self.options.variables, self.options.home.as_deref());
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_retry(self.retry())
            .with_http_connector(connector.clone());
        if let Some(region) = settings.region()? {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = settings.endpoint()? {
            builder = builder.with_allow_http(is_plain(&endpoint)).with_endpoint(endpoint);
        }
        settings.account.check()?;
        builder = match settings.account {
            S3Account::Key { id, secret, token } => {
                let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
                token.into_iter().fold(builder, AmazonS3Builder::with_token)
            }
            S3Account::Role => {
                let given = |name: &str| {
                    let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().ok()?;
                    Some((key, self.options.variables.get(name)?))
                };
                let given = S3_ROLE.into_iter().filter_map(given);
                given.fold(builder, |builder, (key, value)| builder.with_config(key, value))
            }
            S3Account::NoProfile | S3Account::Nobody => builder.with_skip_signature(true),
        };
        Ok(Arc::new(builder.build().map_err(|_| Problem::Credentials)?))
    }

    fn gs(&self, bucket: &str, connector: &Connector) -> Result<Arc<dyn ObjectStore>, Problem> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_retry(self.retry())
            .with_http_connector(connector.clone());
        if let Some(endpoint) = gs_endpoint(&self.options.variables)? {
            let options = ClientOptions::new().with_allow_http(is_plain(&endpoint));
            builder = builder.with_base_url(&endpoint).with_client_options(options);
        }
        builder = match self.options.variables.get(GS_CREDENTIALS) {
            Some(file) => builder.with_application_credentials(file),
            // Without credentials of its own, the client would ask a metadata service before it writes.
            None => {
                let nobody = StaticCredentialProvider::new(GcpCredential { bearer: "nobody".to_owned() });
                builder.with_skip_signature(true).with_credentials(Arc::new(nobody))
            }
        };
        Ok(Arc::new(builder.build().map_err(|_| Problem::Credentials)?))
    }

    /// How the client of buckets repeats requests that failed before the first byte.
    fn retry(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: self.options.first_wait,
                max_backoff: Duration::from_secs(15),
                base: 2.0,
            },
            max_retries: self.options.retries,
            retry_timeout: Duration::from_secs(120),
        }
    }
}

/// Returns whether an endpoint that the user named is one without encryption.
fn is_plain(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
}
