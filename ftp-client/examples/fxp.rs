//! Copies a file directly from one server to another. The target gets its name when it is complete.
//!
//! `cargo run -p ftp-toolkit-client --example fxp -- ftp://me:secret@one.example.org/a.bin
//! ftp://me:secret@two.example.org/a.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::time::Duration;

use ftp_client::file::{Relay, TemporaryName};
use ftp_client::pool::Patience;
use ftp_client::{Client, FileOptions, FtpUrl, Place};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [source, target] = args.as_slice() else { return Err("fxp SOURCE TARGET".into()) };
    copy(&source.parse()?, &target.parse()?)
}

pub(crate) fn copy(source: &FtpUrl, target: &FtpUrl) -> Result<(), Box<dyn Error>> {
    let options = FileOptions::new().retried(true);
    let mut job = Relay::new(Place::of(source), Place::of(target), &options)
        .under(Some(TemporaryName::standard()));
    let mut show = |_: u32, why: &ftp_client::Error, pause: Duration| {
        println!("{why}; trying again in {pause:.1?}");
    };
    // Both servers must allow the copy; an error says which of them refused what.
    let (done, from, to) = Patience::new().attempts(5).run(&mut show, |_| {
        let mut from = Client::builder().open(source)?;
        let mut to = Client::builder().open(target)?;
        Ok((job.attempt(&mut from, &mut to, &())?, from, to))
    })?;
    println!("{} bytes in {:?}", done.bytes, done.duration);
    from.quit()?;
    Ok(to.quit()?)
}
