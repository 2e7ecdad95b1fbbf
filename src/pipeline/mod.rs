//! Inside the container: an order becomes a report.
