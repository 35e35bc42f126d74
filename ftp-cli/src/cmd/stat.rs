//! `stat URL...`: prints the facts that a server reports about objects.

use ftp_client::listing::ListingForm;
use ftp_client::{Client, Error};
use ftp_proto::{Entry, EntryKind};

use super::ls::FORMS;
use crate::console::output::ResultLines;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::{Options, urls, values};
use crate::remote::show_entry;
use crate::report::events::Events;
use crate::report::jobs::{self, Outcome, for_each_url};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let needs = "stat needs a URL: ftp-cli stat URL...";
    let urls = urls::parse_all(&options.operands, needs, |_| Ok(()))?;
    let form = options.parsed("listing", |text| values::word(text, &FORMS))?.unwrap_or_default();
    let mut lines = stdio.lines(options);
    let mut is_first = true;
    for_each_url(options, stdio, &urls, "objects found", |client, url, reporter, _| {
        let entry = jobs::at(client, url, |client, path| stat(client, path, form))?;
        let name = match url.path() {
            b"" => b".",
            path => path,
        };
        if !std::mem::take(&mut is_first) && !reporter.events.is_on() {
            lines.print(b"")?;
        }
        show(name, &entry, &mut lines, &reporter.events)
    })
}

/// Prints the facts about an object, or emits its event.
pub(super) fn show(
    name: &[u8],
    entry: &Entry,
    lines: &mut ResultLines,
    events: &Events,
) -> Result<Outcome, Failure> {
    if events.is_on() {
        events.emit(|| show_entry::event(name, entry));
        return Ok(Outcome::Done("found"));
    }
    show_entry::lines(name, entry).iter().try_for_each(|line| lines.print(line))?;
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
