//! Downloads several files over one connection, reconnecting when it breaks. Each download resumes
//! where it stopped, even in an earlier run of this program.
//!
//! `cargo run -p ftp-client --example queue -- ftp.example.org me secret a.bin b.bin`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use ftp_client::{Client, FileOptions, Retry, Watch};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [server, user, password, names @ ..] = args.as_slice() else {
        return Err("queue SERVER USER PASSWORD NAME...".into());
    };
    // One limit for everything, pauses and retries included.
    let builder = Client::builder().overall(Some(Duration::from_secs(3_600)));
    let queue = Retry::new(builder, server).login(user.as_str(), password.as_str()).attempts(10);
    download(queue, names, ".".as_ref())
}

pub(crate) fn download(
    mut queue: Retry,
    names: &[String],
    target: &Path,
) -> Result<(), Box<dyn Error>> {
    for name in names {
        let target = target.join(name);
        let done = queue.download_to(name, target, &FileOptions::new(), &mut Watch::new())?;
        println!("{name}: {} bytes, {} from an earlier attempt", done.size, done.resumed);
    }
    queue.quit()?;
    Ok(())
}
