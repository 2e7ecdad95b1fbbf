//! Where an engine with Docker's API may listen.
//!
//! Owns the order in which addresses are tried: what the user names (`DOCKER_HOST`, then the Docker context), otherwise
//! the usual sockets of Docker, rootless Docker and Podman. Must not connect.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::Digest;
use crate::disk;
use crate::units::ByteSize;

/// No settings of Docker are longer.
const SETTINGS_LIMIT: ByteSize = ByteSize::new(1 << 20);

/// What decides where to look, as read from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`, or `.docker` in the user's home.
    pub docker_config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, or `/run/user/<uid>`.
    pub runtime_folder: Option<PathBuf>,
}

impl Surroundings {
    /// Reads variables through `variable`, which returns none for those that are unset.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let user = rustix::process::getuid().as_raw();
        Self {
            docker_host: set("DOCKER_HOST"),
            docker_context: set("DOCKER_CONTEXT"),
            docker_config: set("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| Some(Path::new(&set("HOME")?).join(".docker"))),
            runtime_folder: Some(
                set("XDG_RUNTIME_DIR").map_or_else(|| format!("/run/user/{user}").into(), PathBuf::from),
            ),
        }
    }

    /// Returns the addresses to try, best first. A user who names one gets no other.
    pub(super) fn addresses(&self) -> Vec<String> {
        if let Some(host) = &self.docker_host {
            return vec![host.clone()];
        }
        if let Some(host) = self.host_of_context() {
            return vec![host];
        }
        let mut sockets = vec![PathBuf::from("/var/run/docker.sock")];
        if let Some(folder) = &self.runtime_folder {
            sockets.extend([folder.join("docker.sock"), folder.join("podman/podman.sock")]);
        }
        sockets.push("/run/podman/podman.sock".into());
        sockets.iter().map(|socket| format!("unix://{}", socket.display())).collect()
    }

    /// Returns the address in the chosen Docker context, unless that is the default one.
    fn host_of_context(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "currentContext")]
            current_context: Option<String>,
        }
        #[derive(Deserialize)]
        struct Context {
            #[serde(rename = "Endpoints")]
            endpoints: Endpoints,
        }
        #[derive(Deserialize)]
        struct Endpoints {
            docker: Endpoint,
        }
        #[derive(Deserialize)]
        struct Endpoint {
            #[serde(rename = "Host")]
            host: String,
        }

        let folder = self.docker_config.as_ref()?;
        let name = self.docker_context.clone().or_else(|| {
            let text = disk::read(&folder.join("config.json"), SETTINGS_LIMIT).ok()?;
            serde_json::from_slice::<Config>(&text).ok()?.current_context
        })?;
        if name == "default" {
            return None;
        }
        // Docker names the folder of a context by the digest of its name.
        let meta = folder.join("contexts/meta").join(Digest::of(name.as_bytes()).hex()).join("meta.json");
        let context: Context = serde_json::from_slice(&disk::read(&meta, SETTINGS_LIMIT).ok()?).ok()?;
        Some(context.endpoints.docker.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_sockets_are_tried_in_order() {
        let surroundings = Surroundings { runtime_folder: Some("/run/user/7".into()), ..Surroundings::default() };
        let expected = [
            "unix:///var/run/docker.sock",
            "unix:///run/user/7/docker.sock",
            "unix:///run/user/7/podman/podman.sock",
            "unix:///run/podman/podman.sock",
        ];
        assert_eq!(surroundings.addresses(), expected);
    }

    #[test]
    fn a_named_address_is_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path();
        let meta = config.join("contexts/meta").join(Digest::of(b"far").hex());
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(meta.join("meta.json"), r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:2375"}}}"#)
            .unwrap();
        let variables = |given: &'static [(&str, &str)]| {
            let config = config.display().to_string();
            move |name: &str| match name {
                "DOCKER_CONFIG" => Some(config.clone()),
                _ => given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
            }
        };
        let addresses = |given| Surroundings::read(variables(given)).addresses();
        assert_eq!(addresses(&[("DOCKER_HOST", "unix:///x"), ("DOCKER_CONTEXT", "far")]), ["unix:///x"]);
        assert_eq!(addresses(&[("DOCKER_CONTEXT", "far")]), ["tcp://far:2375"]);
        assert_eq!(addresses(&[("DOCKER_HOST", "")]).len(), 4);
        std::fs::write(config.join("config.json"), r#"{"currentContext":"far","auths":{}}"#).unwrap();
        assert_eq!(addresses(&[]), ["tcp://far:2375"]);
        assert_eq!(addresses(&[("DOCKER_CONTEXT", "default")]).len(), 4);
    }
}
