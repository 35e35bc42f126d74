//! `get URL [LOCAL]`: downloads a file completely or not at all; `get URL...` downloads several,
//! `get -r` a tree.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ftp_client::error::Phase;
use ftp_client::file::{SkipReason, Targets};
use ftp_client::pool::Worker;
use ftp_client::{Client, Done, Error, Place};
use ftp_proto::{EntryKind, Escaped, FtpUrl, RepresentationType};

use super::mirror;
use crate::connect::{RefusedLogins, Sessions, Witness};
use crate::console::output::shown_path;
use crate::console::{Board, Cleanup, Stdio, When, output};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::{Options, configured, is_remote, is_url, parse_url, values};
use crate::remote::pattern::{self, Named};
use crate::report::{Object, Tally};
use crate::system::{OsStrExt, OsStringExt, has_drive};
use crate::transfer::download::{download, ends_as_directory, in_segments, local_name_of};
use crate::transfer::{Attempt, Context, RemoteFile, Target, TransferOptions, download};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    if options.has("recursive") {
        return tree(options, stdio);
    }
    let settings = TransferOptions::from_options(options)?;
    let requests = Requests::from_options(options, &settings, &mut *stdio.input)?;
    let is_output = requests.is_output();
    let when = match When::from_options(options)? {
        // Progress would appear in the middle of the data.
        When::Auto if is_output && stdio.output_is_terminal() => When::Never,
        when => when,
    };
    let cleanup = Cleanup::start(options, stdio)?;
    let mut sessions = Sessions::new(options, stdio, &cleanup)?;
    if is_output {
        stdio.events.leave_output(&stdio.messages);
    }
    let mut refused = RefusedLogins::default();
    let ((items, failed), left) = {
        let witness = Witness::new(options, stdio, &cleanup);
        expand(requests, &settings, &mut sessions, &mut refused, &witness)?
    };
    let count = items.len() + failed.len() + left;
    let board = Board::new(when, stdio, count, None);
    let mut context = Context::new(options, stdio, &settings, &cleanup, board);
    context.is_of_one = items.len() == 1;
    // Who types -o - to a terminal wants it as it is.
    let is_cat = options.synonym == Some("cat") && options.all("output").count() == 1;
    context.refuses_binary = is_cat && stdio.output_is_terminal();
    // The content itself is on the terminal.
    context.witness.talkative &= options.is_verbose() || !(is_output && stdio.output_is_terminal());
    let targets = items.iter().filter_map(|item| match &item.target {
        Target::File(path) => Some(path.clone()),
        _ => None,
    });
    context.targets = Targets::local(targets);
    let mut tally = Tally::new(count, "files fetched", &stdio.messages, &stdio.events);
    for (url, failure) in failed {
        let _ = tally.failed(failure, |event| event.text("source", &url.to_string()));
    }
    if count == 0 {
        context.note("--input-file: no URLs found");
    }
    if count > 1 && stdio.messages.is_terminal() && !settings.no_clobber {
        ask_passwords(&items, &sessions)?;
    }
    let tally = Mutex::new(tally);
    let abandoned = Mutex::default();
    let refused = Mutex::new(refused);
    let more = sessions.another();
    // The connection that listed the matches of a pattern also downloads files.
    let open = Mutex::new(Some(sessions));
    // Standard output gets one file after the other.
    let jobs = if is_output { Some(1) } else { settings.jobs };
    Getter::work(jobs, items.len(), None, |_| Getter {
        items: &items,
        sessions: lock(&open).take().unwrap_or_else(|| more.another()),
        context: &context,
        tally: &tally,
        abandoned: &abandoned,
        refused: &refused,
        last: None,
    });
    drop(context);
    tally.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
}

/// `get -r`: downloads a tree.
fn tree(options: &Options, stdio: &mut Stdio) -> Result {
    let directory = options.value("directory");
    let (url, local) = match (options.operands.as_slice(), directory) {
        ([url], local) => (url, local),
        ([url, local], None) if !is_url(local.as_bytes()) => (url, Some(local.as_os_str())),
        _ => return Err(Failure::usage("get -r takes one URL: ftp-cli get -r URL [DIR]")),
    };
    let url = parse_url(url)?;
    let local = match local {
        // With --directory, the tree keeps its own name, as files do.
        Some(local) if directory.is_some() => Path::new(local).join(name_of_tree(&url)?),
        Some(local) => Path::new(local).to_owned(),
        None => name_of_tree(&url)?.into(),
    };
    mirror::down(options, stdio, &url, &local)
}

/// Files to download, and the failures of patterns and of their matches.
type Expanded = (Vec<GetItem>, Vec<(FtpUrl, Failure)>);

/// Returns the files of all URLs, in order, and the number of patterns that were not tried. Lists the
/// directories of patterns, and tries again after transient failures.
///
/// # Errors
///
/// Returns a failure that ends the run, or `Usage` if two files have the same target or an option
/// needs a regular file.
fn expand(
    mut requests: Requests<'_>,
    settings: &TransferOptions,
    sessions: &mut Sessions<'_>,
    refused: &mut RefusedLogins,
    witness: &Witness,
) -> Result<(Expanded, usize)> {
    let mut items = Vec::new();
    let mut failed = Vec::new();
    let mut left = 0;
    for wanted in std::mem::take(&mut requests.wanted) {
        let (url, representation) = match wanted {
            Wanted::File(item) => {
                items.push(item);
                continue;
            }
            Wanted::Pattern(url, _) if refused.has(&url) => {
                left += 1;
                continue;
            }
            Wanted::Pattern(url, representation) => (url, representation),
        };
        let fields = |object: Object| object.text("source", &url.to_string());
        let found = settings.retrying.run(witness, &url, &fields, |_| {
            let client = sessions.client(&url)?;
            let found = requests.expand(client, &url, representation);
            sessions.drop_ended(&url, &found);
            found
        });
        match found {
            Ok((found, unusable)) => {
                items.extend(found);
                failed.extend(unusable);
            }
            Err(failure) => {
                let failure = refused.note(&url, failure.context_unless_named(&url));
                if is_over(&failure) {
                    return Err(failure);
                }
                failed.push((url, Failure { fatal: false, ..failure }));
            }
        }
    }
    check_targets(settings, items.iter())?;
    Ok(((items, failed), left))
}

/// Finds all logins before the first transfer: the prompt for a password would be lost in the progress
/// of another file. Each file reports the failure of its login.
///
/// # Errors
///
/// Returns `Interrupted` if a signal ends a prompt.
fn ask_passwords(items: &[GetItem], sessions: &Sessions<'_>) -> Result {
    let logins = items.chunk_by(|one, other| login(one) == login(other)).filter_map(<[_]>::first);
    let mut failures = logins.filter_map(|item| sessions.user(&item.url).err());
    failures.find(|failure| failure.exit == Exit::Interrupted).map_or(Ok(()), Err)
}

/// Returns whether a failure ends the whole run; then no other server is tried.
fn is_over(failure: &Failure) -> bool {
    failure.exit == Exit::Interrupted || failure.phase == Some(Phase::Overall)
}

struct GetItem {
    url: FtpUrl,
    target: Target,
    representation: RepresentationType,
    /// Whether the URL names it; else it matches a pattern.
    is_named: bool,
}

struct Getter<'a, 'b, 's> {
    items: &'a [GetItem],
    sessions: Sessions<'s>,
    context: &'a Context<'a>,
    tally: &'a Mutex<Tally<'b>>,
    abandoned: &'a Mutex<HashSet<Server>>,
    refused: &'a Mutex<RefusedLogins>,
    last: Option<Failure>,
}

type Server = (String, u16);

fn server(item: &GetItem) -> Server {
    (item.url.host().to_ascii_lowercase(), item.url.port())
}

fn login(item: &GetItem) -> (Server, Option<&[u8]>) {
    (server(item), item.url.user())
}

fn fields(item: &GetItem) -> impl Fn(Object) -> Object {
    |object| object.text("source", &item.url.to_string()).name("target", item.target.name())
}

impl<'a> Getter<'a, '_, '_> {
    fn item(&self, number: usize) -> &'a GetItem {
        self.items.get(number).expect("the number belongs to an item")
    }

    fn is_abandoned(&self, item: &GetItem) -> bool {
        lock(self.abandoned).contains(&server(item)) || lock(self.refused).has(&item.url)
    }

    fn is_skipped(&self, item: &GetItem) -> bool {
        let settings = self.context.settings;
        // An interrupted move may still have to remove the server's file.
        settings.no_clobber && !settings.removes_source && download::exists(&item.target)
    }

    fn fetch(
        &mut self,
        number: usize,
        following: &[usize],
        fields: &(dyn Fn(Object) -> Object + Sync),
    ) -> Result<Done> {
        let item = self.item(number);
        let Self { sessions, context, items, .. } = self;
        let memory = RefCell::default();
        context.settings.retrying.run(&context.witness, &item.url, fields, |from_start| {
            let user = match context.settings.removes_source {
                true => sessions.user(&item.url)?,
                false => Vec::new(),
            };
            let mut remote = RemoteFile::of(&item.url, item.representation, user);
            let attempt = Attempt { from_start, memory: &memory, fields };
            if context.settings.segments > 1 {
                let file = (&remote, &item.target);
                let done = in_segments(context, sessions, &item.url, file, attempt);
                return done.map_err(|failure| failure.context_unless_named(&item.url));
            }
            let client = sessions.client(&item.url)?;
            if context.settings.only_retrieves() {
                plan(client, items, number, following);
            }
            if context.settings.removes_source {
                let next = items.iter().skip(number + 1).take(MOST_AHEAD);
                let next = next.take_while(|next| login(next) == login(item));
                client.plan_moves(next.map(|item| Place::of(&item.url).path().to_vec()));
            }
            let done = download(context, client, &mut remote, &item.target, attempt);
            sessions.drop_ended(&item.url, &done);
            done
        })
    }
}

/// Announces the download `number` and those that follow it. With `--reuse-data`, the client requests
/// several files at once.
fn plan(client: &mut Client, items: &[GetItem], number: usize, following: &[usize]) {
    let Some(first) = items.get(number) else { return };
    let is_alike = |item: &&GetItem| {
        login(item) == login(first) && item.representation == first.representation
    };
    let own = [&[number], following].concat().into_iter().filter_map(|number| items.get(number));
    let next = own.take_while(is_alike);
    client.plan_downloads(next.map(|item| Place::of(&item.url).path().to_vec()));
}

/// Largest number of moves that the client is told of in advance.
const MOST_AHEAD: usize = 100;

impl Worker for Getter<'_, '_, '_> {
    fn connect(&mut self, number: usize) -> Result<(), Error> {
        let item = self.item(number);
        let is_open = self.sessions.open_client(&item.url).is_some();
        if is_open || self.is_abandoned(item) || self.is_skipped(item) {
            return Ok(());
        }
        self.sessions.connect_beside_others(&item.url)
    }

    fn client(&self) -> Option<&Client> {
        self.sessions.any_client()
    }

    fn repeats(&self, number: usize) -> bool {
        self.context.settings.repeats() && matches!(self.item(number).target, Target::File(_))
    }

    fn ahead(&self, _: usize) -> usize {
        if self.context.settings.only_retrieves() { self.downloads_ahead() } else { 0 }
    }

    fn act(&mut self, number: usize, following: &[usize]) -> Result<bool, Error> {
        let item = self.item(number);
        if self.is_abandoned(item) {
            return Ok(false);
        }
        let fields = fields(item);
        let done = match self.is_skipped(item) {
            true => Done::skipped(SkipReason::Exists),
            false => self.fetch(number, following, &fields)?,
        };
        // A stream that lacks one of several files is not what was asked for either.
        if item.is_named || !matches!(item.target, Target::File(_)) {
            Context::check_taken(&done, &item.url)?;
        }
        self.last = None;
        self.context.report(&done, &Escaped(item.url.path()), &item.target, &fields);
        lock(self.tally).done += 1;
        Ok(done.skipped.is_none())
    }

    fn failed(&mut self, number: usize, error: Error) -> ControlFlow<()> {
        let failure = Failure::from(error);
        let item = self.item(number);
        let failure = lock(self.refused).note(&item.url, failure);
        if failure.is_end_of_connection() {
            lock(self.abandoned).insert(server(item));
        }
        self.last = Some(failure.clone());
        // Other servers are still usable, unless the whole run is over.
        lock(self.tally).failed(Failure { fatal: is_over(&failure), ..failure }, fields(item))
    }

    fn end(self) {
        self.sessions.quit(self.last.as_ref());
    }
}

/// URLs of the command line and of `--input-file`, and the destination of their files.
struct Requests<'o> {
    wanted: Vec<Wanted>,
    destination: Destination<'o>,
    creates: bool,
    /// `--glob`: every URL is a pattern.
    globs: bool,
}

enum Wanted {
    File(GetItem),
    /// The last part may be a pattern; the server's listing decides.
    Pattern(FtpUrl, RepresentationType),
}

#[derive(Clone, Copy)]
enum Destination<'o> {
    /// LOCAL or `--output`: a file, a directory or `-`.
    Local(&'o OsStr),
    /// `--directory`.
    Directory(&'o OsStr),
    Here,
}

impl<'o> Requests<'o> {
    /// Reads options and operands; `input` is standard input, for `-i -`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for operands that contradict each other or are not URLs of files. Returns
    /// `Local` for a list of URLs that cannot be read or a target that cannot be written.
    fn from_options(
        options: &'o Options,
        settings: &TransferOptions,
        input: &mut dyn Read,
    ) -> Result<Self> {
        let (operands, destination) = operands(options)?;
        let mut urls = operands.iter().map(|operand| parse_url(operand)).collect::<Vec<_>>();
        if let Some(file) = options.value("input-file") {
            urls.extend(listed(file, input)?);
        }
        let creates = settings.create_directories;
        let globs = options.has("glob");
        let mut this = Self { wanted: Vec::new(), destination, creates, globs };
        for url in urls {
            let url = url?;
            configured::check(options, &url)?;
            let representation = settings.representation(&url)?;
            let wanted = this.want(url, representation)?;
            this.wanted.push(wanted);
        }
        let is_one = matches!(this.wanted.as_slice(), [Wanted::File(_)]);
        let takes_several = options.has("directory") || options.has("input-file");
        // In the configuration file, the option may have no effect.
        let wants_several = settings.jobs > Some(1) && options.last_typed(&["jobs"]).is_some();
        if is_one && wants_several && !takes_several {
            return Err(Failure::usage("--jobs needs several files: ftp-cli get -P DIR URL..."));
        }
        if this.is_output() && wants_several {
            return Err(Failure::usage("--jobs cannot be combined with standard output"));
        }
        let count = this.wanted.len();
        if let Destination::Local(local) = destination
            && local != "-"
            && count > 1
        {
            let local = shown_path(Path::new(local));
            let message = format!("{local}: cannot be the target of {count} URLs; use -P DIR");
            return Err(Failure::usage(message));
        }
        check_targets(settings, this.files())?;
        Ok(this)
    }

    fn want(&self, url: FtpUrl, representation: RepresentationType) -> Result<Wanted> {
        if self.globs {
            pattern::is_usable(&url)?;
        }
        if url.is_directory() {
            return Err(Failure::usage(format!(
                "{url} names a directory; use ftp-cli get -r to download it, or ftp-cli ls to list it"
            )));
        }
        if self.globs || pattern::is_pattern(&url) {
            return Ok(Wanted::Pattern(url, representation));
        }
        self.item(url, representation).map(Wanted::File)
    }

    fn item(&self, url: FtpUrl, representation: RepresentationType) -> Result<GetItem> {
        let path = url.path();
        let local = match self.destination {
            Destination::Local(local) => Some(local.to_owned()),
            // Ends in a separator, so that it is a directory or missing.
            Destination::Directory(directory) => Some(Path::new(directory).join("").into()),
            Destination::Here => None,
        };
        let target = Target::find(local.as_deref(), path, self.creates)?;
        Ok(GetItem { url, target, representation, is_named: true })
    }

    /// Returns whether files go to standard output.
    fn is_output(&self) -> bool {
        matches!(self.destination, Destination::Local(local) if local == "-")
    }

    fn files(&self) -> impl Iterator<Item = &GetItem> {
        self.wanted.iter().filter_map(|wanted| match wanted {
            Wanted::File(item) => Some(item),
            Wanted::Pattern(..) => None,
        })
    }

    /// Returns the files of a URL whose last part may be a pattern, and the failures of the matching
    /// names that cannot be fetched, such as those that are not valid.
    ///
    /// # Errors
    ///
    /// Returns `Refused` if no file matches, `Usage` if the URL is a pattern and LOCAL is not a
    /// directory, and `Local` if the directory is missing. Also returns the failures of the listing.
    fn expand(
        &self,
        client: &mut Client,
        url: &FtpUrl,
        representation: RepresentationType,
    ) -> Result<Expanded> {
        let (matches, invalid) = match pattern::named(client, &mut Place::of(url), self.globs)? {
            Named::Itself => {
                return Ok((vec![self.item(url.clone(), representation)?], Vec::new()));
            }
            Named::Matches { entries, invalid, .. } => (entries, invalid),
            Named::Nothing => return Err(pattern::no_match()),
        };
        match self.destination {
            Destination::Local(local)
                if local != "-"
                    && !ends_as_directory(local)
                    && !fs::metadata(Path::new(local)).is_ok_and(|metadata| metadata.is_dir()) =>
            {
                let local = shown_path(Path::new(local));
                let message = format!(
                    "a pattern needs a local directory, but {local} is not a directory; use -P DIR"
                );
                return Err(Failure::item(Exit::Usage, message));
            }
            Destination::Local(directory) if directory == "-" => {}
            Destination::Local(directory) | Destination::Directory(directory) => {
                Target::check_directory(Path::new(directory), self.creates)?;
            }
            Destination::Here => {}
        }
        let is_file = |kind| matches!(kind, None | Some(EntryKind::File | EntryKind::Link));
        let files: Vec<_> = matches.iter().filter(|entry| is_file(entry.kind)).collect();
        if files.is_empty() && invalid.is_empty() {
            let message = "the pattern matches only directories; use ftp-cli get -r for each";
            return Err(Failure::item(Exit::Refused, message));
        }
        let invalid = invalid.iter().map(|name| (url.clone(), pattern::invalid(name).context(url)));
        let (mut items, mut unusable) = (Vec::new(), invalid.collect::<Vec<_>>());
        for entry in files {
            let url = url.beside(&entry.name);
            match self.item(url.clone(), representation) {
                Ok(item) => items.push(GetItem { is_named: false, ..item }),
                Err(failure) => {
                    let failure = failure.context_unless_named(&url);
                    unusable.push((url, Failure { fatal: false, ..failure }));
                }
            }
        }
        Ok((items, unusable))
    }
}

fn operands(options: &Options) -> Result<(&[OsString], Destination<'_>)> {
    let operands = options.operands.as_slice();
    let has_list = options.has("input-file");
    match (options.value("output"), options.value("directory")) {
        (None, Some(directory)) if directory == "-" => Err(Failure::usage(
            "-P needs a directory, not -; use --active for active mode, or -o - for standard output",
        )),
        (_, directory) if operands.is_empty() && !has_list => match directory.is_some() {
            true => Err(Failure::usage("get -P needs URLs: ftp-cli get -P DIR URL...")),
            false => Err(Failure::usage("get needs a URL: ftp-cli get URL [LOCAL]")),
        },
        (Some(file), _) => Ok((operands, Destination::Local(file))),
        (None, Some(directory)) => Ok((operands, Destination::Directory(directory))),
        (None, None) if has_list => Ok((operands, Destination::Here)),
        (None, None) => match operands {
            [_] => Ok((operands, Destination::Here)),
            _ if are_urls(operands) => Ok((operands, Destination::Here)),
            [first, second] if is_url(second.as_bytes()) && !is_remote(first) => {
                Err(Failure::usage("get takes the URL first, ftp://HOST:PORT/; to upload, use put"))
            }
            [_, second] if may_be_url(second) => Err(Failure::usage(
                "LOCAL looks like a URL: write ./NAME for a local name with a colon, or ftp:// before each URL",
            )),
            [_, local] => Ok((operands.get(..1).unwrap_or_default(), Destination::Local(local))),
            _ => {
                Err(Failure::usage("get takes one URL and one LOCAL; use -P DIR for several URLs"))
            }
        },
    }
}

/// Returns whether all operands are URLs of one form: with a scheme, or `host:path`.
fn are_urls(operands: &[OsString]) -> bool {
    let has_scheme = |operand: &OsString| is_url(operand.as_bytes());
    let is_short = |operand: &OsString| !has_scheme(operand) && may_be_url(operand);
    operands.iter().all(has_scheme) || operands.iter().all(is_short)
}

/// Returns whether an operand is a valid URL, and not the path of a local drive.
fn may_be_url(operand: &OsStr) -> bool {
    !has_drive(operand.as_bytes()) && FtpUrl::parse(operand.as_bytes()).is_ok()
}

/// Reads the URLs in a file, one per line. Empty lines and lines that begin with `#` are skipped.
fn listed(
    file: &OsStr,
    input: &mut dyn Read,
) -> Result<impl Iterator<Item = Result<FtpUrl>> + use<>> {
    let (name, text) = output::read(file, input)?;
    let lines: Vec<(usize, Vec<u8>)> = values::without_mark(&text)
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .zip(1..)
        .filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"))
        .map(|(line, number)| (number, line.to_vec()))
        .collect();
    Ok(lines.into_iter().map(move |(number, line)| {
        let url = parse_url(&OsString::from_vec(line));
        url.map_err(|failure| failure.context(format_args!("{name}:{number}")))
    }))
}

/// Checks that no two files have the same target, and none that of a file of the run; and that all targets
/// are regular local files if an option requires that.
///
/// # Errors
///
/// Returns `Usage` otherwise.
fn check_targets<'i>(
    settings: &TransferOptions,
    items: impl Iterator<Item = &'i GetItem>,
) -> Result {
    let named = [
        ("--continue", settings.resume),
        ("--if-changed", settings.if_changed),
        ("--preserve", settings.preserve),
        ("--in-place", settings.in_place),
        ("--remove-source", settings.removes_source),
        ("--newer", settings.newer),
        ("--no-clobber", settings.no_clobber),
        ("--segments", settings.segments > 1),
    ];
    let needs_files = named.into_iter().find(|(_, given)| *given);
    let mut taken = HashSet::new();
    for item in items {
        let Target::File(path) = &item.target else {
            let Some((named, _)) = needs_files else { continue };
            let message = format!("{named} needs a regular local file as its target");
            return Err(Failure::usage(message));
        };
        settings.own.check(path)?;
        if !taken.insert(path) {
            return Err(Failure::usage(format!(
                "{}: target of two sources; choose different names or directories",
                shown_path(path)
            )));
        }
    }
    Ok(())
}

/// Returns the name of the local directory for the tree at a URL: the last part of its path.
///
/// # Errors
///
/// Returns `Usage` if the path has no such part.
fn name_of_tree(url: &FtpUrl) -> Result<OsString> {
    let path = url.path();
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    local_name_of(path.get(..end).unwrap_or_default()).map_err(|_| {
        let what_to_do = "name it: ftp-cli get -r URL DIR";
        Failure::usage(format!("{url}: no name for the local directory; {what_to_do}"))
    })
}
