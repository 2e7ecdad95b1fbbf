//! Documents that host and container share: order, report, events.
