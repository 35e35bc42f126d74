//! Downloads a file and cancels the transfer from another thread after a timeout.
//!
//! `cargo run -p ftp-toolkit-client --example cancel -- ftp://ftp.example.org/pub/large.bin 10`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::io;
use std::thread;
use std::time::Duration;

use ftp_client::{Canceller, Client, FtpUrl};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, seconds] = args.as_slice() else { return Err("cancel URL SECONDS".into()) };
    let done = download(&url.parse()?, Duration::from_secs(seconds.parse()?))?;
    println!("{}", if done { "done" } else { "cancelled" });
    Ok(())
}

/// Returns whether the download finished in time.
pub(crate) fn download(url: &FtpUrl, limit: Duration) -> Result<bool, Box<dyn Error>> {
    let canceller = Canceller::new()?;
    let button = canceller.clone();
    thread::spawn(move || {
        thread::sleep(limit);
        button.cancel();
    });
    let mut client = Client::builder().canceller(canceller).open(url)?;
    let mut file = client.retrieve(url.path())?;
    let done = match io::copy(&mut file, &mut io::sink()).map_err(ftp_client::Error::downcast) {
        Ok(_) => file.finish().map(|_| true)?,
        Err(Ok(ftp_client::Error::Cancelled)) => {
            // The cancel has ended every wait. `abort` can still notify the server, within a
            // second.
            file.abort()?;
            false
        }
        Err(error) => return Err(error?.into()),
    };
    client.quit()?;
    Ok(done)
}
