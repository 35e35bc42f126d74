//! Keeps a running download in a struct, which hashes what it reads. Enter cancels it.
//!
//! `cargo run -p ftp-toolkit-client --example owned -- ftp://ftp.example.org/pub/a.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]
use std::{error, io};

use ftp_client::file::{Checksum, Digest, HashAlgorithm};
use ftp_client::{Canceller, Client, Download, Error, FtpUrl};

fn main() -> Result<(), Box<dyn error::Error>> {
    let (url, canceller) = (std::env::args().nth(1).ok_or("owned URL")?, Canceller::new()?);
    let mut file = Hashed::open(&url.parse()?, canceller.clone())?;
    std::thread::spawn(move || io::stdin().lines().next().map(|_| canceller.cancel()));
    io::copy(&mut file, &mut io::sink())?;
    println!("{}", file.finish()?);
    Ok(())
}

pub(crate) struct Hashed(Download<Client>, Checksum);

impl Hashed {
    pub(crate) fn open(url: &FtpUrl, canceller: Canceller) -> Result<Self, Error> {
        let client = Client::builder().canceller(canceller).open(url)?;
        let checksum = Checksum::new(HashAlgorithm::Sha256).expect("the library computes it");
        Ok(Self(Download::begin(client, url.path(), 0)?, checksum))
    }

    pub(crate) fn finish(self) -> Result<Digest, Error> {
        let (report, client) = self.0.release(); // only the server knows whether that was all
        report.and_then(|_| client.quit()).map(|()| self.1.finish())
    }
}

impl io::Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer);
        read.inspect(|&count| self.1.update(buffer.get(..count).unwrap_or_default()))
    }
}
