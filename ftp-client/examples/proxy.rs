//! Downloads a file through a proxy, which also carries the data connections.
//!
//! `cargo run -p ftp-toolkit-client --example proxy -- socks5h://proxy.example.org:1080
//! ftp://ftp.example.org/pub/a.bin a.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::fs::File;

use ftp_client::{Client, FtpUrl, Proxy};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [proxy, url, local] = args.as_slice() else { return Err("proxy PROXY URL LOCAL".into()) };
    download(proxy.parse()?, &url.parse()?, local)
}

pub(crate) fn download(proxy: Proxy, url: &FtpUrl, local: &str) -> Result<(), Box<dyn Error>> {
    let builder = Client::builder().proxy(proxy);
    let report = builder.get(url, &mut File::create(local)?)?;
    println!("{} bytes in {:?}", report.bytes, report.duration);
    Ok(())
}
