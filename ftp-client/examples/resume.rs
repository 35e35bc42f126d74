//! Resumes a download where an earlier one stopped.
//!
//! `cargo run -p ftp-toolkit-client --example resume -- ftp://ftp.example.org/pub/a.bin a.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;

use ftp_client::{Client, FileOptions, FtpUrl, Resume};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, local] = args.as_slice() else { return Err("resume URL LOCAL".into()) };
    println!("{} bytes more", resume(&url.parse()?, local)?);
    Ok(())
}

/// Returns the number of bytes that this run received.
pub(crate) fn resume(url: &FtpUrl, local: &str) -> Result<u64, Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    // Bytes of an earlier run are kept only if their record or the server's digest proves them. All
    // bytes go to `LOCAL.part` until the file is complete.
    let options = FileOptions::new().resume(Resume::Proven);
    let done = client.download_to(url.path(), local, &options, &())?;
    client.quit()?;
    Ok(done.size - done.resumed)
}
