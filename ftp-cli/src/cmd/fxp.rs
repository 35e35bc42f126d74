//! `fxp SRC-URL DST-URL`: a file from server to server, without passing here.

use ftp_client::fxp::{self, Direction, Resume, Side};
use ftp_client::{Client, Entered, Error, Place, Verb};
use ftp_proto::RepresentationType;
use log::LevelFilter;

use super::mirror;
use crate::connect::credentials::Finder;
use crate::connect::dialler::{self, Dialler};
use crate::connect::retry::{Retrying, Witness};
use crate::connect::sessions::Sessions;
use crate::console::progress::is_talkative;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::display;
use crate::exit::Failure;
use crate::options::Options;
use crate::options::urls;
use crate::options::values;
use crate::report::events::Events;
use crate::report::json::Object;
use crate::transfer::target::name_of;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [source, target] = options.operands.as_slice() else {
        return Err(Failure::usage("fxp needs two URLs: ftp-cli fxp SRC-URL DST-URL"));
    };
    let (source, target) = (urls::parse(source)?, urls::parse(target)?);
    let is_tree = options.has("recursive");
    if source.is_directory() && !is_tree {
        let message = format!("{source} names a directory; fxp copies one with -r");
        return Err(Failure::usage(message));
    }
    let only_of_trees = [
        "jobs",
        "create-dirs",
        "include",
        "exclude",
        "dry-run",
        "size-only",
        "listing",
        "delete",
        "max-delete",
    ];
    if let (Some(long), false) = (options.last_of(&only_of_trees), is_tree) {
        return Err(Failure::usage(format!("--{long} is about trees: it needs -r")));
    }
    for url in [&source, &target] {
        if url.representation() == Some(RepresentationType::Ascii) {
            let message = format!("{url}: fxp copies byte for byte, not as ;type=a says");
            return Err(Failure::usage(message));
        }
    }
    let listeners = [("source", Direction::SourceListens), ("target", Direction::TargetListens)];
    let choice = fxp::Options {
        direction: options
            .parsed("listen", |text| values::word(text, &listeners))?
            .unwrap_or_default(),
        resume: if options.has("continue") { Resume::Find } else { Resume::No },
        address: dialler::address_rule(options)?.unwrap_or_default(),
        ..fxp::Options::default()
    };
    if is_tree {
        return mirror::across(options, stdio, [&source, &target], choice);
    }
    let under = match target.is_directory() {
        // The name that it has at the source.
        true => Some(name_of(source.path())?),
        false => None,
    };
    let retrying = Retrying::from_options(options)?;
    let dialler = Dialler::from_options(options)?.for_all(&[&source, &target])?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let dialler = dialler.stopped_by(&cleanup);
    let messages = stdio.messages.clone();
    let [of_source, of_target] = Finder::new(options, &messages).find_both([&source, &target])?;
    // The same server twice is two connections: each is busy with its part.
    let mut from = Sessions::with(options, dialler.clone(), messages.clone());
    from.log_in_as(&source, of_source);
    let mut at = Sessions::with(options, dialler, messages.clone());
    at.log_in_as(&target, of_target);

    let copy_at = match under {
        Some(name) => target.below(name.as_encoded_bytes()).to_string(),
        None => target.to_string(),
    };
    let about =
        |object: Object| object.text("source", &source.to_string()).text("target", &copy_at);
    let copied = retrying.persist(&Witness::new(options, stdio, &cleanup), &about, |anew| {
        let clients = [from.client(&source)?, at.client(&target)?];
        let place = under.map(|name| Place::inside(&target, name.as_encoded_bytes()));
        let places = [Place::of(&source), place.unwrap_or_else(|| Place::of(&target))];
        let choice = if anew { fxp::Options { resume: Resume::No, ..choice } } else { choice };
        stdio.events.tell(&|| about(Object::event("start")));
        let copied = copy(clients, places, choice)
            .map_err(|error| Failure::from(&error).about(format_args!("{source} to {target}")));
        if copied.as_ref().is_err_and(Failure::is_end_of_connection) {
            // Which of the two ended is not always known.
            from.drop_client(&source);
            at.drop_client(&target);
        }
        copied
    });
    match &copied {
        Ok(report) => {
            tell(report, &stdio.events, &about);
            if is_talkative(options, stdio) {
                messages.say(format_args!("{source} -> {target}: {}", in_words(report)));
            }
        }
        Err(failure) => stdio.events.failed(failure, &about),
    }
    let failed = copied.as_ref().err();
    from.quit(failed);
    at.quit(failed);
    copied.map(drop).map_err(|mut failure| {
        failure.told = true;
        failure
    })
}

/// How many bytes were moved, as far as that is known.
fn moved(report: &fxp::Report) -> Option<u64> {
    match (&report.moved, report.size) {
        (None, _) => Some(0),
        (Some(_), size) => Some(size?.saturating_sub(report.offset)),
    }
}

/// The event of what was copied.
fn tell(report: &fxp::Report, events: &Events, about: &dyn Fn(Object) -> Object) {
    let bytes = moved(report);
    let verified = if report.size.is_some() { "size" } else { "none" };
    let done = || {
        about(Object::event("done"))
            .number_if("bytes", bytes)
            .seconds("seconds", report.duration)
            .text("verified", verified)
    };
    events.done(&done, bytes.unwrap_or(0));
}

fn in_words(report: &fxp::Report) -> String {
    match (&report.moved, moved(report)) {
        (None, _) => "it is there already".to_owned(),
        (Some(_), Some(bytes)) => display::transferred(bytes, report.duration),
        (Some(_), None) => format!("in {:.2} s", report.duration.as_secs_f64()),
    }
}

/// Copies. A server that refuses the whole path may know it part by part (RFC 1738 §3.2.2).
fn copy(
    mut clients: [&mut Client; 2],
    [mut source, mut target]: [Place; 2],
    options: fxp::Options,
) -> Result<fxp::Report, fxp::Error> {
    loop {
        let [from, at] = &mut clients;
        let copied = fxp::transfer(from, source.path(), at, target.path(), options);
        let Err(error) = &copied else { return copied };
        let Some(last) = error.last() else { return copied };
        let is_refusal = matches!(last.error, Error::Refused(Verb::Retr | Verb::Stor, _));
        // The reason says more than a connection that stopping the other ended.
        if !is_refusal || !from.is_ready() || !at.is_ready() {
            return copied;
        }
        let (client, place) = match last.side {
            Side::Source => (from, &mut source),
            Side::Target => (at, &mut target),
        };
        if !matches!(place.enter(client, &last.error), Ok(Entered::There)) {
            return copied;
        }
    }
}
