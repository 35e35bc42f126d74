//! `mirror [--delete] SRC DST`: copies new and changed files of a tree, from a server to this
//! computer or the other way round. Also copies trees from server to server, for `fxp -r`.
//!
//! Both trees are listed first, directory by directory, to make a [`Plan`], which is then executed.
//! Files that an interrupted run has copied count as equal in the next run.

mod backup;
mod compare;
mod copy;
mod entry;
mod execute;
mod filter;
mod local_tree;
mod names;
mod options;
mod plan;
mod probe;
mod show;
mod trees;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use ftp_client::{FtpUrl, Place, fxp};
use log::LevelFilter;

use self::names::learn_names;
use crate::connect::credentials::Finder;
use crate::connect::retry::RetryObserver;
use crate::connect::sessions::Sessions;
use crate::console::progress::{Board, When, is_talkative};
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::display::{counted, shown_path};
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::urls;
use crate::report::events::Events;
use crate::report::json::Object;
use compare::Rule;
use copy::{Across, Ahead, Copier, Down, LocalSide, RemoteSide, Up};
use execute::{MirrorReporter, Naming, act};
use ftp_client::tree::path::{self, join};
use local_tree::Directory;
use options::{Comparison, LinkChoice, MirrorOptions};
use plan::{Plan, PlanOptions};
use trees::{LocalTree, RemoteTree, ask_for_modes, look_at, look_for};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [source, target] = options.operands.as_slice() else {
        return Err(Failure::usage("mirror needs a source and a target: ftp-cli mirror SRC DST"));
    };
    match (urls::is_remote(source), urls::is_remote(target)) {
        (true, true) => {
            let message = "mirror needs one local directory; use ftp-cli fxp -r to copy from server to server";
            Err(Failure::usage(message))
        }
        (false, false) => {
            let message = "mirror needs one URL: write SRC or DST as ftp://HOST/DIR";
            Err(Failure::usage(message))
        }
        (true, false) => down(options, stdio, &urls::parse(source)?, Path::new(target)),
        (false, true) => up(options, stdio, Path::new(source), &urls::parse(target)?),
    }
}

/// Downloads a tree, for `get -r` too.
pub(super) fn down(
    options: &Options,
    stdio: &mut Stdio,
    url: &FtpUrl,
    here: &Path,
) -> Result<(), Failure> {
    let done = Mirror::new(options, stdio, &[url])?.down(url, here, stdio);
    report_failure(done, [url.to_string().as_bytes(), here.as_os_str().as_bytes()], stdio)
}

/// Uploads a tree, for `put -r` too.
pub(super) fn up(
    options: &Options,
    stdio: &mut Stdio,
    here: &Path,
    url: &FtpUrl,
) -> Result<(), Failure> {
    let done = Mirror::new(options, stdio, &[url])?.up(here, url, stdio);
    report_failure(done, [here.as_os_str().as_bytes(), url.to_string().as_bytes()], stdio)
}

/// Runs `fxp -r`: copies a tree from server to server.
pub(super) fn across(
    options: &Options,
    stdio: &mut Stdio,
    urls: [&FtpUrl; 2],
    choice: fxp::Options,
) -> Result<(), Failure> {
    let done = Mirror::new(options, stdio, &urls)?.across(urls, choice, stdio);
    let [source, target] = urls.map(ToString::to_string);
    report_failure(done, [source.as_bytes(), target.as_bytes()], stdio)
}

/// Emits the event of a fatal failure, with both trees.
fn report_failure(
    done: Result<(), Failure>,
    [source, target]: [&[u8]; 2],
    stdio: &Stdio,
) -> Result<(), Failure> {
    done.map_err(|mut failure| {
        if !failure.reported {
            let fields = |error: Object| error.name("source", source).name("target", target);
            stdio.events.failed(&failure, fields);
            failure.reported = true;
        }
        failure
    })
}

/// A mirror run.
struct Mirror<'a> {
    options: &'a Options,
    wanted: MirrorOptions,
    is_talkative: bool,
    when: When,
    cleanup: Cleanup,
    events: Events,
}

impl<'a> Mirror<'a> {
    fn new(options: &'a Options, stdio: &Stdio, urls: &[&FtpUrl]) -> Result<Self, Failure> {
        for url in urls {
            if url.representation() == Some(ftp_client::RepresentationType::Ascii) {
                let message =
                    format!("{url}: directories do not support ;type=a; remove it from the URL");
                return Err(Failure::usage(message));
            }
        }
        let wanted = MirrorOptions::from_options(options)?;
        if options.synonym() == Some("sync") && !wanted.deletes && !options.is_quiet() {
            stdio
                .messages
                .say("sync deletes nothing; use --delete to delete objects that SRC lacks");
        }
        trace::start(options, &stdio.messages, LevelFilter::Warn)?;
        Ok(Self {
            options,
            wanted,
            is_talkative: is_talkative(options, stdio),
            when: When::from_options(options)?,
            cleanup: Cleanup::watch(stdio)?,
            events: stdio.events.clone(),
        })
    }

    fn down(self, url: &FtpUrl, here: &Path, stdio: &mut Stdio) -> Result<(), Failure> {
        self.check_local_backup(here)?;
        if self.wanted.transfer.temporary.is_some() {
            return Err(Failure::usage("--temp applies only to uploads"));
        }
        let found = match Directory::open(here) {
            Ok(ground) => Some(ground),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::local(shown_path(here), &error)),
        };
        let mut sessions = Sessions::new(self.options, stdio, &self.cleanup)?;
        let top = top_of(url);
        self.say_merge(stdio, found.is_some());
        let rule = self.rule(true);
        let wish = self.wish(rule, false);
        let mut plan = self.with_retries(stdio, url, || {
            let client = sessions.client(url)?;
            if self.wanted.perms {
                ask_for_modes(client)?;
            }
            let mut source = RemoteTree::new(client, &top, self.wanted.list);
            look_at(&mut source)?;
            let mut target = LocalTree(found.as_ref());
            Plan::make(&mut source, &mut target, found.is_none(), &wish)
        })?;
        if self.is_decided(&plan, stdio)? {
            sessions.quit(None);
            return Ok(());
        }
        let ground = match found {
            Some(ground) => ground,
            None => {
                self.make_here(here)?;
                Directory::open(here).map_err(|error| Failure::local(shown_path(here), &error))?
            }
        };
        if let Some(first) = plan.directories.first_mut() {
            first.is_new = false;
        }
        plan.large = plan.large_files(self.wanted.transfer.jobs);
        clear(&ground, plan.leftovers());
        let backup = self.open_backup(here)?;
        let copiers = self.sessions(sessions, &plan).map(|sessions| {
            let from = RemoteSide::source(sessions, url, &top);
            let resumes = self.wanted.transfer.resume;
            Copier::Down(Down { from, to: LocalSide::new(&ground, backup.as_ref()), resumes })
        });
        let copiers = copiers.collect();
        let there = |path: &[u8]| named(url, path);
        let local = |path: &[u8]| below(here, path);
        // Files whose content is only in memory would be lost in a power failure. One sync for all
        // is fast enough even for thousands of small files.
        let sync = || ground.sync().map_err(|error| Failure::local(shown_path(here), &error));
        self.act(&plan, copiers, (&there, &local), &sync, stdio)
    }

    fn up(mut self, here: &Path, url: &FtpUrl, stdio: &mut Stdio) -> Result<(), Failure> {
        if self.wanted.links == LinkChoice::Keep {
            return Err(Failure::usage(copy::NO_LINKS));
        }
        let backup = self.remote_backup()?;
        let ground = Directory::open(here)
            .map_err(|error| Failure::local(shown_path(here), &error))?
            .following(self.wanted.links == LinkChoice::Follow);
        let mut sessions = Sessions::new(self.options, stdio, &self.cleanup)?;
        let top = top_of(url);
        let (plan, seen) = self.with_retries(stdio, url, || {
            let client = sessions.client(url)?;
            if let Some(backup) = &backup {
                backup.check_apart(client, &top)?;
            }
            if self.wanted.perms {
                ask_for_modes(client)?;
            }
            let mut target = RemoteTree::new(client, &top, self.wanted.list);
            let seen = look_for(&mut target)?;
            let wish = self.wish_for_server(seen.takes_times);
            let mut source = LocalTree(Some(&ground));
            let plan = Plan::make(&mut source, &mut target, seen.is_new, &wish)?;
            Ok((plan, seen))
        })?;
        self.say_merge(stdio, !seen.is_new);
        if self.is_decided(&plan, stdio)? {
            sessions.quit(None);
            return Ok(());
        }
        let plan = self.make_top(plan, &mut sessions, url, seen.is_sure)?;
        let names = learn_names(&mut sessions, url, &top, &plan)?;
        let is_watched =
            !self.board(&plan, stdio).is_hidden() || self.wanted.transfer.rate_limit.is_some();
        let temporary = self.wanted.transfer.temporary.as_ref();
        // With `--temp`, `--perms` or `--continue`, other commands come between two uploads.
        let is_plain = temporary.is_none() && !self.wanted.perms && !self.wanted.transfer.resume;
        let goes_ahead = is_plain && self.options.has("reuse-data");
        let copiers = self.sessions(sessions, &plan).map(|sessions| {
            let takes_times = seen.takes_times;
            let backup = backup.as_ref();
            let to = RemoteSide {
                takes_times,
                names,
                backup,
                list: self.wanted.list,
                ..RemoteSide::source(sessions, url, &top)
            };
            let resumes = self.wanted.transfer.resume;
            let (from, ahead) = (LocalSide::new(&ground, None), Ahead::new(goes_ahead));
            let local = here;
            Copier::Up(Up { from, to, is_watched, resumes, local, temporary, ahead })
        });
        let copiers = copiers.collect();
        let local = |path: &[u8]| below(here, path);
        let there = |path: &[u8]| named(url, path);
        self.act(&plan, copiers, (&local, &there), &|| Ok(()), stdio)
    }

    fn across(
        self,
        [from, to]: [&FtpUrl; 2],
        choice: fxp::Options,
        stdio: &mut Stdio,
    ) -> Result<(), Failure> {
        let mut finder = Finder::new(self.options, &stdio.messages);
        let [of_source, of_target] = finder.find_both([from, to])?;
        let mut sources = Sessions::new(self.options, stdio, &self.cleanup)?;
        sources.log_in_as(from, of_source);
        // If both sides are the same server, two connections are needed, one for each role.
        let mut targets = Sessions::new(self.options, stdio, &self.cleanup)?;
        targets.log_in_as(to, of_target);
        let top_from = top_of(from);
        let top_to = top_of(to);
        let (plan, seen) = self.with_retries(stdio, from, || {
            let client = targets.client(to)?;
            let mut target = RemoteTree::new(client, &top_to, self.wanted.list);
            let seen = look_for(&mut target)?;
            let client = sources.client(from)?;
            let mut source = RemoteTree::new(client, &top_from, self.wanted.list);
            look_at(&mut source)?;
            // Resuming a copy between servers does not depend on times.
            let wish = PlanOptions { resumes: false, ..self.wish_for_server(seen.takes_times) };
            let plan = Plan::make(&mut source, &mut target, seen.is_new, &wish)?;
            Ok((plan, seen))
        })?;
        self.say_merge(stdio, !seen.is_new);
        if self.is_decided(&plan, stdio)? {
            sources.quit(None);
            targets.quit(None);
            return Ok(());
        }
        let plan = self.make_top(plan, &mut targets, to, seen.is_sure)?;
        let names = learn_names(&mut targets, to, &top_to, &plan)?;
        let pairs = self.sessions(sources, &plan).zip(self.sessions(targets, &plan));
        let copiers = pairs.map(|(sources, targets)| {
            let from = RemoteSide::source(sources, from, &top_from);
            let takes_times = seen.takes_times;
            let list = self.wanted.list;
            let source = RemoteSide::source(targets, to, &top_to);
            let to = RemoteSide { takes_times, names, list, ..source };
            let temporary = self.wanted.transfer.temporary.as_ref();
            Copier::Across(Across { from, to, options: choice, temporary })
        });
        let copiers = copiers.collect();
        let at_source = |path: &[u8]| named(from, path);
        let at_target = |path: &[u8]| named(to, path);
        self.act(&plan, copiers, (&at_source, &at_target), &|| Ok(()), stdio)
    }

    /// Reports a difference from the system's `cp -r`, which creates a directory with the source's
    /// name in an existing target.
    fn say_merge(&self, stdio: &Stdio, target_exists: bool) {
        if target_exists && self.options.synonym() == Some("cp") && !self.options.is_quiet() {
            let message = "the target exists: cp -r copies the content of SRC directly into it";
            stdio.messages.say(message);
        }
    }

    fn wish_for_server(&self, takes_times: bool) -> PlanOptions<'_> {
        let rule = self.rule(takes_times);
        self.wish(rule, self.wanted.transfer.resume)
    }

    fn rule(&self, takes_times: bool) -> Rule {
        match self.wanted.comparison {
            Comparison::Size => Rule::SizeOnly,
            Comparison::Hash => Rule::SameHash,
            Comparison::Time if takes_times => Rule::SameTime,
            Comparison::Time => Rule::NotBefore,
        }
    }

    fn wish(&self, rule: Rule, resumes: bool) -> PlanOptions<'_> {
        let choice = &self.wanted.filter;
        let (deletes, ignores_errors) = (self.wanted.deletes, self.wanted.ignores_errors);
        let is_dry = self.wanted.is_dry;
        let moves = self.wanted.transfer.removes_source;
        let temporary = self.wanted.transfer.temporary.as_ref();
        let (objects, links, perms) = (plan::OBJECTS, self.wanted.links, self.wanted.perms);
        PlanOptions {
            choice,
            rule,
            deletes,
            ignores_errors,
            objects,
            resumes,
            is_dry,
            moves,
            temporary,
            links,
            perms,
        }
    }

    /// Lists both trees, with retries of transient failures if requested.
    fn with_retries<T>(
        &self,
        stdio: &Stdio,
        url: &FtpUrl,
        mut look: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let fields = |event: Object| event.text("source", &url.to_string());
        let retrying = self.wanted.transfer.retrying;
        let looked = retrying.run(&self.witness(stdio), url, &fields, |_| look());
        looked.map_err(|failure| failure.context_unless_named(url))
    }

    fn witness<'w>(&'w self, stdio: &'w Stdio) -> RetryObserver<'w> {
        let canceller = self.cleanup.canceller();
        let messages = &stdio.messages;
        let events = &self.events;
        RetryObserver { messages, events, canceller, quiet: self.options.is_quiet() }
    }

    /// Creates the top directory of the target if it is missing, and its parents if requested.
    fn make_top(
        &self,
        mut plan: Plan,
        sessions: &mut Sessions<'_>,
        url: &FtpUrl,
        is_sure: bool,
    ) -> Result<Plan, Failure> {
        let Some(first) = plan.directories.first_mut().filter(|first| first.is_new) else {
            return Ok(plan);
        };
        first.is_new = false;
        let top = top_of(url);
        let client = sessions.client(url)?;
        if self.wanted.transfer.create_directories {
            for at in (1..top.len()).filter(|at| top.get(*at) == Some(&b'/')) {
                // The server refuses to create existing directories. If a parent is still missing,
                // the server also refuses the top directory.
                match client.mkdir(top.get(..at).unwrap_or_default()) {
                    Ok(_) | Err(ftp_client::Error::Refused(..)) => {}
                    Err(error) => return Err(Failure::from(error).context(url)),
                }
            }
        }
        match client.mkdir(&top) {
            Ok(_) => Ok(plan),
            // The top may exist, although the server did not show it as a directory.
            Err(ftp_client::Error::Refused(..)) if !is_sure => Ok(plan),
            Err(error) => Err(Failure::from(error).context(url)),
        }
    }

    fn make_here(&self, here: &Path) -> Result<(), Failure> {
        let made = if self.wanted.transfer.create_directories {
            fs::create_dir_all(here)
        } else {
            fs::create_dir(here)
        };
        made.map_err(|error| {
            let mut failure = Failure::local(shown_path(here), &error);
            if error.kind() == ErrorKind::NotFound {
                failure.message.push_str("; use --create-dirs to create directories");
            }
            failure
        })
    }

    /// Returns the connections of each job: there are no more jobs than copies, unless all
    /// connections download one file together.
    fn sessions(
        &self,
        first: Sessions<'a>,
        plan: &Plan,
    ) -> impl Iterator<Item = Sessions<'a>> + use<'a> {
        // In active mode, each job listens on a port of its own.
        let all = self.wanted.transfer.jobs.min(self.wanted.active_ports).max(1);
        // A server that cuts names short may store two temporary names as one file, which shows
        // only later. One upload at a time then still gives each name its own content.
        let is_careful = plan.moves && self.wanted.transfer.temporary.is_some();
        let jobs = match plan.large.is_empty() {
            _ if is_careful => 1,
            true => all.min(plan.copies.len()).max(1),
            false => all,
        };
        let more: Vec<Sessions<'a>> = (1..jobs).map(|_| first.another()).collect();
        std::iter::once(first).chain(more)
    }

    /// Checks the limits of the plan. With `--dry-run`, prints the plan and returns true: the run
    /// is complete.
    ///
    /// # Errors
    ///
    /// Returns `Limit` if more objects would be removed than `--max-delete` allows. Without
    /// `--max-delete`, returns `Limit` if objects would be removed although the source has no
    /// files. With `--dry-run`, returns `Partial` if objects cannot be mirrored.
    fn is_decided(&self, plan: &Plan, stdio: &mut Stdio) -> Result<bool, Failure> {
        let count = plan.removed().count();
        if let Some(most) = self.wanted.max_delete.filter(|most| count > *most) {
            let message = format!(
                "{} would be deleted, but --max-delete is {most}; nothing was done; raise --max-delete to delete them",
                counted(count, "object")
            );
            return Err(Failure::new(Exit::Limit, message));
        }
        if plan.has_empty_source && count > 0 && self.wanted.max_delete.is_none() {
            let message = format!(
                "nothing was done: the source has no files, and {} would be deleted; to delete them, add --max-delete {count}",
                counted(count, "object")
            );
            return Err(Failure::new(Exit::Limit, message));
        }
        self.warn_of_patterns(plan, stdio);
        if self.is_talkative {
            plan.spelled.iter().for_each(|message| stdio.messages.say(message));
        }
        for left_out in &plan.left_out {
            if !self.options.is_quiet() {
                stdio.messages.say(left_out);
            }
        }
        if !self.wanted.is_dry {
            return Ok(false);
        }
        self.print(plan, stdio)?;
        for failure in &plan.failures {
            stdio.messages.say(&failure.message);
            self.events.failed(failure, |error| error);
        }
        match plan.failures.last() {
            None => Ok(true),
            Some(last) => {
                let message =
                    format!("{} cannot be mirrored", counted(plan.failures.len(), "object"));
                Err(Failure { exit: Exit::Partial, message, reported: true, ..last.clone() })
            }
        }
    }

    /// Returns the progress display of all copies.
    fn board(&self, plan: &Plan, stdio: &Stdio) -> Board {
        // The count is at least 2, because the display shows no total for a single file.
        Board::new(self.when, stdio, plan.copies.len().max(2), Some(plan.bytes))
    }

    /// Executes the plan.
    fn act(
        &self,
        plan: &Plan,
        mut copiers: Vec<Copier<'_>>,
        (source, target): (&Naming<'_>, &Naming<'_>),
        sync: &dyn Fn() -> Result<(), Failure>,
        stdio: &Stdio,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        let board = self.board(plan, stdio);
        let witness = self.witness(stdio);
        let reporter = MirrorReporter {
            messages: &stdio.messages,
            events: &self.events,
            each: self.options.is_verbose(),
            removals: !self.options.is_quiet(),
            source,
            target,
            board: &board,
            rate_limit: self.wanted.transfer.rate_limit.as_ref(),
            retrying: self.wanted.transfer.retrying,
            witness: &witness,
        };
        let (done, result) = act(plan, &mut copiers, &reporter, sync);
        drop(board);
        for copier in copiers {
            copier.quit(result.as_ref().err().filter(|failure| failure.fatal));
        }
        self.sum_up(plan, done, started.elapsed(), stdio);
        result
    }
}

/// Removes leftovers of killed runs. Ignores failures.
fn clear<'p>(ground: &Directory, leftovers: impl Iterator<Item = &'p [u8]>) {
    for path in leftovers {
        let (above, name) = path::split(path);
        let _ = ground.below(above).and_then(|directory| directory.clear(name));
    }
}

/// Returns the path of a URL's directory as commands send it: without a trailing `/`.
fn top_of(url: &FtpUrl) -> Vec<u8> {
    Place::of(url).path().to_vec()
}

/// Returns the name of a remote object for messages and events.
fn named(url: &FtpUrl, path: &[u8]) -> Vec<u8> {
    match path {
        b"" => url.to_string().into_bytes(),
        path => url.below(path).to_string().into_bytes(),
    }
}

/// Returns the name of a local object for messages and events.
fn below(here: &Path, path: &[u8]) -> Vec<u8> {
    join(here.as_os_str().as_bytes(), path)
}
