//! Downloads a file and shows a progress bar. Ctrl-C ends the download at once; the next run resumes
//! it.
//!
//! `cargo run -p ftp-toolkit-client --example bar -- ftp://ftp.example.org/pub/a.bin a.bin`
#![expect(clippy::print_stderr, reason = "an example prints its result")]

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use ftp_client::{Canceller, Client, Event, FileOptions, FtpUrl, Resume, WithBytes};

/// Number of characters of a full bar.
const WIDTH: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [url, local] = args.as_slice() else { return Err("bar URL LOCAL".into()) };
    let canceller = Canceller::new()?;
    let button = canceller.clone();
    ctrlc::set_handler(move || button.cancel())?;
    let whole = download(&url.parse()?, local, canceller, |bar| eprint!("\r{bar}"))?;
    eprintln!("{}", if whole { "" } else { "\ncancelled; run the command again to resume" });
    Ok(())
}

/// Returns whether the file is complete: not after a cancel.
pub(crate) fn download(
    url: &FtpUrl,
    local: &str,
    canceller: Canceller,
    show: impl Fn(&str) + Sync,
) -> Result<bool, Box<dyn Error>> {
    let mut client = Client::builder().canceller(canceller).open(url)?;
    let (done, all) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = WithBytes(|event: Event<'_>| match event {
        Event::Begun { at, total, .. } => {
            // After a cancelled run, a part is there already.
            done.store(at, Ordering::Relaxed);
            all.store(total.unwrap_or_default(), Ordering::Relaxed);
        }
        Event::Moved { bytes } => {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            show(&bar(done, all.load(Ordering::Relaxed)));
        }
        _ => {}
    });
    let options = FileOptions::new().resume(Resume::Proven);
    match client.download_to(url.path(), local, &options, &progress) {
        Ok(_) => client.quit().map(|()| true).map_err(Into::into),
        Err(ftp_client::Error::Cancelled) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns the bar for a part of `all` bytes; 0 if the server does not tell how many there are.
fn bar(done: u64, all: u64) -> String {
    let percent = (done * 100).checked_div(all).unwrap_or_default().min(100);
    let full = usize::try_from(percent).unwrap_or_default() * WIDTH / 100;
    format!("[{:<WIDTH$}] {percent} %", "=".repeat(full))
}
