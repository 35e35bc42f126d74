//! `put LOCAL... URL`: an upload that the server confirmed, or that failed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ftp_client::{Client, Entered, Error, Place, Report, Upload};
use ftp_proto::{FtpUrl, RepresentationType};
use log::LevelFilter;
use rustix::event::{PollFd, PollFlags, poll};

use super::get::{BLOCK, check_size};
use crate::exit::{Exit, Failure};
use crate::json::Object;
use crate::options::Options;
use crate::output;
use crate::progress::{Progress, When, is_talkative};
use crate::remote::{self, Dialler};
use crate::signals::Cleanup;
use crate::stdio::{Messages, Stdio};
use crate::tally::Tally;
use crate::target::shown_path;
use crate::trace;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let Some((url, locals @ [_, ..])) = options.operands.split_last() else {
        return Err(Failure::usage("put needs a file and a URL: ftp-cli put LOCAL... URL"));
    };
    let url = remote::url(url)?;
    let paths = remote_paths(locals, &url)?;
    let dialler = Dialler::from_options(options)?;
    let when = When::from_options(options)?;
    let representation = remote::representation(options, &url);
    let way = match (options.has("append"), options.has("continue")) {
        (true, true) => {
            return Err(Failure::usage("--append and --continue exclude each other"));
        }
        (true, false) => Way::Append,
        (false, true) if representation != RepresentationType::Image => {
            return Err(Failure::usage("--continue counts bytes, which --ascii changes"));
        }
        (false, true) if locals.iter().any(|local| local == "-") => {
            return Err(Failure::usage("--continue needs files, not standard input"));
        }
        (false, true) => Way::Continue,
        (false, false) => Way::Store,
    };
    // A single file that cannot be read is found before anything is sent.
    let mut first = match locals {
        [local] if local != "-" => {
            let named = |failure: Failure| {
                let message = format!("{}: {}", shown_path(Path::new(local)), failure.message);
                Failure { message, ..failure }
            };
            Some(open(local).map_err(named)?)
        }
        _ => None,
    };
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let talkative = is_talkative(options, stdio);
    let cleanup = Cleanup::watch(stdio)?;
    let dialler = dialler.stopped_by(&cleanup);
    let messages = stdio.messages.clone();
    let mut client = dialler.connect(options, &url, &messages)?;
    client.set_representation(representation);
    // All are for the same directory.
    let mut place = match url.is_directory() {
        true => Place::inside(&url, b""),
        false => Place::of(&url),
    };
    let job = Job { when, way, messages: &messages, representation };

    let events = stdio.events.clone();
    let mut tally = Tally::new(locals.len(), "files sent", &messages, &events);
    for (local, path) in locals.iter().zip(&paths) {
        if url.is_directory() {
            place.set_name(last(path));
        }
        let place = &mut place;
        let sent = match first.take() {
            Some(file) => job.file(&mut client, file, place),
            None if local == "-" => {
                let mut input = Interruptible { input: &mut *stdio.input, cleanup: &cleanup };
                job.send(&mut client, &mut Source::Reader(&mut input), place, 0, None)
            }
            None => open(local).and_then(|file| job.file(&mut client, file, place)),
        };
        let shown = match local.as_os_str() {
            local if local == "-" => "standard input".to_owned(),
            local => shown_path(Path::new(local)),
        };
        let item = |object: Object| {
            let object = object.name("source", local.as_bytes());
            object.text("target", &url.to_string())
        };
        match sent {
            Ok(report) => {
                tally.done();
                let done = item(Object::event("done")).number("bytes", report.bytes);
                events.done(done.seconds("seconds", report.duration), report.bytes);
                if talkative {
                    let moved = output::transferred(report.bytes, report.duration);
                    let path = remote::shown(place.path());
                    messages.say(format_args!("{shown} -> {path}: {moved}"));
                }
            }
            Err(failure) => {
                let failure = match failure.exit {
                    Exit::Local => failure.about(&shown),
                    _ => failure.about(format_args!("{shown} to {url}")),
                };
                if tally.failed(failure, item).is_break() {
                    break;
                }
            }
        }
    }
    remote::part(client, tally.fatal());
    tally.finish()
}

/// Where on the server each file goes.
fn remote_paths(locals: &[impl AsRef<OsStr>], url: &FtpUrl) -> Result<Vec<Vec<u8>>, Failure> {
    if !url.is_directory() {
        if locals.len() > 1 {
            return Err(Failure::usage(format!("several files need a URL that ends in /: {url}/")));
        }
        return Ok(vec![url.path().to_vec()]);
    }
    let mut directory = url.path().to_vec();
    if !matches!(directory.last(), None | Some(b'/')) {
        directory.push(b'/');
    }
    let path = |local: &OsStr| {
        if local == "-" {
            return Err(Failure::usage("standard input has no name: the URL must give one"));
        }
        let Some(name) = Path::new(local).file_name() else {
            let local = shown_path(Path::new(local));
            return Err(Failure::usage(format!("\"{local}\" names no file")));
        };
        Ok([directory.as_slice(), name.as_bytes()].concat())
    };
    let paths = locals.iter().map(|local| path(local.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let mut taken = HashSet::new();
    if let Some(path) = paths.iter().find(|path| !taken.insert(path.as_slice())) {
        let path = remote::shown(path);
        return Err(Failure::usage(format!("two files would become {path}, and one be lost")));
    }
    Ok(paths)
}

/// What stands behind the last `/`.
fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Opens a local file. Another try with the next one is always possible.
fn open(local: &OsStr) -> Result<File, Failure> {
    let file = File::open(local).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(ErrorKind::IsADirectory.into()),
        false => Ok(file),
    });
    file.map_err(|error: io::Error| Failure { fatal: false, ..local_failure(&error) })
}

fn local_failure(error: &io::Error) -> Failure {
    Failure::new(Exit::Local, error.to_string())
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    Store,
    Append,
    Continue,
}

struct Job<'a> {
    when: When,
    way: Way,
    messages: &'a Messages,
    representation: RepresentationType,
}

impl Job<'_> {
    fn file(
        &self,
        client: &mut Client,
        mut file: File,
        place: &mut Place,
    ) -> Result<Report, Failure> {
        let metadata = file.metadata().map_err(|error| local_failure(&error))?;
        let length = metadata.is_file().then_some(metadata.len());
        let mut offset = 0;
        if self.way == Way::Continue {
            let Some(length) = length else {
                return Err(Failure::usage("--continue needs a regular file"));
            };
            offset = client.size(place.path())?.unwrap_or(0);
            if offset > length {
                let message = format!("the server's file is longer: {offset} bytes, not {length}");
                return Err(Failure { fatal: false, ..Failure::new(Exit::Integrity, message) });
            }
            file.seek(SeekFrom::Start(offset)).map_err(|error| local_failure(&error))?;
        }
        self.send(client, &mut Source::File(&file), place, offset, length)
    }

    /// Sends `source`, which is to become what stands behind byte `offset`.
    fn send(
        &self,
        client: &mut Client,
        source: &mut Source<'_>,
        place: &mut Place,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Report, Failure> {
        let report = loop {
            let error = match self.attempt(client, place.path(), source, offset, length) {
                Ok(report) => break report?,
                Err(error) => error,
            };
            match place.enter(client, &error)? {
                Entered::There => {}
                Entered::Nowhere => return Err(error.into()),
                Entered::HalfWay => return Err(Failure { fatal: true, ..Failure::from(error) }),
            }
        };
        if self.way != Way::Append && self.representation == RepresentationType::Image {
            check_size(client, place.path(), offset + report.bytes)?;
        }
        Ok(report)
    }

    /// `Err` if the upload could not begin, `Ok(Err)` if it could not end.
    fn attempt(
        &self,
        client: &mut Client,
        path: &[u8],
        source: &mut Source<'_>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Result<Report, Failure>, Error> {
        let upload = match self.way {
            Way::Append => client.append(path)?,
            // As curl does: APPE where servers refuse REST before STOR.
            Way::Continue if offset > 0 => client.append(path)?,
            Way::Continue | Way::Store => client.store(path)?,
        };
        let name = remote::shown(path);
        let progress = Progress::start(self.when, self.messages, &name, offset, length);
        Ok(pump(upload, source, &progress))
    }
}

/// Where the bytes of an upload come from.
enum Source<'a> {
    /// A local file, which the client can send at once.
    File(&'a File),
    Reader(&'a mut dyn Read),
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Reader(reader) => reader.read(buffer),
        }
    }
}

/// Standard input, with a read that a signal ends: whoever writes to the pipe may never do so.
struct Interruptible<'a> {
    input: &'a mut dyn Read,
    cleanup: &'a Cleanup,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(canceller) = self.cleanup.canceller() {
            let stdin = io::stdin();
            let mut fds =
                [PollFd::new(canceller, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
            poll(&mut fds, None)?;
            if canceller.is_cancelled() {
                return Err(io::Error::other("interrupted"));
            }
        }
        self.input.read(buffer)
    }
}

fn pump(
    mut upload: Upload<'_>,
    source: &mut Source<'_>,
    progress: &Progress,
) -> Result<Report, Failure> {
    if let (Source::File(file), true) = (&source, progress.is_hidden()) {
        return match upload.send_file(file).map_err(Error::recover) {
            Ok(_) => Ok(upload.finish()?),
            // The server's reason is in its reply, not in the broken connection.
            Err(Ok(error)) => Err(Failure::from(&upload.finish().err().unwrap_or(error))),
            Err(Err(error)) => {
                // Not a short file that the server takes for a whole one.
                let fatal = upload.abort().is_err();
                Err(Failure { fatal, ..local_failure(&error) })
            }
        };
    }
    let mut block = vec![0; BLOCK];
    loop {
        let length = match source.read(&mut block) {
            Ok(0) => return Ok(upload.finish()?),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                // Not a short file that the server takes for a whole one.
                let fatal = upload.abort().is_err();
                return Err(Failure { fatal, ..local_failure(&error) });
            }
        };
        if let Err(error) = upload.write_all(block.get(..length).unwrap_or_default()) {
            // The server's reason is in its reply, not in the broken connection.
            return Err(match (upload.finish(), Error::recover(error)) {
                (Err(error), _) | (Ok(_), Ok(error)) => Failure::from(&error),
                (Ok(_), Err(error)) => Failure::from(&Error::Io(error)),
            });
        }
        progress.add(length as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_paths_take_the_name_of_the_file() {
        for (url, locals, want) in [
            ("ftp://h/dir/", &["a", "./x/b"][..], Some("dir/a dir/b")),
            ("ftp://h/", &["/tmp/a"], Some("a")),
            ("ftp://h/%2Fabs/", &["a"], Some("/abs/a")),
            ("ftp://h/dir;type=d", &["a"], Some("dir/a")),
            ("ftp://h/name", &["a"], Some("name")),
            ("ftp://h/name", &["-"], Some("name")),
            ("h:dir/", &["a"], Some("dir/a")),
            ("ftp://h/name", &["a", "b"], None),
            ("ftp://h/dir/", &["-"], None),
            ("ftp://h/dir/", &["x/.."], None),
            ("ftp://h/dir/", &["a", "b", "x/a"], None),
            ("ftp://h/dir/", &["/"], None),
        ] {
            let paths = remote_paths(locals, &FtpUrl::parse(url.as_bytes()).unwrap());
            let joined = paths.ok().map(|paths| {
                paths.iter().map(|path| remote::shown(path)).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(joined.as_deref(), want, "{url} {locals:?}");
        }
    }
}
