//! A conversion by the tools around this process: what the host orders in a container, and what `convert` does in an
//! image without a host.
//!
//! Owns reading the order and writing the report. The work is `pipeline`.

use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use super::convert::{self, ConvertError, Output};
use super::dispatch::{DispatchError, Listener};
use super::workplace::Workplace;
use crate::digest::Digest;
use crate::disk::{self, DiskError, TemporaryFolder};
use crate::exchange::{self, ExchangeError, Order, Outcome, Report};
use crate::hint::Hint;
use crate::invocation::tools::{self, Tools, ToolsError};
use crate::pipeline::{self, Workshop};
use crate::plan::convert::ConversionPlan;
use crate::process::{Bounds, Interruption};
use crate::units::ByteSize;

/// No order is longer.
const ORDER_LIMIT: ByteSize = ByteSize::new(64 << 20);

/// No description of tools is longer.
const TOOLS_LIMIT: ByteSize = ByteSize::new(1 << 20);

/// Where tools keep what they need for a while.
const SCRATCH: &str = "/tmp";

/// How an order was carried out. Why it failed stands in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The result is made.
    Converted,
    /// There is none.
    Failed,
}

/// An order that cannot be read, or a report that cannot be written.
#[derive(Debug, Error)]
pub enum InsideError {
    /// A file cannot be read or written.
    #[error("failed to exchange files with the host")]
    Disk(#[from] DiskError),
    /// The order is none.
    #[error("failed to read the order")]
    Order(#[from] ExchangeError),
    /// The image does not say which tools it has.
    #[error("failed to read which tools the image has")]
    Tools(#[from] ToolsError),
    /// The system refuses to pass signals on.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
}

impl Hint for InsideError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Disk(error) => error.hints(),
            Self::Order(error) => error.hints(),
            Self::Tools(error) => error.hints(),
            Self::Signals(_) => Vec::new(),
        }
    }
}

/// Carries out the order in the file `order`, and writes the report beside it. `image` is what the image knows of itself;
/// no tool may run longer than `time`.
///
/// # Errors
/// The order cannot be read, or the report cannot be written; every other failure is in the report.
pub fn carry_out(
    order: &Path,
    image: Option<Digest>,
    time: Duration,
    listener: &dyn Listener,
) -> Result<Carried, InsideError> {
    let folder = order.parent().unwrap_or(Path::new(exchange::FOLDER));
    let order = Order { image, ..Order::parse(&disk::read(order, ORDER_LIMIT)?)? };
    let interruption = Interruption::watch().map_err(InsideError::Signals)?;
    let report = run(&order, &folder.join(exchange::OUTPUT), time, interruption, listener)?;
    write(&report, folder)?;
    Ok(match report.outcome {
        Outcome::Success { .. } => Carried::Converted,
        Outcome::Failure(_) => Carried::Failed,
    })
}

/// Writes the report. Where a failure fills the disk, what it left makes room for being told.
fn write(report: &Report, folder: &Path) -> Result<(), DiskError> {
    let (path, text) = (folder.join(exchange::REPORT), report.render());
    match (disk::write(&path, text.as_bytes()), &report.outcome) {
        (Err(DiskError::NoSpace { .. }), Outcome::Failure(_)) => {
            for left in disk::list(&folder.join(exchange::OUTPUT))? {
                if left.file_name().is_none_or(|name| name != exchange::LOG) {
                    disk::remove_all(&left)?;
                }
            }
            disk::write(&path, text.as_bytes())
        }
        (result, _) => result,
    }
}

/// Carries out a plan here and now, and puts the result in place. No tool may run longer than `time`.
///
/// # Errors
/// The result has no place, or the conversion fails.
pub fn convert(
    plan: &ConversionPlan,
    image: Option<Digest>,
    time: Duration,
    listener: &dyn Listener,
) -> Result<Output, ConvertError> {
    let standing = convert::standing(plan)?;
    let parent = plan.output.parent().unwrap_or(Path::new("."));
    disk::create_folder(parent)?;
    let folder = Workplace::in_folder(parent)?;
    let made = folder.path().join(exchange::OUTPUT);
    disk::create_folder(&made)?;
    let order = Order { image, ..plan.order.clone() };
    let interruption = Interruption::watch().map_err(InsideError::Signals)?;
    let report = run(&order, &made, time, interruption.clone(), listener)?;
    if let (Outcome::Failure(_), Some(signal)) = (&report.outcome, interruption.signal()) {
        return Err(DispatchError::Interrupted(signal).into());
    }
    convert::settle(plan, standing, &made, report)
}

fn run(
    order: &Order,
    output: &Path,
    time: Duration,
    interruption: Interruption,
    listener: &dyn Listener,
) -> Result<Report, InsideError> {
    let text = disk::read(Path::new(tools::PLACE), TOOLS_LIMIT)?;
    let tools = Tools::parse(&String::from_utf8_lossy(&text))?;
    let scratch = TemporaryFolder::create_in(Path::new(SCRATCH))?;
    let log = |line: &str| listener.noise(line);
    let workshop = Workshop {
        tools,
        output: output.to_owned(),
        scratch: scratch.path().to_owned(),
        bounds: Bounds { time, interruption },
        progress: listener.progress(),
        log: &log,
    };
    Ok(pipeline::run(order, &workshop))
}
