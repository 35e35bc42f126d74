//! Downloads a file through an HTTP proxy (CONNECT). The proxy looks up the name and also carries
//! the data connections.
//!
//! `cargo run -p ftp-client --example proxy -- proxy.example.org:3128
//! ftp://ftp.example.org/pub/a.bin a.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ftp_client::{Client, Connector, FtpUrl, Target, Transport};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [proxy, url, local] = args.as_slice() else { return Err("proxy PROXY URL LOCAL".into()) };
    download(proxy, &url.parse()?, local)
}

pub(crate) fn download(proxy: &str, url: &FtpUrl, local: &str) -> Result<(), Box<dyn Error>> {
    let builder = Client::builder().connector(Proxy(proxy.to_owned()));
    let report = builder.get(url, &mut File::create(local)?)?;
    println!("{} bytes in {:?}", report.bytes, report.duration);
    Ok(())
}

/// The `host:port` of an HTTP proxy.
struct Proxy(String);

impl Connector for Proxy {
    fn connect(&self, target: &Target<'_>, limit: Duration) -> io::Result<Box<dyn Transport>> {
        let mut stream = TcpStream::connect(&self.0)?;
        stream.set_read_timeout(Some(limit))?;
        let place = match target.host {
            host if host.contains(':') => format!("[{host}]:{}", target.port),
            host => format!("{host}:{}", target.port),
        };
        write!(stream, "CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n")?;
        // One byte at a time: the bytes after the empty line come from the FTP server.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if head.len() > 8_192 || stream.read(&mut byte)? == 0 {
                return Err(io::Error::other("the proxy does not answer as one"));
            }
            head.extend(byte);
        }
        match head.split(|byte| *byte == b' ').nth(1) {
            Some(b"200") => Ok(Box::new(stream)),
            _ => Err(io::Error::other("the proxy refuses")),
        }
    }
}
