//! `put LOCAL... URL`: uploads files, and fails unless the server confirms them; `put -r` uploads a
//! tree.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ftp_client::file::Targets;
use ftp_client::pool::Worker;
use ftp_client::{Client, Done, Error, Place, Put};
use ftp_proto::{Escaped, FtpUrl, Pathname, RepresentationType};

use super::mirror;
use crate::connect::Sessions;
use crate::console::output::{shown, shown_path};
use crate::console::{Board, Cleanup, Stdio, When, output};
use crate::exit::{Exit, Failure, Result};
use crate::lock;
use crate::options::{Options, is_url, parse_url};
use crate::report::{Object, Tally};
use crate::system::OsStrExt;
use crate::transfer::{Context, Interruptible, TransferDisplay, TransferOptions, local, not_moved};

/// Options that standard input does not support, because it has no size, time or name.
const NEEDS_FILES: [&str; 9] = [
    "continue",
    "if-changed",
    "max-age",
    "max-size",
    "min-age",
    "min-size",
    "newer",
    "preserve",
    "remove-source",
];

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    if options.has("recursive") {
        return tree(options, stdio);
    }
    let Some((url, locals @ [_, ..])) = options.operands.split_last() else {
        return Err(Failure::usage("put needs a file and a URL: ftp-cli put LOCAL... URL"));
    };
    if locals.iter().any(|local| is_url(local.as_bytes())) {
        let message = "put takes local files and then one URL: ftp-cli put LOCAL... URL; to download, use ftp-cli get URL LOCAL";
        return Err(Failure::usage(message));
    }
    let url = parse_url(url)?;
    let paths = remote_paths(locals, &url)?;
    let settings = TransferOptions::from_options(options)?;
    let representation = settings.representation(&url)?;
    let is_input = locals.iter().any(|local| local == "-");
    let of_files = options.last_of(&NEEDS_FILES).filter(|_| is_input);
    if let Some(long) = of_files {
        return Err(Failure::usage(format!("--{long} needs files, not standard input")));
    }
    check_temporary(&settings, &paths)?;
    if is_input && cfg!(unix) {
        // What cannot be read must not empty the server's file. Reading no byte waits for none.
        let read = stdio.input.read(&mut []);
        read.map_err(|error| Failure::local("standard input", &error))?;
    }
    let when = When::from_options(options)?;
    // If the only file cannot be opened, the command fails before it connects.
    let mut items: Vec<PutItem<'_>> =
        locals.iter().zip(paths).map(|(local, path)| PutItem { local, path, file: None }).collect();
    if let [item] = items.as_mut_slice()
        && !is_input
    {
        item.file = Some(open(item.local).map_err(|failure| failure.context(item.shown()))?);
    }
    let cleanup = Cleanup::start(options, stdio)?;
    let sessions = Sessions::new(options, stdio, &cleanup)?;
    let sizes: Option<Vec<u64>> = items.iter().map(PutItem::size).collect();
    let total = sizes.as_ref().map(|sizes| sizes.iter().sum());
    let board = Board::new(when, stdio, items.len(), total);
    let mut context = Context::new(options, stdio, &settings, &cleanup, board);
    context.is_of_one = !url.is_directory();
    let tally = Mutex::new(Tally::new(items.len(), "files sent", &stdio.messages, &stdio.events));
    let escapes = stdio.output_is_terminal();
    // A single file has no other one that it could replace.
    let are_several = items.len() > 1;
    let targets = are_several.then(|| Targets::remote(items.iter().map(|it| it.place(&url))));
    let (waiting, spare) = (Mutex::default(), Mutex::default());
    // Standard input must be the only operand, so only one job reads it.
    let input = Mutex::new(Interruptible { input: &mut *stdio.input, cleanup: &cleanup });
    let hire = |sessions| Putter {
        items: &items,
        sessions,
        context: &context,
        tally: &tally,
        input: &input,
        url: &url,
        representation,
        place: None,
        escapes,
        targets: targets.as_ref(),
        waiting: &waiting,
        spare: &spare,
        last: None,
    };
    let largest = sizes.and_then(|sizes| sizes.into_iter().max());
    Putter::work(settings.jobs, items.len(), largest, |_| hire(sessions.another()));
    let spare = lock(&spare).take();
    hire(spare.unwrap_or_else(|| sessions.another())).remove_sources();
    drop(context);
    tally.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
}

/// `put -r`: uploads a tree.
fn tree(options: &Options, stdio: &mut Stdio) -> Result {
    let [local, url] = options.operands.as_slice() else {
        return Err(Failure::usage("put -r takes one directory: ftp-cli put -r DIR URL"));
    };
    mirror::up(options, stdio, Path::new(local), &parse_url(url)?)
}

struct PutItem<'a> {
    local: &'a OsStr,
    /// Target path.
    path: Vec<u8>,
    /// The file, if it is already open.
    file: Option<File>,
}

impl PutItem<'_> {
    fn is_input(&self) -> bool {
        self.local == "-"
    }

    /// Returns the size in bytes; `None` if it is not a regular file.
    fn size(&self) -> Option<u64> {
        std::fs::metadata(self.local).ok().filter(Metadata::is_file).map(|it| it.len())
    }

    fn shown(&self) -> String {
        match self.is_input() {
            true => "standard input".to_owned(),
            false => shown_path(Path::new(self.local)),
        }
    }

    /// Returns the file and its target, for messages.
    fn shown_with(&self, url: &FtpUrl) -> String {
        format!("{} to {url}", self.shown())
    }

    fn name(&self) -> &[u8] {
        Pathname::split(&self.path).1
    }

    /// Returns the target on a new connection.
    fn place(&self, url: &FtpUrl) -> Place {
        if url.is_directory() { Place::inside(url, self.name()) } else { Place::of(url) }
    }

    fn target(&self, url: &FtpUrl) -> String {
        if url.is_directory() { url.below(self.name()).to_string() } else { url.to_string() }
    }

    fn fields(&self, url: &FtpUrl) -> impl Fn(Object) -> Object {
        let (source, target) = (self.local.as_bytes().to_vec(), self.target(url));
        move |object| object.name("source", &source).text("target", &target)
    }
}

/// Returns the name of a local file.
///
/// # Errors
///
/// Returns `Usage` if the path does not end in one.
pub(super) fn name_of_file(local: &OsStr) -> Result<&[u8]> {
    let name = Path::new(local).file_name();
    name.map(OsStr::as_bytes).ok_or_else(|| {
        let local = shown_path(Path::new(local));
        Failure::usage(format!(
            "{local}: does not end in a file name; use ftp-cli put -r to upload a directory"
        ))
    })
}

fn remote_paths(locals: &[impl AsRef<OsStr>], url: &FtpUrl) -> Result<Vec<Vec<u8>>> {
    if !url.is_directory() {
        if locals.len() > 1 {
            return Err(Failure::usage(format!("several files need a URL that ends in /: {url}/")));
        }
        return Ok(vec![url.path().to_vec()]);
    }
    let path = |local: &OsStr| {
        if local == "-" {
            return Err(Failure::usage("standard input has no name: add a name to the URL"));
        }
        Ok(Pathname::join(url.path(), name_of_file(local)?))
    };
    let paths = locals.iter().map(|local| path(local.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let mut taken = HashSet::new();
    if let Some(path) = paths.iter().find(|path| !taken.insert(path.as_slice())) {
        let path = shown(path);
        let what_to_do = "choose different names or directories";
        return Err(Failure::usage(format!("{path}: target of two sources; {what_to_do}")));
    }
    Ok(paths)
}

/// Checks `--temp` against the targets `paths`.
///
/// # Errors
///
/// Returns `Usage` if an upload would replace another upload.
fn check_temporary(settings: &TransferOptions, paths: &[Vec<u8>]) -> Result {
    let Some(temporary) = &settings.temporary else { return Ok(()) };
    let targets: HashSet<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let is_target = |path: &&Vec<u8>| targets.contains(temporary.of(path).as_slice());
    let Some(path) = paths.iter().find(is_target) else { return Ok(()) };
    let (there, path) = (shown(&temporary.of(path)), shown(path));
    Err(Failure::usage(format!(
        "--temp: {there} is the temporary name of {path}, but also the target of another file; \
         choose another pattern, such as --temp=.upload.*"
    )))
}

/// Opens a local file. The failure is not fatal, so other files can still be uploaded; for a directory, it
/// suggests `put -r`.
pub(super) fn open(name: &OsStr) -> Result<File> {
    let file = File::open(name).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(ErrorKind::IsADirectory.into()),
        false => Ok(file),
    });
    file.map_err(|error: io::Error| {
        let mut failure = local(&error);
        if Path::new(name).is_dir() {
            failure.message.push_str("; use ftp-cli put -r to upload it");
        }
        failure
    })
}

/// Complete uploads whose sources are not removed yet: the number and the result, by local path.
type Waiting = HashMap<PathBuf, (usize, Done)>;

struct Putter<'a, 'b, 's> {
    items: &'a [PutItem<'a>],
    sessions: Sessions<'s>,
    context: &'a Context<'a>,
    tally: &'a Mutex<Tally<'b>>,
    input: &'a Mutex<Interruptible<'b>>,
    url: &'a FtpUrl,
    representation: RepresentationType,
    /// Target directory on the current connection.
    place: Option<Place>,
    /// Whether standard output is a terminal.
    escapes: bool,
    /// The targets, if there are several.
    targets: Option<&'a Targets>,
    waiting: &'a Mutex<Waiting>,
    /// Connections of a worker that has ended, for the removal of sources.
    spare: &'a Mutex<Option<Sessions<'s>>>,
    last: Option<Failure>,
}

impl<'a> Putter<'a, '_, '_> {
    fn item(&self, number: usize) -> &'a PutItem<'a> {
        self.items.get(number).expect("the number belongs to an item")
    }

    /// Returns whether sources go only when the server shows all names: a server that takes two
    /// names for one must not cost a source.
    const fn waits(&self) -> bool {
        self.context.settings.removes_source && self.items.len() > 1
    }

    fn report(&self, item: &PutItem<'_>, done: &Done) {
        let fields = item.fields(self.url);
        self.context.report(done, &item.shown(), &Escaped(&item.path), &fields);
        lock(self.tally).done += 1;
    }

    fn remove_sources(mut self) {
        let context = self.context;
        let mut settled = Vec::new();
        let sessions = &mut self.sessions;
        let done = context.settings.retrying.run(&context.witness, self.url, &|it| it, |_| {
            let targets = self.targets.filter(|_| !lock(self.waiting).is_empty());
            let Some(targets) = targets else { return Ok(()) };
            let client = sessions.client(self.url)?;
            let done = targets.finish(client, &mut |source, removed| {
                settled.extend(lock(self.waiting).remove(source).map(|it| (it, removed)));
            });
            let done = done.map_err(Failure::from);
            sessions.drop_ended(self.url, &done);
            done
        });
        for ((number, done), removed) in settled {
            match removed {
                Ok(()) => self.report(self.item(number), &done),
                Err(error) => drop(self.failed(number, not_moved(&error).into())),
            }
        }
        if let Err(failure) = done {
            for (_, (number, _)) in std::mem::take(&mut *lock(self.waiting)) {
                let _ = self.failed(number, failure.clone().into());
            }
        }
        self.sessions.quit(self.last.as_ref().filter(|last| last.fatal));
    }

    /// Reports a complete upload, unless its source must stay until the server shows all names.
    fn stored(&mut self, number: usize, done: Done) -> Result {
        let item = self.item(number);
        self.last = None;
        if self.waits() && done.skipped.is_none() {
            // The source goes when the server shows all names.
            lock(self.waiting).insert(item.local.into(), (number, done));
            return Ok(());
        }
        self.report(item, &done);
        if let Some(name) = &done.name
            && !self.context.witness.events.is_on()
        {
            let line = if self.escapes { shown(name).into_bytes() } else { name.clone() };
            output::print(&mut self.context.output.clone(), &[&line, &b"\n"[..]].concat())?;
        }
        Ok(())
    }
}

impl Worker for Putter<'_, '_, '_> {
    fn connect(&mut self, _: usize) -> Result<(), Error> {
        if self.sessions.open_client(self.url).is_some() {
            return Ok(());
        }
        self.place = None;
        self.sessions.connect_beside_others(self.url)
    }

    fn client(&self) -> Option<&Client> {
        self.sessions.open_client(self.url)
    }

    fn repeats(&self, number: usize) -> bool {
        self.context.settings.repeats() && Path::new(self.item(number).local).is_file()
    }

    fn act(&mut self, number: usize, _: &[usize]) -> Result<bool, Error> {
        let item = self.item(number);
        let fields: &(dyn Fn(Object) -> Object + Sync) = &item.fields(self.url);
        let opened;
        let file = match &item.file {
            _ if item.is_input() => None,
            Some(file) => Some(file),
            None => {
                opened = open(item.local)?;
                Some(&opened)
            }
        };
        let Self { sessions, context, url, place, representation, .. } = self;
        let target = item.target(url);
        let mut input = item.is_input().then(|| lock(self.input));
        let path = Path::new(item.local);
        let mut nothing = io::empty();
        let settings = context.settings;
        let (options, to) = (settings.of_file(*representation), item.place(url));
        let mut put = settings.store(match (file, &mut input) {
            (Some(file), _) => Put::from_file(file, path, to, &options),
            (None, Some(input)) => Put::from_reader(&mut **input, to, &options),
            (None, None) => Put::from_reader(&mut nothing, to, &options),
        });
        if let Some(targets) = self.targets {
            put = put.among(targets);
        }
        if settings.removes_source {
            put = put.known_as(&target, sessions.user(url)?);
        }
        let metadata = file.map(File::metadata).transpose().map_err(|error| local(&error))?;
        if settings.removes_source && !metadata.as_ref().is_some_and(Metadata::is_file) {
            let failure = Failure::item(Exit::Local, "--remove-source needs a regular file");
            return Err(failure.into());
        }
        settings.check_source(metadata.as_ref())?;
        let mut entered = place.take();
        let name = item.shown_with(url);
        let mut attempts = settings.retrying.attempts(&context.witness, &name, fields);
        let done = loop {
            let was_stored = put.is_stored();
            let done = match sessions.client_as_it_is(url) {
                Ok((client, is_new)) => {
                    match entered.take() {
                        Some(mut entered) if !is_new => {
                            if url.is_directory() {
                                entered.set_name(item.name());
                            }
                            put.set_place(entered);
                        }
                        _ if is_new => put.set_place(item.place(url)),
                        _ => {}
                    }
                    let on = TransferDisplay::new(context, &target, fields);
                    put.attempt(client, &on).map_err(|error| on.failed(client, &put, &error))
                }
                Err(failure) => Err(failure),
            };
            let Err(failure) = done else { break done };
            if failure.is_end_of_connection() {
                sessions.drop_client(url);
                // The server ended the session after the upload: the rename has not begun.
                if put.is_stored() && !was_stored && !settings.removes_source {
                    continue;
                }
            }
            if let Err(failure) = attempts.after(failure) {
                break Err(failure);
            }
        };
        // All files go to the same directory.
        *place = Some(put.place().clone());
        let done = done?;
        Context::check_taken(&done, &item.shown())?;
        let is_transfer = done.skipped.is_none();
        self.stored(number, done)?;
        Ok(is_transfer)
    }

    fn failed(&mut self, number: usize, error: Error) -> ControlFlow<()> {
        let failure = Failure::from(error);
        let item = self.item(number);
        let failure = match failure.exit {
            Exit::Local => failure.context(item.shown()),
            _ => failure.context_unless_named(item.shown_with(self.url)),
        };
        self.last = Some(failure.clone());
        lock(self.tally).failed(failure, item.fields(self.url))
    }

    fn end(self) {
        if self.waits() && self.last.is_none() {
            let spare = lock(self.spare).replace(self.sessions);
            spare.into_iter().for_each(|sessions| sessions.quit(None));
            return;
        }
        self.sessions.quit(self.last.as_ref().filter(|last| last.fatal));
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
            let joined = paths
                .ok()
                .map(|paths| paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join(" "));
            assert_eq!(joined.as_deref(), want, "{url} {locals:?}");
        }
    }
}
