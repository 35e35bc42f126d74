//! Downloads several files over one connection, reconnecting when it breaks, and shows each
//! further attempt. A download resumes where an earlier attempt stopped.
//!
//! `cargo run -p ftp-toolkit-client --example queue -- ftp.example.org me secret a.bin b.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use ftp_client::{Client, Event, FileOptions, Retry};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [server, user, password, names @ ..] = args.as_slice() else {
        return Err("queue SERVER USER PASSWORD NAME...".into());
    };
    // One limit for everything, pauses and retries included.
    let builder = Client::builder().overall(Some(Duration::from_secs(3_600)));
    let queue = Retry::new(builder, server).login(user.as_str(), password.as_str()).attempts(10);
    let show = |event: Event<'_>| {
        if let Event::Retry { attempt, why, pause } = event {
            println!("attempt {attempt} in {pause:.1?}: {why}");
        }
    };
    download(queue.observer(show), names, ".".as_ref())
}

pub(crate) fn download(mut queue: Retry, all: &[String], to: &Path) -> Result<(), Box<dyn Error>> {
    for name in all {
        let done = queue.download_to(name, to.join(name), &FileOptions::new())?;
        println!("{name}: {} bytes, {} of them from an earlier attempt", done.size, done.resumed);
    }
    queue.run(|client| client.noop())?; // other commands have the same patience
    Ok(queue.quit()?)
}
