//! `ls URL...`: lists the names in directories; with `-l` details too, with `-R` recursively, with
//! `-g` only names that match a pattern.

use std::cmp::Ordering;

use ftp_client::listing::{Budget, ListOptions, ListingForm, Skipped, Walked};
use ftp_client::{Client, Error, ListLine, Place};
use ftp_proto::{Entry, Escaped, FtpUrl, Pathname};

use crate::console::{Messages, ResultLines, Stdio};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, parse_urls, values};
use crate::remote::pattern::{self, NamePattern};
use crate::remote::{self, Outcome, show_entry};
use crate::report::{Events, Object};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let needs = "ls needs a URL: ftp-cli ls [-l] URL...";
    let urls = parse_urls(&options.operands, needs, |_| Ok(()))?;
    let how = LsOptions::from_options(options)?;
    let globs = options.has("glob");
    if globs {
        urls.iter().try_for_each(pattern::is_usable)?;
    }
    let (lines, messages, events) =
        (stdio.lines(options), stdio.messages.clone(), stdio.events.clone());
    let mut lister = Lister::new(how, lines, messages, events);
    let mut is_first = true;
    remote::in_turn(options, stdio, &urls, "listings done", |sessions, url, witness, retrying| {
        let fields = |object: Object| object.text("source", &url.to_string());
        if urls.len() > 1 {
            lister.name_source(url, std::mem::take(&mut is_first))?;
        }
        let listed = retrying.run(witness, url, &fields, |_| {
            let listed =
                sessions.client(url).and_then(|client| lister.list_url(client, url, globs));
            sessions.drop_ended(url, &listed);
            // If lines were printed, a retry would print them again.
            let is_silent = !lister.has_shown();
            let listed = listed.map_err(|failure| failure.context_unless_named(url));
            listed.map_err(|failure| if is_silent { failure } else { failure.never_retried() })
        });
        lister.finish(listed, fields).map(|()| Outcome::Reported)
    })
}

/// Values of `--listing`.
pub(super) const FORMS: [(&str, ListingForm); 4] = [
    ("auto", ListingForm::Auto),
    ("mlsd", ListingForm::Mlsd),
    ("list", ListingForm::List),
    ("nlst", ListingForm::Nlst),
];

#[derive(Clone, Copy, Default)]
pub(super) struct LsOptions {
    pub(super) list: ListOptions,
    pub(super) long: bool,
    pub(super) recursive: bool,
    /// Whether sizes are shown with units.
    pub(super) human: bool,
    pub(super) order: ListOrder,
    pub(super) quiet: bool,
}

impl LsOptions {
    /// Reads the options of the group "Listing".
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or for options that contradict each other.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        let form = options.parsed("listing", |text| values::word(text, &FORMS))?;
        let form = form.unwrap_or_default();
        let recursive = options.has("recursive");
        if recursive && form == ListingForm::Nlst {
            let message =
                "--listing nlst cannot be combined with -R: NLST does not mark directories";
            return Err(Failure::usage(message));
        }
        let order = ListOrder::from_options(options)?;
        if order.needs_facts() && form == ListingForm::Nlst {
            let message = "--listing nlst cannot be combined with sorting by time or size: NLST shows only names";
            return Err(Failure::usage(message));
        }
        if options.has("all") && form == ListingForm::Mlsd {
            let message = "--listing mlsd cannot be combined with -a: MLSD has no flag";
            return Err(Failure::usage(message));
        }
        let list = ListOptions::new().all(options.has("all")).form(form);
        let human = options.has("human-readable");
        let (long, quiet) = (options.has("long"), options.is_quiet());
        Ok(Self { list, long, recursive, human, order, quiet })
    }
}

/// The memory for the names of a listing that is sorted by default: about 100,000 names.
const SORTED: usize = 32 << 20;

/// State of a run that lists one directory after the other.
pub(super) struct Lister {
    how: LsOptions,
    pattern: Option<NamePattern>,
    lines: ResultLines,
    messages: Messages,
    events: Events,
    /// Number of lines of the current listing that were printed or left out.
    shown: u64,
    /// Reason why entries were left out, if any were.
    left_out: Option<Failure>,
    /// Entries that are sorted at the end.
    held: Vec<(Vec<u8>, Entry)>,
    /// The memory for them in the default order; `None` once it was too little.
    room: Option<Budget>,
    /// URL of the directory that is being listed, if there are several.
    source: Option<String>,
}

impl Lister {
    pub(super) fn new(
        how: LsOptions,
        lines: ResultLines,
        messages: Messages,
        events: Events,
    ) -> Self {
        let (pattern, left_out, source, held, shown, room) = Default::default();
        Self { how, pattern, lines, messages, events, shown, left_out, held, room, source }
    }

    /// Sets the URL of the next listing. Without `--json`, prints it as a heading.
    fn name_source(&mut self, url: &FtpUrl, is_first: bool) -> Result {
        self.source = Some(url.to_string());
        if self.events.is_on() {
            return Ok(());
        }
        if !is_first {
            self.lines.print(b"")?;
        }
        self.lines.print(format!("{url}:").as_bytes())
    }

    /// Lists the directory of a URL, or the names that match the last part of its path. The last
    /// part is a pattern if `globs` is set, or if it looks like a pattern and no object has exactly
    /// that name.
    fn list_url(&mut self, client: &mut Client, url: &FtpUrl, globs: bool) -> Result {
        let mut place = Place::of(url);
        let is_guess = !globs
            && pattern::is_pattern(url)
            && client.look(place.path(), ListingForm::Auto)?.is_none();
        self.pattern =
            (globs || is_guess).then(|| pattern::of_last_part(place.path())).transpose()?;
        let before = self.shown;
        let listed = self.list(client, &mut place);
        let is_empty = self.shown == before && self.held.is_empty();
        match listed {
            Ok(()) if is_guess && is_empty => Err(pattern::no_match()),
            Err(failure) if failure.exit == Exit::Refused && is_empty && !url.is_directory() => {
                self.list_file(client, place.path(), failure)
            }
            listed => listed,
        }
    }

    /// Shows the file at `path`, after the server refused to list it as a directory.
    ///
    /// # Errors
    ///
    /// Returns `refused` if the object is not a file, and the errors of the client.
    fn list_file(&mut self, client: &mut Client, path: &[u8], refused: Failure) -> Result {
        if refused.fatal || self.pattern.is_some() || path.is_empty() {
            return Err(refused);
        }
        match client.look(path, ListingForm::Auto)? {
            Some(entry) if !entry.is_dir() => {
                self.entry(Pathname::split(path).1, &entry, &mut Budget::default())
            }
            _ => Err(refused),
        }
    }

    /// Lists the directory at `place`, or its parent directory if the last part is a pattern.
    ///
    /// # Errors
    ///
    /// Returns the failure that prevented the listing or ended it early. [`finish`](Self::finish)
    /// reports entries that were left out.
    pub(super) fn list(&mut self, client: &mut Client, place: &mut Place) -> Result {
        self.held.clear();
        self.room = Some(Budget::new().bytes(SORTED));
        remote::at(client, place, |client, path| {
            let directory = match self.pattern {
                Some(_) => Pathname::split(path).0,
                None => path,
            };
            let mut list = self.how.list;
            list.all |= self.pattern.as_ref().is_some_and(|pattern| pattern.is_of_hidden);
            match self.how.recursive {
                true => self.walk(client, (directory, list)),
                false => self.attempt(client, (directory, list)),
            }
        })?
    }

    /// Returns whether a part of the current listing was shown, so that another attempt would show it
    /// again.
    pub(super) const fn has_shown(&self) -> bool {
        self.shown > 0
    }

    /// Prints the entries that were held for sorting, and reports the outcome of the listing.
    ///
    /// # Errors
    ///
    /// Returns the failure in `listed`, else a failure of standard output, else the reason why
    /// entries were left out.
    pub(super) fn finish(
        &mut self,
        listed: Result,
        fields: impl FnOnce(Object) -> Object,
    ) -> Result {
        let flushed = self.show_held().and_then(|()| self.lines.flush());
        self.shown = 0;
        let left_out = self.left_out.take();
        listed?;
        flushed?;
        if let Some(failure) = left_out {
            return Err(failure);
        }
        self.events.done(|| fields(Object::event("done")), 0);
        Ok(())
    }

    fn show_held(&mut self) -> Result {
        let mut held = std::mem::take(&mut self.held);
        self.how.order.sort(&mut held);
        held.iter().try_for_each(|(name, entry)| self.show(name, entry))
    }

    /// Lists in one attempt. Returns `Err` if the listing could not begin or the directory is
    /// missing, and `Ok(Err)` if the listing ended early.
    fn attempt(
        &mut self,
        client: &mut Client,
        (directory, mut list): (&[u8], ListOptions),
    ) -> Result<Result, Error> {
        // If only names are needed, NLST is more reliable than LIST, whose lines must be parsed.
        let is_plain = !self.how.long && !self.how.order.needs_facts() && !self.events.is_on();
        // The settings that FEAT offers, such as UTF-8, are in force before the first listing.
        let has_mlsd = client.features()?.has("MLST");
        if list.form == ListingForm::Auto && is_plain && !has_mlsd {
            list.form = ListingForm::Nlst;
        }
        let entries = client.list_with(directory, list)?;
        let form = entries.form();
        let mut is_empty = true;
        let mut budget = Budget::default();
        for listed in entries {
            is_empty = false;
            let printed = match listed {
                Ok(ListLine::Entry(entry)) if form == ListingForm::Nlst => {
                    self.name(&entry, &mut budget)
                }
                // If the path names a file, the server may prepend the directory to its name.
                Ok(ListLine::Entry(entry)) if entry.name.contains(&b'/') => {
                    self.name(&entry, &mut budget)
                }
                Ok(ListLine::Entry(entry)) => self.entry(&entry.name, &entry, &mut budget),
                // Shown unchanged, because users may understand the line. It is not a name: inetutils
                // lists an unreadable directory as ".: Permission denied".
                Ok(ListLine::Unparsed(line))
                    if self.how.long
                        && form == ListingForm::List
                        && self.pattern.is_none()
                        && !self.events.is_on() =>
                {
                    self.shown += 1;
                    self.lines.print(&line)
                }
                Ok(ListLine::Unparsed(line)) => {
                    let what = "left out a line that cannot be parsed";
                    self.leave_out(&format!("{what}: {}", Escaped(&line)));
                    Ok(())
                }
                Err(error) => Err(error.into()),
            };
            if printed.is_err() {
                return Ok(printed);
            }
        }
        if is_empty && form != ListingForm::Mlsd && !directory.is_empty() {
            // Some servers, such as vsftpd, list a missing directory as empty.
            client.can_enter(directory)?;
        }
        Ok(Ok(()))
    }

    /// Lists a tree. Names are paths below the directory.
    fn walk(
        &mut self,
        client: &mut Client,
        (directory, list): (&[u8], ListOptions),
    ) -> Result<Result, Error> {
        let mut is_first = true;
        client.features()?;
        let mut walk = client.walk(directory).list(list);
        while let Some(walked) = walk.next() {
            let walked = match walked {
                Ok(walked) => walked,
                Err(error) if is_first => return Err(error),
                Err(error) => return Ok(Err(error.into())),
            };
            is_first = false;
            let printed = match walked {
                Walked::Entry { path, entry, .. } => {
                    let below = path.strip_prefix(directory).unwrap_or(&path);
                    // In the login directory, a leading `/` belongs to the name.
                    let below = match directory {
                        [] => below,
                        _ => below.strip_prefix(b"/").unwrap_or(below),
                    };
                    // Names that are held for sorting count together with those of the walk.
                    self.entry(below, &entry, walk.budget())
                }
                Walked::Skipped { why: Skipped::Loop, .. } => Ok(()),
                Walked::Skipped { directory, why, .. } => {
                    let what = if matches!(why, Skipped::Cut(_)) { "" } else { "left out " };
                    self.leave_out(&format!("{what}{}: {why}", Escaped(&directory)));
                    Ok(())
                }
            };
            if printed.is_err() {
                return Ok(printed);
            }
        }
        if is_first && !directory.is_empty() {
            client.can_enter(directory)?;
        }
        Ok(Ok(()))
    }

    /// Lists a name without the directory that some servers prepend. Skips `.` and `..`.
    fn name(&mut self, entry: &Entry, budget: &mut Budget) -> Result {
        let name = entry.name.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
        match name.unwrap_or(&entry.name).to_vec().as_slice() {
            b"." | b".." => Ok(()),
            name => self.entry(name, entry, budget),
        }
    }

    /// Shows an entry, or holds it for sorting, which `budget` counts.
    fn entry(&mut self, name: &[u8], entry: &Entry, budget: &mut Budget) -> Result {
        if let Some(pattern) = &self.pattern
            && !pattern.is_meant(Pathname::split(name).1)
        {
            return Ok(());
        }
        let order = self.how.order;
        if order.is_of_server() || !order.is_chosen && self.room.is_none() {
            return self.show(name, entry);
        }
        // The name is held once; in a tree it is a path.
        let mut entry = entry.clone();
        entry.name = Vec::new();
        let weight = Budget::weight_of_name(name) + Budget::weight_of(&entry);
        if !order.is_chosen {
            if self.room.as_mut().is_none_or(|room| room.hold(weight).is_err()) {
                self.room = None;
                self.show_held()?;
                let message = "too many names to sort: the others follow in the server's order";
                self.messages.say_if(!self.how.quiet, message);
                return self.show(name, &entry);
            }
        } else if budget.hold(weight).is_err() {
            let most = Budget::BYTES >> 20;
            let message = format!(
                "the names need more than {most} MiB of memory for sorting; use --sort none"
            );
            return Err(Failure::item(Exit::Integrity, message));
        }
        self.held.push((name.to_vec(), entry));
        Ok(())
    }

    /// Prints an entry, or emits its event.
    fn show(&mut self, name: &[u8], entry: &Entry) -> Result {
        self.shown += 1;
        if self.events.is_on() {
            let source = self.source.as_deref();
            self.events.emit(|| show_entry::event(name, entry).text_if("source", source));
            return Ok(());
        }
        if !self.how.long {
            return self.lines.print(name);
        }
        let mut line = show_entry::columns(entry, self.how.human).into_bytes();
        line.extend_from_slice(name);
        if let Some(target) = &entry.target {
            line.extend_from_slice(b" -> ");
            line.extend_from_slice(target);
        }
        self.lines.print(&line)
    }

    fn leave_out(&mut self, message: &str) {
        self.shown += 1;
        self.messages.say(message);
        self.left_out.get_or_insert_with(|| match self.how.recursive {
            true => Failure::item(Exit::Partial, "not all of the tree was listed"),
            false => Failure::item(Exit::Protocol, "the listing has lines that cannot be parsed"),
        });
    }
}

/// Sort key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Key {
    /// The server's order.
    Server,
    #[default]
    Name,
    /// Newest first.
    Time,
    /// Largest first.
    Size,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListOrder {
    pub(crate) key: Key,
    pub(crate) reverse: bool,
    /// Whether an option has set the key. If not, a listing that is too long to sort is printed unsorted.
    pub(crate) is_chosen: bool,
}

impl ListOrder {
    /// Reads `-t`, `-S`, `--sort` and `-r`; the last key wins.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an unknown key.
    pub(crate) fn from_options(options: &Options) -> Result<Self> {
        let keys =
            [("none", Key::Server), ("name", Key::Name), ("time", Key::Time), ("size", Key::Size)];
        let named = options.parsed("sort", |text| values::word(text, &keys))?;
        let last = options.last_of(&["sort", "newest-first", "largest-first"]);
        let key = match last {
            Some("newest-first") => Key::Time,
            Some("largest-first") => Key::Size,
            _ => named.unwrap_or_default(),
        };
        Ok(Self { key, reverse: options.has("reverse"), is_chosen: last.is_some() })
    }

    /// Returns whether entries can be printed as they arrive.
    pub(crate) const fn is_of_server(self) -> bool {
        matches!(self, Self { key: Key::Server, reverse: false, .. })
    }

    /// Returns whether sorting needs more than the names.
    pub(crate) const fn needs_facts(self) -> bool {
        matches!(self.key, Key::Time | Key::Size)
    }

    /// Sorts named entries. Entries without the fact to sort by come last, and equal entries are
    /// sorted by name, before `reverse` applies. Paths are sorted part by part: the content of a
    /// directory follows its name. Sorts in place: a stable sort would need more memory.
    pub(crate) fn sort(self, entries: &mut [(Vec<u8>, Entry)]) {
        let time = |entry: &Entry| entry.modified.map(|modified| modified.time);
        if self.key != Key::Server {
            entries.sort_unstable_by(|(one, first), (other, second)| {
                let by_fact = match self.key {
                    Key::Time => time(second).cmp(&time(first)),
                    Key::Size => second.size.cmp(&first.size),
                    Key::Server | Key::Name => Ordering::Equal,
                };
                by_fact.then_with(|| parts(one).cmp(parts(other)))
            });
        }
        if self.reverse {
            entries.reverse();
        }
    }
}

fn parts(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| *byte == b'/')
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::console::output::Output;
    use crate::console::output::tests::Kept;

    #[test]
    fn names_lose_their_directory_and_keep_their_bytes_li_04_li_05() {
        let lines: [&[u8]; 7] = [b"a", b"dir/b", b".", b"dir/..", b"d/", b" c\xff", b"\x1b[2J"];
        for (escapes, want) in
            [(false, &b"a\nb\nd/\n c\xff\n\x1b[2J\n"[..]), (true, b"a\nb\nd/\n c\\xff\n\\x1b[2J\n")]
        {
            let kept = Kept::default();
            let lines_out = ResultLines::new(Output::new(kept.clone()), escapes);
            let messages = Messages::new(io::sink(), false);
            let order = ListOrder { key: Key::Server, ..ListOrder::default() };
            let how = LsOptions { order, ..LsOptions::default() };
            let mut lister = Lister::new(how, lines_out, messages, Events::default());
            for line in lines {
                lister.name(&Entry::new(line), &mut Budget::default()).unwrap();
            }
            lister.lines.flush().unwrap();
            assert_eq!(kept.bytes(), want);
        }
    }

    #[test]
    fn names_are_sorted_as_far_as_memory_allows_li_17() {
        let one = Budget::weight_of_name(b"d") + Budget::weight_of(&Entry::new(""));
        for (room, want) in [(4, "abcd"), (3, "bcda"), (1, "dbca"), (0, "dbca")] {
            let (kept, said) = (Kept::default(), Kept::default());
            let lines_out = ResultLines::new(Output::new(kept.clone()), false);
            let messages = Messages::new(said.clone(), false);
            let mut lister =
                Lister::new(LsOptions::default(), lines_out, messages.clone(), Events::default());
            lister.room = Some(Budget::new().bytes(room * one));
            for name in ["d", "b", "c", "a"] {
                lister
                    .entry(name.as_bytes(), &Entry::new(name), &mut Budget::new().bytes(0))
                    .unwrap();
            }
            lister.finish(Ok(()), |done| done).unwrap();
            messages.settle();
            assert_eq!(String::from_utf8(kept.bytes()).unwrap().replace('\n', ""), want, "{room}");
            let said = String::from_utf8(said.bytes()).unwrap();
            assert_eq!(said.contains("too many names"), room < 4, "{room} {said}");
        }
    }
}

#[cfg(test)]
mod order_tests {
    use ftp_proto::Facts;

    use super::*;

    #[test]
    fn entries_are_sorted_by_their_facts() {
        let lines: [&[u8]; 4] = [
            b"type=file;size=5;modify=20240101000000; c",
            b"type=file;size=90;modify=20220101000000; a",
            b"type=dir;modify=20250101000000; d",
            b"type=file;size=5; b",
        ];
        for (key, reverse, want) in [
            (Key::Server, false, "cadb"),
            (Key::Server, true, "bdac"),
            (Key::Name, false, "abcd"),
            (Key::Name, true, "dcba"),
            (Key::Time, false, "dcab"),
            (Key::Time, true, "bacd"),
            (Key::Size, false, "abcd"),
        ] {
            let entry = |line: &&[u8]| Entry::from(&Facts::parse(line).unwrap());
            let mut entries: Vec<_> =
                lines.iter().map(entry).map(|entry| (entry.name.clone(), entry)).collect();
            ListOrder { key, reverse, is_chosen: true }.sort(&mut entries);
            let names: Vec<u8> = entries.into_iter().flat_map(|(name, _)| name).collect();
            assert_eq!(names, want.as_bytes(), "{key:?} {reverse}");
        }
    }

    #[test]
    fn the_content_of_a_directory_follows_its_name() {
        let names = ["a-b", "a/c", "a", "a/b/d", "a.b"];
        let entry = |name: &&str| (name.as_bytes().to_vec(), Entry::new(""));
        let mut entries: Vec<_> = names.iter().map(entry).collect();
        ListOrder::default().sort(&mut entries);
        let names: Vec<_> = entries.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        assert_eq!(names, ["a", "a/b/d", "a/c", "a-b", "a.b"]);
    }
}
