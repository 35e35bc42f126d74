//! A file from a server into a file here, which has its name only when it is whole.
//!
//! `cargo run -p ftp-client --example download -- ftp://ftp.example.org/pub/a.bin a.bin`
#![expect(clippy::print_stdout, reason = "it is for people to see")]

use std::error::Error;
use std::fs::{self, File};
use std::io;

use ftp_client::{Client, FtpUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, local] = args.as_slice() else { return Err("download URL LOCAL".into()) };
    download(&url.parse()?, local)
}

pub(crate) fn download(url: &FtpUrl, local: &str) -> Result<(), Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    let part = format!("{local}.part");
    let mut out = File::create(&part)?;
    let mut file = client.retrieve(url.path())?;
    io::copy(&mut file, &mut out)?;
    // The end of the data is no success yet: this is, or an error.
    let report = file.finish()?;
    out.sync_all()?;
    fs::rename(&part, local)?;
    client.quit()?;
    println!("{} bytes in {:?}", report.bytes, report.duration);
    Ok(())
}
