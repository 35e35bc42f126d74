//! `fxp SRC-URL DST-URL`: copies a file, or with `-r` a tree, directly from server to server.

use std::sync::atomic::{AtomicBool, Ordering};

use ftp_client::error::JobFault;
use ftp_client::file::{Relay, Side};
use ftp_client::{Done, Error, Event, Place};
use ftp_proto::{FtpUrl, RepresentationType};

use super::mirror::{self, FxpWay};
use crate::connect::{Dialler, Finder, Sessions, Witness, dialler};
use crate::console::output::transferred;
use crate::console::{Cleanup, Stdio};
use crate::exit::{Failure, Result};
use crate::options::{Options, parse_url, values};
use crate::report::{Events, Object};
use crate::transfer::download::name_of;
use crate::transfer::{TransferOptions, unverified};

struct FxpOptions {
    source: FtpUrl,
    target: FtpUrl,
    recursive: bool,
    way: FxpWay,
    transfer: TransferOptions,
}

impl FxpOptions {
    /// Reads options and operands.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid URL or value, and for options that contradict each other or
    /// have no effect.
    fn from_options(options: &Options) -> Result<Self> {
        let [source, target] = options.operands.as_slice() else {
            return Err(Failure::usage("fxp needs two URLs: ftp-cli fxp SRC-URL DST-URL"));
        };
        let source = parse_url(source)?;
        let target = parse_url(target)?;
        let recursive = options.has("recursive");
        if source.is_directory() && !recursive {
            let message = format!("{source} names a directory; use fxp -r to copy it");
            return Err(Failure::usage(message));
        }
        for url in [&source, &target] {
            if url.representation() == Some(RepresentationType::Ascii) {
                let message =
                    format!("{url}: fxp does not support ;type=a; remove it from the URL");
                return Err(Failure::usage(message));
            }
        }
        let listeners = [("source", Side::Source), ("target", Side::Target)];
        let listener = options.parsed("listen", |text| values::word(text, &listeners))?;
        let address = dialler::address_rule(options)?;
        let transfer = TransferOptions::from_options(options)?;
        let way = (listener, address.unwrap_or_default());
        Ok(Self { source, target, recursive, way, transfer })
    }
}

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let wanted = FxpOptions::from_options(options)?;
    let FxpOptions { source, target, .. } = &wanted;
    if wanted.recursive {
        return mirror::across(options, stdio, [source, target], wanted.way);
    }
    // The name of the source file if the target is a directory.
    let name = target.is_directory().then(|| name_of(source.path())).transpose()?;
    let place = name.map(|name| target.below(name));
    let named = place.as_ref().unwrap_or(target);
    check_temporary(&wanted, name)?;
    let dialler = Dialler::from_options(options)?.for_all(&[source, target])?;
    let cleanup = Cleanup::start(options, stdio)?;
    let dialler = dialler.stopped_by(&cleanup);
    let messages = stdio.messages.clone();
    let [of_source, of_target] = Finder::new(options, &messages).find_both([source, target])?;
    // If both URLs name the same server, two connections are needed, one for each role.
    let mut from = Sessions::with(options, dialler.clone(), messages.clone());
    from.log_in_as(source, of_source);
    let mut at = Sessions::with(options, dialler, messages.clone());
    at.log_in_as(target, of_target);

    let copy_at = named.to_string();
    let fields =
        |object: Object| object.text("source", &source.to_string()).text("target", &copy_at);
    let witness = Witness::new(options, stdio, &cleanup);
    let both = format!("{source} to {named}");
    let to = match name {
        Some(name) => Place::inside(target, name),
        None => Place::of(target),
    };
    let of_file = wanted.transfer.of_file(RepresentationType::Image);
    let mut job = Relay::new(Place::of(source), to, &of_file)
        .under(wanted.transfer.temporary.clone())
        .listener(wanted.way.0)
        .address(wanted.way.1);
    let copied = wanted.transfer.retrying.run(&witness, &both, &fields, |_| {
        let clients = [from.client(source)?, at.client(target)?];
        let has_begun = AtomicBool::new(false);
        let show = |event: Event<'_>| match event {
            Event::Begun { .. } if !has_begun.swap(true, Ordering::Relaxed) => {
                stdio.events.emit(|| fields(Object::event("start")));
            }
            Event::Note { note, .. } => witness.note(!witness.quiet, &both, &note, &fields),
            _ => {}
        };
        let [from_client, at_client] = clients;
        let copied = job.attempt(from_client, at_client, &show);
        let copied = copied.map_err(|error| failure_of(&error, &wanted));
        if copied.as_ref().is_err_and(Failure::is_end_of_connection) {
            // It is not always known which of the two connections ended.
            from.drop_client(source);
            at.drop_client(target);
        }
        copied
    });
    match &copied {
        Ok(done) => {
            // The size is not always known.
            let bytes = (job.listened().is_none() || job.size().is_some()).then_some(done.bytes);
            emit(done, bytes, &stdio.events, &fields);
            let said = match bytes {
                _ if job.listened().is_none() => "exists already".to_owned(),
                Some(bytes) => transferred(bytes, done.duration),
                None => format!("in {:.2} s", done.duration.as_secs_f64()),
            };
            messages.say_if(witness.talkative, format_args!("{source} -> {target}: {said}"));
        }
        Err(failure) => stdio.events.failed(failure, fields),
    }
    let failed = copied.as_ref().err();
    from.quit(failed);
    at.quit(failed);
    copied.map(drop).map_err(|failure| Failure { reported: true, ..failure })
}

/// Checks that the temporary name differs from the name of the source. Servers and directories are
/// not compared, because two URLs can lead to one directory.
///
/// # Errors
///
/// Returns `Usage` if the names are equal: the copy could overwrite its source and then rename it.
fn check_temporary(wanted: &FxpOptions, name: Option<&[u8]>) -> Result {
    let Some(temporary) = &wanted.transfer.temporary else { return Ok(()) };
    let source = Place::of(&wanted.source);
    let own = match name {
        Some(name) => name.to_vec(),
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

/// Returns the failure of a copy.
fn failure_of(error: &Error, wanted: &FxpOptions) -> Failure {
    let FxpOptions { source, target, transfer, .. } = wanted;
    let failure = Failure::from(error);
    let failure = match error {
        Error::Job(fault @ JobFault::OntoItself) => {
            return Failure::usage(format!("{source}: {fault}"));
        }
        Error::Job(JobFault::PerhapsRenamed { .. }) => failure.never_retried(),
        _ => unverified(error, transfer.verify).unwrap_or(failure),
    };
    failure.context(format_args!("{source} to {target}"))
}

fn emit(copied: &Done, bytes: Option<u64>, events: &Events, fields: &dyn Fn(Object) -> Object) {
    let done = || {
        fields(Object::event("done"))
            .number_if("bytes", bytes)
            .seconds("seconds", copied.duration)
            .text("verified", copied.verified.as_str())
    };
    events.done(done, bytes.unwrap_or(0));
}
