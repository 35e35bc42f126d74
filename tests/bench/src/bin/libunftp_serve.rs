//! Serves one directory with libunftp: `libunftp-serve ADDRESS ROOT [CERTIFICATE KEY]`. Any name
//! and password can log in, without TLS and with TLS 1.3.

use libunftp::ServerBuilder;
use libunftp::options::TlsFlags;
use unftp_sbe_fs::Filesystem;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, root, tls @ ..] = &arguments[..] else {
        return Err("usage: libunftp-serve ADDRESS ROOT [CERTIFICATE KEY]".into());
    };
    let root = root.clone();
    let files = move || Filesystem::new(root.clone()).expect("a directory");
    let mut server = ServerBuilder::new(Box::new(files)).passive_ports(49_152..=65_535);
    if let [certificate, key] = tls {
        let flags = TlsFlags::V1_3 | TlsFlags::RESUMPTION_TICKETS;
        server = server.ftps(certificate, key).ftps_tls_flags(flags);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let address = address.clone();
    runtime.block_on(async { server.build()?.listen(address).await })?;
    Ok(())
}
