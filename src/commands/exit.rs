//! Exit codes, documented in the README: kind of failure to code.

use std::process::ExitCode;

use crate::ui::Kind;

/// Returns the exit code of a kind of failure.
pub fn code(kind: Kind) -> ExitCode {
    ExitCode::from(number(kind))
}

/// Returns the exit code of a kind of failure as a number.
pub(super) const fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Project => 1,
        Kind::Usage => 2,
        Kind::Environment => 3,
        // EX_SOFTWARE of sysexits.h.
        Kind::Internal => 70,
        // 128 + SIGINT, as a shell reports it.
        Kind::Interrupted => 130,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code() {
        let kinds = [Kind::Project, Kind::Usage, Kind::Environment, Kind::Internal, Kind::Interrupted];
        assert_eq!(kinds.map(number), [1, 2, 3, 70, 130]);
    }
}
