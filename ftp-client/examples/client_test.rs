//! Tests a program that uploads reports by FTP. The server runs in the same process, with a
//! self-signed certificate, files in memory, and a fault that the program must survive.
//!
//! `cargo run -p ftp-toolkit-client --example client_test`

use std::error::Error;
use std::time::Duration;

use ftp_client::{Client, Error as FtpError, Tls};
use ftp_server::testing::{ProtocolFault, Recorder};
use ftp_server::{MemoryStorage, Rights, Server, Verb};

/// The program under test: uploads a report under TLS, and retries once after a transient error.
fn deliver(server: &str, pin: &str, name: &str, report: &[u8]) -> Result<(), FtpError> {
    let store = || {
        let tls = Tls::explicit().pin(pin)?;
        let mut client = Client::builder().tls(tls).connect(server)?;
        client.login("reporter", "secret")?;
        client.store(name)?.copy_from(&mut &*report)?;
        client.quit()
    };
    match store() {
        Err(error) if error.is_transient() => store(),
        done => done,
    }
}

/// Runs the test.
pub(crate) fn a_report_arrives_whole_though_the_first_upload_is_cut() -> Result<(), Box<dyn Error>>
{
    let files = MemoryStorage::new();
    files.put("/reports/old.txt", "of last week")?;
    let recorder = Recorder::new();
    let tls = ftp_server::Tls::self_signed(["127.0.0.1"])?;
    let pin = tls.pin().ok_or("no pin")?;
    let server = Server::builder()
        .storage(files.clone())
        .user("reporter", "secret", Rights::FULL)
        .tls(tls)
        .recorder(&recorder)
        .fault(Verb::Stor, 1, ProtocolFault::Abort { after: 5 })
        .bind("127.0.0.1:0")?;

    deliver(&server.local_addr().to_string(), &pin, "/reports/new.txt", b"all is well")?;

    // The server records events after its replies: wait for them.
    let timeout = Duration::from_secs(30);
    let upload = |end: &str| {
        recorder.wait_for(timeout, |record| {
            record.is_transfer(Verb::Stor, "/reports/new.txt") && record.to_string().ends_with(end)
        })
    };
    let cut = upload("reset, 426")?;
    let whole = upload("close-notify, 226")?;
    assert_ne!(cut.session, whole.session, "the program has connected again");
    assert_eq!(files.get("/reports/new.txt").as_deref(), Some(&b"all is well"[..]));
    assert_eq!(files.files().len(), 2);
    assert!(recorder.commands().contains(&"AUTH TLS".to_owned()), "{:?}", recorder.commands());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    a_report_arrives_whole_though_the_first_upload_is_cut()
}
