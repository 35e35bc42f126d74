//! The resources of `serve` with very many sessions, commands or entries.
//!
//! `FTP_SCALE=1 cargo test --profile measured -p ftp-cli --test program -- --nocapture
//! --test-threads=1 at_scale` runs the full numbers and prints the figures, in some minutes;
//! without it the numbers are small.

mod directories;
mod mirror;
mod races;
mod reloads;
mod sessions;
mod tls;
