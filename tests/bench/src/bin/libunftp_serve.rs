//! libunftp over one directory: `libunftp-serve ADDRESS ROOT [CERTIFICATE KEY]`. Every name and
//! password may log in, without TLS and with it.

use libunftp::ServerBuilder;
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
        server = server.ftps(certificate, key);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let address = address.clone();
    runtime.block_on(async { server.build()?.listen(address).await })?;
    Ok(())
}
