//! Uploads standard input, or any other reader, to a file on a server.
//!
//! `cargo run -p ftp-toolkit-client --example upload -- ftp://me:secret@ftp.example.org/log.txt`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::io::{self, Read};

use ftp_client::{Client, FtpUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url] = args.as_slice() else { return Err("upload URL".into()) };
    upload(&url.parse()?, &mut io::stdin().lock())
}

pub(crate) fn upload(url: &FtpUrl, mut input: &mut dyn Read) -> Result<(), Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    // If the input fails, the upload is aborted, so that the server does not take the partial file
    // for a complete one. If the server gives up, the error holds the server's reason and not only
    // "broken pipe".
    let report = client.store(url.path())?.copy_from(&mut input)?;
    client.quit()?;
    println!("{} bytes in {:?}", report.bytes, report.duration);
    Ok(())
}
