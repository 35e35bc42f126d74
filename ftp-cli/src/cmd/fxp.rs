//! `fxp SRC-URL DST-URL`: copies a file, or with `-r` a tree, directly from server to server.

use std::ffi::OsStr;

use ftp_client::fxp::{self, Direction, Resume, Side};
use ftp_client::{Client, Entered, Error, Place, Verb};
use ftp_proto::{FtpUrl, RepresentationType};
use log::LevelFilter;

use super::mirror;
use crate::connect::credentials::Finder;
use crate::connect::dialler::{self, Dialler};
use crate::connect::retry::RetryObserver;
use crate::connect::sessions::Sessions;
use crate::console::progress::is_talkative;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::display;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::urls;
use crate::options::values;
use crate::report::events::Events;
use crate::report::json::Object;
use crate::transfer::options::{TransferOptions, Verify};
use crate::transfer::publish::publish;
use crate::transfer::target::name_of;
use crate::transfer::verify::Verified;
use ftp_client::fxp::same_file::{self, Relation, is_one_server};
use ftp_client::tree::path::absolute;

/// Options that apply only to trees.
const ONLY_OF_TREES: [&str; 11] = [
    "jobs",
    "create-dirs",
    "include",
    "exclude",
    "dry-run",
    "size-only",
    "listing",
    "delete",
    "max-delete",
    "ignore-errors",
    "stats",
];

/// Source, target and options of a copy.
struct FxpOptions {
    source: FtpUrl,
    target: FtpUrl,
    /// Whether to copy a tree.
    recursive: bool,
    choice: fxp::Options,
    transfer: TransferOptions,
}

impl FxpOptions {
    /// Reads options and operands.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid URL or value, and for options that contradict each other or
    /// have no effect.
    fn from_options(options: &Options) -> Result<Self, Failure> {
        let [source, target] = options.operands.as_slice() else {
            return Err(Failure::usage("fxp needs two URLs: ftp-cli fxp SRC-URL DST-URL"));
        };
        let source = urls::parse(source)?;
        let target = urls::parse(target)?;
        let recursive = options.has("recursive");
        if source.is_directory() && !recursive {
            let message = format!("{source} names a directory; use fxp -r to copy it");
            return Err(Failure::usage(message));
        }
        if let (Some(long), false) = (options.last_of(&ONLY_OF_TREES), recursive) {
            return Err(Failure::usage(format!("--{long} applies only to trees; add -r")));
        }
        for url in [&source, &target] {
            if url.representation() == Some(RepresentationType::Ascii) {
                let message =
                    format!("{url}: fxp does not support ;type=a; remove it from the URL");
                return Err(Failure::usage(message));
            }
        }
        let listeners =
            [("source", Direction::SourceListens), ("target", Direction::TargetListens)];
        let direction = options.parsed("listen", |text| values::word(text, &listeners))?;
        let address = dialler::address_rule(options)?;
        let transfer = TransferOptions::from_options(options)?;
        if recursive && options.has("verify") {
            return Err(Failure::usage("--verify cannot be combined with -r"));
        }
        if transfer.temporary.is_some() && transfer.resume {
            return Err(Failure::usage("--temp and --continue exclude each other"));
        }
        let choice = fxp::Options {
            direction: direction.unwrap_or_default(),
            resume: match (transfer.resume, transfer.verify) {
                (false, _) => Resume::No,
                (true, Verify::None) => Resume::Trust,
                (true, _) => Resume::Find,
            },
            address: address.unwrap_or_default(),
            compare_sizes: transfer.verify != Verify::None,
        };
        Ok(Self { source, target, recursive, choice, transfer })
    }

    /// Returns the name of the source file if the target is a directory, otherwise `None`.
    fn name_below(&self) -> Result<Option<&OsStr>, Failure> {
        match self.target.is_directory() {
            true => name_of(self.source.path()).map(Some),
            false => Ok(None),
        }
    }
}

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let wanted = FxpOptions::from_options(options)?;
    let FxpOptions { source, target, .. } = &wanted;
    if wanted.recursive {
        return mirror::across(options, stdio, [source, target], wanted.choice);
    }
    let name = wanted.name_below()?;
    let place = name.map(|name| target.below(name.as_encoded_bytes()));
    let named = place.as_ref().unwrap_or(target);
    if is_same_file(source, named) {
        return Err(same_file(source));
    }
    check_temporary(&wanted, name)?;
    let dialler = Dialler::from_options(options)?.for_all(&[source, target])?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let dialler = dialler.stopped_by(&cleanup);
    let messages = stdio.messages.clone();
    let [of_source, of_target] = Finder::new(options, &messages).find_both([source, target])?;
    let is_one_user = of_source.user == of_target.user;
    let replaces_at_end = wanted.transfer.temporary.is_some();
    // If both URLs name the same server, two connections are needed, one for each role.
    let mut from = Sessions::with(options, dialler.clone(), messages.clone());
    from.log_in_as(source, of_source);
    let mut at = Sessions::with(options, dialler, messages.clone());
    at.log_in_as(target, of_target);

    let copy_at = named.to_string();
    let fields =
        |object: Object| object.text("source", &source.to_string()).text("target", &copy_at);
    let witness = RetryObserver::new(options, stdio, &cleanup);
    let both = format!("{source} to {named}");
    let copied = wanted.transfer.retrying.run(&witness, &both, &fields, |from_start| {
        let [from_client, at_client] = [from.client(source)?, at.client(target)?];
        check_apart([from_client, at_client], [source, named], is_one_user, replaces_at_end)?;
        let clients = [from_client, at_client];
        stdio.events.emit(|| fields(Object::event("start")));
        let copied = try_once(&wanted, name, clients, from_start);
        if copied.as_ref().is_err_and(Failure::is_end_of_connection) {
            // It is not always known which of the two connections ended.
            from.drop_client(source);
            at.drop_client(target);
        }
        copied
    });
    match &copied {
        Ok(copied) => {
            let report = &copied.report;
            emit(copied, &stdio.events, &fields);
            let is_shown = is_talkative(options, stdio);
            messages.say_if(is_shown, format_args!("{source} -> {target}: {}", in_words(report)));
        }
        Err(failure) => stdio.events.failed(failure, fields),
    }
    let failed = copied.as_ref().err();
    from.quit(failed);
    at.quit(failed);
    copied.map(drop).map_err(|mut failure| {
        failure.reported = true;
        failure
    })
}

/// Checks that the temporary name differs from the name of the source. Servers and directories are
/// not compared, because two URLs can lead to one directory.
///
/// # Errors
///
/// Returns `Usage` if the names are equal: the copy could overwrite its source and then rename it.
fn check_temporary(wanted: &FxpOptions, name: Option<&OsStr>) -> Result<(), Failure> {
    let Some(temporary) = &wanted.transfer.temporary else { return Ok(()) };
    let source = Place::of(&wanted.source);
    let own = match name {
        Some(name) => name.as_encoded_bytes().to_vec(),
        None => Place::of(&wanted.target).name().to_vec(),
    };
    if temporary.of(&own) != source.name() {
        return Ok(());
    }
    let source = &wanted.source;
    Err(Failure::usage(format!(
        "--temp: the temporary name at the target is also the name of {source}; choose another pattern, \
         such as --temp=.upload.*"
    )))
}

/// Returns whether two URLs name the same path on the same server for the same user.
fn is_same_file(one: &FtpUrl, other: &FtpUrl) -> bool {
    one.host().eq_ignore_ascii_case(other.host())
        && one.port() == other.port()
        && one.user() == other.user()
        && one.path() == other.path()
}

/// Returns whether two URLs lead to the same path, in two sessions of the same user on the same
/// server. Paths can be spelled differently; links are not resolved.
fn reaches_same_path([from, at]: [&mut Client; 2], [source, target]: [&FtpUrl; 2]) -> bool {
    // If a server does not report its current directory, the earlier comparison of the URLs must
    // suffice.
    absolute(from, source.path()).is_some_and(|file| absolute(at, target.path()) == Some(file))
}

/// Checks that a file is not copied onto itself. If a temporary file replaces the target at the
/// end, different paths to the same file are allowed.
///
/// # Errors
///
/// Returns `Usage` if source and target are or may be the same file, and the errors of the client.
fn check_apart(
    [from, at]: [&mut Client; 2],
    urls: [&FtpUrl; 2],
    is_one_user: bool,
    replaces_at_end: bool,
) -> Result<(), Failure> {
    if !is_one_server(from, at) {
        return Ok(());
    }
    if is_one_user && reaches_same_path([from, at], urls) {
        let [source, _] = urls;
        return Err(same_file(source));
    }
    if replaces_at_end { Ok(()) } else { check_relation([from, at], urls) }
}

/// Compares identifiers, sizes and times to check that two URLs of one server name different files.
/// Links, or the root directories of two users, can make different paths name the same file.
///
/// # Errors
///
/// Returns `Usage` if the files are or may be the same, and the errors of the client.
fn check_relation(
    clients: [&mut Client; 2],
    [source, target]: [&FtpUrl; 2],
) -> Result<(), Failure> {
    let [of_source, of_target] = [source, target].map(Place::of);
    let relation = same_file::compare(clients, [of_source.path(), of_target.path()]);
    match relation.map_err(|error| Failure::from(error).context(target))? {
        Relation::Two => Ok(()),
        Relation::Same => Err(same_file(source)),
        Relation::Unknown => Err(Failure::usage(format!(
            "{source}: {target} may be the same file: no difference in size or time is known; \
             use --temp to copy it"
        ))),
    }
}

fn same_file(source: &FtpUrl) -> Failure {
    // On STOR, most servers truncate the file, although they are still reading it.
    Failure::usage(format!("{source}: source and target are the same file"))
}

/// Copies in one attempt. With `from_start`, starts at byte 0 regardless of the target.
fn try_once(
    wanted: &FxpOptions,
    name: Option<&OsStr>,
    clients: [&mut Client; 2],
    from_start: bool,
) -> Result<CopyReport, Failure> {
    let FxpOptions { source, target, choice, transfer, .. } = wanted;
    let mut place_of_source = Place::of(source);
    let mut place = match name {
        Some(name) => Place::inside(target, name.as_encoded_bytes()),
        None => Place::of(target),
    };
    let own = place.name().to_vec();
    if let Some(temporary) = &transfer.temporary {
        place.set_name(temporary.of(&own));
    }
    let choice = if from_start { fxp::Options { resume: Resume::No, ..*choice } } else { *choice };
    let named = |failure: Failure| failure.context(format_args!("{source} to {target}"));
    let [from, at] = clients;
    let report = copy([from, at], [&mut place_of_source, &mut place], choice)
        .map_err(|error| named(Failure::from(&error)))?;
    let report = verified(transfer, [from, at], [place_of_source.path(), place.path()], report);
    let report = report.map_err(named)?;
    if transfer.temporary.is_some() {
        let temporary = place.path().to_vec();
        place.set_name(&own);
        publish(at, &temporary, place.path(), false).map_err(named)?;
    }
    Ok(report)
}

/// Verifies a copy as `--verify` demands.
///
/// # Errors
///
/// Returns `Unsupported` if a server reports too little, and `Integrity` if the digests differ.
fn verified(
    transfer: &TransferOptions,
    [from, at]: [&mut Client; 2],
    [source, target]: [&[u8]; 2],
    report: fxp::Report,
) -> Result<CopyReport, Failure> {
    let unsupported = |message: &str| Err(Failure::item(Exit::Unsupported, message));
    let size = if report.size.is_some() { Verified::Size } else { Verified::None };
    match transfer.verify {
        Verify::Size if report.size.is_none() => {
            unsupported("--verify size: a server does not report the size of its file")
        }
        Verify::Hash => {
            let offered = at.hash_algorithms()?;
            let of_source = from.hash_algorithms()?;
            let Some(algorithm) = offered.into_iter().find(|one| of_source.contains(one)) else {
                return unsupported("--verify hash: the servers offer no digest in common");
            };
            let here = from.hash(source, Some(algorithm))?;
            at.compare_hash(target, &here).map_err(|error| match error {
                Error::Mismatch { .. } => Failure { fatal: false, ..Failure::from(&error) },
                error => error.into(),
            })?;
            Ok(CopyReport { report, verified: Verified::Hash })
        }
        _ => Ok(CopyReport { report, verified: size }),
    }
}

/// A copy, and how it was verified.
struct CopyReport {
    report: fxp::Report,
    verified: Verified,
}

/// Returns the number of copied bytes, if it is known.
fn moved(report: &fxp::Report) -> Option<u64> {
    match (&report.moved, report.size) {
        (None, _) => Some(0),
        (Some(_), size) => Some(size?.saturating_sub(report.offset)),
    }
}

/// Emits the event of the copy.
fn emit(copied: &CopyReport, events: &Events, fields: &dyn Fn(Object) -> Object) {
    let CopyReport { report, verified } = copied;
    let bytes = moved(report);
    let done = || {
        fields(Object::event("done"))
            .number_if("bytes", bytes)
            .seconds("seconds", report.duration)
            .text("verified", verified.as_str())
    };
    events.done(done, bytes.unwrap_or(0));
}

fn in_words(report: &fxp::Report) -> String {
    match (&report.moved, moved(report)) {
        (None, _) => "exists already".to_owned(),
        (Some(_), Some(bytes)) => display::transferred(bytes, report.duration),
        (Some(_), None) => format!("in {:.2} s", report.duration.as_secs_f64()),
    }
}

/// Copies the file. If a server refuses the whole path, enters the directories of the path one by
/// one and tries again (RFC 1738 §3.2.2).
fn copy(
    [from, at]: [&mut Client; 2],
    [source, target]: [&mut Place; 2],
    options: fxp::Options,
) -> Result<fxp::Report, fxp::Error> {
    loop {
        let copied = fxp::transfer(from, source.path(), at, target.path(), options);
        let Err(error) = &copied else { return copied };
        let Some(last) = error.last() else { return copied };
        let is_refusal = matches!(last.error, Error::Refused(Verb::Retr | Verb::Stor, _));
        // If this error closed a connection, another attempt would only hide the cause.
        if !is_refusal || from.make_ready().and(at.make_ready()).is_err() {
            return copied;
        }
        let (client, place) = match last.side {
            Side::Source => (&mut *from, &mut *source),
            Side::Target => (&mut *at, &mut *target),
        };
        if !matches!(place.enter(client, &last.error), Ok(Entered::There)) {
            return copied;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Group, Row};

    #[test]
    fn every_tree_option_is_listed_as_refused_for_files() {
        let is_of_trees = |row: &&Row| {
            row.group == Group::Mirror || row.commands == [Command::Mirror, Command::Fxp]
        };
        for row in Command::Fxp.rows().filter(is_of_trees) {
            assert!(ONLY_OF_TREES.contains(&row.long), "--{}", row.long);
        }
    }
}
