//! Listings (RFC 959 §4.1.3; RFC 3659 §7): LIST, NLST, MLSD, MLST, and STAT of a path.

use std::sync::Arc;
use std::time::Instant;

use ftp_proto::{Pathname, Pattern, Reply, ReplyCode};

use super::unfinished;
use crate::auth::{DirectoryRights, Rights, holds_rules, rights_at};
use crate::config::{NamePattern, is_denied};
use crate::context::Context;
use crate::data::ListingOutgoing;
use crate::deadline::unix_now;
use crate::limits;
use crate::listing::{self, FactSelection};
use crate::reply::{self, Purpose};
use crate::session::{Place, PreparedTransfer, Session, Work, Working};
use crate::storage::{
    Ask, DirectoryUse, Entries, Entry, EntryKind, Metadata, Storage, StorageErrorKind,
    StorageResult, VirtualPath,
};

/// Length of the longest pattern in bytes. A longer one is plain text: names have at most 255 bytes,
/// and the time for each of them grows with the length of the pattern.
const LONGEST_PATTERN: usize = 512;

struct ListingTarget {
    path: VirtualPath,
    /// Whether the argument names a single object that is not a directory.
    is_single: bool,
    /// The directory part of the argument, which `NLST` puts before each name so that RETR accepts
    /// the line.
    prefix: Vec<u8>,
    items: Entries,
    /// The pattern that items must match to be shown; the listing fails if none matches. `None`:
    /// all items are shown.
    pattern: Option<Pattern>,
}

impl ListingTarget {
    /// Returns the target of a directory whose entries are all shown.
    const fn of(path: VirtualPath, prefix: Vec<u8>, items: Entries) -> Self {
        Self { path, is_single: false, prefix, items, pattern: None }
    }
}

/// `LIST [<path>]`: sends a line about each entry, in the form of `ls -l`. The flag `a` adds a line about
/// the directory itself: from its link count, clients conclude that it has no links to directories.
pub(super) fn list(session: &Session, path: Option<&Pathname>) -> Result<PreparedTransfer, Reply> {
    // The date format depends on the current time.
    let now = unix_now();
    let show_ids = session.context.config.show_ids;
    let line = move |entry: &Entry, _prefix: &[u8], out: &mut Vec<u8>| {
        listing::list_line(entry, now, show_ids, out);
    };
    let text = path.map_or(&[][..], Pathname::as_bytes);
    let flags = text.len() - listing::strip_all_flags(text).len();
    let shows_itself = text.iter().take(flags).any(|flag| *flag == b'a');
    show(session, path, (Ask::Facts, shows_itself), Box::new(line))
}

/// `NLST [<path>]`: sends the names, in a form that RETR accepts (RFC 1123 §4.1.2.7).
pub(super) fn nlst(session: &Session, path: Option<&Pathname>) -> Result<PreparedTransfer, Reply> {
    let line = |entry: &Entry, prefix: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(prefix);
        out.extend_from_slice(&entry.name);
        out.extend_from_slice(b"\r\n");
    };
    show(session, path, (Ask::Names, false), Box::new(line))
}

/// A function that appends the line of an entry; the second argument goes before the entry's name.
type LineWriter = Box<dyn Fn(&Entry, &[u8], &mut Vec<u8>)>;

fn show(
    session: &Session,
    path: Option<&Pathname>,
    (ask, shows_itself): (Ask, bool),
    write_line: LineWriter,
) -> Result<PreparedTransfer, Reply> {
    let storage = session.storage().ok_or_else(reply::no_right)?;
    let ListingTarget { path, is_single, prefix, items, pattern } =
        target(session, storage, path, ask).map_err(reply::failure_of(Purpose::List))?;
    let is_pattern = pattern.is_some();
    let mut itself = Vec::new();
    if shows_itself
        && !is_single
        && !is_pattern
        && let Ok(metadata) = storage.stat(&path, Ask::Facts)
    {
        write_line(&Entry::new(".", metadata), b"", &mut itself);
    }
    let hidden = if is_single { Arc::default() } else { session.hidden_names() };
    let line = move |entry: &Entry, out: &mut Vec<u8>| {
        if is_shown(&entry.name, pattern.as_ref(), &hidden) {
            write_line(entry, &prefix, out);
        }
    };
    let outgoing = ListingOutgoing::new(items, Box::new(line)).after(itself);
    let outgoing = if is_pattern { outgoing.not_empty() } else { outgoing };
    Ok(PreparedTransfer::send(path, outgoing))
}

/// `STAT <path>`: replies with the lines of LIST: 212 for a directory, 213 for a file; 450 if they do not
/// fit into [`limits::STAT_LINES`].
pub(super) fn stat(session: &Session, path: &Pathname) -> Result<Working, Reply> {
    let storage = session.storage().ok_or_else(reply::no_right)?;
    let target = target(session, storage, Some(path), Ask::Start)
        .map_err(reply::failure_of(Purpose::Existing))?;
    let path = target.path.clone();
    let show_ids = session.context.config.show_ids;
    let hidden = if target.is_single { Arc::default() } else { session.hidden_names() };
    let listing = StatListing {
        target,
        hidden,
        show_ids,
        begun: Instant::now(),
        now: unix_now(),
        lines: Vec::with_capacity(limits::STAT_LINES + LONGEST_LINE),
        bytes: 0,
    };
    Ok(Working::new(path, listing, Place::Search))
}

/// Bytes of a line, with a name as long as most file systems allow.
const LONGEST_LINE: usize = 512;

/// A `STAT <path>` in progress. The session checks on its client between steps, because a search
/// for few matching entries in a large directory can take a long time.
struct StatListing {
    target: ListingTarget,
    hidden: Arc<Vec<NamePattern>>,
    show_ids: bool,
    begun: Instant,
    /// The current time, in seconds since 1970-01-01T00:00:00Z.
    now: i64,
    /// The lines with their line ends. They share one allocation: the C library keeps small ones for
    /// the thread, and what lies between them, while the client does not read the reply.
    lines: Vec<u8>,
    /// The number of bytes of the lines in the reply.
    bytes: usize,
}

impl Work for StatListing {
    /// Takes the next entry. Returns `true` at the end of the directory.
    fn advance(&mut self) -> Result<bool, Reply> {
        if self.begun.elapsed() >= limits::PREPARE {
            return Err(reply::too_much_to_prepare());
        }
        if !self.target.items.is_ready(limits::TICK) {
            return Ok(false);
        }
        let entry = match self.target.items.next() {
            Some(Ok(entry)) => entry,
            Some(Err(error)) => return Err(reply::storage_failure(&error, Purpose::Existing)),
            None => return Ok(true),
        };
        if is_shown(&entry.name, self.target.pattern.as_ref(), &self.hidden) {
            listing::list_line(&entry, self.now, self.show_ids, &mut self.lines);
            if self.lines.len() > limits::STAT_LINES {
                return Err(reply::too_many_to_show());
            }
            self.bytes = self.lines.len();
        }
        Ok(false)
    }

    fn finish(&mut self) -> Reply {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() && self.target.pattern.is_some() {
            return reply::storage_failure(&StorageErrorKind::NotFound.into(), Purpose::Existing);
        }
        let single = self.target.is_single;
        let code = if single { ReplyCode::FILE_STATUS } else { ReplyCode::DIRECTORY_STATUS };
        let lines = lines.split_inclusive(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r\n").unwrap_or(line));
        // A text that grew in steps would leave pieces of memory, too.
        let mut text = Vec::with_capacity(self.bytes + 64);
        text.extend_from_slice(b"Status:");
        Reply::multi_line(code, text, lines, "End")
    }

    fn done(&self) -> u64 {
        self.bytes as u64
    }
}

/// Finds the target of an argument, without the flags for `ls`. A second word of flags counts as a
/// name if such an object exists, otherwise as flags: some clients pass on `-l -a` unchanged.
fn target(
    session: &Session,
    storage: &dyn Storage,
    argument: Option<&Pathname>,
    ask: Ask,
) -> StorageResult<ListingTarget> {
    let text = listing::strip_flags(argument.map_or(&[], Pathname::as_bytes));
    match look_up(session, storage, text, ask) {
        Err(error) if error.kind == StorageErrorKind::NotFound => {
            match listing::strip_all_flags(text) {
                rest if rest.len() < text.len() => look_up(session, storage, rest, ask),
                _ => Err(error),
            }
        }
        found => found,
    }
}

/// Finds the object that `text` names, or the current directory if `text` is empty. A name takes
/// precedence over a pattern.
fn look_up(
    session: &Session,
    storage: &dyn Storage,
    text: &[u8],
    ask: Ask,
) -> StorageResult<ListingTarget> {
    let Ok(named) = Pathname::new(text) else {
        let path = session.login.directory.clone();
        check_right(session, &path)?;
        let items = storage.list(&path, ask)?;
        return Ok(ListingTarget::of(path, Vec::new(), items));
    };
    let path = session.resolve(&named);
    check_right(session, &path)?;
    match storage.stat(&path, Ask::Facts) {
        Ok(metadata) if metadata.kind == EntryKind::Directory => {
            let items = storage.list(&path, ask)?;
            let mut prefix = text.to_vec();
            if !prefix.ends_with(b"/") {
                prefix.push(b'/');
            }
            Ok(ListingTarget::of(path, prefix, items))
        }
        Ok(metadata) => {
            let items = Entries::new(std::iter::once(Ok(Entry::new(text, metadata))));
            Ok(ListingTarget { is_single: true, ..ListingTarget::of(path, Vec::new(), items) })
        }
        Err(error) if error.kind == StorageErrorKind::NotFound => {
            matching(session, storage, text, ask)?.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

fn check_right(session: &Session, path: &VirtualPath) -> StorageResult<()> {
    match session.may(path, Rights::LIST) {
        true => Ok(()),
        false => Err(StorageErrorKind::Denied.into()),
    }
}

/// Returns the entries of a directory that match the last component of `text`, or `None` if that
/// component is not a pattern.
fn matching(
    session: &Session,
    storage: &dyn Storage,
    text: &[u8],
    ask: Ask,
) -> StorageResult<Option<ListingTarget>> {
    let start = text.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (prefix, last) = text.split_at_checked(start).unwrap_or((&[], text));
    if last.len() > LONGEST_PATTERN || !Pattern::is_in(last) {
        return Ok(None);
    }
    let Ok(pattern) = Pattern::parse_name(last) else { return Ok(None) };
    let directory = Pathname::new(prefix).ok();
    let path = session.resolve_or_here(directory.as_ref());
    check_right(session, &path)?;
    let items = storage.list(&path, ask)?;
    let target = ListingTarget::of(path, prefix.to_vec(), items);
    Ok(Some(ListingTarget { pattern: Some(pattern), ..target }))
}

/// Returns whether a name matches the pattern, if there is one, is not hidden and has no line break.
fn is_shown(name: &[u8], pattern: Option<&Pattern>, hidden: &[NamePattern]) -> bool {
    let is_wanted = pattern.is_none_or(|pattern| pattern.matches(name));
    is_wanted && !is_denied(hidden, name) && !listing::has_line_break(name)
}

/// `MLSD [<directory>]`: sends a line of facts about each entry (RFC 3659 §7). The directory itself
/// and its parent have no line, as RFC 3659 §7.2 allows: clients such as rclone show a `type=cdir`
/// entry as a subdirectory. `MLST` shows their facts.
pub(super) fn mlsd(session: &Session, path: Option<&Pathname>) -> Result<PreparedTransfer, Reply> {
    let path = session.resolve_or_here(path);
    let storage = session.storage_at(&path, Rights::LIST)?;
    let listed = storage.stat(&path, Ask::Facts).and_then(|metadata| match metadata.kind {
        EntryKind::Directory => storage.list(&path, Ask::Permissions),
        // If the link leads to a directory, that directory is outside the root.
        EntryKind::Symlink => Err(StorageErrorKind::Denied.into()),
        _ => Err(StorageErrorKind::NotDirectory.into()),
    });
    let entries = listed.map_err(|error| match error.kind {
        StorageErrorKind::NotDirectory => Reply::new(ReplyCode::BAD_ARGUMENT, "Not a directory"),
        _ => reply::storage_failure(&error, Purpose::List),
    })?;
    let (shown, hidden) = (ShownFacts::of(session, path.clone()), session.hidden_names());
    let line = move |entry: &Entry, out: &mut Vec<u8>| {
        if entry.metadata.kind != EntryKind::Special && is_shown(&entry.name, None, &hidden) {
            shown.about_entry(entry, out);
            out.extend_from_slice(b"\r\n");
        }
    };
    Ok(PreparedTransfer::send(path, ListingOutgoing::new(entries, Box::new(line))))
}

/// `MLST [<path>]`: replies with the facts of one object and its absolute path.
pub(super) fn mlst(session: &mut Session, path: Option<&Pathname>) -> Result<Reply, Reply> {
    let path = session.resolve_or_here(path);
    let storage = session.storage_at(&path, Rights::LIST)?;
    let metadata = storage.stat(&path, Ask::Permissions).map_err(|error| {
        unfinished::tell_no_file(session, &path, &error);
        reply::storage_failure(&error, Purpose::Existing)
    })?;
    let mut line = b" ".to_vec();
    let shown = ShownFacts::of(session, path.clone());
    let rights = session.rights_at(&path);
    let is_fixed = path.is_root() || session.holds_rules(&path);
    let named = Entry::new(path.as_bytes(), metadata);
    shown.about(&named, rights, is_fixed, &mut line);
    if metadata.kind == EntryKind::File {
        unfinished::tell_file(session, &path, named.metadata);
    }
    Ok(Reply::multi_line(ReplyCode::FILE_ACTION_OKAY, "Facts:", [line], "End"))
}

/// The data from which the facts of an entry are made; `perm` depends on the user's rights (RFC
/// 3659 §7.5.5).
struct ShownFacts {
    facts: FactSelection,
    directory: VirtualPath,
    rights: Rights,
    /// Rules that give the user separate rights in the listed directory or in directories below it.
    rules: Vec<DirectoryRights>,
    /// Whether files may be replaced if the rights allow it.
    may_overwrite: bool,
    context: Arc<Context>,
}

impl ShownFacts {
    fn of(session: &Session, directory: VirtualPath) -> Self {
        let rules = session.user().map_or(&[][..], |user| &user.directories);
        Self {
            facts: session.transfer.facts,
            rights: session.rights_at(&directory),
            rules: rules
                .iter()
                .filter(|(path, _)| path.is_at_or_below(&directory))
                .cloned()
                .collect(),
            directory,
            may_overwrite: session.may_overwrite(),
            context: Arc::clone(&session.context),
        }
    }

    fn about_entry(&self, entry: &Entry, out: &mut Vec<u8>) {
        if self.rules.is_empty() {
            return self.about(entry, self.rights, false, out);
        }
        let path = self.directory.join(&entry.name);
        let rights = rights_at(self.rights, &self.rules, &path);
        self.about(entry, rights, holds_rules(&self.rules, &path), out);
    }

    /// Writes the facts of an object. `is_fixed` tells whether rules forbid to rename it and, if it is
    /// a directory, to remove it.
    fn about(&self, entry: &Entry, rights: Rights, is_fixed: bool, out: &mut Vec<u8>) {
        let perm = self.letters(&entry.name, &entry.metadata, rights, is_fixed);
        listing::mlsx_facts(entry, &perm, self.facts, out);
    }

    /// Returns the letters of `perm`, one for each allowed kind of command. `name` may have a
    /// directory part.
    fn letters(&self, name: &[u8], found: &Metadata, rights: Rights, is_fixed: bool) -> String {
        let is_fixed = is_fixed || found.is_fixed;
        let opens = found.directory_use != DirectoryUse::Unavailable;
        let changes = found.directory_use == DirectoryUse::Full;
        let config = &self.context.config;
        let may = |right| rights.contains(right);
        let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
        let may_store = !is_denied(&config.deny_names, last);
        let letters: &[(char, bool)] = match found.kind {
            EntryKind::Directory => &[
                ('c', may(Rights::CREATE) && changes),
                ('d', may(Rights::DELETE) && !is_fixed),
                ('e', rights != Rights::NONE && opens),
                ('f', may(Rights::RENAME) && !is_fixed),
                ('l', may(Rights::LIST) && opens),
                ('m', may(Rights::MKDIR) && changes),
                ('p', may(Rights::DELETE) && changes),
            ],
            EntryKind::File => &[
                ('a', may(Rights::APPEND) && may_store),
                ('d', may(Rights::DELETE) && changes),
                ('f', may(Rights::RENAME) && !is_fixed && changes),
                ('r', may(Rights::RETRIEVE)),
                ('w', may(Rights::WRITE) && may_store && self.may_overwrite && changes),
            ],
            EntryKind::Symlink | EntryKind::Special => {
                &[('d', may(Rights::DELETE)), ('f', may(Rights::RENAME) && !is_fixed)]
            }
        };
        letters.iter().filter(|(_, allowed)| *allowed).map(|(letter, _)| *letter).collect()
    }
}
