//! Downloads several files over up to four connections, or over fewer if the server accepts fewer.
//!
//! `cargo run -p ftp-toolkit-client --example pool -- ftp.example.org me secret a.bin b.bin c.bin`

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ftp_client::{Client, FileOptions, Pool};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [server, user, password, names @ ..] = args.as_slice() else {
        return Err("pool SERVER USER PASSWORD NAME...".into());
    };
    let pool = Pool::new(|| {
        let mut client = Client::builder().connect(server)?;
        client.login(user, password).map(|()| client)
    });
    download(&pool.size(4), names, ".".as_ref())
}

pub(crate) fn download(pool: &Pool<'_>, all: &[String], to: &Path) -> Result<(), Box<dyn Error>> {
    let (options, next) = (FileOptions::new(), AtomicUsize::new(0));
    let work = || -> Result<(), ftp_client::Error> {
        while let Some(name) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            pool.run(&(), |client| client.download_to(name, to.join(name), &options, &()))?;
        }
        Ok(())
    };
    thread::scope(|threads| {
        let all = [(); 4].map(|()| threads.spawn(work));
        all.map(|thread| thread.join().expect("no panic")).into_iter().collect::<Result<(), _>>()
    })?;
    Ok(pool.quit()?)
}
