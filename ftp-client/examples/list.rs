//! All that is below a directory of a server.
//!
//! `cargo run -p ftp-client --example list -- ftp://ftp.example.org/pub/`

use std::error::Error;
use std::io::{self, Write};

use ftp_client::{Client, Escaped, FactType, FtpUrl, Place};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url] = args.as_slice() else { return Err("list URL".into()) };
    list(&url.parse()?, &mut io::stdout().lock())
}

pub(crate) fn list(url: &FtpUrl, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    let top = Place::of(url).path().to_vec();
    let mut directories = vec![Vec::new()];
    while let Some(directory) = directories.pop() {
        let path = [top.as_slice(), &directory].join(&b'/');
        let path = if top.is_empty() { &directory } else { &path };
        for entry in client.entries(Some(path.as_slice()).filter(|path| !path.is_empty()))? {
            let entry = entry?;
            // Names are the server's own: on a terminal, control bytes could do anything.
            let mut below = directory.clone();
            below.extend(entry.name());
            match entry.kind() {
                Some(FactType::Directory) => {
                    below.push(b'/');
                    writeln!(out, "{}", Escaped(&below))?;
                    directories.push(below);
                }
                Some(FactType::File) => {
                    writeln!(out, "{} {}", entry.size().unwrap_or(0), Escaped(&below))?;
                }
                _ => {}
            }
        }
    }
    client.quit()?;
    Ok(())
}
