//! `stat URL...`: prints the facts that a server reports about objects.

use ftp_client::{Client, Error, ListingForm};
use ftp_proto::{Entry, EntryKind};

use super::ls::FORMS;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::{Options, urls, values};
use crate::remote::show_entry;
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
        if reporter.events.is_on() {
            reporter.events.emit(|| show_entry::event(name, &entry));
            return Ok(Outcome::Done("found"));
        }
        if !std::mem::take(&mut is_first) {
            lines.print(b"")?;
        }
        for line in show_entry::lines(name, &entry) {
            lines.print(&line)?;
        }
        lines.flush()?;
        Ok(Outcome::Reported)
    })
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
