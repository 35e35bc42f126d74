//! Listings (RFC 959 §4.1.3; RFC 3659 §7): LIST, NLST, MLSD, MLST, and STAT of a path.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ftp_proto::{Pathname, Pattern, Reply, ReplyCode};

use crate::auth::Rights;
use crate::context::Context;
use crate::data::ListingOutgoing;
use crate::limits;
use crate::listing::{self, FactSelection};
use crate::name_pattern::is_denied;
use crate::pace::for_a_tick;
use crate::reply::{self, Purpose};
use crate::session::{Outcome, PreparedTransfer, Session, Work, Working};
use crate::storage::{
    Entries, Entry, EntryKind, Metadata, Storage, StorageError, StorageErrorKind, VirtualPath,
};

/// What `LIST`, `NLST` or `STAT` was asked to show.
struct ListingTarget {
    path: VirtualPath,
    /// Whether the argument named one object that is not a directory.
    is_single: bool,
    /// What makes an argument for RETR of each name: the directory part of the argument.
    prefix: Vec<u8>,
    entries: Entries,
    /// Which of them are meant, and at least one there has to be; all, if there is none.
    pattern: Option<Pattern>,
}

/// `LIST [<path>]`: a line for people about each entry, in the form of `ls -l`.
pub(super) fn list(session: &Session, path: Option<&Pathname>) -> Result<PreparedTransfer, Reply> {
    let now = now();
    let show_ids = session.context.config.show_ids;
    let line = move |_prefix: &[u8], entry: &Entry, out: &mut Vec<u8>| {
        listing::list_line(&entry.name, &entry.metadata, now, show_ids, out);
    };
    show(session, path, Box::new(line))
}

/// `NLST [<path>]`: the names, each so that RETR takes it (RFC 1123 §4.1.2.7).
pub(super) fn nlst(session: &Session, path: Option<&Pathname>) -> Result<PreparedTransfer, Reply> {
    let line = |prefix: &[u8], entry: &Entry, out: &mut Vec<u8>| {
        out.extend_from_slice(prefix);
        out.extend_from_slice(&entry.name);
        out.extend_from_slice(b"\r\n");
    };
    show(session, path, Box::new(line))
}

/// Appends the line of an entry, whose name is to have this in front of it.
type LineWriter = Box<dyn Fn(&[u8], &Entry, &mut Vec<u8>)>;

fn show(
    session: &Session,
    path: Option<&Pathname>,
    write_line: LineWriter,
) -> Result<PreparedTransfer, Reply> {
    let storage = session.storage(Rights::LIST).ok_or_else(reply::no_right)?;
    let ListingTarget { path, prefix, entries, pattern, .. } = target(session, storage, path)
        .map_err(|error| reply::storage_failure(&error, Purpose::Existing))?;
    let is_pattern = pattern.is_some();
    let line = move |entry: &Entry, out: &mut Vec<u8>| {
        if is_shown(entry, pattern.as_ref()) {
            write_line(&prefix, entry, out);
        }
    };
    let outgoing = ListingOutgoing::new(entries, Box::new(line));
    let outgoing = if is_pattern { outgoing.not_empty() } else { outgoing };
    Ok(PreparedTransfer::send(path, outgoing))
}

/// `STAT <path>`: the lines of LIST in the reply: 212 about a directory, 213 about a file.
pub(super) fn stat(session: &Session, path: &Pathname) -> Outcome {
    let Some(storage) = session.storage(Rights::LIST) else { return reply::no_right().into() };
    let target = match target(session, storage, Some(path)) {
        Ok(target) => target,
        Err(error) => return reply::storage_failure(&error, Purpose::Existing).into(),
    };
    let path = target.path.clone();
    let show_ids = session.context.config.show_ids;
    let listing = StatListing {
        target,
        show_ids,
        begun: Instant::now(),
        now: now(),
        lines: Vec::new(),
        bytes: 0,
        is_cut: false,
    };
    Working::new(path, listing).into()
}

/// What `STAT <path>` shows, as it is gathered: of many entries few may match a pattern.
struct StatListing {
    target: ListingTarget,
    show_ids: bool,
    begun: Instant,
    /// Seconds since 1970.
    now: i64,
    lines: Vec<Vec<u8>>,
    bytes: u64,
    /// There are more entries than are shown.
    is_cut: bool,
}

impl StatListing {
    /// Looks at the next entry. True behind the last one.
    fn look_at_one(&mut self) -> Result<bool, Reply> {
        if self.begun.elapsed() >= limits::PREPARE {
            return Err(reply::too_much_to_prepare());
        }
        let entry = match self.target.entries.next() {
            Some(Ok(entry)) => entry,
            Some(Err(error)) => return Err(reply::storage_failure(&error, Purpose::Existing)),
            None => return Ok(true),
        };
        if is_shown(&entry, self.target.pattern.as_ref()) {
            self.is_cut = self.lines.len() == limits::STAT_ENTRIES;
            if self.is_cut {
                return Ok(true);
            }
            let mut line = Vec::new();
            listing::list_line(&entry.name, &entry.metadata, self.now, self.show_ids, &mut line);
            line.truncate(line.len().saturating_sub(2));
            self.bytes += line.len() as u64;
            self.lines.push(line);
        }
        Ok(false)
    }

    fn finish(&mut self) -> Reply {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() && self.target.pattern.is_some() {
            let nothing = StorageErrorKind::NotFound.into();
            return reply::storage_failure(&nothing, Purpose::Existing);
        }
        let single = self.target.is_single;
        let code = if single { ReplyCode::FILE_STATUS } else { ReplyCode::DIRECTORY_STATUS };
        let end = if self.is_cut { "End; there is more, use LIST" } else { "End" };
        Reply::multi_line(code, "Status:", lines, end)
    }
}

impl Work for StatListing {
    fn step(&mut self) -> Option<Reply> {
        match for_a_tick(|| self.look_at_one()) {
            Ok(true) => Some(self.finish()),
            Ok(false) => None,
            Err(refusal) => Some(refusal),
        }
    }

    fn done(&self) -> u64 {
        self.bytes
    }
}

/// Finds what the argument means: flags of `ls` are dropped. Behind the first word of them a name
/// comes before further flags, such as those of `ls -l -a`, which some clients hand on as it is.
fn target(
    session: &Session,
    storage: &dyn Storage,
    argument: Option<&Pathname>,
) -> Result<ListingTarget, StorageError> {
    let text = listing::strip_flags(argument.map_or(&[], Pathname::as_bytes));
    match look_up(session, storage, text) {
        Err(error) if error.kind == StorageErrorKind::NotFound => {
            match listing::strip_all_flags(text) {
                rest if rest.len() < text.len() => look_up(session, storage, rest),
                _ => Err(error),
            }
        }
        found => found,
    }
}

/// Finds what `text` names, the current directory if it is empty: a name comes before a pattern.
fn look_up(
    session: &Session,
    storage: &dyn Storage,
    text: &[u8],
) -> Result<ListingTarget, StorageError> {
    let Ok(named) = Pathname::new(text) else {
        let path = session.directory.clone();
        let entries = storage.list(&path)?;
        return Ok(ListingTarget {
            path,
            is_single: false,
            prefix: Vec::new(),
            entries,
            pattern: None,
        });
    };
    let path = session.resolve(&named);
    match storage.stat(&path) {
        Ok(metadata) if metadata.kind == EntryKind::Directory => {
            let entries = storage.list(&path)?;
            let mut prefix = text.to_vec();
            if !prefix.ends_with(b"/") {
                prefix.push(b'/');
            }
            Ok(ListingTarget { path, is_single: false, prefix, entries, pattern: None })
        }
        Ok(metadata) => {
            let entry = Entry { name: text.to_vec(), metadata };
            let entries = Box::new(std::iter::once(Ok(entry)));
            Ok(ListingTarget { path, is_single: true, prefix: Vec::new(), entries, pattern: None })
        }
        Err(error) if error.kind == StorageErrorKind::NotFound => {
            matching(session, storage, text)?.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// The entries of one directory that match the last component; `None` if it is no pattern.
fn matching(
    session: &Session,
    storage: &dyn Storage,
    text: &[u8],
) -> Result<Option<ListingTarget>, StorageError> {
    let start = text.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (prefix, last) = text.split_at_checked(start).unwrap_or((&[], text));
    let Some(pattern) = Pattern::parse(last) else { return Ok(None) };
    let directory = Pathname::new(prefix).ok();
    let path = session.resolve_or_here(directory.as_ref());
    let entries = storage.list(&path)?;
    Ok(Some(ListingTarget {
        path,
        is_single: false,
        prefix: prefix.to_vec(),
        entries,
        pattern: Some(pattern),
    }))
}

/// Whether an entry is meant, and can stand on a line.
fn is_shown(entry: &Entry, pattern: Option<&Pattern>) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(&entry.name))
        && !listing::has_line_break(&entry.name)
}

/// `MLSD [<directory>]`: a line of facts for programs about each entry (RFC 3659 §7). The directory
/// and its parent have no line: RFC 3659 §7.2 leaves them out or in, and clients such as rclone take
/// a line of `type=cdir` for a directory in it, whose name is a path. `MLST` tells their facts.
pub(super) fn mlsd(session: &Session, path: Option<&Pathname>) -> Result<PreparedTransfer, Reply> {
    let storage = session.storage(Rights::LIST).ok_or_else(reply::no_right)?;
    let path = session.resolve_or_here(path);
    let listed = storage.stat(&path).and_then(|metadata| match metadata.kind {
        EntryKind::Directory => storage.list(&path),
        // It may well be one, but not here.
        EntryKind::Symlink => Err(StorageErrorKind::Denied.into()),
        _ => Err(StorageErrorKind::NotDirectory.into()),
    });
    let entries = listed.map_err(|error| match error.kind {
        StorageErrorKind::NotDirectory => Reply::new(ReplyCode::BAD_ARGUMENT, "Not a directory"),
        _ => reply::storage_failure(&error, Purpose::Existing),
    })?;
    let shown = ShownFacts::of(session);
    let line = move |entry: &Entry, out: &mut Vec<u8>| {
        if entry.metadata.kind != EntryKind::Special && !listing::has_line_break(&entry.name) {
            shown.about(&entry.name, &entry.metadata, false, out);
            out.extend_from_slice(b"\r\n");
        }
    };
    Ok(PreparedTransfer::send(path, ListingOutgoing::new(entries, Box::new(line))))
}

/// `MLST [<path>]`: the facts of one object, in the reply, with its absolute path.
pub(super) fn mlst(session: &Session, path: Option<&Pathname>) -> Outcome {
    let path = session.resolve_or_here(path);
    let Some(storage) = session.storage(Rights::LIST) else { return reply::no_right().into() };
    match storage.stat(&path) {
        Ok(metadata) => {
            let mut line = b" ".to_vec();
            let shown = ShownFacts::of(session);
            shown.about(path.as_bytes(), &metadata, path.is_root(), &mut line);
            Reply::multi_line(ReplyCode::FILE_ACTION_OKAY, "Facts:", [line], "End").into()
        }
        Err(error) => reply::storage_failure(&error, Purpose::Existing).into(),
    }
}

/// What of an entry is shown: the chosen facts, `perm` among them by what the user may do
/// (RFC 3659 §7.5.5).
struct ShownFacts {
    facts: FactSelection,
    rights: Rights,
    context: Arc<Context>,
}

impl ShownFacts {
    fn of(session: &Session) -> Self {
        let rights = session.user().map_or(Rights::NONE, |user| user.rights);
        Self { facts: session.facts, rights, context: Arc::clone(&session.context) }
    }

    fn about(&self, name: &[u8], metadata: &Metadata, is_root: bool, out: &mut Vec<u8>) {
        let perm = self.letters(name, metadata.kind, is_root);
        listing::mlsx_facts(name, metadata, &perm, self.facts, out);
    }

    /// A letter for each command that would be let through. `name` may have a directory part.
    fn letters(&self, name: &[u8], kind: EntryKind, is_root: bool) -> String {
        let config = &self.context.config;
        let may = |right| self.rights.contains(right);
        let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
        let may_store = !is_denied(&config.deny_names, last);
        let letters: &[(char, bool)] = match kind {
            EntryKind::Directory => &[
                ('c', may(Rights::CREATE)),
                ('d', may(Rights::DELETE) && !is_root),
                ('e', true),
                ('f', may(Rights::RENAME) && !is_root),
                ('l', may(Rights::LIST)),
                ('m', may(Rights::MKDIR)),
                ('p', may(Rights::DELETE)),
            ],
            EntryKind::File => &[
                ('a', may(Rights::APPEND) && may_store),
                ('d', may(Rights::DELETE)),
                ('f', may(Rights::RENAME)),
                ('r', may(Rights::RETRIEVE)),
                ('w', may(Rights::WRITE) && may_store && config.overwrite),
            ],
            EntryKind::Symlink | EntryKind::Special => {
                &[('d', may(Rights::DELETE)), ('f', may(Rights::RENAME))]
            }
        };
        letters.iter().filter(|(_, allowed)| *allowed).map(|(letter, _)| *letter).collect()
    }
}

/// Seconds since 1970; the form of dates in LIST depends on it.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
