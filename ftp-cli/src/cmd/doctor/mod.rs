//! `doctor URL`: examines all ways to use a server, and reports what each problem means, which side
//! can fix it, and how. Connects only to the named server or the proxy. If the URL asks for TLS,
//! sends nothing secret unencrypted.
//!
//! `probes` has the table of all probes: each runs, which records observations, and is judged from
//! these observations alone. `finding` has the table of all problems. One deadline covers
//! everything, and no long wait takes more than a share of the remaining time (`dial`).

mod abilities;
mod addresses;
mod advice;
mod data_connections;
mod dial;
mod finding;
mod login;
mod path;
mod places;
mod ports;
mod probes;
mod report;
mod tls;
mod upload;
mod watch;

use std::path::Path;
use std::time::Duration;

use self::dial::Asked;
use self::finding::Finding;
use self::report::Shown;
use crate::connect::Finder;
use crate::console::{Cleanup, Stdio};
use crate::exit::{Failure, Result};
use crate::options::{Options, parse_url, values};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("doctor takes one URL: ftp-cli doctor URL"));
    };
    let url = parse_url(url)?;
    let asked = Asked::new(options, &url)?;
    let interval = options.parsed("watch", values::waiting_time)?;
    let interval = options.has("watch").then(|| interval.unwrap_or(watch::PAUSE));
    let credentials = Finder::new(options, &stdio.messages).find(&url)?;
    let cleanup = Cleanup::start(options, stdio)?;
    let mut before: Option<Vec<Finding>> = None;
    loop {
        let shown = match &before {
            Some(_) => Shown::Nothing,
            None if options.is_quiet() => Shown::Problems,
            None => Shown::All,
        };
        let done = asked.examine_once(&credentials, &cleanup, stdio, shown)?;
        if let Some(before) = &before {
            watch::tell(before, &done.findings, options.is_quiet(), stdio)?;
        }
        // The best command line is the last line of the output, after the changes.
        if let Some(command) = &done.command
            && (before.is_none() || done.outcome.is_ok())
        {
            report::best(command, stdio)?;
        }
        if let Some(path) = options.value("report") {
            report::write(Path::new(path), options, &url, &credentials, &done)?;
        }
        match interval {
            Some(interval) if watch::may_pass(&done.outcome) => {
                watch::pause(interval, asked.dialler.left(), &cleanup)?;
                if asked.dialler.left() == Some(Duration::ZERO) {
                    return done.outcome;
                }
            }
            _ => return done.outcome,
        }
        before = Some(done.findings);
    }
}
