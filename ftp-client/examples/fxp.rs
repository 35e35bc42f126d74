//! Copies a file directly from one server to another.
//!
//! `cargo run -p ftp-client --example fxp -- ftp://me:secret@one.example.org/a.bin
//! ftp://me:secret@two.example.org/a.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;

use ftp_client::fxp::{self, Options, Resume};
use ftp_client::{Client, FtpUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [source, target] = args.as_slice() else { return Err("fxp SOURCE TARGET".into()) };
    copy(&source.parse()?, &target.parse()?)
}

pub(crate) fn copy(source: &FtpUrl, target: &FtpUrl) -> Result<(), Box<dyn Error>> {
    let mut from = Client::builder().open(source)?;
    let mut to = Client::builder().open(target)?;
    let options = Options { resume: Resume::Find, ..Options::default() };
    // Both servers must allow the copy; an error says which of them refused what.
    let report = fxp::transfer(&mut from, source.path(), &mut to, target.path(), options)?;
    println!("done in {:?}, from byte {} on", report.duration, report.offset);
    from.quit()?;
    to.quit()?;
    Ok(())
}
