//! A download that goes on where an earlier one stopped.
//!
//! `cargo run -p ftp-client --example resume -- ftp://ftp.example.org/pub/a.bin a.bin`
#![expect(clippy::print_stdout, reason = "it is for people to see")]

use std::error::Error;
use std::fs::File;
use std::io;

use ftp_client::{Client, FtpUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, local] = args.as_slice() else { return Err("resume URL LOCAL".into()) };
    println!("{} bytes more", resume(&url.parse()?, local)?);
    Ok(())
}

/// Gives how many bytes were missing.
pub(crate) fn resume(url: &FtpUrl, local: &str) -> Result<u64, Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    let mut out = File::options().append(true).create(true).open(local)?;
    let here = out.metadata()?.len();
    let there = client.size(url.path())?.ok_or("the server does not tell the size")?;
    if here > there {
        return Err(format!("{local} has {here} bytes, the file {there}: another one").into());
    }
    if here < there {
        let mut rest = client.retrieve_from(url.path(), here)?;
        io::copy(&mut rest, &mut out)?;
        rest.finish()?;
    }
    client.quit()?;
    Ok(there - here)
}
