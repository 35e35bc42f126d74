//! Downloads a file in active mode from behind a NAT that forwards some ports to this host. The
//! server connects to one of these ports at the NAT's external address.
//!
//! `cargo run -p ftp-toolkit-client --example active -- ftp://ftp.example.org/a.bin a.bin 50000-50099
//! nat.example.org`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::fs::File;

use ftp_client::{Client, FtpUrl, Mode, PortRanges};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, local, ports, address] = args.as_slice() else {
        return Err("active URL LOCAL PORTS ADDRESS".into());
    };
    download(&url.parse()?, local, ports, address)
}

/// `ports` is a list such as `50000-50099` or `50000,50010-50019`. `address` is an IP address or a
/// name, which is looked up for each transfer.
pub(crate) fn download(
    url: &FtpUrl,
    local: &str,
    ports: &str,
    address: &str,
) -> Result<(), Box<dyn Error>> {
    let builder = Client::builder()
        .mode(Mode::Active)
        .active_ports(PortRanges::parse(ports.as_bytes())?)
        .active_address(address);
    let report = builder.get(url, &mut File::create(local)?)?;
    println!("{} bytes in {:?}", report.bytes, report.duration);
    Ok(())
}
