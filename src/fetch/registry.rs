//! Registries: one blob of a repository (OCI distribution specification, "Pulling blobs").

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use docker_credential::DockerCredential;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use oci_client::client::{BlobResponse, Client, ClientConfig, ClientProtocol, SizedStream};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use super::problem::{Problem, innermost};
use super::web::{Answer, Start};
use crate::defaults;
use crate::digest::Digest;
use crate::disk;
use crate::sources::Base;
use crate::units::ByteSize;

/// Registries that have been spoken to, by base.
#[derive(Default)]
pub(super) struct Registries {
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
}

impl Registries {
    /// Asks for the blob from `offset` on. `files` may hold credentials, the strongest first.
    pub(super) async fn get(
        &self,
        base: &Base,
        repository: &str,
        digest: &Digest,
        offset: ByteSize,
        access: &Access<'_>,
    ) -> Result<Answer, Problem> {
        let name = [base.path(), repository].join("/");
        let reference = Reference::with_digest(base.host(), name.trim_matches('/').to_owned(), digest.to_string());
        let client = self.client(base, access.silence)?;
        client.auth(&reference, &credentials(base, access.files), RegistryOperation::Pull).await.map_err(sorted)?;
        let text = digest.to_string();
        let (start, stream) = if offset == ByteSize::default() {
            (Start::Beginning, client.pull_blob_stream(&reference, text.as_str()).await.map_err(sorted)?)
        } else {
            match client.pull_blob_stream_partial(&reference, text.as_str(), offset.bytes(), None).await {
                Ok(BlobResponse::Full(stream)) => (Start::Beginning, stream),
                Ok(BlobResponse::Partial(stream)) => (Start::Offset, stream),
                Err(error) => return Err(sorted(error)),
            }
        };
        Ok(Answer { start, tag: None, address: base.url().clone(), body: body(stream) })
    }

    fn client(&self, base: &Base, silence: Duration) -> Result<Arc<Client>, Problem> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{}://{}", base.url().scheme(), base.host());
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let protocol = if base.url().scheme() == "http" { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig { protocol, read_timeout: Some(silence), ..ClientConfig::default() };
        // `Client::new` would go on with other settings after a failure.
        let client = Arc::new(Client::try_from(config).map_err(sorted)?);
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// How registries are spoken to.
pub(super) struct Access<'a> {
    /// Files that may hold credentials, the strongest first.
    pub(super) files: &'a [PathBuf],
    /// How long a connection may be silent.
    pub(super) silence: Duration,
}

fn body(stream: SizedStream) -> BoxStream<'static, Result<bytes::Bytes, Problem>> {
    stream.stream.map(|bytes| bytes.map_err(broke)).boxed()
}

fn broke(error: io::Error) -> Problem {
    if error.kind() == io::ErrorKind::TimedOut { Problem::Silent } else { Problem::Broke { reason: innermost(&error) } }
}

/// Returns the credentials for a registry: those of its URL, else those in the first file that has some.
fn credentials(base: &Base, files: &[PathBuf]) -> RegistryAuth {
    if let Some(credentials) = base.credentials() {
        let password = credentials.password().unwrap_or_default();
        return RegistryAuth::Basic(credentials.user().to_owned(), password.to_owned());
    }
    let host = base.host();
    let key = defaults::credentials_key(&host);
    for path in files {
        let Ok(Some(file)) = disk::open_if_exists(path) else { continue };
        match docker_credential::get_credential_from_reader(file, key) {
            Ok(DockerCredential::UsernamePassword(user, password)) => return RegistryAuth::Basic(user, password),
            Ok(DockerCredential::IdentityToken(token)) => return RegistryAuth::Bearer(token),
            // None for this registry, or a helper that is not there: another file may have some, and public blobs
            // need none.
            Err(_) => {}
        }
    }
    RegistryAuth::Anonymous
}

/// Sorts what the client says, leaving out URLs and the server's own texts.
fn sorted(error: OciDistributionError) -> Problem {
    let status = |code: u16| Problem::Status { code, wait: None };
    match error {
        OciDistributionError::RequestError(error) => error.into(),
        OciDistributionError::ServerError { code, .. } => status(code),
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => status(401),
        OciDistributionError::RegistryError { envelope, .. } => {
            match envelope.errors.first().map(|error| &error.code) {
                Some(OciErrorCode::Toomanyrequests) => status(429),
                Some(code) => Problem::Registry { code: format!("{code:?}").to_ascii_lowercase() },
                None => Problem::Registry { code: "no reason given".to_owned() },
            }
        }
        OciDistributionError::IoError(error) => broke(error),
        _ => Problem::Registry { code: "an answer that breaks the protocol".to_owned() },
    }
}
