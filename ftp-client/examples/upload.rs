//! Whatever can be read, here standard input, to a file on a server.
//!
//! `cargo run -p ftp-client --example upload -- ftp://me:secret@ftp.example.org/log.txt`
#![expect(clippy::print_stdout, reason = "it is for people to see")]

use std::error::Error;
use std::io::{self, Read, Write};

use ftp_client::{Client, FtpUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url] = args.as_slice() else { return Err("upload URL".into()) };
    upload(&url.parse()?, &mut io::stdin().lock())
}

pub(crate) fn upload(url: &FtpUrl, input: &mut dyn Read) -> Result<(), Box<dyn Error>> {
    let mut client = Client::builder().open(url)?;
    let mut file = client.store(url.path())?;
    let mut block = [0; 65_536];
    loop {
        let count = match input.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                // What was sent is not the file: the server must not take it for that.
                file.abort()?;
                return Err(error.into());
            }
        };
        // An error here is the server's reason, if it gave one, and not only "broken pipe".
        file.write_all(block.get(..count).unwrap_or_default())?;
    }
    let report = file.finish()?;
    client.quit()?;
    println!("{} bytes in {:?}", report.bytes, report.duration);
    Ok(())
}
