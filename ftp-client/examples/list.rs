//! Lists everything below a directory of a server.
//!
//! `cargo run -p ftp-toolkit-client --example list -- ftp://ftp.example.org/pub/`

use std::error::Error;
use std::io::{self, Write};

use ftp_client::listing::Walked;
use ftp_client::{Client, EntryKind, Escaped, FtpUrl, Place};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url] = args.as_slice() else { return Err("list URL".into()) };
    list(&url.parse()?, &mut io::stdout().lock())
}

pub(crate) fn list(url: &FtpUrl, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    let place = Place::of(url);
    for item in client.walk(place.path()) {
        // Paths come from the server: unescaped control bytes could do anything to a terminal.
        match item? {
            Walked::Entry { path, entry, .. } if entry.kind == Some(EntryKind::Directory) => {
                writeln!(out, "{}/", Escaped(&path))?;
            }
            Walked::Entry { path, entry, .. } => match entry.size {
                Some(size) => writeln!(out, "{} {size}", Escaped(&path))?,
                None => writeln!(out, "{}", Escaped(&path))?,
            },
            Walked::Skipped { directory, why, .. } => {
                writeln!(out, "{}/: {why}", Escaped(&directory))?;
            }
        }
    }
    client.quit()?;
    Ok(())
}
