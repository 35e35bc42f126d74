//! The parsed options of trees, and the objects that they select: `--include GLOB`, `--exclude
//! GLOB`, `--exclude-from FILE`, and the ignore file of a local source.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::super::ls::FORMS;
use super::watch::SETTLE;
use ftp_client::AddressRule;
use ftp_client::file::Side;
use ftp_client::tree::{Compare, LinkChoice, SyncOptions};
use ftp_proto::Pattern;

use crate::console::Cleanup;
use crate::console::output::{self, shown, shown_path};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, own_files, values, whole_number};
use crate::remote::pattern::explained;
use crate::system::{self, OsStrExt};
use crate::transfer::{Selection, TransferOptions, journals, selection};

/// The server that listens for the data of `fxp`, and the host to which one server must connect.
pub(crate) type FxpWay = (Option<Side>, AddressRule);

/// Options of `mirror` and `fxp -r`.
pub(super) struct MirrorOptions {
    pub(super) filter: Filter,
    pub(super) max_delete: Option<usize>,
    /// The options of the library that are the same in each run.
    sync: SyncOptions<'static>,
    /// Options for each file; options that only `get` and `put` accept are not set.
    pub(super) transfer: TransferOptions,
    /// The files of lists, as they were when they were read.
    lists: Vec<(PathBuf, Option<ListFacts>)>,
}

type ListFacts = (system::FileId, u64, Option<SystemTime>);

fn list_facts(path: &Path) -> Option<ListFacts> {
    let metadata = path.metadata().ok()?;
    Some((system::file_id(path)?, metadata.len(), metadata.modified().ok()))
}

impl MirrorOptions {
    /// Reads the options; `source` is a local SRC.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, and for options that contradict each other or have no
    /// effect. Returns `Local` if a file of patterns cannot be read.
    pub(super) fn from_options(
        options: &Options,
        source: Option<&Path>,
        input: &mut dyn Read,
    ) -> Result<Self> {
        let form = options.parsed("listing", |text| values::word(text, &FORMS))?;
        let max_delete = options.parsed("max-delete", whole_number)?;
        let modes = [("size", Compare::Size), ("time", Compare::Time), ("hash", Compare::Digest)];
        let named = options.parsed("compare", |text| values::word(text, &modes))?;
        let comparison = match options.last_of(&["size-only", "compare"]) {
            Some("size-only") => Some(Compare::Size),
            _ => named,
        };
        if options.has("remove-source") && comparison == Some(Compare::Size) {
            return Err(Failure::usage("--remove-source needs --compare time or --compare hash"));
        }
        let choices = [
            ("keep", LinkChoice::Keep),
            ("follow", LinkChoice::Follow),
            ("skip", LinkChoice::Skip),
        ];
        let links = options.parsed("links", |text| values::word(text, &choices))?;
        let links = links.unwrap_or(LinkChoice::Skip);
        if options.has("remove-source") && links == LinkChoice::Follow {
            let message = "--remove-source and --links follow exclude each other: the targets of links are never removed";
            return Err(Failure::usage(message));
        }
        let manifest = options.optional("manifest").map(|name| match name.map(OsStr::to_str) {
            None => Ok(SyncOptions::MANIFEST.to_owned()),
            Some(Some(name)) => Ok(name.to_owned()),
            Some(None) => Err(Failure::usage("--manifest: expected a NAME in UTF-8")),
        });
        let transfer = TransferOptions::from_options(options)?;
        let sync = SyncOptions::new()
            .listing(form.unwrap_or_default())
            .replaces_changed(options.has("force"))
            .no_links(options.has("no-links"))
            .permissions(options.has("perms"))
            .own_files(own_files(options))
            .manifest(manifest.transpose()?)
            .deletes(options.has("delete"))
            .most_deletions(max_delete)
            .ignores_errors(options.has("ignore-errors"))
            .links(links)
            .moves(transfer.removes_source)
            .resume(transfer.how_to_resume())
            .is_dry(options.has("dry-run"))
            .creates_parents(transfer.create_directories)
            .temporary(transfer.temporary.clone())
            .backup(options.value("backup-dir").map(PathBuf::from))
            .journals(journals())
            // In active mode, each job listens on a port of its own.
            .jobs(transfer.jobs)
            .rate_limit(transfer.rate_limit.clone());
        let lists = ["exclude-from", "files-from"].into_iter().flat_map(|long| options.all(long));
        let lists = lists.map(PathBuf::from).map(|path| (path.clone(), list_facts(&path)));
        Ok(Self {
            // Before they are read, so that a change meanwhile shows.
            lists: lists.collect(),
            filter: Filter::from_options(options, source, input)?,
            max_delete,
            sync: comparison.into_iter().fold(sync, SyncOptions::compare),
            transfer,
        })
    }

    /// Prepares for another run: ages count from its beginning, and the ignore file is read again.
    /// Lists are not.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value or pattern, and `Local` if the source or its ignore file
    /// cannot be read, or if the ignore file has gone or is younger than a second: an editor may be writing
    /// it, and it would let through what it excludes.
    pub(super) fn renew(&mut self, options: &Options) -> Result {
        self.transfer.selection = selection(options)?;
        if let Some(ignored) = &mut self.filter.ignored {
            let now = Ignored::at(&ignored.top)?;
            let file = || shown_path(&now.top.join(IGNORE_FILE));
            if ignored.changed.is_some() && now.changed.is_none() {
                let message = format!("{}: missing; to exclude nothing, leave it empty", file());
                return Err(Failure::new(Exit::Local, message));
            }
            // A time to come is that of a clock that is ahead: it tells no age.
            let age =
                now.changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
            if age.is_some_and(|age| age < SETTLE) {
                let message = format!("{}: is just being written", file());
                return Err(Failure::new(Exit::Local, message));
            }
            *ignored = now;
        }
        Ok(())
    }

    /// Returns the lists that have changed since they were read, or since the last call.
    pub(super) fn changed_lists(&mut self) -> Vec<String> {
        let changed = self.lists.iter_mut().filter_map(|(path, known)| {
            let now = list_facts(path);
            let is_changed = *known != now;
            *known = now;
            is_changed.then(|| shown_path(path))
        });
        changed.collect()
    }

    /// Checks the options of a mirror to a server.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for options that FTP cannot carry out, or that contradict each other.
    pub(super) fn check_upload(options: &Options) -> Result {
        if options.value("links").is_some_and(|links| links == "keep") {
            let message =
                "FTP cannot create symbolic links on a server; use --links follow or --links skip";
            return Err(Failure::usage(message));
        }
        if options.has("backup-dir") && options.has("continue") {
            let message = "--backup-dir and --continue exclude each other for uploads";
            return Err(Failure::usage(message));
        }
        Ok(())
    }

    /// Returns the options of the library; `listener` and `address` are those of copies between two
    /// servers.
    pub(super) fn for_library(
        &self,
        cleanup: &Cleanup,
        (listener, address): FxpWay,
    ) -> SyncOptions<'_> {
        let transfer = &self.transfer;
        let options: SyncOptions<'_> = self.sync.clone();
        let Selection([smallest, largest], [earliest, latest]) = transfer.selection;
        options
            .choice(|path, is_directory| self.filter.takes(path, is_directory))
            .sizes(smallest, largest)
            .times(earliest, latest)
            .listener(listener)
            .address(address)
            .patience(transfer.retrying.patience(cleanup.canceller()))
    }
}

/// The ignore file, at the top of a tree that is uploaded.
const IGNORE_FILE: &str = ".ftpignore";

/// Patterns in the order of the command line; the last pattern that matches decides.
///
/// A pattern that ends in `/` matches only directories. Excluded directories are not entered.
/// Objects that match no pattern are included, unless the first pattern is an `--include`: then
/// directories are still entered, but other objects are left out.
///
/// Objects that the ignore file excludes are left out whatever these patterns say: `--include
/// '*.json'` must not publish a file that the tree keeps private.
#[derive(Debug, Default)]
pub(super) struct Filter {
    globs: Vec<Glob>,
    needs_include: bool,
    ignored: Option<Ignored>,
    /// `--files-from`.
    list: Option<NameList>,
    /// `--max-depth`.
    deepest: Option<usize>,
}

/// What the ignore file of a local source excludes.
#[derive(Debug)]
struct Ignored {
    top: PathBuf,
    globs: Vec<Glob>,
    /// When the file was last changed, if there is one.
    changed: Option<SystemTime>,
    /// Path of an ignore file that is not at the top.
    elsewhere: OnceLock<Vec<u8>>,
}

#[derive(Debug)]
struct Glob {
    /// The option or the file that has the pattern, and the pattern as typed.
    text: String,
    /// Whether a file has the pattern.
    is_listed: bool,
    /// Whether the pattern has matched a name.
    is_met: AtomicBool,
    includes: bool,
    only_directories: bool,
    pattern: Pattern,
}

impl Filter {
    /// Reads the options, and the ignore file at the `top` of a local source.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid pattern, and `Local` for a file that cannot be read.
    pub(super) fn from_options(
        options: &Options,
        top: Option<&Path>,
        input: &mut dyn Read,
    ) -> Result<Self> {
        let mut globs = Vec::new();
        for (long, text) in options.in_order(&["include", "exclude", "exclude-from"]) {
            if long == "exclude-from" {
                let (name, lines) = output::read(text, input)?;
                globs.extend(listed(&name, &lines)?);
                continue;
            }
            let typed = format!("--{long} \"{}\"", shown(text.as_bytes()));
            let glob = Glob::read(typed, text.as_bytes());
            let failed =
                |why| Failure::usage(format!("--{long}: \"{}\": {why}", shown(text.as_bytes())));
            globs.push(Glob { includes: long == "include", ..glob.map_err(failed)? });
        }
        let needs_include = globs.first().is_some_and(|glob| glob.includes && !glob.is_listed);
        let ignored = top.map(Ignored::at).transpose()?;
        let list = NameList::from_options(options, top, input)?;
        let deepest = options.parsed("max-depth", whole_number)?;
        if deepest == Some(0) {
            return Err(Failure::usage("--max-depth: expected 1 or more"));
        }
        Ok(Self { globs, needs_include, ignored, list, deepest })
    }

    /// Returns a message for each pattern that matched no name: those of options, or those of files.
    /// Lists in files are often made for several trees.
    pub(super) fn unmet(&self, of_files: bool) -> impl Iterator<Item = String> {
        let ignored = self.ignored.iter().flat_map(|ignored| &ignored.globs);
        let unmet = ignored
            .chain(&self.globs)
            .filter(move |glob| glob.is_listed == of_files && !glob.is_met.load(Ordering::Relaxed));
        unmet.map(|glob| format!("{}: matches no name", glob.text))
    }

    /// Checks that the tree has no ignore file that was not read.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if there is one below the top: what it excludes would be copied.
    pub(super) fn check(&self) -> Result {
        match self.ignored.as_ref().and_then(|ignored| ignored.elsewhere.get()) {
            None => Ok(()),
            Some(path) => Err(Failure::usage(format!(
                "{}: expected {IGNORE_FILE} only at the top of SRC; move its patterns there, or exclude the file with --exclude",
                shown(path)
            ))),
        }
    }

    /// Returns the names of `--files-from` that took no part since the last call.
    pub(super) fn missing(&self) -> Vec<&[u8]> {
        self.list.as_ref().map(NameList::unmet).unwrap_or_default()
    }

    /// Returns whether `--files-from` names what takes part.
    pub(super) const fn is_listed(&self) -> bool {
        self.list.is_some()
    }

    /// Returns whether an object takes part.
    pub(super) fn takes(&self, path: &[u8], is_directory: bool) -> bool {
        // The content of a directory is one level deeper.
        let depth = path.split(|byte| *byte == b'/').count() + usize::from(is_directory);
        if self.deepest.is_some_and(|deepest| depth > deepest) {
            return false;
        }
        if let Some(list) = &self.list {
            let is_ignored = |it: &Ignored| it.has(path, is_directory, true);
            return !self.ignored.as_ref().is_some_and(is_ignored)
                && list.takes(path, is_directory);
        }
        let decided = last_match(&self.globs, path, is_directory);
        let is_taken = decided.unwrap_or(is_directory || !self.needs_include);
        let is_ignored =
            self.ignored.as_ref().is_some_and(|ignored| ignored.has(path, is_directory, is_taken));
        is_taken && !is_ignored
    }
}

fn last_match(globs: &[Glob], path: &[u8], is_directory: bool) -> Option<bool> {
    let mut last = None;
    // Every pattern is tried, to find the patterns that match nothing.
    for glob in globs.iter().filter(|glob| glob.matches(path, is_directory)) {
        glob.is_met.store(true, Ordering::Relaxed);
        last = Some(glob.includes);
    }
    last
}

impl Ignored {
    /// Reads the ignore file in a directory, if there is one.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid pattern, and `Local` if the directory or the file cannot be
    /// read.
    fn at(top: &Path) -> Result<Self> {
        // A missing source fails before a prompt for a password.
        std::fs::metadata(top).map_err(|error| Failure::local(shown_path(top), &error))?;
        let file = top.join(IGNORE_FILE);
        let (globs, changed) = match output::read_whole(&file) {
            Ok((text, changed)) => (listed(&shown_path(&file), &text)?, Some(changed)),
            // A source that is not a directory fails later.
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound if file.symlink_metadata().is_err() => Default::default(),
                io::ErrorKind::NotADirectory => Default::default(),
                _ => return Err(Failure::local(shown_path(&file), &error)),
            },
        };
        Ok(Self { top: top.to_owned(), globs, changed, elsewhere: OnceLock::new() })
    }

    /// Returns whether an object is left out. Ignore files always are: they name private files.
    fn has(&self, path: &[u8], is_directory: bool, is_taken: bool) -> bool {
        let is_excluded = last_match(&self.globs, path, is_directory) == Some(false);
        let is_named_so = path.rsplit(|&byte| byte == b'/').next() == Some(IGNORE_FILE.as_bytes());
        if is_named_so && is_taken && !is_excluded && path.contains(&b'/') {
            // The path can be that of an object in the target.
            let here = self.top.join(OsStr::from_bytes(path));
            if here.symlink_metadata().is_ok() {
                let _ = self.elsewhere.set(here.into_os_string().as_bytes().to_vec());
            }
        }
        is_named_so || is_excluded
    }
}

/// Reads the patterns in a file, one per line, as in `.gitignore`: they exclude, `!` before a
/// pattern includes, lines that begin with `#` are comments, and blanks at the end do not count.
///
/// # Errors
///
/// Returns `Usage`, with the number of the line, for an invalid pattern.
fn listed(name: &str, text: &[u8]) -> Result<Vec<Glob>> {
    let mut globs = Vec::new();
    for (line, number) in values::without_mark(text).split(|&byte| byte == b'\n').zip(1..) {
        let failed =
            |why: &str| Failure::usage(format!("{name}:{number}: \"{}\": {why}", shown(line)));
        let mut rest = line.trim_ascii_end();
        if rest.ends_with(b"\\") && rest.len() < line.strip_suffix(b"\r").unwrap_or(line).len() {
            rest = line.get(..=rest.len()).unwrap_or(rest);
        }
        if rest.is_empty() || rest.starts_with(b"#") {
            continue;
        }
        // Rules of rsync would be names that nothing has, and exclude nothing.
        if matches!(rest, [b'+' | b'-' | b';', b' ', ..]) {
            return Err(failed(
                "expected a pattern, ! and a pattern, or # and a comment; write \\ before a first character that belongs to the name",
            ));
        }
        let pattern = rest.strip_prefix(b"!").unwrap_or(rest);
        let text = format!("{name}:{number}: \"{}\"", shown(rest));
        let glob = Glob::read(text, pattern).map_err(|why| failed(&why))?;
        globs.push(Glob { includes: pattern.len() < rest.len(), is_listed: true, ..glob });
    }
    Ok(globs)
}

impl Glob {
    /// Reads a pattern that excludes.
    ///
    /// # Errors
    ///
    /// Returns why the pattern is invalid or matches nothing, and what to write.
    fn read(text: String, bytes: &[u8]) -> Result<Self, String> {
        let path = bytes.strip_suffix(b"/").unwrap_or(bytes);
        if bytes.contains(&0) {
            return Err("expected text without NUL characters, such as UTF-8".to_owned());
        }
        if bytes.contains(&b'\r') {
            // FTP sends no such name. The whole file is one pattern, if each of its lines ends so.
            return Err("no name has a CR; end each line with LF or CR LF".to_owned());
        }
        if path.split(|byte| *byte == b'/').any(|part| matches!(part, b"." | b"..")) {
            let why = "matches no name; remove the parts \".\" and \"..\"";
            return Err(why.to_owned());
        }
        let pattern = Pattern::parse_path(path).map_err(|error| explained(path, error))?;
        // What is excluded must stay in a local tree, whatever its spelling.
        let pattern = if cfg!(windows) { pattern.ignoring_case() } else { pattern };
        Ok(Self {
            text,
            is_listed: false,
            is_met: AtomicBool::new(false),
            includes: false,
            only_directories: path.len() < bytes.len(),
            pattern,
        })
    }

    fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        (is_directory || !self.only_directories) && self.pattern.matches(path)
    }
}

/// The names of a list, as paths from the top of the tree.
#[derive(Debug)]
pub(super) struct NameList {
    /// Whether each has been met in the source.
    names: BTreeMap<Vec<u8>, AtomicBool>,
    /// The top of a local source.
    top: Option<PathBuf>,
}

impl NameList {
    /// Reads the list that the options name, if they name one.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for a name that leads out of the tree, and `Local` if the list cannot be read.
    pub(super) fn from_options(
        options: &Options,
        top: Option<&Path>,
        input: &mut dyn Read,
    ) -> Result<Option<Self>> {
        let Some(file) = options.value("files-from") else { return Ok(None) };
        let (name, text) = output::read(file, input)?;
        let mut names = BTreeMap::new();
        for (line, number) in lines(values::without_mark(&text)).zip(1..) {
            let path = path(line).map_err(|why| {
                Failure::usage(format!("{name}:{number}: \"{}\": {why}", shown(line)))
            })?;
            names.extend(path.map(|path| (path, AtomicBool::new(false))));
        }
        Ok(Some(Self { names, top: top.map(Path::to_owned) }))
    }

    /// Returns whether an object takes part: one that the list has, all that is in a listed directory,
    /// and the directories above both.
    pub(super) fn takes(&self, path: &[u8], is_directory: bool) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let above = ends.chain([path.len()]).filter_map(|end| path.get(..end));
        let mut listed = above.filter_map(|above| self.names.get(above).map(|met| (above, met)));
        if let Some((above, met)) = listed.next() {
            // A name below a listed directory can be listed too.
            let all = [(above, met)].into_iter().chain(listed);
            all.filter(|(above, _)| *above == path)
                .for_each(|(_, met)| met.store(true, Ordering::Relaxed));
            return true;
        }
        let inside = [path, b"/"].concat();
        let mut below = self.names.range(inside.clone()..).map(|(name, _)| name);
        // A directory of missing names only would be made for nothing.
        is_directory
            && below
                .by_ref()
                .take_while(|name| name.starts_with(&inside))
                .any(|name| self.may_be_there(name))
    }

    fn may_be_there(&self, name: &[u8]) -> bool {
        let here = self.top.as_ref().map(|top| top.join(OsStr::from_bytes(name)));
        here.is_none_or(|here| here.symlink_metadata().is_ok())
    }

    /// Returns the names that the source lacks, or whose objects were left out for another reason, and
    /// forgets what was met.
    pub(super) fn unmet(&self) -> Vec<&[u8]> {
        let unmet = self.names.iter().filter(|(_, met)| !met.swap(false, Ordering::Relaxed));
        unmet.map(|(name, _)| name.as_slice()).collect()
    }
}

/// Returns the names: they end with NUL if there is one, else with a line feed.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_by_nul = text.contains(&0);
    let parts = text.split(move |byte| *byte == if is_by_nul { 0 } else { b'\n' });
    parts.map(move |line| line.strip_suffix(b"\r").filter(|_| !is_by_nul).unwrap_or(line))
}

/// Returns a path in the form of the tree's paths; `None` for an empty line.
fn path(line: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if line.is_empty() {
        return Ok(None);
    }
    let parts: Vec<_> =
        line.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    match parts.as_slice() {
        parts if parts.contains(&&b".."[..]) => Err(".. leads out of SRC"),
        [] => Err("expected the name of a file or directory in SRC"),
        parts => Ok(Some(parts.join(&b'/'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignore_file_that_may_still_be_written_is_not_read_again() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join(IGNORE_FILE);
        std::fs::write(&file, "secret\n").unwrap();
        let words = ["mirror", "SRC", "ftp://h/"].map(Into::into);
        let (_, options) = crate::options::parse(words).unwrap();
        let mut mirror =
            MirrorOptions::from_options(&options, Some(top.path()), &mut io::empty()).unwrap();
        let opened = std::fs::File::create(&file).unwrap();
        assert_eq!(mirror.renew(&options).unwrap_err().exit, Exit::Local);
        opened.set_modified(SystemTime::now() - 2 * SETTLE).unwrap();
        mirror.renew(&options).unwrap();
    }

    #[test]
    fn an_ignore_file_that_goes_away_still_excludes() {
        let top = tempfile::tempdir().unwrap();
        let words = ["mirror", "--watch", "SRC", "ftp://h/"].map(Into::into);
        let (_, options) = crate::options::parse(words).unwrap();
        let read = || MirrorOptions::from_options(&options, Some(top.path()), &mut io::empty());
        read().unwrap().renew(&options).unwrap();
        let file = top.path().join(IGNORE_FILE);
        std::fs::write(&file, "secret\n").unwrap();
        let mut mirror = read().unwrap();
        std::fs::remove_file(&file).unwrap();
        for _ in 0..2 {
            assert_eq!(mirror.renew(&options).unwrap_err().exit, Exit::Local);
            assert!(!mirror.filter.takes(b"secret", false));
        }
        let empty = std::fs::File::create(&file).unwrap();
        empty.set_modified(SystemTime::now() - 2 * SETTLE).unwrap();
        mirror.renew(&options).unwrap();
        assert!(mirror.filter.takes(b"secret", false));
    }

    fn choice(words: &str) -> Filter {
        let globs = words.split_whitespace().map(|word| {
            let (sign, text) = word.split_at(1);
            let glob = Glob::read(word.to_owned(), text.as_bytes()).unwrap();
            Glob { includes: sign == "+", ..glob }
        });
        Filter {
            globs: globs.collect(),
            needs_include: words.starts_with('+'),
            ..Filter::default()
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        for (words, taken, left_out) in [
            ("", &["a", "a/b", "d/"][..], &[][..]),
            ("-*.o", &["a.c", "d/a.c", "d/"], &["a.o", "d/a.o", "x.o/"]),
            ("-*.o +keep.o", &["keep.o", "d/keep.o", "a"], &["a.o"]),
            ("+keep.o -*.o", &[], &["keep.o", "a.o", "a.c"]),
            ("+*.jpg", &["a.jpg", "d/a.jpg", "d/"], &["a.png", "d/a"]),
            ("+*.jpg -thumb*", &["a.jpg", "d/"], &["thumb.jpg", "thumbs/", "a"]),
            ("-.git/", &["a", ".git", "d/.git"], &[".git/", "d/.git/"]),
            ("-/d", &["x/d", "x/d/", "d/a"], &["d", "d/"]),
            ("-d/*", &["d/", "d/a/b", "x/d/a", "a"], &["d/a", "d/a/"]),
            ("-d/*/c", &["d/c", "d/a/b/c", "x/d/a/c"], &["d/b/c"]),
            ("-[a-c]?", &["d1", "a", "abc"], &["a1", "x/c2"]),
            ("-**/.env -/b/** +/b/c/", &["env", "b/", "b/c/"], &[".env", "a/.env", "b/d", "b/c"]),
            ("-*.{o,a}", &["a.c"], &["a.o", "d/a.a"]),
        ] {
            let choice = choice(words);
            let takes = |path: &str| {
                let name = path.strip_suffix('/');
                choice.takes(name.unwrap_or(path).as_bytes(), name.is_some())
            };
            for path in taken {
                assert!(takes(path), "{words:?} leaves out {path}");
            }
            for path in left_out {
                assert!(!takes(path), "{words:?} takes {path}");
            }
        }
    }

    #[test]
    fn patterns_that_matched_nothing_are_reported() {
        let mut choice = choice("-*.tmp +keep.tmp -x/y -[{]a,b\\}");
        choice.globs.extend(listed("list", b"# all\r\n\n*.tmp  \r\n!k\\ \nx\\#").unwrap());
        assert!(!choice.takes(b"a.tmp", false) && !choice.takes(b"d/keep.tmp", false));
        let unmet = |of_files| choice.unmet(of_files).collect::<Vec<_>>().join("|");
        assert_eq!(unmet(false), "-x/y: matches no name|-[{]a,b\\}: matches no name");
        assert!(unmet(true).starts_with(r#"list:4: "!k\\ ": matches no name|"#));
        assert!(unmet(true).ends_with(r#"|list:5: "x\\#": matches no name"#), "{}", unmet(true));
    }

    #[test]
    fn lists_are_read_as_git_reads_them() {
        let list = b"\xef\xbb\xbf*.o\r\n# *.c\n\n!keep.o   \nlast\\ \n\\!a\n\\#b\nd/";
        let globs = listed("list", list).unwrap();
        for (path, is_directory, want) in [
            ("a.o", false, Some(false)),
            ("a.c", false, None),
            ("keep.o", false, Some(true)),
            ("last ", false, Some(false)),
            ("last", false, None),
            ("!a", false, Some(false)),
            ("#b", false, Some(false)),
            ("x/d", true, Some(false)),
            ("d", false, None),
        ] {
            assert_eq!(last_match(&globs, path.as_bytes(), is_directory), want, "{path}");
        }
        for (list, want) in [
            (&b"a\n- *.o"[..], "list:2: \"- *.o\": expected a pattern"),
            (b"; x", "expected a pattern"),
            (b"!", "expected"),
            (b"a\0b\0", "NUL"),
            (b".env\r*.key\r", "end each line with LF or CR LF"),
            (b"ok\n[a", "list:2: \"[a\": [ without ]"),
        ] {
            let failure = listed("list", list).unwrap_err();
            assert!(failure.message.contains(want), "{}", failure.message);
        }
    }

    #[test]
    fn patterns_that_cannot_match_are_refused() {
        for text in ["", "/", "a//b", "../a", "a/..", ".", "//", "a/b**", "{a}", "[a", "{a,b/c}"] {
            assert!(Glob::read(String::new(), text.as_bytes()).is_err(), "{text:?}");
        }
    }

    fn list(text: &[u8]) -> NameList {
        let names = lines(text).filter_map(|line| path(line).unwrap());
        NameList { names: names.map(|name| (name, AtomicBool::new(false))).collect(), top: None }
    }

    #[test]
    fn listed_names_and_directories_take_part() {
        for text in [&b"a\r\nd/e/f\n./x//y/\n\nx/y/z\n"[..], b"a\0/d/e/f\0x/y\0x/y/z\0"] {
            let list = list(text);
            for (name, is_directory, want) in [
                ("a", false, true),
                ("d", true, true),
                ("d/e", true, true),
                ("d/e/f", false, true),
                ("d/e/g", false, false),
                ("d/a", false, false),
                ("x", true, true),
                ("x/y", true, true),
                ("x/y/z", false, true),
                ("x/y/other/z", false, true),
                ("x/z", false, false),
                ("d", false, false),
                ("ab", false, false),
            ] {
                assert_eq!(list.takes(name.as_bytes(), is_directory), want, "{name}");
            }
            assert!(list.unmet().is_empty());
            assert_eq!(list.unmet().len(), 4);
        }
    }

    #[test]
    fn names_keep_every_byte_but_the_end_of_the_line() {
        let all: Vec<_> = lines(b"#a\n b \n\xff\n").collect();
        assert_eq!(all, [&b"#a"[..], b" b ", b"\xff", b""]);
        assert_eq!(lines(b"a\nb\0c\r").collect::<Vec<_>>(), [&b"a\nb"[..], b"c\r"]);
        for wrong in [&b".."[..], b"a/../b", b"/", "./".as_bytes()] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
    }
}
