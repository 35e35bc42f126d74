//! An upload that shows how far it is: progress is what a wrapper around the reader counts.
//!
//! `cargo run -p ftp-client --example progress -- a.bin ftp://me:secret@ftp.example.org/a.bin`
#![expect(clippy::print_stderr, reason = "it is for people to see")]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};

use ftp_client::{FtpUrl, put};

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
    show: impl FnMut(u64, u64),
) -> Result<(), Box<dyn Error>> {
    let file = File::open(local)?;
    let all = file.metadata()?.len();
    put(url, &mut Counted { inner: file, done: 0, all, show })?;
    Ok(())
}

/// A reader that tells how much of it was read. A download has the same as a [`std::io::Write`].
struct Counted<R, F> {
    inner: R,
    done: u64,
    all: u64,
    show: F,
}

impl<R: Read, F: FnMut(u64, u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        (self.show)(self.done, self.all);
        Ok(count)
    }
}
