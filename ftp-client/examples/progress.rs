//! Uploads a file and shows the progress.
//!
//! `cargo run -p ftp-toolkit-client --example progress -- a.bin ftp://me:secret@ftp.example.org/a.bin`
#![expect(clippy::print_stderr, reason = "an example prints its result")]

use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use ftp_client::{Client, Event, FileOptions, FtpUrl, WithBytes};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [local, url] = args.as_slice() else { return Err("progress LOCAL URL".into()) };
    upload(local, &url.parse()?, |done, all| eprint!("\r{done} of {all} bytes"))?;
    eprintln!();
    Ok(())
}

pub(crate) fn upload(
    local: &str,
    url: &FtpUrl,
    show: impl Fn(u64, u64) + Sync,
) -> Result<(), Box<dyn Error>> {
    let (done, all) = (AtomicU64::new(0), fs::metadata(local)?.len());
    let progress = WithBytes(|event: Event<'_>| {
        if let Event::Moved { bytes } = event {
            show(done.fetch_add(bytes, Ordering::Relaxed) + bytes, all);
        }
    });
    let mut client = Client::builder().open(url)?;
    client.upload_from(local, url.path(), &FileOptions::new(), &progress)?;
    client.quit()?;
    Ok(())
}
