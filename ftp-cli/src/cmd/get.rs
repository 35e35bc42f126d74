//! `get URL [LOCAL]`: downloads a file completely or not at all; `get -P DIR URL...` downloads
//! several.

use std::collections::HashSet;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, PoisonError};

use ftp_client::{Client, Phase, Place};
use ftp_proto::{Escaped, FtpUrl, RepresentationType};
use log::LevelFilter;

use crate::connect::sessions::Sessions;
use crate::console::progress::{Board, When};
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::display::shown;
use crate::exit::{Exit, Failure, Recovery};
use crate::lock::lock;
use crate::options::Options;
use crate::options::urls;
use crate::report::jobs::NoConnection;
use crate::report::jobs::{self, Doors, Worker};
use crate::report::json::Object;
use crate::report::tally::Tally;
use crate::transfer::context::{Attempt, Context, Done, RemoteFile};
use crate::transfer::download::{self, download};
use crate::transfer::options::TransferOptions;
use crate::transfer::target::{Target, name_of};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let settings = TransferOptions::from_options(options)?;
    let items = items(options, &settings)?;
    let when = When::from_options(options)?;
    let is_output = items.iter().any(|item| matches!(item.target, Target::Output));
    let when = match when {
        // Progress would appear in the middle of the data.
        When::Auto if is_output && stdio.output_is_terminal() => When::Never,
        when => when,
    };
    for (named, given) in [
        ("--continue", settings.resume),
        ("--preserve", settings.preserve),
        ("--in-place", settings.in_place),
    ] {
        if given && items.iter().any(|item| !matches!(item.target, Target::File(_))) {
            return Err(Failure::usage(format!("{named} needs a regular local file")));
        }
    }
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let sessions = Sessions::new(options, stdio, &cleanup)?;
    if is_output {
        stdio.events.leave_output(&stdio.messages);
    }
    let count = items.len();
    let board = Board::new(when, stdio, count, None);
    let context = Context::new(options, stdio, &settings, &cleanup, board);
    let tally = Mutex::new(Tally::new(count, "files fetched", &stdio.messages, &stdio.events));
    let abandoned = Mutex::default();
    let ahead = Mutex::new(match context.board.lacks_total() {
        true => of_one_server(&items, &settings),
        false => Vec::new(),
    });
    let doors = Doors::new();
    jobs::run(settings.jobs, count, || Getter {
        items: &items,
        sessions: sessions.another(),
        context: &context,
        tally: &tally,
        abandoned: &abandoned,
        doors: &doors,
        ahead: &ahead,
        last: None,
    });
    drop(context);
    tally.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
}

/// A file to download.
struct GetItem {
    url: FtpUrl,
    target: Target,
    representation: RepresentationType,
}

/// Reads the operands.
fn items(options: &Options, settings: &TransferOptions) -> Result<Vec<GetItem>, Failure> {
    let creates = settings.create_directories;
    let file = |operand: &OsString| {
        let url = urls::parse(operand)?;
        if url.is_directory() {
            return Err(Failure::usage(format!(
                "{url} names a directory; use ftp-cli ls to list it"
            )));
        }
        let representation = settings.representation(&url)?;
        Ok((url, representation))
    };
    let operands = options.operands.as_slice();
    if let Some(directory) = options.value("directory") {
        if operands.is_empty() {
            return Err(Failure::usage("get -P needs URLs: ftp-cli get -P DIR URL..."));
        }
        let files = operands.iter().map(file).collect::<Result<Vec<_>, _>>()?;
        let mut taken = HashSet::new();
        for (url, _) in &files {
            let name = name_of(url.path())?;
            if !taken.insert(name.to_owned()) {
                let name = shown(name.as_bytes());
                let message = format!("{name}: target of two sources");
                return Err(Failure::usage(message));
            }
        }
        let item = |(url, representation): (FtpUrl, RepresentationType)| {
            let target = Target::within(directory, url.path(), creates)?;
            Ok(GetItem { url, target, representation })
        };
        return files.into_iter().map(item).collect();
    }
    let (operand, local) = match operands {
        [url] => (url, None),
        [_, second] if FtpUrl::parse(second.as_bytes()).is_ok() => {
            return Err(Failure::usage(
                "several URLs need a directory: use ftp-cli get -P DIR URL..., or ./NAME for a local name with a colon",
            ));
        }
        [url, local] => (url, Some(local.as_os_str())),
        [] => return Err(Failure::usage("get needs a URL: ftp-cli get URL [LOCAL]")),
        _ => {
            return Err(Failure::usage(
                "get takes one URL and one LOCAL; use -P DIR for several URLs",
            ));
        }
    };
    if settings.jobs > 1 {
        return Err(Failure::usage("--jobs needs several files: ftp-cli get -P DIR URL..."));
    }
    let (url, representation) = file(operand)?;
    let target = Target::find(local, url.path(), creates)?;
    Ok(vec![GetItem { url, target, representation }])
}

struct Getter<'a, 'b> {
    items: &'a [GetItem],
    sessions: Sessions<'a>,
    context: &'a Context<'a>,
    tally: &'a Mutex<Tally<'b>>,
    /// Servers that are not tried any more.
    abandoned: &'a Mutex<HashSet<Server>>,
    doors: &'a Doors<(Server, Option<Vec<u8>>)>,
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

/// Adds the fields that identify the file to an event.
fn fields(item: &GetItem) -> impl Fn(Object) -> Object {
    |object| object.text("source", &item.url.to_string()).name("target", item.target.name())
}

impl<'a> Getter<'a, '_> {
    fn item(&self, number: usize) -> &'a GetItem {
        self.items.get(number).expect("the number is that of an item")
    }

    fn is_abandoned(&self, item: &GetItem) -> bool {
        lock(self.abandoned).contains(&server(item))
    }

    fn is_skipped(&self, item: &GetItem) -> bool {
        self.context.settings.no_clobber && download::exists(&item.target)
    }

    fn fetch(
        &mut self,
        item: &GetItem,
        fields: &dyn Fn(Object) -> Object,
    ) -> Result<Done, Failure> {
        let Self { sessions, context, ahead, .. } = self;
        context.settings.retrying.run(&context.witness(), fields, |from_start| {
            if !lock(ahead).is_empty() {
                // An unanswered question costs the connection, but no file.
                ask_ahead(&context.board, sessions.client(&item.url)?, &mut lock(ahead));
            }
            let client = sessions.client(&item.url)?;
            let mut remote = RemoteFile::of(&item.url, item.representation);
            let done = download(
                context,
                client,
                &mut remote,
                &item.target,
                Attempt { from_start, fields },
            );
            if done.as_ref().is_err_and(Failure::is_end_of_connection) {
                sessions.drop_client(&item.url);
            }
            done
        })
    }
}

/// Number of sizes that are requested ahead; each takes a command and its reply.
const MOST_AHEAD: usize = 100;

/// Returns the files whose sizes can be requested over one connection for the total; none if others
/// would be missing in it, or if they are too many.
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

/// Requests the sizes of the files for the progress display; stops if the server does not report
/// them.
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

impl Worker for Getter<'_, '_> {
    fn connect(&mut self, number: usize) -> Result<(), NoConnection> {
        let item = self.item(number);
        // A single job connects within the attempts of --retry, and some items need no connection.
        let is_alone = self.context.settings.jobs == 1 || self.sessions.is_open(&item.url);
        if is_alone || self.is_abandoned(item) || self.is_skipped(item) {
            return Ok(());
        }
        let doors = self.doors;
        let sessions = &mut self.sessions;
        let login = (server(item), item.url.user().map(<[u8]>::to_vec));
        match doors.enter(login, || sessions.client(&item.url).map(drop)) {
            // The next step does the retries.
            Err(NoConnection::Failed(failure)) if failure.recovery == Recovery::TryAgain => Ok(()),
            connected => connected,
        }
    }

    fn act(&mut self, number: usize) -> Result<(), Failure> {
        let item = self.item(number);
        if self.is_abandoned(item) {
            return Ok(());
        }
        let fields = fields(item);
        let done = match self.is_skipped(item) {
            true => Done::skipped("exists"),
            false => self.fetch(item, &fields)?,
        };
        self.last = None;
        self.context.report(&done, &Escaped(item.url.path()), &item.target, &fields);
        lock(self.tally).done();
        Ok(())
    }

    fn failed(&mut self, number: usize, failure: Failure) -> ControlFlow<()> {
        let item = self.item(number);
        if failure.is_end_of_connection() {
            lock(self.abandoned).insert(server(item));
        }
        self.last = Some(failure.clone());
        // Other servers are still usable, unless the whole run is over.
        let is_over = failure.exit == Exit::Interrupted || failure.phase == Some(Phase::Overall);
        lock(self.tally).failed(Failure { fatal: is_over, ..failure }, fields(item))
    }

    fn end(self) {
        self.sessions.quit(self.last.as_ref());
    }
}
