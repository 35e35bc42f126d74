//! The `ftp-cli` program.

fn main() {}
