//! A server inside a program: two users, custom settings, a log, and an orderly shutdown.
//!
//! `FTP_ROOT=DIR cargo run -p ftp-server --example embedded` serves DIR on port 2121 of this
//! computer, until standard input has a line or ends. Without `FTP_ROOT` it serves a new directory
//! for a moment.
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use ftp_server::{EventLog, Limits, LogWriter, Rights, Server, ServerConfig};

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(root) = std::env::var_os("FTP_ROOT") {
        let server = start(root.as_ref(), 2_121)?;
        println!("serving on {}; press Enter to stop", server.local_addr());
        io::stdin().read_line(&mut String::new())?;
        stop(server);
    } else {
        let root = tempfile::tempdir()?;
        stop(start(root.path(), 0)?);
    }
    Ok(())
}

/// Starts the server. With port 0, the system chooses a port.
fn start(root: &Path, port: u16) -> Result<Server, Box<dyn Error>> {
    // A separate thread writes the lines, so that no session waits for standard error.
    let log = EventLog::new(LogWriter::start("the log", io::stderr())?);
    let config = ServerConfig::new().limits(Limits::new().per_address(8)).banner("Hello");
    let server = Server::builder()
        .root(root)
        .user("writer", "secret", Rights::FULL)
        .user("reader", "also secret", Rights::READ)
        .config(config)
        .observer(log)
        .bind(("127.0.0.1", port))?;
    Ok(server)
}

/// Stops the server. Running transfers may take up to 10 s more; idle sessions get 421 at once.
fn stop(server: Server) {
    for session in server.sessions() {
        println!("{} is {:?} for {:?}", session.number, session.activity, session.since.elapsed());
    }
    let report = server.shutdown(Duration::from_secs(10));
    println!("{} sessions drained, {} cut, {} stuck", report.drained, report.cut, report.stuck);
}

#[test]
fn the_embedded_server_example_runs() {
    main().unwrap();
}
