//! Runs the lines of a batch one after the other over one connection, and counts their outcomes.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::path::Path;

use ftp_client::file::Targets;
use ftp_client::listing::ListOptions;
use ftp_client::pool::Repeat;
use ftp_client::tree::RemoveOptions;
use ftp_client::{Client, Place, Put};
use ftp_proto::{Escaped, FtpUrl, Pathname, ReplyCode, RepresentationType, Verb};

use super::super::{change, ls, put, quote, stat};
use super::line::{self, Order};
use crate::connect::{Sessions, Witness};
use crate::console::output::{counted, shown, shown_path};
use crate::console::{Board, Cleanup, ResultLines, Stdio, When};
use crate::exit::{Exit, Failure, Result};
use crate::options::Options;
use crate::remote::Outcome;
use crate::report::Object;
use crate::system::OsStrExt;
use crate::transfer::download::download;
use crate::transfer::{
    self, Attempt, Context, RemoteFile, Target, TransferDisplay, TransferOptions, Verify,
};

/// The connection, and the state that earlier lines left.
pub(super) struct Queue<'a> {
    pub(super) sessions: Sessions<'a>,
    pub(super) context: Context<'a>,
    pub(super) lines: ResultLines,
    pub(super) terminal: bool,
    pub(super) url: &'a FtpUrl,
    pub(super) representation: RepresentationType,
    /// What lines did to the session, to do it again on a new connection.
    pub(super) entered: Vec<Entered>,
    /// The targets of all uploads.
    pub(super) uploads: Targets,
    /// Whether the server has run out of space for uploads.
    pub(super) is_full: bool,
    /// Line of a failed `cd`. Later lines with relative paths are skipped, because these paths
    /// would start in the wrong directory. 0 at a terminal whose typed lines cannot be discarded.
    pub(super) failed_cd: Option<usize>,
    /// Whether the server reports the current directory; `None` until it is asked.
    pub(super) returns: Option<bool>,
    /// Whether the current line may leave the session in any directory.
    pub(super) strays: bool,
}

/// What a line did to the session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Entered {
    Directory(Vec<u8>),
    /// A raw command, as messages name it, may have changed what later lines mean, such as the user.
    Quoted(String),
}

/// Action of a line on each of its paths.
type Act<'a, 'q> = dyn FnMut(&mut Queue<'q>, &[u8], &mut Repeat) -> Result<Outcome> + 'a;

impl<'a> Queue<'a> {
    /// Returns the queue over these sessions, in the directory of the URL.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid option.
    pub(super) fn new(
        sessions: Sessions<'a>,
        (options, stdio): (&Options, &Stdio),
        (settings, cleanup): (&'a TransferOptions, &Cleanup),
        (url, representation): (&'a FtpUrl, RepresentationType),
    ) -> Result<Self> {
        // Each line shows its own progress.
        let board = Board::new(When::from_options(options)?, stdio, 1, None);
        Ok(Self {
            sessions,
            context: Context::new(options, stdio, settings, cleanup, board),
            lines: stdio.lines(options),
            terminal: !options.has("raw-names") && stdio.output_is_terminal(),
            url,
            representation,
            entered: Vec::new(),
            uploads: Targets::default(),
            is_full: false,
            failed_cd: None,
            returns: None,
            strays: false,
        })
    }

    /// Runs a line; `number` is 0 if it was typed at a terminal. Returns a fatal failure only if the
    /// connection cannot be restored, or after a signal.
    pub(super) fn act(&mut self, number: usize, order: &Order) -> Result {
        // Who types a further cd has seen where it begins.
        let is_cd = number == 0 && order.name == "cd";
        if let Some(line) = self.failed_cd.filter(|_| order.is_relative() && !is_cd) {
            let message = match line {
                0 => "skipped: the last cd command failed; to stay here, use: cd .".to_owned(),
                line => format!("skipped: line {line} did not change the directory"),
            };
            return Err(Failure::item(Exit::Refused, message));
        }
        self.strays = false;
        self.connect(number)?;
        if order.may_enter() && self.returns.is_none() {
            self.returns = Some(self.client()?.pwd().is_ok());
        }
        self.strays = order.may_enter() && self.returns == Some(false);
        let done = self.order(number, order);
        self.context.board.clear();
        let Err(failure) = &done else { return done };
        if failure.fatal && !failure.is_signal() {
            let is_full = failure.code.and_then(ReplyCode::new).is_some_and(ReplyCode::is_no_space);
            match is_full && order.name == "put" {
                true => self.is_full = number > 0,
                // The next line opens a new connection.
                false => self.sessions.drop_client(self.url),
            }
        }
        let is_missing = failure.exit == Exit::Local || failure.code == Some(550);
        let hint = match is_missing && order.has_pattern() {
            true => "; batch expands no patterns",
            false => "",
        };
        done.map_err(|failure| {
            let fatal = failure.fatal && failure.is_signal();
            Failure { fatal, ..failure }.hinted(hint)
        })
    }

    /// Connects and enters the current directory, unless that was done before.
    pub(super) fn connect(&mut self, number: usize) -> Result {
        let (url, fields) = (self.url, |object: Object| object.number("line", number as u64));
        self.retried(url, &fields, |queue, _| queue.client().map(drop))
            .map_err(|failure| Failure { fatal: true, ..failure })
    }

    /// Returns the current directory, if there is a connection and the server names it.
    pub(super) fn directory(&mut self) -> Option<Vec<u8>> {
        self.sessions.open_client(self.url)?;
        Some(self.client().ok()?.pwd().ok()?.as_bytes().to_vec())
    }

    /// Returns the current directory.
    ///
    /// # Errors
    ///
    /// Returns the failures of a line.
    pub(super) fn pwd(&mut self) -> Result<Vec<u8>> {
        self.connect(0)?;
        Ok(self.client()?.pwd()?.as_bytes().to_vec())
    }

    /// Runs `act` with the retries that `--retry` sets, like the command of the same name. `act` gets
    /// the memory of its earlier attempts; `name` and `fields` are those of [`Retrying::run`](crate::connect::sessions::Retrying::run).
    fn retried<T>(
        &mut self,
        name: &dyn Display,
        fields: &dyn Fn(Object) -> Object,
        mut act: impl FnMut(&mut Self, &mut Repeat) -> Result<T>,
    ) -> Result<T> {
        let retrying = self.context.settings.retrying;
        let mut repeat = retrying.memory();
        let witness = self.context.witness.clone();
        retrying.run(&witness, name, fields, |_| {
            let done = act(self, &mut repeat);
            if self.strays || done.as_ref().is_err_and(Failure::is_end_of_connection) {
                // A new connection enters the recorded directories.
                self.sessions.drop_client(self.url);
            }
            done
        })
    }

    fn client(&mut self) -> Result<&mut Client> {
        connected(&mut self.sessions, self.url, &self.entered)
    }

    /// Records a failed `cd`. Who types the lines sees the failure before the next one.
    pub(super) fn cd_failed(&mut self, number: usize) {
        self.failed_cd = Some(number).filter(|number| *number > 0);
    }

    fn order(&mut self, number: usize, order: &Order) -> Result {
        match (order.name, order.operands.as_slice()) {
            ("get", [remote, local @ ..]) => {
                self.get(number, remote, local.first().map(Vec::as_slice))
            }
            ("put", [local, remote @ ..]) => {
                self.put(number, local, remote.first().map(Vec::as_slice))
            }
            ("ls", path) => {
                let list = ListOptions::new().all(order.has(b'a'));
                let (long, recursive) = (order.has(b'l'), order.has(b'R'));
                let how = ls::LsOptions { list, long, recursive, ..ls::LsOptions::default() };
                self.ls(number, how, path.first().map_or(b"", Vec::as_slice))
            }
            ("stat", paths) => self.each(number, paths, &mut |queue, path, _| queue.stat(path)),
            ("rm", paths) => self.each(number, paths, &mut |queue, path, repeat| {
                is_named(path)?;
                let how = RemoveOptions::new()
                    .recursive(order.has(b'r'))
                    .ignore_missing(order.has(b'f'))
                    .is_directory(path.ends_with(b"/"));
                let client = connected(&mut queue.sessions, queue.url, &queue.entered)?;
                let (url, place) = (queue.url, Place::at(path));
                change::remove(client, url, place, how, &queue.context.witness, repeat)
            }),
            ("mkdir", paths) => self.each(number, paths, &mut |queue, path, repeat| {
                Ok(change::make(queue.client()?, path, order.has(b'p'), repeat)?)
            }),
            ("rmdir", paths) => self.each(number, paths, &mut |queue, path, repeat| {
                is_named(path)?;
                repeat.rmdir(queue.client()?, path)?;
                Ok(Outcome::Done("removed"))
            }),
            ("mv", [from, to]) => {
                let from = std::slice::from_ref(from);
                self.each(number, from, &mut |queue, from, repeat| queue.mv(from, to, repeat))
            }
            ("chmod", [mode, paths @ ..]) => {
                let mode = change::permissions(mode)?;
                self.each(number, paths, &mut |queue, path, _| {
                    change::set(queue.client()?.change_permissions(path, &mode)?)
                })
            }
            ("cd", [path]) => self.cd(number, path),
            ("ascii", _) if self.counts_bytes() => {
                let message = "ascii cannot be combined with --continue, --verify size or \
                               --verify hash; use binary";
                Err(Failure::item(Exit::Usage, message))
            }
            ("ascii", _) => {
                self.representation = RepresentationType::Ascii;
                Ok(())
            }
            ("binary", _) => {
                self.representation = RepresentationType::Image;
                Ok(())
            }
            ("quote", words) => self.quote(number, &words.join(&b' ')),
            (name, _) => Err(Failure::item(Exit::Internal, format!("{name}: not run"))),
        }
    }

    fn ls(&mut self, number: usize, how: ls::LsOptions, path: &[u8]) -> Result {
        let lines = ResultLines::new(self.context.output.clone(), self.terminal);
        let Witness { messages, events, .. } = &self.context.witness;
        let mut lister = ls::Lister::new(how, lines, messages.clone(), events.clone());
        let listed = self.retried(&shown(path), &fields_of(number, path), |queue, _| {
            let listed = lister.list(queue.client()?, &mut Place::at(path));
            listed.map_err(|failure| match lister.has_shown() {
                true => failure.never_retried(),
                false => failure,
            })
        });
        let listed = listed.map_err(|failure| failure.context(shown(path)));
        lister.finish(listed, |done| match path {
            b"" => done.number("line", number as u64),
            path => done.text("source", &shown(path)).number("line", number as u64),
        })
    }

    fn stat(&mut self, path: &[u8]) -> Result<Outcome> {
        let entry = stat::stat(self.client()?, path, ListOptions::default().form)?;
        stat::show_facts(path, &entry, None, &mut self.lines, &self.context.witness.events)
    }

    fn mv(&mut self, from: &[u8], to: &[u8], repeat: &mut Repeat) -> Result<Outcome> {
        let to = match to {
            [.., b'/'] => Pathname::join(to, Pathname::split(from).1),
            to => to.to_vec(),
        };
        repeat.rename(self.client()?, from, &to)?;
        Ok(Outcome::Moved(to))
    }

    fn cd(&mut self, number: usize, path: &[u8]) -> Result {
        let entered = self.retried(&shown(path), &fields_of(number, path), |queue, _| {
            let client = connected(&mut queue.sessions, queue.url, &queue.entered)?;
            queue.uploads.leave(client)?;
            Ok(client.cwd(path)?)
        });
        if let Err(failure) = entered {
            self.cd_failed(number);
            return Err(failure.context(shown(path)));
        }
        self.went_to(path);
        Ok(())
    }

    fn quote(&mut self, number: usize, command: &[u8]) -> Result {
        let (leads_to, may_set) = (line::leads_to(command), line::may_set(command));
        let command = quote::command(command)?;
        let client = connected(&mut self.sessions, self.url, &self.entered)?;
        let events = &self.context.witness.events;
        if leads_to.is_some() || matches!(command.verb(), Verb::User | Verb::Rein | Verb::Smnt) {
            self.uploads.leave(client)?;
            if leads_to.is_none() {
                // The new user may begin anywhere.
                self.uploads.enter(b"");
            }
        }
        let done = quote::quote(client, &command, number, &mut self.lines, events);
        match (leads_to, &done) {
            (Some(path), Ok(())) => self.went_to(path),
            (Some(_), Err(_)) => self.cd_failed(number),
            // Without a reply, it may have set something too.
            (None, done) if may_set && done.as_ref().err().is_none_or(|failure| failure.fatal) => {
                let line = if number > 0 { format!("line {number}: ") } else { String::new() };
                self.entered.push(Entered::Quoted(format!("{line}quote {}", command.verb())));
            }
            (None, _) => {}
        }
        done
    }

    /// Records a new current directory, so that later connections enter it.
    fn went_to(&mut self, path: &[u8]) {
        self.failed_cd = None;
        self.uploads.enter(path);
        if path.starts_with(b"/") {
            self.entered.retain(|done| matches!(done, Entered::Quoted(_)));
        }
        self.entered.push(Entered::Directory(path.to_vec()));
    }

    fn counts_bytes(&self) -> bool {
        let settings = self.context.settings;
        settings.resume || matches!(settings.verify, Verify::Size | Verify::Digest)
    }

    /// Runs an action on each path. Returns the last failure; reports earlier failures itself.
    fn each(&mut self, number: usize, paths: &[Vec<u8>], act: &mut Act<'_, 'a>) -> Result {
        let mut last = Ok(());
        for path in paths {
            let name = shown(path);
            let fields = fields_of(number, path);
            let event = || fields(Object::event("done"));
            let done = self.retried(&name, &fields, |queue, repeat| act(queue, path, repeat));
            match done {
                Ok(outcome) => self.context.witness.report(outcome, name, event),
                Err(failure) => {
                    let fatal = failure.fatal;
                    if let Err(before) = std::mem::replace(&mut last, Err(failure.context(name))) {
                        report_failure(&self.context.witness, number, before);
                    }
                    if fatal {
                        break;
                    }
                }
            }
        }
        last
    }

    fn get(&mut self, number: usize, path: &[u8], local: Option<&[u8]>) -> Result {
        Pathname::new(path).map_err(|error| Failure::item(Exit::Usage, error.to_string()))?;
        let settings = self.context.settings;
        let target = Target::find(local.map(OsStr::from_bytes), path, settings.create_directories)
            .map_err(|failure| Failure { fatal: false, ..failure })?;
        if let Target::File(path) = &target {
            settings.own.check(path)?;
        }
        let is_file = matches!(target, Target::File(_));
        if (settings.resume || settings.preserve || settings.in_place) && !is_file {
            let message =
                "--continue, --preserve and --in-place need a regular local file as the target";
            return Err(Failure::item(Exit::Usage, message));
        }
        let name = shown(path);
        let here = target.name().to_vec();
        let fields = |object: Object| {
            object.name("source", path).name("target", &here).number("line", number as u64)
        };
        let Self { sessions, context, url, entered, representation, .. } = self;
        let memory = RefCell::default();
        let done = settings.retrying.run(&context.witness, &name, &fields, |from_start| {
            let client = connected(sessions, url, entered)?;
            let place = Place::at(path);
            let (representation, user) = (*representation, Vec::new());
            let mut remote = RemoteFile { place, name: &name, representation, user };
            let done = download(
                context,
                client,
                &mut remote,
                &target,
                Attempt { from_start, memory: &memory, fields: &fields },
            );
            drop_broken(sessions, url, &done);
            done
        })?;
        self.context.report(&done, &name, &target, &fields);
        Ok(())
    }

    fn put(&mut self, number: usize, local: &[u8], path: Option<&[u8]>) -> Result {
        if self.is_full {
            let message = "skipped: the server has no space left for uploads";
            return Err(Failure::item(Exit::Temporary, message));
        }
        let local = OsStr::from_bytes(local);
        self.context.settings.own.check(Path::new(local))?;
        let here = shown_path(Path::new(local));
        let named = |failure: Failure| failure.context(&here);
        let name = put::name_of_file(local)?;
        let path = match path {
            None => name.to_vec(),
            Some(path) if path.ends_with(b"/") => Pathname::join(path, name),
            Some(path) => path.to_vec(),
        };
        let opened = put::open(local);
        let file = opened.map_err(|failure| Failure { fatal: false, ..named(failure) })?;
        let metadata = file.metadata().map_err(|error| named(transfer::local(&error)))?;
        let name = shown(&path);
        let fields = |object: Object| {
            object
                .name("source", local.as_bytes())
                .name("target", &path)
                .number("line", number as u64)
        };
        let to = Place::at(&path);
        self.uploads.add(&to);
        let Self { sessions, context, url, entered, representation, uploads, .. } = self;
        let settings = context.settings;
        let options = settings.of_file(*representation);
        let mut put = settings.store(Put::from_file(&file, local, to, &options)).among(uploads);
        let done = settings.retrying.run(&context.witness, &here, &fields, |_| {
            let client = connected(sessions, url, entered)?;
            settings.check_source(Some(&metadata))?;
            let on = TransferDisplay::new(context, &name, &fields);
            let done = put.attempt(client, &on).map_err(|error| on.failed(client, &put, &error));
            drop_broken(sessions, url, &done);
            done
        });
        let done = done.map_err(named)?;
        self.context.report(&done, &here, &name, &fields);
        Ok(())
    }
}

/// Returns a function that adds to an event the fields of a line about one path.
fn fields_of(number: usize, path: &[u8]) -> impl Fn(Object) -> Object + '_ {
    move |object| object.name("name", path).number("line", number as u64)
}

/// Returns the client. On a new connection, first enters the directory of the URL, then each of
/// `entered`.
///
/// # Errors
///
/// Returns `Network` if a new connection lacks what a raw command has set: it is not sent again,
/// because it can be one of several, such as USER and PASS, or act twice.
fn connected<'c>(
    sessions: &'c mut Sessions<'_>,
    url: &FtpUrl,
    entered: &[Entered],
) -> Result<&'c mut Client> {
    sessions.client_entered(url, |client| {
        let mut directories: Vec<_> =
            Some(url.path()).filter(|path| !path.is_empty()).into_iter().collect();
        for done in entered {
            match done {
                Entered::Directory(path) => directories.push(path),
                Entered::Quoted(name) => {
                    let message = format!(
                        "{name}: a lost connection ended its effect; start again from there"
                    );
                    return Err(Failure::new(Exit::Network, message));
                }
            }
        }
        for directory in directories {
            client.cwd(directory).map_err(|error| {
                Failure::from(error).context(format_args!("{url}: {}", Escaped(directory)))
            })?;
        }
        Ok(())
    })
}

/// Drops an unusable connection, so that the next attempt opens a new one.
fn drop_broken<T>(sessions: &mut Sessions<'_>, url: &FtpUrl, done: &Result<T>) {
    let is_broken = |failure: &Failure| failure.fatal && !failure.is_signal();
    if done.as_ref().is_err_and(|failure| is_broken(failure) && failure.code.is_none()) {
        sessions.drop_client(url);
    }
}

/// Checks that a path ends in a name, not in `.` or `..`.
fn is_named(path: &[u8]) -> Result {
    match Pathname::split(path).1 {
        b"" | b"." | b".." => {
            Err(Failure::item(Exit::Usage, "expected a path that ends in a name"))
        }
        _ => Ok(()),
    }
}

#[derive(Default)]
pub(super) struct Count {
    done: usize,
    failed: usize,
    /// The number of lines that are not tried after a failure.
    pub(super) left: usize,
    stops: bool,
    last: Option<Failure>,
}

impl Count {
    /// Returns an empty count. With `stops`, the first failure ends the batch.
    pub(super) fn new(stops: bool) -> Self {
        Self { stops, ..Self::default() }
    }

    /// Returns the failure that ended the batch, if it was fatal.
    pub(super) fn fatal(&self) -> Option<&Failure> {
        self.last.as_ref().filter(|last| last.fatal)
    }

    /// Counts one line and reports its failure at once. Returns `Break` if no further line may run.
    pub(super) fn add(
        &mut self,
        witness: &Witness,
        number: usize,
        done: Result,
    ) -> ControlFlow<()> {
        let Err(failure) = done else {
            self.done += 1;
            return ControlFlow::Continue(());
        };
        self.failed += 1;
        let failure = report_failure(witness, number, failure);
        let ends = self.stops || failure.fatal;
        self.last = Some(failure);
        if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Reports the result.
    ///
    /// # Errors
    ///
    /// Returns `Partial` if only some lines failed, or the exit code of the last failure if no line
    /// succeeded or a signal ended the batch.
    pub(super) fn finish(self, witness: &Witness, is_quiet: bool) -> Result {
        let Self { done, failed, left, last, .. } = self;
        witness.events.not_tried(left);
        let counts = format!("{} done, {failed} failed, {left} not tried", counted(done, "line"));
        let Some(last) = last else {
            if !is_quiet {
                witness.messages.say(counts);
            }
            return Ok(());
        };
        Err(last.of_run(done, counts))
    }
}

/// Reports the failure of a line and marks it as reported.
fn report_failure(witness: &Witness, number: usize, failure: Failure) -> Failure {
    let failure = match number {
        0 => failure,
        number => failure.context(format_args!("line {number}")),
    };
    if !failure.reported {
        witness.events.failed(&failure, |error| error.number("line", number as u64));
    }
    if failure.exit != Exit::BrokenPipe {
        witness.messages.fail(&failure.message);
    }
    Failure { reported: true, ..failure }
}
