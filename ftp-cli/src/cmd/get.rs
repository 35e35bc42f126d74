//! `get URL [LOCAL]`: a download that is whole, or did not happen.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ftp_client::{Client, Download, Entered, Error, Place};
use ftp_proto::{FtpUrl, RepresentationType};
use log::LevelFilter;

use crate::exit::{Exit, Failure};
use crate::json::Object;
use crate::options::Options;
use crate::output;
use crate::progress::{Progress, When, is_talkative};
use crate::remote::{self, Dialler};
use crate::session::Sessions;
use crate::signals::Cleanup;
use crate::sink::Sink;
use crate::stdio::{Messages, Stdio};
use crate::target::{self, Beginning, Target};
use crate::trace;

/// How much is moved at once.
pub(crate) const BLOCK: usize = 256 * 1_024;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let (url, local) = match options.operands.as_slice() {
        [url] => (url, None),
        [url, local] => (url, Some(local.as_os_str())),
        [] => return Err(Failure::usage("get needs a URL: ftp-cli get URL [LOCAL]")),
        _ => return Err(Failure::usage("get takes one URL and one LOCAL at most")),
    };
    let url = remote::url(url)?;
    if url.is_directory() {
        return Err(Failure::usage(format!("{url} names a directory; ftp-cli ls lists it")));
    }
    let dialler = Dialler::from_options(options)?;
    let when = When::from_options(options)?;
    let representation = remote::representation(options, &url);
    let target = Target::find(local, url.path())?;
    let when = match (&target, when) {
        // It would stand in the middle of the data.
        (Target::Output, When::Auto) if stdio.output_is_terminal => When::Never,
        _ => when,
    };
    let resumes = options.has("continue");
    if resumes && representation != RepresentationType::Image {
        return Err(Failure::usage("--continue counts bytes, which --ascii changes"));
    }
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let messages = stdio.messages.clone();
    let talkative = is_talkative(options, stdio);
    let cleanup = Cleanup::watch(stdio)?;
    let dialler = dialler.stopped_by(&cleanup);
    let job = Job { url: &url, when, messages: &messages, representation };

    let events = stdio.events.clone();
    if matches!(target, Target::Output) {
        events.leave_output(&messages);
    }
    let mut sessions = Sessions::with(options, dialler, messages.clone());

    let done = if resumes {
        let Target::File(path) = target else {
            return Err(Failure::usage("--continue needs a regular local file"));
        };
        let done = job.resume(sessions.client(&url)?, &path);
        sessions.part(done.as_ref().err());
        done?
    } else {
        let sink = Sink::open(target, &mut *stdio.output, &cleanup)?;
        let done = job.whole(sessions.client(&url)?, sink, 0, None);
        sessions.part(done.as_ref().err());
        done?
    };
    let Done { name, bytes, time } = done;
    let object = Object::event("done").text("source", &url.to_string()).text("target", &name);
    events.done(object.number("bytes", bytes).seconds("seconds", time), bytes);
    if talkative {
        let path = remote::shown(url.path());
        messages.say(format_args!("{path} -> {name}: {}", output::transferred(bytes, time)));
    }
    Ok(())
}

struct Job<'a> {
    url: &'a FtpUrl,
    when: When,
    messages: &'a Messages,
    representation: RepresentationType,
}

struct Done {
    name: String,
    bytes: u64,
    time: Duration,
}

impl Job<'_> {
    /// Downloads from byte `offset` on, what comes before it being in the sink; `size` is that of
    /// the whole file, if it is known.
    fn whole(
        &self,
        client: &mut Client,
        mut sink: Sink<'_>,
        offset: u64,
        size: Option<u64>,
    ) -> Result<Done, Failure> {
        client.set_representation(self.representation);
        let mut place = Place::of(self.url);
        let moved = loop {
            match self.attempt(client, place.path(), &mut sink, (offset, size)) {
                Ok(moved) => break moved?,
                Err(error) if place.enter(client, &error)? == Entered::There => {}
                Err(error) => return Err(self.refused(&error)),
            }
        };
        let came = offset + moved.bytes;
        if let Some(size) = size.filter(|size| *size != came) {
            return Err(self.named(wrong_size(came, size)));
        }
        if !moved.is_known && size.is_none() && self.representation == RepresentationType::Image {
            // Best effort: many servers do not tell.
            check_size(client, place.path(), came).map_err(|failure| self.named(failure))?;
        }
        let name = sink.shown();
        sink.commit()?;
        Ok(Done { name, bytes: moved.bytes, time: moved.time })
    }

    /// `Err` if the download could not begin, `Ok(Err)` if it could not end.
    fn attempt(
        &self,
        client: &mut Client,
        path: &[u8],
        sink: &mut Sink<'_>,
        (offset, size): (u64, Option<u64>),
    ) -> Result<Result<Moved, Failure>, Error> {
        let download = match offset {
            0 => client.retrieve(path)?,
            _ => client.retrieve_from(path, offset)?,
        };
        Ok(self.pump(download, sink, offset, size))
    }

    fn pump(
        &self,
        mut download: Download<'_>,
        sink: &mut Sink<'_>,
        offset: u64,
        size: Option<u64>,
    ) -> Result<Moved, Failure> {
        let announced = download.announced();
        let name = remote::shown(self.url.path());
        // From an offset on, some servers announce the rest and some the whole.
        let total = size.or(announced.filter(|_| offset == 0));
        let progress = Progress::start(self.when, self.messages, &name, offset, total);
        let mut block = vec![0; BLOCK];
        loop {
            let length = match download.read(&mut block) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => {
                    drop(progress);
                    let bytes = download.transferred();
                    // What the server says to it is worth more than a broken connection.
                    let failure = match (download.finish(), Error::recover(error)) {
                        (Err(error), _) | (Ok(_), Ok(error)) => Failure::from(&error),
                        (Ok(_), Err(error)) => Failure::from(&Error::Io(error)),
                    };
                    return Err(self.cut(failure, sink, bytes));
                }
            };
            if let Err(error) = sink.write_all(block.get(..length).unwrap_or_default()) {
                drop(progress);
                let what = sink.shown();
                // Nobody waits for more, so nobody waits for the server to have understood it.
                if error.kind() != ErrorKind::BrokenPipe {
                    let _ = download.abort();
                }
                return Err(Failure::local(what, &error));
            }
            progress.add(length as u64);
        }
        drop(progress);
        let bytes = download.transferred();
        match download.finish() {
            Ok(report) => Ok(Moved {
                bytes: report.bytes,
                time: report.duration,
                is_known: announced.is_some(),
            }),
            Err(error) => Err(self.cut(Failure::from(&error), sink, bytes)),
        }
    }

    fn refused(&self, error: &Error) -> Failure {
        self.named(Failure::from(error))
    }

    /// Says which file it was about.
    fn named(&self, mut failure: Failure) -> Failure {
        failure.message = format!("{}: {}", self.url, failure.message);
        failure
    }

    /// Says what became of the bytes that came.
    fn cut(&self, mut failure: Failure, sink: &Sink<'_>, bytes: u64) -> Failure {
        let rest = match sink {
            Sink::Part(part) => {
                let part = target::shown_path(&part.path);
                format!("; {part} keeps what came, --continue goes on there")
            }
            Sink::InPlace(..) => "; --continue goes on there".to_owned(),
            Sink::Replacing(_) if bytes > 0 => {
                "; nothing was kept, with --continue it would be".to_owned()
            }
            _ => String::new(),
        };
        failure.message = format!("{}: {}{rest}", self.url, failure.message);
        failure
    }

    /// `--continue`: goes on where `NAME.part`, or else a shorter file, ends. That takes a SIZE
    /// that is not smaller, and no MDTM after the last write here; otherwise it starts anew
    /// (RFC 3659 §5.3 leaves it to the client to know that both are the same file).
    fn resume(&self, client: &mut Client, path: &Path) -> Result<Done, Failure> {
        let part = target::part_of(path);
        let kept = target::beginning(&part)?;
        let shorter = match &kept {
            Some(_) => None,
            None => target::beginning(path)?,
        };
        let Some(start) = kept.as_ref().or(shorter.as_ref()).filter(|start| start.length > 0)
        else {
            return self.whole(client, Sink::part(path.to_owned(), 0, 0)?, 0, None);
        };
        client.set_representation(RepresentationType::Image);
        let remote = self.url.path();
        let size = client.size(remote).map_err(|error| self.refused(&error))?;
        let fits = match size {
            Some(size) if start.length <= size => self.is_unchanged(client, start)?,
            _ => false,
        };
        let offset = if fits { start.length } else { 0 };
        let is_whole = fits && size == Some(offset);
        let sink = match &kept {
            None if fits => Sink::in_place(path.to_owned(), offset)?,
            _ => {
                let length = kept.as_ref().map_or(0, |kept| kept.length);
                Sink::part(path.to_owned(), length, offset)?
            }
        };
        if is_whole {
            let name = sink.shown();
            sink.commit()?;
            return Ok(Done { name, bytes: 0, time: Duration::ZERO });
        }
        if !fits {
            let name = target::shown_path(if kept.is_some() { &part } else { path });
            log::debug!("{name} is not known to be the beginning of the file: starting anew");
        }
        self.whole(client, sink, offset, size.filter(|_| fits))
    }

    fn is_unchanged(&self, client: &mut Client, start: &Beginning) -> Result<bool, Failure> {
        let there = client.modified(self.url.path()).map_err(|error| self.refused(&error))?;
        let Some(there) = there else { return Ok(true) };
        let here = start.modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let here = here.and_then(|time| i64::try_from(time.as_secs()).ok());
        Ok(here.is_some_and(|here| there.unix_seconds() <= here))
    }
}

/// What a transfer moved.
struct Moved {
    bytes: u64,
    time: Duration,
    /// Whether the server had said how much there would be.
    is_known: bool,
}

/// Asks for the size of the file at `path`, and compares if the server tells.
///
/// # Errors
///
/// `Integrity` if it is not `bytes`.
pub(crate) fn check_size(client: &mut Client, path: &[u8], bytes: u64) -> Result<(), Failure> {
    // The transfer itself was confirmed: whatever goes wrong now takes nothing from that.
    match client.size(path) {
        Ok(Some(size)) if size != bytes => Err(wrong_size(bytes, size)),
        _ => Ok(()),
    }
}

fn wrong_size(bytes: u64, size: u64) -> Failure {
    let message = format!("{bytes} bytes are here, the server says {size}");
    Failure { fatal: false, ..Failure::new(Exit::Integrity, message) }
}
