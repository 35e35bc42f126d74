//! Whole files and trees, on any system: what was interrupted is resumed.
//!
//! `cargo run -p ftp-toolkit-client --example files get|put|down|up LOCAL URL`: `get` and `put` copy a file,
//! `down` and `up` make one tree like the other.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints its result")]

use std::error::Error;

use ftp_client::tree::{SyncOptions, TreeSide, TreeSync};
use ftp_client::{Client, Event, FileOptions, FtpUrl, Pool, Resume};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [action, local, url] = args.as_slice() else {
        return Err("files get|put|down|up LOCAL URL".into());
    };
    println!("{}", run(action, local, &url.parse()?)?);
    Ok(())
}

/// Returns what was done.
pub(crate) fn run(action: &str, local: &str, url: &FtpUrl) -> Result<String, Box<dyn Error>> {
    let options = FileOptions::new().resume(Resume::Proven);
    let done = match action {
        "get" => {
            let mut client = Client::builder().open(url)?;
            let done = client.download_to(url.path(), local, &options, &())?;
            client.quit()?;
            done
        }
        "put" => {
            let mut client = Client::builder().open(url)?;
            let done = client.upload_from(local, url.path(), &options, &())?;
            client.quit()?;
            done
        }
        _ => return tree(action == "down", local, url),
    };
    Ok(format!("{} bytes, {} from an earlier run", done.size, done.resumed))
}

fn tree(is_down: bool, local: &str, url: &FtpUrl) -> Result<String, Box<dyn Error>> {
    let pool = Pool::new(|| Client::builder().open(url));
    let (here, there) = (TreeSide::local(local), TreeSide::remote(&pool, url.path()));
    let (from, to) = if is_down { (&there, &here) } else { (&here, &there) };
    let show = |event: Event<'_>| {
        if let Event::Failed { why, .. } = event {
            eprintln!("{why}");
        }
    };
    let (summary, result) = TreeSync::plan(from, to, &SyncOptions::new(), &show)?.run(&show);
    result?;
    pool.quit()?;
    match summary.failed {
        0 => Ok(format!("{} files copied", summary.copied)),
        failed => Err(format!("{failed} objects failed").into()),
    }
}
