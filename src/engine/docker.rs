//! Docker.

use thiserror::Error;

use crate::hint::Hint;

/// A failure of the engine behind a socket.
#[derive(Debug, Error)]
pub enum DockerError {}

impl Hint for DockerError {}
