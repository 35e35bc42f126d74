//! A download that goes on where an earlier one stopped.
//!
//! `cargo run -p ftp-client --example resume -- ftp://ftp.example.org/pub/a.bin a.bin`
#![expect(clippy::print_stdout, reason = "it is for people to see")]

use std::error::Error;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use ftp_client::{Client, FtpUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, local] = args.as_slice() else { return Err("resume URL LOCAL".into()) };
    println!("{} bytes more", resume(&url.parse()?, local)?);
    Ok(())
}

/// Gives how many bytes came.
pub(crate) fn resume(url: &FtpUrl, local: &str) -> Result<u64, Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    let mut out = File::options().write(true).create(true).truncate(false).open(local)?;
    // Only if `SIZE` says that there is as much. A program that has kept the time that `MDTM` gave
    // for the beginning passes it on here, so that another file is not taken for this one.
    let mut rest = client.retrieve_rest(url.path(), out.metadata()?.len(), None)?;
    // Behind what is here, or at 0 if that is of no use.
    out.set_len(rest.offset())?;
    out.seek(SeekFrom::End(0))?;
    io::copy(&mut rest, &mut out)?;
    let report = rest.finish()?;
    client.quit()?;
    Ok(report.bytes)
}
