//! `get URL [LOCAL]`: downloads a file completely or not at all; `get URL...` downloads several,
//! `get -r` a tree.

mod requests;

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ftp_client::{Client, Done, NotLent, Phase, Place, Targets, Worker, work};
use ftp_proto::{Escaped, FtpUrl, RepresentationType};

use super::mirror;
use crate::connect::sessions::{RefusedLogins, RetryObserver, Sessions};
use crate::console::progress::{Board, When};
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::exit::{Exit, Failure};
use crate::lock::lock;
use crate::options::{Options, urls};
use crate::remote::pattern;
use crate::report::jobs::Tally;
use crate::transfer::download::{self, download, in_segments};
use crate::transfer::options::{Attempt, Context, RemoteFile, TransferOptions};
use crate::transfer::target::Target;
use ftp_server::daemon::json::Object;
use requests::{Requests, Wanted};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
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
    check_local(&settings, requests.files())?;
    let cleanup = Cleanup::start(options, stdio)?;
    let mut sessions = Sessions::new(options, stdio, &cleanup)?;
    if is_output {
        stdio.events.leave_output(&stdio.messages);
    }
    let mut refused = RefusedLogins::default();
    let (items, failed, left) = {
        let witness = RetryObserver::new(options, stdio, &cleanup);
        expand(requests, &settings, &mut sessions, &mut refused, &witness)?
    };
    let count = items.len() + failed.len() + left;
    let board = Board::new(when, stdio, count, None);
    let mut context = Context::new(options, stdio, &settings, &cleanup, board);
    context.is_of_one = items.len() == 1;
    let targets = items.iter().filter_map(|item| match &item.target {
        Target::File(path) => Some(path.clone()),
        _ => None,
    });
    context.targets = Targets::new(targets);
    let mut tally = Tally::new(count, "files fetched", &stdio.messages, &stdio.events);
    for (url, failure) in failed {
        let _ = tally.failed(failure, |event| event.text("source", &url.to_string()));
    }
    if count == 0 {
        context.note("--input-file: no URLs found");
    }
    let tally = Mutex::new(tally);
    let abandoned = Mutex::default();
    let refused = Mutex::new(refused);
    let ahead = Mutex::new(match context.board.lacks_total() {
        true => of_one_server(&items, &settings),
        false => Vec::new(),
    });
    if let [item] = items.as_slice()
        && !settings.may_skip()
    {
        sessions.expect_transfer(item.representation);
    }
    let more = sessions.another();
    // The connection that listed the matches of a pattern also downloads files.
    let open = Mutex::new(Some(sessions));
    // Standard output gets one file after the other.
    let jobs = if is_output { Some(1) } else { settings.jobs };
    work(jobs, items.len(), None, |_| Getter {
        items: &items,
        sessions: lock(&open).take().unwrap_or_else(|| more.another()),
        context: &context,
        tally: &tally,
        abandoned: &abandoned,
        refused: &refused,
        ahead: &ahead,
        last: None,
    });
    drop(context);
    tally.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
}

/// `get -r`: downloads a tree.
fn tree(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let directory = options.value("directory");
    let (url, local) = match (options.operands.as_slice(), directory) {
        ([url], local) => (url, local),
        ([url, local], None) if !urls::is_url(local.as_bytes()) => (url, Some(local.as_os_str())),
        _ => return Err(Failure::usage("get -r takes one URL: ftp-cli get -r URL [DIR]")),
    };
    let url = urls::parse(url)?;
    let local = match local {
        Some(local) if local == "-" => {
            return Err(Failure::usage("get -r cannot write to standard output; name a directory"));
        }
        // With --directory, the tree keeps its own name, as files do.
        Some(local) if directory.is_some() => Path::new(local).join(requests::name_of_tree(&url)?),
        Some(local) => Path::new(local).to_owned(),
        None => Path::new(requests::name_of_tree(&url)?).to_owned(),
    };
    mirror::down(options, stdio, &url, &local)
}

/// Checks that all targets are regular local files if an option requires that.
fn check_local<'i>(
    settings: &TransferOptions,
    mut items: impl Iterator<Item = &'i GetItem>,
) -> Result<(), Failure> {
    let named = [
        ("--continue", settings.resume),
        ("--preserve", settings.preserve),
        ("--in-place", settings.in_place),
        ("--remove-source", settings.removes_source),
        ("--newer", settings.newer),
        ("--segments", settings.segments > 1),
    ];
    match named.into_iter().find(|(_, given)| *given) {
        Some((named, _)) if items.any(|item| !matches!(item.target, Target::File(_))) => {
            Err(Failure::usage(format!("{named} needs a regular local file as its target")))
        }
        _ => Ok(()),
    }
}

/// Files to download, the failures of patterns, and the number of patterns that were not tried.
type Expanded = (Vec<GetItem>, Vec<(FtpUrl, Failure)>, usize);

/// Returns the files of all URLs, in order. Lists the directories of patterns, and tries again
/// after transient failures.
///
/// # Errors
///
/// Returns a failure that ends the run, or `Usage` if two files have the same target or an option
/// needs a regular file.
fn expand(
    requests: Requests<'_>,
    settings: &TransferOptions,
    sessions: &mut Sessions<'_>,
    refused: &mut RefusedLogins,
    witness: &RetryObserver,
) -> Result<Expanded, Failure> {
    let mut items = Vec::new();
    let mut failed = Vec::new();
    let mut left = 0;
    let (requests, wanted) = requests.split();
    for wanted in wanted {
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
            Ok((found, invalid)) => {
                items.extend(found);
                let invalid = invalid.iter().map(|name| pattern::invalid(name).context(&url));
                failed.extend(invalid.map(|failure| (url.clone(), failure)));
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
    requests::check_targets(items.iter())?;
    check_local(settings, items.iter())?;
    Ok((items, failed, left))
}

/// Returns whether a failure ends the whole run; then no other server is tried.
fn is_over(failure: &Failure) -> bool {
    failure.exit == Exit::Interrupted || failure.phase == Some(Phase::Overall)
}

/// A file to download.
struct GetItem {
    url: FtpUrl,
    target: Target,
    representation: RepresentationType,
}

struct Getter<'a, 'b, 's> {
    items: &'a [GetItem],
    sessions: Sessions<'s>,
    context: &'a Context<'a>,
    tally: &'a Mutex<Tally<'b>>,
    /// Servers that are no longer tried.
    abandoned: &'a Mutex<HashSet<Server>>,
    refused: &'a Mutex<RefusedLogins>,
    /// Files whose sizes are requested before the first transfer.
    ahead: &'a Mutex<Vec<FtpUrl>>,
    /// Failure of the last file, if it failed.
    last: Option<Failure>,
}

/// Host and port of a server.
type Server = (String, u16);

fn server(item: &GetItem) -> Server {
    (item.url.host().to_ascii_lowercase(), item.url.port())
}

/// Returns a function that adds the fields of the file to an event.
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
    ) -> Result<Done, Failure> {
        let item = self.item(number);
        let Self { sessions, context, ahead: sizes, items, .. } = self;
        let memory = RefCell::default();
        context.settings.retrying.run(&context.witness, &item.url, fields, |from_start| {
            if !lock(sizes).is_empty() {
                // The sizes are requested before the transfer, so a missing reply costs only the
                // connection, not a transfer.
                ask_ahead(&context.board, sessions.client(&item.url)?, &mut lock(sizes));
            }
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
            let done = download(context, client, &mut remote, &item.target, attempt);
            sessions.drop_ended(&item.url, &done);
            done
        })
    }
}

/// Announces the download `number` and those that follow it. With `--reuse-data`, the client requests
/// several files at once.
fn plan(client: &mut Client, items: &[GetItem], number: usize, following: &[usize]) {
    let planned = client.planned_downloads();
    let Some(first) = items.get(number) else { return };
    let login = |item: &GetItem| (server(item), item.url.user().map(<[u8]>::to_vec));
    let is_alike = |item: &&GetItem| {
        login(item) == login(first) && item.representation == first.representation
    };
    let own = [&[number], following].concat().into_iter().filter_map(|number| items.get(number));
    let next = own.skip(planned).take_while(is_alike);
    client.plan_downloads(next.map(|item| (Place::of(&item.url).path().to_vec(), false)));
}

/// Largest number of sizes that are requested ahead; each takes a command and its reply.
const MOST_AHEAD: usize = 100;

/// Returns the files whose sizes are requested over one connection to show the total. Returns an
/// empty list if one connection cannot report all sizes, or if there are too many files.
fn of_one_server(items: &[GetItem], settings: &TransferOptions) -> Vec<FtpUrl> {
    let is_skipped = |item: &&GetItem| settings.no_clobber && download::exists(&item.target);
    let items: Vec<&GetItem> = items.iter().filter(|item| !is_skipped(item)).collect();
    let is_alike = |item: &&GetItem| {
        let first = items.first().map(|first| (server(first), first.url.user()));
        let is_image = item.representation == RepresentationType::Image;
        first == Some((server(item), item.url.user())) && is_image
    };
    match items.len() <= MOST_AHEAD && items.iter().all(is_alike) {
        true => items.into_iter().map(|item| item.url.clone()).collect(),
        false => Vec::new(),
    }
}

/// Requests the sizes of the files for the progress display. Stops at the first size that the
/// server does not report.
fn ask_ahead(board: &Board, client: &mut Client, ahead: &mut Vec<FtpUrl>) {
    let files = std::mem::take(ahead);
    if files.is_empty() {
        return;
    }
    let mut size = |url: &FtpUrl| client.size(Place::of(url).path()).ok().flatten();
    let total = files.iter().try_fold(0_u64, |total, url| total.checked_add(size(url)?));
    if let Some(total) = total {
        board.set_total(total);
    }
}

impl Worker for Getter<'_, '_, '_> {
    type Failure = Failure;

    fn connect(&mut self, number: usize) -> Result<(), NotLent<Failure>> {
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

    fn ahead(&self, _: usize) -> usize {
        let client = self.client().filter(|_| self.context.settings.only_retrieves());
        client.map_or(0, Client::downloads_ahead)
    }

    fn act(&mut self, number: usize, following: &[usize]) -> Result<bool, Failure> {
        let item = self.item(number);
        if self.is_abandoned(item) {
            return Ok(false);
        }
        let fields = fields(item);
        let done = match self.is_skipped(item) {
            true => Done::skipped("exists"),
            false => self.fetch(number, following, &fields)?,
        };
        self.last = None;
        self.context.report(&done, &Escaped(item.url.path()), &item.target, &fields);
        lock(self.tally).done();
        Ok(done.skipped.is_none())
    }

    fn failed(&mut self, number: usize, failure: Failure) -> ControlFlow<()> {
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
