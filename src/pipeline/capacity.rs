//! How many compiles fit on this machine at once.

use std::path::Path;

use crate::disk;
use crate::units::ByteSize;

/// What the system's files about itself have at most.
const SYSTEM_FILE: ByteSize = ByteSize::new(1 << 20);

/// What one compile needs: measured 124 MB for a network of 20 MB and 53 MB for one of a kilobyte, doubled because
/// networks with large intermediate tensors need more.
fn need(network: ByteSize) -> u64 {
    2 * ((53 << 20) + 4 * network.bytes())
}

/// What the proof of a network beside its compiles needs: measured 471 MB for one of 5 MB and pictures of 640x480, and
/// 584 MB for one of 11 MB. Large pictures need more, 1.4 GB where they have 1280x1280.
fn need_beside(network: ByteSize) -> u64 {
    (512 << 20) + 4 * network.bytes()
}

/// What runs at the same time as the compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says all there is")]
pub enum Beside {
    Proof,
    Nothing,
}

/// Returns how many of `jobs` compiles of a network of this size run at once, unless the user says otherwise.
pub fn workers(jobs: usize, network: ByteSize, beside: Beside) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let room = available_memory().map_or(cores, |memory| fitting(memory, network, beside));
    cores.min(room).clamp(1, jobs.max(1))
}

/// Returns how many compiles fit into so much memory.
fn fitting(memory: ByteSize, network: ByteSize, beside: Beside) -> usize {
    let taken = match beside {
        Beside::Proof => need_beside(network),
        Beside::Nothing => 0,
    };
    let left = memory.bytes().saturating_sub(taken);
    usize::try_from(left / need(network)).unwrap_or(usize::MAX)
}

/// Returns the memory that may still be used: what the system has left, or what the container's limit (cgroup version
/// 2) leaves, whichever is less.
fn available_memory() -> Option<ByteSize> {
    let system = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes << 10)
    });
    let group = read("/sys/fs/cgroup/memory.max").and_then(|limit| {
        let limit: u64 = limit.trim().parse().ok()?;
        let used: u64 = read("/sys/fs/cgroup/memory.current")?.trim().parse().ok()?;
        Some(limit.saturating_sub(used))
    });
    [system, group].into_iter().flatten().min().map(ByteSize::new)
}

fn read(path: &str) -> Option<String> {
    let bytes = disk::read_if_exists(Path::new(path), SYSTEM_FILE).ok()??;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_one_worker_and_never_more_than_jobs() {
        let workers = |jobs, bytes| workers(jobs, ByteSize::new(bytes), Beside::Proof);
        assert_eq!(workers(1, 0), 1);
        assert_eq!(workers(16, u64::MAX >> 8), 1);
        assert!((1..=16).contains(&workers(16, 1 << 20)));
    }

    #[test]
    fn the_proof_has_its_room() {
        let fits = |memory: u64, beside| fitting(ByteSize::new(memory << 20), ByteSize::new(5 << 20), beside);
        assert_eq!([600, 700, 2048].map(|memory| fits(memory, Beside::Proof)), [0, 1, 10]);
        assert_eq!([600, 700, 2048].map(|memory| fits(memory, Beside::Nothing)), [4, 4, 14]);
    }
}
