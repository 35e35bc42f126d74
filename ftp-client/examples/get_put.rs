//! Copies a file between two servers through memory, with one call for each server.
//!
//! `cargo run -p ftp-toolkit-client --example get_put -- ftp://ftp.example.org/a.txt
//! ftp://me:secret@two.example.org/a.txt`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use ftp_client::{Client, Error};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [source, target] = args.as_slice() else { return Err("get_put SOURCE TARGET".into()) };
    println!("{} bytes", copy(source, target)?);
    Ok(())
}

pub(crate) fn copy(source: &str, target: &str) -> Result<u64, Error> {
    let mut bytes = Vec::new();
    Client::builder().get(source, &mut bytes)?;
    let report = Client::builder().put(target, &mut bytes.as_slice())?;
    Ok(report.bytes)
}
