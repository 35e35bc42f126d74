//! `mirror [--delete] SRC DST`: copies new and changed files of a tree, from a server to this
//! computer or the other way round. Also copies trees from server to server, for `fxp -r`.
//!
//! The library plans and executes; this module reads the options, and prints plan, events and
//! totals.

mod display;
mod options;
mod watch;

use ftp_proto::Pathname;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use ftp_client::tree::{Difference, PlannedStep, Summary, SyncOptions, TreeSide, TreeSync};
use ftp_client::{Event, FtpUrl, Place, RepresentationType};

use self::display::MirrorDisplay;
pub(super) use self::options::FxpWay;
use self::options::MirrorOptions;
use crate::connect::{Credentials, Finder, Sessions, Witness};
use crate::console::output::{counted, rounded_size, shown, transferred};
use crate::console::{Board, Cleanup, Stdio, When, output};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, is_remote, parse_url, values};
use crate::report::{Events, Object};
use crate::system::OsStrExt;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let [source, target] = options.operands.as_slice() else {
        return Err(Failure::usage("mirror needs a source and a target: ftp-cli mirror SRC DST"));
    };
    match (is_remote(source), is_remote(target)) {
        (true, true) => {
            let message = "mirror needs one local directory; use ftp-cli fxp -r to copy from server to server";
            Err(Failure::usage(message))
        }
        (false, false) => {
            Err(Failure::usage("mirror needs one URL: write SRC or DST as ftp://HOST/DIR"))
        }
        (true, false) => down(options, stdio, &parse_url(source)?, Path::new(target)),
        (false, true) => up(options, stdio, Path::new(source), &parse_url(target)?),
    }
}

/// Downloads a tree, for `get -r` too.
pub(super) fn down(options: &Options, stdio: &mut Stdio, url: &FtpUrl, here: &Path) -> Result {
    between(options, stdio, [&End::Remote(url), &End::Local(here)], FxpWay::default())
}

/// Uploads a tree, for `put -r` too.
pub(super) fn up(options: &Options, stdio: &mut Stdio, here: &Path, url: &FtpUrl) -> Result {
    between(options, stdio, [&End::Local(here), &End::Remote(url)], FxpWay::default())
}

/// Runs `fxp -r`: copies a tree from server to server.
pub(super) fn across(
    options: &Options,
    stdio: &mut Stdio,
    urls: [&FtpUrl; 2],
    way: FxpWay,
) -> Result {
    let [source, target] = urls.map(End::Remote);
    between(options, stdio, [&source, &target], way)
}

/// Mirrors the first end to the second; `way` is that of copies between two servers. Emits
/// the event of a fatal failure, with both trees.
fn between(options: &Options, stdio: &mut Stdio, ends: [&End<'_>; 2], way: FxpWay) -> Result {
    for end in ends {
        let why = match end {
            End::Local(here) if here.as_os_str().is_empty() => ": . is the current one",
            End::Local(here) if here.as_os_str() == "-" => {
                ", not standard input or standard output; use ./- for one named -"
            }
            _ => continue,
        };
        return Err(Failure::usage(format!("a tree needs a local directory{why}")));
    }
    let done = Mirror::new(options, stdio, ends).and_then(|mirror| mirror.run(ends, way, stdio));
    done.map_err(|failure| {
        if !failure.reported {
            let [source, target] = ends;
            stdio.events.failed(&failure, |error| Ends { source, target }.name(error, b""));
        }
        Failure { reported: true, ..failure }
    })
}

/// One end of a mirror, as typed.
enum End<'a> {
    Local(&'a Path),
    Remote(&'a FtpUrl),
}

impl End<'_> {
    /// Returns the name of an object for messages and events.
    fn named(&self, path: &[u8]) -> Vec<u8> {
        match (self, path) {
            (Self::Local(here), path) => Pathname::join(here.as_os_str().as_bytes(), path),
            (Self::Remote(url), b"") => url.to_string().into_bytes(),
            (Self::Remote(url), path) => url.below(path).to_string().into_bytes(),
        }
    }

    fn url(&self) -> Option<&FtpUrl> {
        match self {
            Self::Local(_) => None,
            Self::Remote(url) => Some(url),
        }
    }
}

#[derive(Clone, Copy)]
struct Ends<'a> {
    source: &'a End<'a>,
    target: &'a End<'a>,
}

impl Ends<'_> {
    /// Adds the fields that identify an object.
    fn name(&self, object: Object, path: &[u8]) -> Object {
        object.name("source", &self.source.named(path)).name("target", &self.target.named(path))
    }
}

struct Mirror<'a> {
    options: &'a Options,
    wanted: MirrorOptions,
    is_talkative: bool,
    when: When,
    cleanup: Cleanup,
    events: Events,
    /// The login of all runs of `--watch`.
    login: Option<Credentials>,
}

impl<'a> Mirror<'a> {
    fn new(options: &'a Options, stdio: &mut Stdio, ends: [&End<'_>; 2]) -> Result<Self> {
        for url in ends.iter().filter_map(|end| end.url()) {
            if url.representation() == Some(RepresentationType::Ascii) {
                let message =
                    format!("{url}: directories do not support ;type=a; remove it from the URL");
                return Err(Failure::usage(message));
            }
        }
        let source = match ends {
            [End::Local(here), _] => Some(*here),
            _ => None,
        };
        let wanted = MirrorOptions::from_options(options, source, &mut *stdio.input)?;
        if options.synonym == Some("sync") && !options.is_quiet() {
            for (is_meant, note) in [
                (
                    !options.has("delete"),
                    "deletes nothing; use --delete to delete objects that SRC lacks",
                ),
                (
                    options.last_typed(&["continue"]).is_some(),
                    "-c resumes files; to compare by checksum as rclone and rsync do, use --compare hash",
                ),
            ] {
                stdio.messages.say_if(is_meant, format_args!("sync {note}"));
            }
        }
        Ok(Self {
            options,
            wanted,
            is_talkative: stdio.is_talkative(options),
            when: When::from_options(options)?,
            cleanup: Cleanup::start(options, stdio)?,
            events: stdio.events.clone(),
            login: None,
        })
    }

    /// Mirrors once, or with `--watch` after each change.
    fn run(mut self, ends: [&End<'_>; 2], way: FxpWay, stdio: &mut Stdio) -> Result {
        let Some(interval) = watch::interval(self.options)? else {
            return self.between(ends, way, stdio);
        };
        let here = match ends {
            [End::Local(here), _] => Some(*here),
            _ => None,
        };
        // A run begins a second after a write, and cannot know that it was the last one.
        if self.options.has("remove-source") && !self.options.has("min-age") {
            let message =
                "--watch and --remove-source need --min-age: a file could go that is still written";
            return Err(Failure::usage(message));
        }
        let url = ends.iter().find_map(|end| end.url()).expect("one side is remote");
        // A descriptor is read once, and nobody types a password twice.
        self.login = Some(Finder::new(self.options, &stdio.messages).find(url)?);
        let messages = stdio.messages.clone();
        let observed = (here, self.options.has("delete"));
        let canceller = self.cleanup.canceller().cloned();
        let around = (canceller.as_ref(), &messages, self.options.is_quiet());
        let youngest = self.options.parsed("min-age", values::duration)?;
        watch::repeat((interval, youngest), observed, around, || {
            for list in self.wanted.changed_lists() {
                let text = format!(
                    "{list}: has changed; its old content counts until mirror is started again"
                );
                messages.say_if(!self.options.is_quiet(), format_args!("warning: {text}"));
                self.events.note(&text, |event| event);
            }
            self.wanted.renew(self.options)?;
            self.between(ends, way, stdio)
        })
    }

    /// Mirrors `source` to `target`; `way` is that of copies between two servers.
    fn between(&self, [source, target]: [&End<'_>; 2], way: FxpWay, stdio: &mut Stdio) -> Result {
        if matches!(target, End::Remote(_)) {
            MirrorOptions::check_upload(self.options)?;
        } else if self.wanted.transfer.temporary.is_some() {
            return Err(Failure::usage("--temp applies only to uploads"));
        } else if self.options.has("manifest") {
            return Err(Failure::usage("--manifest applies only to uploads"));
        }
        let mut logins: Vec<_> = match (source, target) {
            (End::Remote(from), End::Remote(to)) => {
                Finder::new(self.options, &stdio.messages).find_both([from, to])?.into()
            }
            _ => self.login.clone().into_iter().collect(),
        };
        // If both sides are the same server, two connections are needed, one for each role.
        let mut both = Vec::new();
        for url in [source, target].iter().filter_map(|end| end.url()) {
            let mut sessions = Sessions::new(self.options, stdio, &self.cleanup)?;
            if !logins.is_empty() {
                sessions.log_in_as(url, logins.remove(0));
            }
            let pool = sessions.pool_of(url)?;
            both.push((sessions, pool));
        }
        let mut pools = both.iter().map(|(_, pool)| pool);
        let mut side = |end: &End<'_>| match (end, end.url().and_then(|_| pools.next())) {
            (End::Remote(url), Some(pool)) => TreeSide::remote(pool, Place::of(url).path()),
            (End::Local(here), _) => TreeSide::local(*here),
            (End::Remote(_), None) => unreachable!("each URL has a pool"),
        };
        let sides = [side(source), side(target)];
        let options = self.wanted.for_library(&self.cleanup, way);
        let done = self.sync([&sides[0], &sides[1]], [source, target], &options, stdio);
        drop(sides);
        // The result of a run that was only planned is not the end of the connection.
        let failed = done.as_ref().err().filter(|failure| failure.fatal);
        for (sessions, pool) in both {
            drop(pool);
            sessions.quit(failed);
        }
        done
    }

    /// Plans the mirror, and carries it out.
    fn sync<'s>(
        &'s self,
        [from, to]: [&'s TreeSide<'s>; 2],
        [source, target]: [&End<'_>; 2],
        options: &SyncOptions<'s>,
        stdio: &mut Stdio,
    ) -> Result {
        let url = source.url().or(target.url()).expect("one side is remote");
        let observer = Witness::new(self.options, stdio, &self.cleanup);
        let retrying = self.wanted.transfer.retrying;
        // An earlier run of `--watch` may have ended while it planned.
        let _ = self.wanted.filter.missing();
        let planning = |event: Event<'_>| {
            if let Event::Of { event: Event::Retry { attempt, why, pause }, .. } = event {
                let fields = |object: Object| object.text("source", &url.to_string());
                retrying.announce((*attempt, why, *pause), &observer, url, &fields);
            }
        };
        let sync = TreeSync::plan(from, to, options, &planning)
            .map_err(|error| observer.last(url, Failure::from(&error)).context_unless_named(url))?;
        // The system's `cp -r` creates a directory with the source's name in an existing target.
        let is_cp = self.options.synonym == Some("cp");
        if sync.target_exists() && is_cp && !self.options.is_quiet() {
            let message = "the target exists: cp -r copies the content of SRC directly into it";
            stdio.messages.say(message);
        }
        let missing = self.missing(&sync);
        if self.is_decided(&sync, stdio)? {
            return self.report_missing(&missing, stdio);
        }
        let started = Instant::now();
        // The top is created before all steps.
        let is_step =
            |step: &PlannedStep| !matches!(step, PlannedStep::Make { path } if path.is_empty());
        let all = sync.same() + sync.steps().filter(is_step).count() + sync.failures().count();
        let unselected = sync.unselected();
        let board = Board::new(self.when, stdio, sync.copies(), Some(sync.bytes()));
        let display = MirrorDisplay::new(self, Ends { source, target }, &board, &observer, all);
        let (summary, result) = sync.run(&display);
        let result = display.finish(&summary, result).map_err(|failure| match failure.reported {
            true => failure,
            false => failure.context_unless_named(url),
        });
        drop(board);
        let transfer = &self.wanted.transfer;
        if matches!(target, End::Local(_))
            && !(transfer.resume || transfer.removes_source)
            && result.as_ref().is_err_and(|failure| failure.is_signal())
        {
            let hint = "; use -c to keep partial files and resume".to_owned();
            let _ = stdio.messages.usage.left.set(hint);
        }
        let Summary { copied, renamed, made, removed, moved, links, modes, .. } = summary;
        let is_idle =
            result.is_ok() && copied + renamed + made + removed + moved + links + modes == 0;
        // `--watch` would say so every minute.
        if self.login.is_none() || !is_idle {
            self.sum_up(&summary, unselected, started.elapsed(), stdio);
        }
        let reported = self.report_missing(&missing, stdio);
        result.and(reported)
    }

    /// Returns messages about names of `--files-from` whose objects take no part.
    fn missing(&self, sync: &TreeSync<'_>) -> Vec<String> {
        let names = self.wanted.filter.missing().into_iter();
        let message = |name| format!("{}: missing in SRC, or never copied", shown(name));
        let mut missing: Vec<_> = names.map(message).collect();
        if self.wanted.filter.is_listed() && sync.skips_links() {
            missing.push("a listed name is a symbolic link; use --links follow".to_owned());
        }
        missing
    }

    /// Reports names of `--files-from` whose objects took no part.
    ///
    /// # Errors
    ///
    /// Returns `Partial` if there are any.
    fn report_missing(&self, missing: &[String], stdio: &Stdio) -> Result {
        for message in missing {
            stdio.messages.say(message);
            let failure = Failure::item(Exit::Partial, message.clone());
            self.events.failed(&failure, |error| error);
        }
        match missing.len() {
            0 => Ok(()),
            count => {
                let message = format!("{} of --files-from not copied", counted(count, "name"));
                Err(Failure { reported: true, ..Failure::item(Exit::Partial, message) })
            }
        }
    }

    /// Checks the limits of the plan. With `--dry-run`, prints the plan first and returns true: the
    /// run is complete.
    ///
    /// # Errors
    ///
    /// Returns the failure of [`limit`](Self::limit). With `--dry-run`, returns `Partial` if objects
    /// cannot be mirrored.
    fn is_decided(&self, sync: &TreeSync<'_>, stdio: &mut Stdio) -> Result<bool> {
        self.wanted.filter.check()?;
        self.warn_of_patterns(sync, stdio);
        if self.is_talkative {
            sync.spellings().for_each(|message| stdio.messages.say(message));
        }
        if !self.options.is_quiet() {
            sync.notes().for_each(|note| stdio.messages.say(note));
            if sync.skips_links() {
                stdio.messages.say("mirror --links follow copies what symbolic links lead to");
            }
        }
        let limit = self.limit(sync);
        if !self.options.has("dry-run") {
            return limit.map_or(Ok(false), Err);
        }
        self.print(sync, stdio)?;
        let mut last = None;
        for fault in sync.failures() {
            let failure = Failure::from(fault);
            stdio.messages.say(&failure.message);
            self.events.failed(&failure, |error| error);
            last = Some(failure);
        }
        if let Some(first) = sync.withheld() {
            let [ignores, is_deploy] =
                ["ignore-errors", "manifest"].map(|long| self.options.has(long));
            let message = display::withheld(first, ignores, is_deploy);
            stdio.messages.say(message);
        }
        self.sum_up_plan(sync, stdio);
        let Some(last) = last.filter(|_| limit.is_none()) else {
            limit.map_or(Ok(()), Err)?;
            let different = sync.steps().count();
            if different == 0 || !self.options.has("fail-if-different") {
                return Ok(true);
            }
            let is_doubt = |step: PlannedStep| {
                matches!(step, PlannedStep::Copy { why: Difference::Doubt, .. })
            };
            let objects = counted(different, "object");
            // Without its clock, which a dry run does not measure, the server's times tell nothing.
            let (exit, verb) = match sync.steps().all(is_doubt) {
                true => (Exit::Unsupported, "may differ"),
                false => (Exit::Partial, "differ"),
            };
            // Files without sizes are never known to be the same, however they are compared.
            let lacks_size = |step| matches!(step, PlannedStep::Copy { size: None, .. });
            let is_chosen = self.options.last_of(&["size-only", "compare"]).is_some();
            let hint = match exit {
                Exit::Unsupported if !is_chosen && !sync.steps().any(lacks_size) => {
                    "; use --size-only or --compare hash"
                }
                _ => "",
            };
            return Err(Failure::item(exit, format!("SRC and DST {verb} in {objects}{hint}")));
        };
        let message = format!("{} cannot be mirrored", counted(sync.failures().count(), "object"));
        Err(Failure { exit: Exit::Partial, message, reported: true, ..last })
    }

    /// Returns the failure `Limit` if more objects would be removed than `--max-delete` allows, or
    /// any without `--max-delete` although the source has no files, or only excluded ones.
    fn limit(&self, sync: &TreeSync<'_>) -> Option<Failure> {
        let is_dry = self.options.has("dry-run");
        let nothing = if is_dry { "the run would do nothing" } else { "nothing was done" };
        let planned = sync.excess()?;
        let objects = counted(planned, "object");
        let message = match self.wanted.max_delete {
            Some(most) => {
                let is_renamed =
                    sync.steps().any(|step| matches!(step, PlannedStep::Rename { .. }));
                let what = if is_renamed { "deleted or renamed" } else { "deleted" };
                format!(
                    "{objects} would be {what}, but --max-delete is {most}; {nothing}; raise --max-delete to do it"
                )
            }
            None => {
                let why = match sync.unselected() {
                    0 => "the source has no files",
                    _ => "no file of the source is selected",
                };
                format!(
                    "{nothing}: {why}, and {objects} would be deleted; to delete them, add --max-delete {planned}"
                )
            }
        };
        Some(Failure::item(Exit::Limit, message))
    }
}

impl Mirror<'_> {
    /// Reports each pattern that matches no name, and that no file is selected.
    fn warn_of_patterns(&self, sync: &TreeSync<'_>, stdio: &Stdio) {
        if self.options.is_quiet() {
            return;
        }
        let has_files = sync.copies() + sync.same() + sync.failures().count() > 0;
        if sync.unselected() > 0 && !has_files {
            let mut patterns = self.options.in_order(&["include", "exclude", "exclude-from"]);
            let hint = match patterns.next() {
                Some(_) => "; if several patterns match, the last of them decides",
                None => "",
            };
            let message = format!("no file is selected: {} left out{hint}", sync.unselected());
            stdio.messages.say(message);
        }
        for unmet in self.wanted.filter.unmet(false) {
            // `--watch` would say so in each run.
            stdio.messages.say_once(true, &unmet);
            self.events.note(&unmet, |note| note);
        }
        for unmet in self.wanted.filter.unmet(true) {
            stdio.messages.say_if(self.is_talkative, unmet);
        }
    }

    /// Prints the plan: one line per object, in the order of execution.
    fn print(&self, sync: &TreeSync<'_>, stdio: &mut Stdio) -> Result {
        let mut text = Vec::new();
        for step in sync.steps() {
            // A program reads the words of `--json`, a person those of the run.
            let (what, said) = match &step {
                PlannedStep::Make { .. } => ("make", "make"),
                PlannedStep::Copy { .. } => ("copy", "copy"),
                PlannedStep::Link { .. } => ("link", "link"),
                PlannedStep::Delete { .. } => ("delete", "remove"),
                PlannedStep::Rename { .. } => ("rename", "rename"),
                _ => ("chmod", "set mode of"),
            };
            let (from, why, size) = match &step {
                PlannedStep::Copy { size, why, .. } => (None, Some(why.as_str()), *size),
                PlannedStep::Rename { from, size, .. } => (Some(from), None, *size),
                _ => (None, None, None),
            };
            let path = step.path();
            if self.events.is_on() {
                self.events.emit(|| {
                    let entry = Object::event("entry").name("name", path).text("action", what);
                    let entry = match from {
                        Some(from) => entry.name("from", from),
                        None => entry,
                    };
                    entry.text_if("why", why).number_if("size", size)
                });
                continue;
            }
            let path = if path.is_empty() { b"." } else { path };
            let mut add = |path: &[u8]| match stdio.output_is_terminal() {
                true => text.extend_from_slice(shown(path).as_bytes()),
                false => text.extend_from_slice(path),
            };
            add(format!("{said} ").as_bytes());
            if let Some(from) = from {
                add(from);
                add(b" to ");
            }
            add(path);
            if let Some(why) = why.filter(|_| self.is_talkative) {
                let _ = write!(text, " ({why})");
            }
            text.push(b'\n');
        }
        output::print(&mut stdio.output, &text)
    }

    /// Prints the totals of a dry run, which are those of the run if nothing fails.
    fn sum_up_plan(&self, sync: &TreeSync<'_>, stdio: &Stdio) {
        let mut done = Summary::default();
        // The top is not counted.
        for step in sync.steps().filter(|step| !step.path().is_empty()) {
            *match step {
                PlannedStep::Make { .. } => &mut done.made,
                PlannedStep::Copy { .. } => &mut done.copied,
                PlannedStep::Link { .. } => &mut done.links,
                PlannedStep::Delete { .. } => &mut done.removed,
                PlannedStep::Rename { .. } => &mut done.renamed,
                _ => &mut done.modes,
            } += 1;
        }
        (done.same, done.failed) = (sync.same(), sync.failures().count());
        let totals = totals(&done, sync.unselected(), true, &rounded_size(sync.bytes()));
        self.say_totals(&format!("dry run, nothing changed: {totals}"), stdio);
    }

    fn sum_up(&self, done: &Summary, unselected: usize, time: Duration, stdio: &Stdio) {
        stdio.messages.usage.add(done.copied as u64, done.bytes);
        let moved = transferred(done.bytes, time);
        self.say_totals(&totals(done, unselected, false, &moved), stdio);
    }

    fn say_totals(&self, totals: &str, stdio: &Stdio) {
        // Without a terminal too; `--json` has an event for this.
        let is_said = !self.options.is_quiet() && (self.is_talkative || !self.events.is_on());
        stdio.messages.say_if(is_said, totals);
    }
}

/// Returns the totals as one line, files copied first and failures last; of a plan, in words for what would
/// happen. Omits counts of 0, except the first two.
fn totals(done: &Summary, unselected: usize, is_plan: bool, bytes: &str) -> String {
    let Summary { copied, renamed, made, removed, moved, links, modes, failed, same, .. } = *done;
    let step = |what, planned| if is_plan { planned } else { what };
    let more = [
        (unselected, "file", "not selected"),
        (renamed, "file", step("renamed", "to rename")),
        (made, "directory", step("made", "to make")),
        (links, "link", step("made", "to make")),
        (modes, "mode", step("set", "to set")),
        (removed, "object", step("removed", "to remove")),
        (moved, "source file", "removed"),
        (failed, "object", "failed"),
    ];
    let mut line = format!("{} {}, {bytes}; ", counted(copied, "file"), step("copied", "to copy"));
    line += &format!("{} unchanged", counted(same, "file"));
    for (count, noun, what) in more.into_iter().filter(|(count, ..)| *count > 0) {
        line += &format!(", {} {what}", counted(count, noun));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_shows_all_totals() {
        let mut done = Summary::default();
        (done.same, done.copied, done.bytes, done.removed) = (12_000, 2, 1_048_576, 1);
        let want = "2 files copied, 1.0 MiB in 0.50 s (2.0 MiB/s); 12000 files unchanged, 1 object \
                    removed";
        assert_eq!(totals(&done, 0, false, "1.0 MiB in 0.50 s (2.0 MiB/s)"), want);
    }
}
