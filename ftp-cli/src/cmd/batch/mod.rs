//! `batch URL [FILE|-]`: a queue of commands over one control connection, one a line.

mod count;
mod line;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ftp_client::{Client, ListOptions, Place};
use ftp_proto::{Escaped, FtpUrl, Pathname, ReplyCode, RepresentationType};
use log::LevelFilter;

use self::count::{Count, tell};
use self::line::Order;
use super::{chmod, ls, mkdir, put, quote, rm, stat};
use crate::connect::sessions::Sessions;
use crate::console::output::ResultLines;
use crate::console::progress::When;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::display::{shown, shown_path};
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::urls;
use crate::remote::path;
use crate::remote::show_entry;
use crate::report::for_each_url::{Outcome, Reporter};
use crate::report::json::Object;
use crate::transfer::context::{Context, RemoteFile};
use crate::transfer::download::download;
use crate::transfer::options::{TransferOptions, Verify};
use crate::transfer::target::{Target, name_of};
use crate::transfer::upload::{Interruptible, Source, upload};

/// A longer line is no command.
const LINE: u64 = 64 * 1_024;

/// A file is read, and understood, before its first command is sent; this is how long it may be.
const FILE: u64 = 64 << 20;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let (url, script) = match options.operands.as_slice() {
        [url] => (url, OsStr::new("-")),
        [url, script] => (url, script.as_os_str()),
        _ => {
            return Err(Failure::usage("batch takes a URL and a file: ftp-cli batch URL [FILE|-]"));
        }
    };
    let url = urls::parse(url)?;
    let settings = TransferOptions::from_options(options)?;
    let representation = settings.representation(&url)?;
    let script = match script {
        script if script == "-" => None,
        script => Some(read(script)?),
    };
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let input = std::mem::replace(&mut stdio.input, Box::new(io::empty()));
    let files = script.as_deref().map_or(1, |script| {
        let moves =
            |(_, order): &&(usize, Order)| matches!(order, Order::Get { .. } | Order::Put { .. });
        script.iter().filter(moves).count()
    });
    let shape = (When::from_options(options)?, files, None);
    let mut queue = Queue {
        sessions: Sessions::new(options, stdio, &cleanup)?,
        context: Context::new(options, stdio, &settings, &cleanup, shape),
        told: Reporter::new(options, stdio),
        lines: stdio.lines(options),
        terminal: stdio.output_is_terminal && !options.has("raw-names"),
        url: &url,
        representation,
        went: Vec::new(),
        is_full: false,
        astray: None,
        returns: None,
    };
    let mut count = Count::new(options.has("stop-on-error"));
    match script {
        Some(script) => {
            let mut orders = script.into_iter();
            for (number, order) in orders.by_ref() {
                let done = queue.act(number, &order);
                if count.add(&queue.told, number, done).is_break() {
                    break;
                }
            }
            count.leave(orders.len());
        }
        None => {
            let mut input = input;
            let input = Interruptible { input: &mut *input, cleanup: &cleanup };
            let mut input = BufReader::new(input);
            for number in 1_usize.. {
                let done = match next(&mut input) {
                    Ok(None) => break,
                    Ok(Some(line)) => match Order::parse(&line) {
                        Ok(None) => continue,
                        Ok(Some(order)) => queue.act(number, &order),
                        Err(failure) => {
                            queue.misread(number, &line);
                            Err(failure)
                        }
                    },
                    Err(failure) => Err(failure),
                };
                if count.add(&queue.told, number, done).is_break() {
                    break;
                }
            }
        }
    }
    queue.sessions.quit(count.fatal());
    count.finish(&queue.told, options.is_quiet())
}

/// Reads all lines of a file.
///
/// # Errors
///
/// `Usage` with the line for what is no command, before anything is done; `Local`.
fn read(script: &OsStr) -> Result<Vec<(usize, Order)>, Failure> {
    let name = shown_path(Path::new(script));
    let mut text = Vec::new();
    let read = File::open(script).and_then(|file| file.take(FILE + 1).read_to_end(&mut text));
    read.and_then(|_| match text.len() as u64 > FILE {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => Ok(()),
    })
    .map_err(|error| Failure::local(&name, &error))?;
    let mut orders = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let order =
            Order::parse(line).map_err(|failure| failure.about(format_args!("{name}:{number}")))?;
        orders.extend(order.map(|order| (number, order)));
    }
    Ok(orders)
}

/// The next line of standard input, without its end.
fn next(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let read = input.take(LINE).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::local("standard input", &error))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() as u64 == LINE {
        return Err(Failure::usage("the line is too long: nothing behind it is read"));
    }
    Ok(Some(line))
}

/// The connection, and what lines changed for those behind them.
struct Queue<'a> {
    sessions: Sessions<'a>,
    context: Context<'a>,
    told: Reporter,
    lines: ResultLines,
    terminal: bool,
    url: &'a FtpUrl,
    representation: RepresentationType,
    /// Where `cd` went, for a connection that has to be made anew.
    went: Vec<Vec<u8>>,
    /// The server has no space left for uploads.
    is_full: bool,
    /// The line of a `cd` that failed: names behind it are meant in another directory than the
    /// session is in.
    astray: Option<usize>,
    /// Whether the server tells where the session is, once that was asked.
    returns: Option<bool>,
}

/// What a line does to each of its paths.
type Act<'a, 'q> = dyn FnMut(&mut Queue<'q>, &[u8]) -> Result<Outcome, Failure> + 'a;

impl<'a> Queue<'a> {
    /// Does what a line says. A failure ends the queue only if no connection can be had.
    fn act(&mut self, number: usize, order: &Order) -> Result<(), Failure> {
        if let Some(line) = self.astray.filter(|_| order.is_relative()) {
            let message = format!("not tried: line {line} did not lead to where this is meant");
            return Err(Failure::new(Exit::Refused, message).alone());
        }
        if let Err(failure) = self.client() {
            return Err(failure.fatal_if(true));
        }
        if order.may_enter() && self.returns.is_none() {
            self.returns = Some(self.client()?.pwd().is_ok());
        }
        let done = self.order(number, order);
        if order.may_enter() && self.returns == Some(false) {
            // It may be anywhere now, and the next line is about where it was.
            self.sessions.drop_client(self.url);
        }
        let Err(failure) = &done else { return done };
        if failure.fatal && !failure.is_signal() {
            let is_full =
                [ReplyCode::NO_SPACE, ReplyCode::OVER_QUOTA].map(|code| Some(code.value()));
            match is_full.contains(&failure.code) && matches!(order, Order::Put { .. }) {
                true => self.is_full = true,
                // The next line gets a new one.
                false => self.sessions.drop_client(self.url),
            }
        }
        done.map_err(|failure| match failure.is_signal() {
            true => failure,
            false => failure.alone(),
        })
    }

    /// As [`connected`].
    fn client(&mut self) -> Result<&mut Client, Failure> {
        connected(&mut self.sessions, self.url, &self.went)
    }

    /// A line that is no command may have been meant as a `cd`.
    fn misread(&mut self, number: usize, line: &[u8]) {
        if line.trim_ascii_start().starts_with(b"cd") {
            self.astray = Some(number);
        }
    }

    fn order(&mut self, number: usize, order: &Order) -> Result<(), Failure> {
        match order {
            Order::Get { remote, local } => self.get(number, remote, local.as_deref()),
            Order::Put { local, remote } => self.put(number, local, remote.as_deref()),
            Order::Ls { long, all, recursive, path } => {
                let list = ListOptions { all: *all, ..ListOptions::default() };
                let how = ls::How { list, long: *long, recursive: *recursive };
                let mut lister = ls::Lister {
                    how,
                    pattern: None,
                    lines: ResultLines::new(self.context.output.clone(), self.terminal),
                    messages: self.told.messages.clone(),
                    events: self.told.events.clone(),
                    shown: 0,
                    left_out: None,
                };
                let listed = lister.list(self.client()?, Place::at(path));
                let listed = listed.map_err(|failure| failure.about(shown(path)));
                lister.finish(listed, &shown(path))
            }
            Order::Stat(paths) => self.each(number, paths, &mut |queue, path| {
                let entry = stat::stat(queue.client()?, path, ListOptions::default().form)?;
                if queue.told.events.is_on() {
                    queue.told.events.tell(&|| show_entry::event(path, &entry));
                    return Ok(Outcome::Done("found"));
                }
                for line in show_entry::lines(path, &entry) {
                    queue.lines.print(&line)?;
                }
                queue.lines.flush()?;
                Ok(Outcome::Reported)
            }),
            Order::Rm { recursive, force, paths } => {
                self.each(number, paths, &mut |queue, path| {
                    is_named(path)?;
                    let as_directory = path.ends_with(b"/");
                    let how = rm::How { recursive: *recursive, force: *force, as_directory };
                    let client = connected(&mut queue.sessions, queue.url, &queue.went)?;
                    rm::remove(client, queue.url, Place::at(path), how, &queue.told)
                })
            }
            Order::Mkdir { parents, paths } => self.each(number, paths, &mut |queue, path| {
                Ok(mkdir::make(queue.client()?, path, *parents)?)
            }),
            Order::Rmdir(paths) => self.each(number, paths, &mut |queue, path| {
                is_named(path)?;
                queue.client()?.rmdir(path)?;
                Ok(Outcome::Done("removed"))
            }),
            Order::Mv { from, to } => {
                self.each(number, std::slice::from_ref(from), &mut |queue, from| {
                    let to = match to.as_slice() {
                        [.., b'/'] => path::join(to, path::split(from).1),
                        to => to.to_vec(),
                    };
                    queue.client()?.rename(from, &to)?;
                    Ok(Outcome::Done("moved"))
                })
            }
            Order::Chmod { mode, paths } => {
                let mode = chmod::Mode::read(mode)?;
                self.each(number, paths, &mut |queue, path| mode.put(queue.client()?, path))
            }
            Order::Cd(path) => {
                if let Err(error) = self.client()?.cwd(path) {
                    self.astray = Some(number);
                    return Err(Failure::from(error).about(shown(path)));
                }
                self.went_to(path);
                Ok(())
            }
            Order::Ascii if self.counts_bytes() => {
                let message = "ascii changes bytes, which --continue and --verify count";
                Err(Failure::usage(message).alone())
            }
            Order::Ascii => {
                self.representation = RepresentationType::Ascii;
                Ok(())
            }
            Order::Binary => {
                self.representation = RepresentationType::Image;
                Ok(())
            }
            Order::Quote(command) => {
                let leads_to = line::leads_to(command);
                let command = quote::command(command)?;
                let client = connected(&mut self.sessions, self.url, &self.went)?;
                let done = quote::quote(client, &command, &mut self.lines, &self.told.events);
                match (leads_to, &done) {
                    (Some(path), Ok(())) => self.went_to(path),
                    (Some(_), Err(_)) => self.astray = Some(number),
                    (None, _) => {}
                }
                done
            }
        }
    }

    /// The session is in another directory, and so will be one that takes its place.
    fn went_to(&mut self, path: &[u8]) {
        self.astray = None;
        if path.starts_with(b"/") {
            self.went.clear();
        }
        self.went.push(path.to_vec());
    }

    fn counts_bytes(&self) -> bool {
        let settings = self.context.settings;
        settings.resume || matches!(settings.verify, Verify::Size | Verify::Hash)
    }

    /// Does the same to each path. The last failure is the line's; those before are said here.
    fn each(
        &mut self,
        number: usize,
        paths: &[Vec<u8>],
        act: &mut Act<'_, 'a>,
    ) -> Result<(), Failure> {
        let mut last = Ok(());
        for path in paths {
            let name = shown(path);
            let event = || Object::event("done").name("name", path).number("line", number as u64);
            match act(self, path) {
                Ok(became) => self.told.became(became, &name, &event),
                Err(failure) => {
                    let fatal = failure.fatal;
                    if let Err(before) = std::mem::replace(&mut last, Err(failure.about(name))) {
                        tell(&self.told, number, before);
                    }
                    if fatal {
                        break;
                    }
                }
            }
        }
        last
    }

    fn get(&mut self, number: usize, path: &[u8], local: Option<&[u8]>) -> Result<(), Failure> {
        Pathname::new(path).map_err(|error| Failure::usage(error.to_string()).alone())?;
        let settings = self.context.settings;
        let target = Target::find(local.map(OsStr::from_bytes), path, settings.create_directories)
            .map_err(Failure::alone)?;
        let is_file = matches!(target, Target::File(_));
        if (settings.resume || settings.preserve || settings.in_place) && !is_file {
            let message = "--continue, --preserve and --in-place need a regular local file";
            return Err(Failure::usage(message).alone());
        }
        let (name, here) = (shown(path), target.name().to_vec());
        let about = |object: Object| {
            object.name("source", path).name("target", &here).number("line", number as u64)
        };
        let Self { sessions, context, url, went, representation, .. } = self;
        let done = settings.retrying.persist(&context.witness(), &about, |anew| {
            let client = connected(sessions, url, went)?;
            let place = Place::at(path);
            let mut remote = RemoteFile { place, name: &name, representation: *representation };
            let done = download(context, client, &mut remote, &target, (anew, &about));
            drop_broken(sessions, url, &done);
            done
        })?;
        self.context.report(&done, &name, &Escaped(&here), &about);
        Ok(())
    }

    fn put(&mut self, number: usize, local: &[u8], path: Option<&[u8]>) -> Result<(), Failure> {
        if self.is_full {
            let message = "not tried: the server has no space left for uploads";
            return Err(Failure::new(Exit::Temporary, message).alone());
        }
        let here = shown(local);
        let named = |failure: Failure| failure.about(&here);
        let name = name_of(local)?.as_bytes();
        let path = match path {
            None => name.to_vec(),
            Some(path) if path.ends_with(b"/") => path::join(path, name),
            Some(path) => path.to_vec(),
        };
        let file = put::open(OsStr::from_bytes(local)).map_err(|failure| named(failure).alone())?;
        let is_regular = put::is_regular(&file);
        let name = shown(&path);
        let about = |object: Object| {
            object.name("source", local).name("target", &path).number("line", number as u64)
        };
        let Self { sessions, context, url, went, representation, .. } = self;
        let mut stream = &file;
        let done = context.settings.retrying.persist(&context.witness(), &about, |anew| {
            let client = connected(sessions, url, went)?;
            let mut source = match is_regular {
                true => Source::File(&file),
                false => Source::stream(&mut stream),
            };
            let place = Place::at(&path);
            let mut remote = RemoteFile { place, name: &name, representation: *representation };
            let done = upload(context, client, &mut remote, &mut source, (anew, &about));
            drop_broken(sessions, url, &done);
            done
        });
        let done = done.map_err(named)?;
        self.context.report(&done, &here, &name, &about);
        Ok(())
    }
}

/// The client, in the directory of the URL and where `went` leads from there.
fn connected<'c>(
    sessions: &'c mut Sessions<'_>,
    url: &FtpUrl,
    went: &[Vec<u8>],
) -> Result<&'c mut Client, Failure> {
    let (client, is_new) = sessions.client_as_it_is(url)?;
    if is_new {
        let first = Some(url.path()).filter(|path| !path.is_empty());
        for directory in first.into_iter().chain(went.iter().map(Vec::as_slice)) {
            client.cwd(directory).map_err(|error| {
                Failure::from(error).about(format_args!("{url}: {}", Escaped(directory)))
            })?;
        }
    }
    Ok(client)
}

/// Parts with a connection that is of no more use, so that another try makes a new one.
fn drop_broken<T>(sessions: &mut Sessions<'_>, url: &FtpUrl, done: &Result<T, Failure>) {
    let is_broken = |failure: &Failure| failure.fatal && !failure.is_signal();
    if done.as_ref().is_err_and(|failure| is_broken(failure) && failure.code.is_none()) {
        sessions.drop_client(url);
    }
}

/// Insists that a path names something that can be removed.
fn is_named(path: &[u8]) -> Result<(), Failure> {
    match path::split(path).1 {
        b"" | b"." | b".." => {
            Err(Failure::usage("this has no name at its end; nothing is done to it").alone())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::options::Command;

    use super::line::USAGES;

    #[test]
    fn help_says_what_lines_may_say() {
        for (_, usage) in USAGES {
            assert!(Command::Batch.entry().about.contains(usage), "{usage}");
        }
    }
}
