//! Uploads a file and shows the progress.
//!
//! `cargo run -p ftp-toolkit-client --example progress -- a.bin ftp://me:secret@ftp.example.org/a.bin`
#![expect(clippy::print_stderr, reason = "an example prints its result")]

use std::error::Error;
use std::fs;

use ftp_client::{Client, FileOptions, FtpUrl, Watch};

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
    mut show: impl FnMut(u64, u64),
) -> Result<(), Box<dyn Error>> {
    let all = fs::metadata(local)?.len();
    let mut done = 0;
    let mut meter = |piece: &[u8]| {
        done += piece.len() as u64;
        show(done, all);
    };
    let mut watch = Watch::new().meter(&mut meter);
    let mut client = Client::builder().open(url)?;
    client.upload_from(local, url.path(), &FileOptions::new(), &mut watch)?;
    client.quit()?;
    Ok(())
}
