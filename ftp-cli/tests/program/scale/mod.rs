//! What `serve` uses when there is very much of something: sessions, commands, entries.
//!
//! `FTP_SCALE=1 cargo test --profile measured -p ftp-cli --test program -- --nocapture --test-threads=1
//! at_scale` runs and prints the full figures, which take minutes; without it counts are small.

mod directories;
mod mirror;
mod races;
mod sessions;
#[cfg(feature = "tls")]
mod tls;
