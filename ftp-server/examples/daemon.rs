//! A daemon inside a program: serves a configuration file, with everything that the file names, such
//! as users, hooks and metrics. Each line on standard input reloads the file; the end stops the
//! daemon.
//!
//! `cargo run -p ftp-server --features daemon --example daemon -- server.toml` serves the file.
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::io::BufRead;
use std::path::Path;

use ftp_server::daemon::{Config, Daemon};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: daemon FILE")?;
    serve(path.as_ref(), std::io::stdin().lock(), |_| {})
}

fn serve(path: &Path, input: impl BufRead, act: impl Fn(&Daemon)) -> Result<(), Box<dyn Error>> {
    let daemon = Daemon::start(Config::read(path)?)?;
    println!("listening on {:?}", daemon.local_addrs());
    act(&daemon);
    for _ in input.lines() {
        println!("{}", daemon.apply(Config::read(path)?)?);
        act(&daemon);
    }
    daemon.stop();
    Ok(daemon.join()?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use ftp_server::PasswordHash;
    use ftp_tests::raw::RawSession;
    use ftp_tests::root::TempRoot;
    use ftp_tests::wait::wait_until;

    use super::*;

    #[test]
    fn the_daemon_example_serves_a_file_with_hooks_metrics_and_reload() {
        let root = TempRoot::new();
        let (file, stored, metrics) = (root.join("toml"), root.join("hook"), root.join("metrics"));
        fs::create_dir(root.join("files")).unwrap();
        let write = |banner: &str| {
            let hash = PasswordHash::new(b"secret").unwrap();
            let text = format!(
                "[server]\nbanner = \"{banner}\"\n[listen]\naddresses = [\"127.0.0.1:0\"]\n\
                 [hooks]\nstored = [\"/usr/bin/touch\", {stored:?}]\n\
                 [metrics]\nlisten = \"unix:{}\"\n[users.anna]\npassword = \"{hash}\"\n\
                 root = {:?}\nrights = \"full\"\n",
                metrics.display(),
                root.join("files"),
            );
            fs::write(&file, text).unwrap();
        };
        let threads = || fs::read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        write("first");
        let runs = Cell::new(0);
        serve(&file, &b"\n"[..], |daemon| {
            runs.set(runs.get() + 1);
            let address = daemon.local_addrs()[0];
            let greeting = RawSession::greeting(address).unwrap().text();
            assert!(
                greeting.contains(if runs.get() == 1 { "first" } else { "second" }),
                "{greeting}"
            );
            let mut session = RawSession::login(address, "anna", "secret");
            session.upload("STOR file", b"content");
            wait_until("the hook", || stored.exists());
            let mut page = String::new();
            let mut stream = UnixStream::connect(&metrics).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            stream.read_to_string(&mut page).unwrap();
            assert!(page.contains("ftp_logins_total{result=\"accepted\"}"), "{page}");
            fs::remove_file(&stored).unwrap();
            write("second");
        })
        .unwrap();
        assert_eq!(runs.get(), 2);
        wait_until("all threads of the daemon have ended", || threads() == before);
    }
}
