//! `fxp SRC-URL DST-URL`: a file from server to server, without passing here.

use ftp_client::fxp::{self, Direction, Resume, Side};
use ftp_client::{Client, Entered, Error, Place, Verb};
use ftp_proto::RepresentationType;
use log::LevelFilter;

use super::mirror;
use crate::credentials::Finder;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::output;
use crate::progress::is_talkative;
use crate::remote::{self, Dialler};
use crate::signals::Cleanup;
use crate::stdio::Stdio;
use crate::target::name_of;
use crate::trace;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [source, target] = options.operands.as_slice() else {
        return Err(Failure::usage("fxp needs two URLs: ftp-cli fxp SRC-URL DST-URL"));
    };
    let (source, target) = (remote::url(source)?, remote::url(target)?);
    let is_tree = options.has("recursive");
    if source.is_directory() && !is_tree {
        let message = format!("{source} names a directory; fxp copies one with -r");
        return Err(Failure::usage(message));
    }
    let only_of_trees =
        ["jobs", "create-dirs", "include", "exclude", "dry-run", "size-only", "listing"];
    if let (Some(long), false) = (options.last_of(&only_of_trees), is_tree) {
        return Err(Failure::usage(format!("--{long} is about trees: it needs -r")));
    }
    for url in [&source, &target] {
        if url.representation() == Some(RepresentationType::Ascii) {
            let message = format!("{url}: fxp copies byte for byte, not as ;type=a says");
            return Err(Failure::usage(message));
        }
    }
    let choice = fxp::Options {
        direction: if options.has("reverse") { Direction::Reverse } else { Direction::Auto },
        resume: if options.has("continue") { Resume::Find } else { Resume::No },
        address: remote::address_rule(options)?.unwrap_or_default(),
        ..fxp::Options::default()
    };
    if is_tree {
        return mirror::across(options, stdio, [&source, &target], choice);
    }
    let at_target = match target.is_directory() {
        // Under the name that it has at the source.
        true => Place::inside(&target, name_of(source.path())?.as_encoded_bytes()),
        false => Place::of(&target),
    };
    let places = [Place::of(&source), at_target];
    let dialler = Dialler::from_options(options)?.for_all([&source, &target])?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let dialler = dialler.stopped_by(&Cleanup::watch(stdio)?);
    let messages = stdio.messages.clone();
    let [of_source, of_target] = Finder::new(options, &messages).find_both([&source, &target])?;
    let mut from = dialler.connect_as(&of_source, options, &source, &messages)?;
    let mut at = dialler.connect_as(&of_target, options, &target, &messages)?;

    let copied = copy([&mut from, &mut at], places, choice).map_err(|error| {
        let failure = failure(&error);
        Failure { message: format!("{source} to {target}: {}", failure.message), ..failure }
    });
    remote::part(from, copied.as_ref().err());
    remote::part(at, copied.as_ref().err());
    let report = copied?;
    if is_talkative(options, stdio) {
        let moved = match (report.size, report.moved) {
            (_, None) => "it is there already".to_owned(),
            (Some(size), Some(_)) => {
                output::transferred(size.saturating_sub(report.offset), report.duration)
            }
            (None, Some(_)) => format!("in {:.2} s", report.duration.as_secs_f64()),
        };
        messages.say(format_args!("{source} -> {target}: {moved}"));
    }
    Ok(())
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
        if !matches!(last.error, Error::Refused(Verb::Retr | Verb::Stor, _)) {
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

/// What failed, with both servers' words.
pub(super) fn failure(error: &fxp::Error) -> Failure {
    let last = match error.last() {
        Some(last) => Failure::from(&last.error),
        None => Failure::new(Exit::Internal, ""),
    };
    let message = error.to_string();
    match error.is_about_the_way() {
        true => Failure { exit: Exit::Data, message, fatal: true, ..last },
        false => Failure { message, ..last },
    }
}
