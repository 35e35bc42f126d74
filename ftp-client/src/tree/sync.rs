//! `TreeSync`: the synchronization of two trees, planned before anything is changed.

use ftp_proto::Pathname;
use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use super::copy::{
    Across, Ahead, Copier, Down, LocalSide, RemoteBackup, RemoteSide, RemoteTop, Up, no_local_side,
    no_remote_links, overlaps,
};
use super::execute::{Summary, act};
use super::fault::{Reporter, Setting, TreeFault};
use super::hand::Hand;
use super::local::{Backup, Directory};
use super::manifest::Deploy;
use super::options::{Compare, LinkChoice, OBJECTS, SyncOptions};
use super::plan::{Plan, PlanOptions, Rule};
use super::probe::learn_names;
use super::scan::{LocalTree, RemoteTree, Scan, TargetSeen, look_at, look_for};
use crate::charset::is_text;
use crate::control::learned::Promise;
use crate::error::{Error, ErrorKind, Unsupported};
use crate::event::Observer;
use crate::file::TemporaryName;
use crate::file::evidence::Resume;
use crate::fxp::{identified, share_login};
use crate::pool::Pool;
use crate::pool::crew::MOST;
use crate::system::{OsStrExt, local_name};

/// One end of a synchronization: a directory of this computer or of a server.
#[derive(Clone, Debug)]
pub struct TreeSide<'p>(SideKind<'p>);

#[derive(Clone, Debug)]
enum SideKind<'p> {
    Local(PathBuf),
    Remote { pool: &'p Pool<'p>, top: Vec<u8> },
}

impl<'p> TreeSide<'p> {
    /// Returns the directory at `path` of this computer.
    #[must_use]
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self(SideKind::Local(path.into()))
    }

    /// Returns the directory at `path` of the server of `pool`; empty for the login directory.
    ///
    /// All connections of the pool must be logged in as the same user.
    #[must_use]
    pub fn remote(pool: &'p Pool<'p>, path: impl AsRef<[u8]>) -> Self {
        let top = Pathname::without_slash(path.as_ref()).to_vec();
        Self(SideKind::Remote { pool, top })
    }
}

/// A planned synchronization of two trees.
///
/// Both trees are listed first. Then directories are created, files copied, and links created;
/// objects that only the target has are deleted last, and only if nothing of the source can be
/// missing. Files of the source are removed (see [`SyncOptions::moves`]) after the target has been
/// listed again.
///
/// ```no_run
/// use ftp_client::tree::{TreeSync, SyncOptions, TreeSide};
/// use ftp_client::{Client, Event, Pool};
///
/// let dial = || {
///     let mut client = Client::builder().connect("ftp.example.org")?;
///     client.login("me", "secret")?;
///     Ok(client)
/// };
/// let pool = Pool::new(dial).size(4);
/// let (site, www) = (TreeSide::local("site"), TreeSide::remote(&pool, "www"));
/// let show = |event: Event<'_>| println!("{event:?}");
/// let options = SyncOptions::new().deletes(true).jobs(4);
/// let (summary, result) = TreeSync::plan(&site, &www, &options, &show)?.run(&show);
/// println!("{} files copied, {} failed", summary.copied, summary.failed);
/// result?;
/// # Ok::<(), ftp_client::Error>(())
/// ```
#[must_use = "nothing happens until run is called"]
pub struct TreeSync<'s> {
    pub(super) options: SyncOptions<'s>,
    pub(super) plan: Plan,
    ends: Ends<'s>,
}

/// Both sides after they were listed.
enum Ends<'s> {
    Down {
        from: Far<'s>,
        here: &'s Path,
        found: Option<Directory>,
    },
    Up {
        ground: Directory,
        here: &'s Path,
        to: Far<'s>,
        seen: TargetSeen,
        backup: Option<RemoteBackup>,
    },
    Across {
        from: Far<'s>,
        to: Far<'s>,
        seen: TargetSeen,
    },
}

/// A tree on a server, and the connection that listed it.
struct Far<'s> {
    hand: Hand<'s>,
    pool: &'s Pool<'s>,
    top: &'s [u8],
}

impl<'s> Far<'s> {
    const fn new(pool: &'s Pool<'s>, top: &'s [u8]) -> Self {
        Self { hand: Hand::new(pool), pool, top }
    }

    /// Returns a connection for each of `jobs` workers.
    fn hands(self, jobs: usize) -> impl Iterator<Item = Hand<'s>> {
        let more: Vec<_> = (1..jobs).map(|_| self.hand.another()).collect();
        std::iter::once(self.hand).chain(more)
    }
}

impl<'s> TreeSync<'s> {
    /// Lists both trees, and plans what makes `target` equal to `source`. One side at least must be
    /// on a server.
    ///
    /// # Errors
    ///
    /// Returns failures that make the whole plan impossible, such as a source that cannot be read, a
    /// lost connection, or more names than fit into 100 MiB. Single objects that cannot be
    /// synchronized are [failures](Self::failures) of the plan.
    ///
    /// # Connections
    ///
    /// The connection that listed a side stays lent until [`run`](Self::run) has ended, or until
    /// this value is dropped: with a pool of one connection, every other caller waits until then.
    /// If both sides have the same pool, it needs at least two connections.
    pub fn plan(
        source: &'s TreeSide<'s>,
        target: &'s TreeSide<'s>,
        options: &SyncOptions<'s>,
        on: &dyn Observer,
    ) -> Result<Self, Error> {
        let mut options = options.clone();
        if options.backup.is_some() && matches!(target.0, SideKind::Remote { .. }) {
            // The old file stays until the new one is complete.
            options.temporary.get_or_insert_with(TemporaryName::standard);
        }
        let reporter = Reporter { on, patience: &options.patience };
        let planned = match (&source.0, &target.0) {
            (SideKind::Remote { pool, top }, SideKind::Local(here)) => {
                plan_down(Far::new(pool, top), here, &options, &reporter)
            }
            (SideKind::Local(here), SideKind::Remote { pool, top }) => {
                plan_up(here, Far::new(pool, top), &options, &reporter)
            }
            (SideKind::Remote { pool, top }, SideKind::Remote { pool: to, top: top_to }) => {
                plan_across(Far::new(pool, top), Far::new(to, top_to), &options, &reporter)
            }
            (SideKind::Local(_), SideKind::Local(_)) => {
                return Err(Error::Unsupported(Unsupported::TwoLocalSides));
            }
        };
        let (plan, ends) = planned?;
        Ok(Self { options, plan, ends })
    }

    /// Returns whether the target exists already.
    #[must_use]
    pub const fn target_exists(&self) -> bool {
        match &self.ends {
            Ends::Down { found, .. } => found.is_some(),
            Ends::Up { seen, .. } | Ends::Across { seen, .. } => !seen.is_new,
        }
    }

    /// Carries out the plan. Returns what was done, and the failure that ended the run early, if
    /// there was one. Failures of single objects are only counted, and reported as
    /// [`Event::Failed`](crate::Event::Failed).
    ///
    /// A plan with an [excess](Self::excess) is refused, and so is one that
    /// [may write nothing](SyncOptions::is_dry).
    pub fn run(self, on: &dyn Observer) -> (Summary, Result<(), Error>) {
        let refusal = match (self.excess(), self.options.most_deletions) {
            (Some(_), Some(_)) => Some("too many objects would be deleted"),
            (Some(_), None) if self.unselected() > 0 => Some("no file of the source is selected"),
            (Some(_), None) => Some("the source has no files"),
            (None, _) => self.options.is_dry.then_some("the options allow only a plan"),
        };
        if let Some(why) = refusal {
            let text = format!("nothing was done: {why}");
            let fault = TreeFault::new(ErrorKind::Usage, text);
            return (Summary::default(), Err(fault.into()));
        }
        let Self { options, plan, ends } = self;
        let reporter = Reporter { on, patience: &options.patience };
        let done = match ends {
            Ends::Down { from, here, found } => {
                run_down(from, here, found, &options, plan, &reporter)
            }
            Ends::Up { ground, here, to, seen, backup } => {
                run_up((&ground, here), to, &seen, backup.as_ref(), &options, plan, &reporter)
            }
            Ends::Across { from, to, seen } => {
                run_across(from, to, &seen, &options, plan, &reporter)
            }
        };
        match done {
            Ok((summary, ended)) => (summary, ended.map_err(Error::from)),
            Err(fault) => (Summary::default(), Err(fault.into())),
        }
    }
}

ftp_proto::debug_fields!(TreeSync<'_> { plan } ..);

type Planned<'s> = Result<(Plan, Ends<'s>), TreeFault>;
type Finished = Result<(Summary, Result<(), TreeFault>), TreeFault>;

fn plan_down<'s>(
    mut from: Far<'s>,
    here: &'s Path,
    options: &SyncOptions<'_>,
    reporter: &Reporter<'_>,
) -> Planned<'s> {
    check_local_backup(options, here)?;
    check_no_list(options)?;
    if options.temporary.is_some() {
        let text = "temporary names apply only to uploads";
        return Err(TreeFault::new(ErrorKind::Usage, text).of(Setting::Temporary));
    }
    let found = match Directory::open(here) {
        Ok(ground) => Some(ground.sparing(&options.own)),
        Err(error) if error.kind() == IoErrorKind::NotFound => {
            let is_missing = |above: &Path| !above.as_os_str().is_empty() && !above.is_dir();
            if options.is_dry && !options.creates_parents && here.parent().is_some_and(is_missing) {
                return Err(local(here, &error).of(Setting::Parents));
            }
            None
        }
        Err(error) => return Err(local(here, &error)),
    };
    let wish = PlanOptions { options, rule: rule(options, true), objects: OBJECTS, top: None };
    let pool = from.pool;
    // Each question of a plan has replaced a lost connection already.
    let plan = reporter.persist(b"", &mut |fault| pool.replaces(fault.recovery()), || {
        from.hand.client()?;
        from.hand.shows_modes = options.permissions;
        let mut source = RemoteTree::new(&mut from.hand, from.top, options.list).patient(reporter);
        look_at(&mut source, 0)?;
        let mut target = LocalTree(found.as_ref());
        let mut plan = Plan::make(&mut source, &mut target, found.is_none(), &wish, None)?;
        note_lack_of_questions(&mut plan, &mut from.hand)?;
        Ok(plan)
    })?;
    Ok((plan, Ends::Down { from, here, found }))
}

fn plan_up<'s>(
    here: &'s Path,
    mut to: Far<'s>,
    options: &SyncOptions<'_>,
    reporter: &Reporter<'_>,
) -> Planned<'s> {
    check_links(options)?;
    Deploy::check(options)?;
    let backup = options.backup.as_ref().map(|backup| {
        let path = Pathname::without_slash(backup.as_os_str().as_bytes());
        RemoteBackup::new(path, options.patience.repeats())
    });
    if backup.is_some() && options.resume != Resume::Own {
        let text = "a backup on a server and resumed uploads exclude each other";
        return Err(TreeFault::new(ErrorKind::Usage, text).of(Setting::Backup));
    }
    let ground = Directory::open(here)
        .map_err(|error| local(here, &error))?
        .following(options.links == LinkChoice::Follow)
        .sparing(&options.own);
    let pool = to.pool;
    let (plan, seen) =
        reporter.persist(b"", &mut |fault| pool.replaces(fault.recovery()), || {
            let client = to.hand.client()?;
            if let Some(backup) = &backup {
                backup.check_apart(client, to.top)?;
            }
            to.hand.shows_modes = options.permissions;
            let mut target = RemoteTree::new(&mut to.hand, to.top, options.list).patient(reporter);
            let is_careful = options.manifest.is_some() || options.deletes;
            let seen = look_for(&mut target, is_careful)?;
            check_parent(&mut target, &seen, options)?;
            let name = options.manifest.as_deref();
            let deploy =
                name.map(|name| Deploy::read(&mut target, name, &seen, options)).transpose()?;
            let rule = match &deploy {
                Some(Deploy { distrust: None, .. }) => Rule::SameHash,
                Some(_) if options.compare.is_none() => Rule::SameHash,
                _ => rule(options, seen.takes_times),
            };
            let wish = PlanOptions { options, rule, objects: OBJECTS, top: None };
            let mut source = LocalTree(Some(&ground));
            let plan = Plan::make(&mut source, &mut target, seen.is_new, &wish, deploy)?;
            Ok((plan, seen))
        })?;
    Ok((plan, Ends::Up { ground, here, to, seen, backup }))
}

fn plan_across<'s>(
    mut from: Far<'s>,
    mut to: Far<'s>,
    options: &SyncOptions<'_>,
    reporter: &Reporter<'_>,
) -> Planned<'s> {
    check_links(options)?;
    check_no_list(options)?;
    if options.backup.is_some() {
        let text = "there is no backup for copies between servers";
        return Err(TreeFault::new(ErrorKind::Usage, text).of(Setting::Backup));
    }
    if options.moves {
        return Err(no_local_side());
    }
    let pool = from.pool;
    let (plan, seen) =
        reporter.persist(b"", &mut |fault| pool.replaces(fault.recovery()), || {
            to.hand.client()?;
            let mut target = RemoteTree::new(&mut to.hand, to.top, options.list).patient(reporter);
            let seen = look_for(&mut target, options.deletes)?;
            check_parent(&mut target, &seen, options)?;
            check_apart(&mut from, (&mut *target.hand, to.top))?;
            let top = match options.deletes {
                true => from.hand.ask(|client| Ok(identified(client, from.top)?))?,
                false => None,
            };
            let top = top.and_then(|top| top.unique);
            let mut source =
                RemoteTree::new(&mut from.hand, from.top, options.list).patient(reporter);
            look_at(&mut source, target.kept())?;
            let rule = rule(options, seen.takes_times);
            let wish = PlanOptions { options, rule, objects: OBJECTS, top };
            let mut plan = Plan::make(&mut source, &mut target, seen.is_new, &wish, None)?;
            note_lack_of_questions(&mut plan, &mut from.hand)?;
            Ok((plan, seen))
        })?;
    Ok((plan, Ends::Across { from, to, seen }))
}

/// Notes that nothing but listings of the source shows that it lacks what the plan removes.
fn note_lack_of_questions(plan: &mut Plan, source: &mut Hand<'_>) -> Result<(), TreeFault> {
    if !plan.removals.is_empty() && !source.ask(|client| Ok(client.tells_absence()?))? {
        let text =
            "only listings show what to delete: the server offers neither MLST nor MDTM nor SIZE";
        plan.left_out.push(text.to_owned());
    }
    Ok(())
}

fn rule(options: &SyncOptions<'_>, takes_times: bool) -> Rule {
    match options.compare.unwrap_or_default() {
        Compare::Size => Rule::SizeOnly,
        Compare::Digest => Rule::SameHash,
        Compare::Time if takes_times => Rule::SameTime,
        Compare::Time => Rule::NotBefore,
    }
}

fn run_down(
    mut from: Far<'_>,
    here: &Path,
    found: Option<Directory>,
    options: &SyncOptions<'_>,
    mut plan: Plan,
    reporter: &Reporter<'_>,
) -> Finished {
    let ground = match found {
        Some(ground) => ground,
        None => {
            make_here(here, options)?;
            Directory::open(here).map_err(|error| local(here, &error))?
        }
    };
    if let Some(first) = plan.directories.first_mut() {
        first.is_new = false;
    }
    plan.large = plan.large_files(options.jobs.unwrap_or(1));
    if options.resume == Resume::Own && plan.has_small_files() {
        from.hand.reuse_data()?;
    }
    let backup = open_backup(options, here)?;
    let (jobs, most) = jobs(options, &plan);
    let top = from.top;
    let copiers = from.hands(most).map(|hand| {
        let from = RemoteSide::new(hand, RemoteTop::source(top, options.list));
        let to = LocalSide::new(&ground, here, backup.as_ref());
        Copier::Down(Down { from, to, options, next: None })
    });
    // Files whose content is only in memory would be lost in a power failure. One sync for all is
    // fast enough even for thousands of small files.
    let sync = || ground.sync().map_err(|error| local(here, &error));
    Ok(finish(jobs, copiers.collect(), &plan, reporter, &sync, None))
}

fn run_up(
    (ground, here): (&Directory, &Path),
    mut to: Far<'_>,
    seen: &TargetSeen,
    backup: Option<&RemoteBackup>,
    options: &SyncOptions<'_>,
    mut plan: Plan,
    reporter: &Reporter<'_>,
) -> Finished {
    let top = make_top(&mut plan, &mut to, seen, options, reporter)?;
    let mut deploy = plan.deploy.take().map(|deploy| *deploy);
    if let Some(deploy) = &mut deploy {
        let deletes = plan.removed().next().is_some();
        deploy.announce((&mut to.hand, to.pool, to.top), deletes, reporter)?;
    }
    // With a temporary name, permissions or a resume, other commands come between two uploads.
    let is_plain =
        options.temporary.is_none() && !options.permissions && options.resume == Resume::Own;
    if is_plain && plan.has_small_files() {
        to.hand.reuse_data()?;
    }
    let top = RemoteTop { backup, ..top };
    let (jobs, most) = jobs(options, &plan);
    let copiers = to.hands(most).map(|hand| {
        let to = RemoteSide::new(hand, top.clone());
        let (from, ahead) = (LocalSide::new(ground, here, None), Box::new(Ahead::new(is_plain)));
        Copier::Up(Up { from, to, options, failed: None, ahead })
    });
    Ok(finish(jobs, copiers.collect(), &plan, reporter, &|| Ok(()), deploy))
}

fn run_across(
    from: Far<'_>,
    mut to: Far<'_>,
    seen: &TargetSeen,
    options: &SyncOptions<'_>,
    mut plan: Plan,
    reporter: &Reporter<'_>,
) -> Finished {
    let of_target = make_top(&mut plan, &mut to, seen, options, reporter)?;
    let of_source = RemoteTop::source(from.top, options.list);
    let (jobs, most) = jobs(options, &plan);
    let copiers = from.hands(most).zip(to.hands(most)).map(|(from, to)| {
        let from = RemoteSide::new(from, of_source.clone());
        let to = RemoteSide::new(to, of_target.clone());
        let (listener, failed) = (options.listener, None);
        Copier::Across(Across { from, to, listener, options, failed })
    });
    Ok(finish(jobs, copiers.collect(), &plan, reporter, &|| Ok(()), None))
}

/// Carries out the plan, and ends the sessions.
fn finish(
    jobs: Option<usize>,
    mut copiers: Vec<Copier<'_>>,
    plan: &Plan,
    reporter: &Reporter<'_>,
    sync: &dyn Fn() -> Result<(), TreeFault>,
    deploy: Option<Deploy>,
) -> (Summary, Result<(), TreeFault>) {
    let (summary, ended) = act(plan, jobs, &mut copiers, reporter, sync, deploy);
    for mut copier in copiers {
        copier.quit(ended.as_ref().err());
    }
    (summary, ended)
}

/// Returns the number of workers, or `None` if it grows, and the most that it can be: no more than
/// copies, unless all connections download one file together.
fn jobs(options: &SyncOptions<'_>, plan: &Plan) -> (Option<usize>, usize) {
    // A server that cuts names short may store two temporary names as one file, which shows only
    // later. One upload at a time then still gives each name its own content.
    let is_careful = plan.moves && options.temporary.is_some();
    match options.jobs {
        _ if is_careful => (Some(1), 1),
        None => (None, MOST),
        Some(jobs) if plan.large.is_empty() => {
            let most = jobs.min(plan.copies.len()).max(1);
            (Some(most), most)
        }
        Some(jobs) => (Some(jobs), jobs.max(1)),
    }
}

/// Creates the top directory of the target if it is missing, and its parents if requested. Returns
/// what is known of the target.
fn make_top<'t>(
    plan: &mut Plan,
    to: &mut Far<'t>,
    seen: &TargetSeen,
    options: &SyncOptions<'_>,
    reporter: &Reporter<'_>,
) -> Result<RemoteTop<'t>, TreeFault> {
    if let Some(first) = plan.directories.first_mut().filter(|first| first.is_new) {
        first.is_new = false;
        make_remote(to, seen, options, reporter)?;
    }
    let charset = to.hand.client()?.config.charset;
    let is_all_text = plan.is_all_text(|path| is_text(charset, path));
    let names = learn_names(&mut to.hand, to.top, is_all_text)?;
    let times = Arc::new(Promise::of(seen.takes_times && !plan.drops_times));
    Ok(RemoteTop { times, names, charset, ..RemoteTop::source(to.top, options.list) })
}

fn make_remote(
    Far { hand, top, .. }: &mut Far<'_>,
    seen: &TargetSeen,
    options: &SyncOptions<'_>,
    reporter: &Reporter<'_>,
) -> Result<(), TreeFault> {
    let (mut repeat, mut attempt) = (reporter.memory(), reporter.patience.first());
    loop {
        let made = match hand.client() {
            Ok(client) if options.creates_parents => client.make_directories(*top).map(drop),
            Ok(client) => repeat.make_in_tree(client, top),
            Err(fault) => Err(fault.into()),
        };
        let fault = match made {
            Ok(()) => return Ok(()),
            // The top may exist, although the server did not show it as a directory.
            Err(Error::Refused { .. }) if !seen.is_sure => return Ok(()),
            Err(error) => {
                let may_help = !options.creates_parents && matches!(error, Error::Refused { .. });
                let fault = TreeFault::from(error).ending(true);
                let lacks_parents = may_help && !Pathname::split(top).0.is_empty();
                if lacks_parents { fault.of(Setting::Parents) } else { fault }
            }
        };
        reporter.next(&mut attempt, b"", fault, &mut |fault| hand.replaces(fault))?;
    }
}

/// In a dry run, checks that the top could be created.
fn check_parent(
    target: &mut RemoteTree<'_, '_>,
    seen: &TargetSeen,
    options: &SyncOptions<'_>,
) -> Result<(), TreeFault> {
    let (above, _) = Pathname::split(target.top);
    let is_asked = options.is_dry && !options.creates_parents && seen.is_new && seen.is_sure;
    if is_asked
        && !above.is_empty()
        && target.hand.ask(|client| Ok(client.shows_directory(above)?))? == Some(false)
    {
        let fault = TreeFault::new(ErrorKind::Refused, "the parent directory does not exist");
        return Err(fault.about(target.top).of(Setting::Parents));
    }
    Ok(())
}

/// Creates the local top, and its parents if requested.
fn make_here(here: &Path, options: &SyncOptions<'_>) -> Result<(), TreeFault> {
    let named = here.file_name().map_or(Ok(()), |name| local_name(name.as_bytes()).map(drop));
    let made = named.and_then(|()| match options.creates_parents {
        true => fs::create_dir_all(here),
        false => fs::create_dir(here),
    });
    made.map_err(|error| {
        let fault = local(here, &error);
        match error.kind() {
            IoErrorKind::NotFound => fault.of(Setting::Parents),
            _ => fault,
        }
    })
}

/// Checks that two trees of one user on one server do not contain each other: the source would be
/// extra in the target, or the target a part of the source. Without `PWD`, relative paths prove nothing.
fn check_apart(from: &mut Far<'_>, (to, top): (&mut Hand<'_>, &[u8])) -> Result<(), TreeFault> {
    let (from, source, to) = (from.hand.client()?, from.top, to.client()?);
    if share_login([from, to])
        && let Some(source) = from.names_from_root(source)
        && let Some(target) = to.names_from_root(top)
        && (source.starts_with(&target) || target.starts_with(&source))
    {
        let text = "source and target are one directory, or one contains the other";
        return Err(TreeFault::new(ErrorKind::Usage, text));
    }
    Ok(())
}

fn check_no_list(options: &SyncOptions<'_>) -> Result<(), TreeFault> {
    match options.manifest {
        Some(_) => {
            let fault = TreeFault::new(ErrorKind::Usage, "lists are only for uploads");
            Err(fault.of(Setting::Manifest))
        }
        None => Ok(()),
    }
}

/// Checks that no links are to be created on a server.
fn check_links(options: &SyncOptions<'_>) -> Result<(), TreeFault> {
    match options.links {
        LinkChoice::Keep => Err(no_remote_links()),
        LinkChoice::Skip | LinkChoice::Follow => Ok(()),
    }
}

/// Checks by path that neither the local backup nor the tree contains the other.
fn check_local_backup(options: &SyncOptions<'_>, here: &Path) -> Result<(), TreeFault> {
    let Some(backup) = &options.backup else { return Ok(()) };
    let full = |path: &Path| {
        let path = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        fs::canonicalize(&path).unwrap_or(path)
    };
    are_apart(&full(backup), &full(here))
}

/// Opens the local backup, and creates it if it is missing.
fn open_backup(options: &SyncOptions<'_>, here: &Path) -> Result<Option<Backup>, TreeFault> {
    let Some(backup) = &options.backup else { return Ok(None) };
    let failed = |error| local(backup, &error);
    fs::create_dir_all(backup).map_err(failed)?;
    let real = fs::canonicalize(backup).map_err(failed)?;
    let tree = fs::canonicalize(here).map_err(|error| local(here, &error))?;
    are_apart(&real, &tree)?;
    Directory::open(backup).map(Backup).map(Some).map_err(failed)
}

fn are_apart(one: &Path, other: &Path) -> Result<(), TreeFault> {
    match one.starts_with(other) || other.starts_with(one) {
        true => Err(overlaps()),
        false => Ok(()),
    }
}

fn local(path: &Path, error: &std::io::Error) -> TreeFault {
    TreeFault::local(path.as_os_str().as_bytes(), error).ending(true)
}
