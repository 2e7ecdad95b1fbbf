//! Documents that host and container share: order, report, events.
//! (Owned by helper `config`: its version is authoritative, merge branch `config` or take the file from its worktree.)
