//! `stat URL...`: prints the facts that a server reports about objects. `du URL...`: adds up sizes.

use ftp_client::file::Digest;
use ftp_client::listing::{ListOptions, ListingForm, Skipped, Walked};
use ftp_client::{Client, Error, Place};
use ftp_proto::{Entry, EntryKind};

use super::ls::FORMS;
use crate::console::output::rounded_size;
use crate::console::{ResultLines, Stdio};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, parse_urls, values};
use crate::remote::{self, Outcome, for_each_url, show_entry};
use crate::report::{Events, Object};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let needs = "stat needs a URL: ftp-cli stat URL...";
    let urls = parse_urls(&options.operands, needs, |_| Ok(()))?;
    let form = options.parsed("listing", |text| values::word(text, &FORMS))?.unwrap_or_default();
    let mut lines = stdio.lines(options);
    let mut is_first = true;
    for_each_url(options, stdio, &urls, "objects found", |client, url, witness, _| {
        let entry =
            remote::at(client, &mut Place::of(url), |client, path| stat(client, path, form))?;
        let name = match url.path() {
            b"" => b".",
            path => path,
        };
        if !std::mem::take(&mut is_first) && !witness.events.is_on() {
            lines.print(b"")?;
        }
        let digest = match options.has("hash") {
            true if entry.is_dir() => {
                return Err(Failure::item(Exit::Refused, "a directory has no digest"));
            }
            true => Some(remote::at(client, &mut Place::of(url), |client, path| {
                client.hash(path, None)
            })?),
            false => None,
        };
        show_facts(name, &entry, digest.as_ref(), &mut lines, &witness.events)
    })
}

/// `du URL...`: adds up the sizes of the files at each URL.
pub(crate) fn run_du(options: &Options, stdio: &mut Stdio) -> Result {
    let urls = parse_urls(&options.operands, "du needs a URL: ftp-cli du URL...", |_| Ok(()))?;
    let mut lines = stdio.lines(options);
    for_each_url(options, stdio, &urls, "sizes added up", |client, url, witness, _| {
        let sum = remote::at(client, &mut Place::of(url), sum_of)?;
        let shown = match options.has("human-readable") {
            true => rounded_size(sum.bytes),
            false => sum.bytes.to_string(),
        };
        if sum.is_partial {
            let message = format!("not all of the tree could be read; it has at least {shown}");
            return Err(Failure::item(Exit::Partial, message));
        }
        if witness.events.is_on() {
            witness.events.emit(|| {
                let entry = Object::event("entry").text("source", &url.to_string());
                let entry = entry.number("size", sum.bytes);
                entry.number("files", sum.files).number("directories", sum.directories)
            });
            return Ok(Outcome::Done("added up"));
        }
        lines.print(format!("{shown}\t{url}").as_bytes())?;
        lines.flush()?;
        Ok(Outcome::Reported)
    })
}

/// What a tree has. Links count as nothing.
#[derive(Default)]
struct Sum {
    bytes: u64,
    files: u64,
    directories: u64,
    /// Whether something could not be listed or has no size.
    is_partial: bool,
}

fn sum_of(client: &mut Client, path: &[u8]) -> Result<Sum, Error> {
    let (mut sum, mut unsized_files) = (Sum::default(), Vec::new());
    let mut add = |sum: &mut Sum, path: &[u8], entry: &Entry| match (entry.kind, entry.size) {
        (Some(EntryKind::Directory), _) => sum.directories += 1,
        (Some(EntryKind::Link | EntryKind::Other), _) => {}
        (_, Some(size)) => (sum.files, sum.bytes) = (sum.files + 1, sum.bytes.saturating_add(size)),
        (_, None) => unsized_files.push(path.to_vec()),
    };
    let top = stat(client, path, ListingForm::Auto)?;
    add(&mut sum, path, &top);
    if top.is_dir() {
        for walked in client.walk(path).list(ListOptions::new().all(true)) {
            match walked? {
                Walked::Entry { path, entry, .. } => add(&mut sum, &path, &entry),
                Walked::Skipped { why: Skipped::Loop, .. } => {}
                Walked::Skipped { .. } => sum.is_partial = true,
            }
        }
    }
    for path in unsized_files {
        match client.size(&path)? {
            Some(size) => (sum.files, sum.bytes) = (sum.files + 1, sum.bytes.saturating_add(size)),
            None => sum.is_partial = true,
        }
    }
    Ok(sum)
}

/// Prints the facts about an object, or emits its event.
pub(super) fn show_facts(
    name: &[u8],
    entry: &Entry,
    digest: Option<&Digest>,
    lines: &mut ResultLines,
    events: &Events,
) -> Result<Outcome> {
    let (algorithm, hash) = digest.map(|it| (it.algorithm.to_string(), it.to_string())).unzip();
    if events.is_on() {
        events.emit(|| {
            let event = show_entry::event(name, entry);
            event.text_if("algorithm", algorithm.as_deref()).text_if("hash", hash.as_deref())
        });
        return Ok(Outcome::Done("found"));
    }
    show_entry::lines(name, entry).iter().try_for_each(|line| lines.print(line))?;
    for (key, value) in [("algorithm", algorithm), ("hash", hash)] {
        value.map_or(Ok(()), |value| lines.print(format!("{key}: {value}").as_bytes()))?;
    }
    lines.flush()?;
    Ok(Outcome::Reported)
}

/// Returns the facts about the object at `path`. An unlisted object counts as a directory if the
/// server can enter it.
pub(super) fn stat(client: &mut Client, path: &[u8], form: ListingForm) -> Result<Entry, Error> {
    if let Some(entry) = client.look(path, form)? {
        return Ok(entry);
    }
    if !path.is_empty() {
        client.can_enter(path)?;
    }
    let mut entry = Entry::new(path);
    entry.kind = Some(EntryKind::Directory);
    Ok(entry)
}
