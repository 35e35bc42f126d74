//! Downloads a file. The local file appears under its name only when it is complete.
//!
//! `cargo run -p ftp-toolkit-client --example download -- ftp://ftp.example.org/pub/a.bin a.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;

use ftp_client::{Client, FileOptions, FtpUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, local] = args.as_slice() else { return Err("download URL LOCAL".into()) };
    download(&url.parse()?, local)
}

pub(crate) fn download(url: &FtpUrl, local: &str) -> Result<(), Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    // The end of the data is not success yet: the server must confirm the transfer, and the length
    // must match.
    let done = client.download_to(url.path(), local, &FileOptions::new(), &())?;
    client.quit()?;
    println!("{} bytes", done.size);
    Ok(())
}
