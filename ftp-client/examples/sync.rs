//! Makes a directory of a server equal to a local one: uploads what differs, and deletes what only
//! the server has.
//!
//! `cargo run -p ftp-toolkit-client --example sync -- site ftp.example.org me secret www`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints its result")]

use ftp_client::tree::{Summary, SyncOptions, TreeSide, TreeSync};
use ftp_client::{Client, Error, Event, Pool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [site, server, user, password, directory] = args.as_slice() else {
        return Err("sync SITE SERVER USER PASSWORD DIRECTORY".into());
    };
    let pool = Pool::new(|| {
        let mut client = Client::builder().connect(server)?;
        client.login(user, password).map(|()| client)
    });
    let summary = upload_site(site, &pool.size(4), directory)?;
    println!("{} files copied, {} objects deleted", summary.copied, summary.removed);
    (summary.failed == 0).then_some(()).ok_or_else(|| "some objects failed".into())
}

pub(crate) fn upload_site(site: &str, pool: &Pool<'_>, directory: &str) -> Result<Summary, Error> {
    let (from, to) = (TreeSide::local(site), TreeSide::remote(pool, directory));
    let show = |event: Event<'_>| match event {
        Event::Removed { path } => println!("deleted {}", String::from_utf8_lossy(path)),
        Event::Failed { why, .. } => eprintln!("{why}"),
        _ => {}
    };
    let options = SyncOptions::new().deletes(true).jobs(4);
    let (summary, result) = TreeSync::plan(&from, &to, &options, &show)?.run(&show);
    result.and_then(|()| pool.quit()).map(|()| summary)
}
