//! `ls URL`: lists the names in a directory, or with `-l` their details; with `-R` recursively,
//! with `-g` only names that match a pattern.

use ftp_client::{
    Client, Entered, Error, ListOptions, Listed, ListingForm, Place, Skipped, WalkOptions, Walked,
};
use ftp_proto::{Entry, Escaped, FtpUrl, Pattern};
use log::LevelFilter;

use crate::connect::retry::{Retrying, Witness};
use crate::connect::sessions::Sessions;
use crate::console::messages::Messages;
use crate::console::output::ResultLines;
use crate::console::signals::Cleanup;
use crate::console::stdio::Stdio;
use crate::console::trace;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::urls;
use crate::options::values;
use crate::remote::object;
use crate::remote::path;
use crate::remote::show_entry;
use crate::report::events::Events;
use crate::report::json::Object;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("ls takes one URL: ftp-cli ls [-l] URL"));
    };
    let url = urls::parse(url)?;
    let how = How::from_options(options)?;
    let pattern = match options.has("glob") {
        true => Some(pattern(&url)?),
        false => None,
    };
    let retrying = Retrying::from_options(options)?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let mut sessions = Sessions::new(options, stdio, &cleanup)?;
    let mut lister = Lister {
        how,
        pattern,
        lines: stdio.lines(options),
        messages: stdio.messages.clone(),
        events: stdio.events.clone(),
        shown: 0,
        left_out: None,
    };
    let fields = |object: Object| object.text("source", &url.to_string());
    let listed = retrying.run(&Witness::new(options, stdio, &cleanup), &fields, |_| {
        let listed = lister.list(sessions.client(&url)?, Place::of(&url));
        if listed.as_ref().is_err_and(Failure::is_end_of_connection) {
            sessions.drop_client(&url);
        }
        // A retry would print lines again.
        let is_silent = lister.shown == 0;
        let listed = listed.map_err(|failure| failure.context(&url));
        listed.map_err(|failure| if is_silent { failure } else { failure.never_retried() })
    });
    let done = lister.finish(listed, &url);
    sessions.quit(done.as_ref().err().filter(|failure| failure.fatal));
    done
}

/// Values of `--listing`.
pub(super) const FORMS: [(&str, ListingForm); 4] = [
    ("auto", ListingForm::Auto),
    ("mlsd", ListingForm::Mlsd),
    ("list", ListingForm::List),
    ("nlst", ListingForm::Nlst),
];

/// Options of a listing.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) list: ListOptions,
    pub(super) long: bool,
    pub(super) recursive: bool,
}

impl How {
    /// Reads the group listing of the options.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for contradicting options.
    pub(super) fn from_options(options: &Options) -> Result<Self, Failure> {
        let form = options.parsed("listing", |text| values::word(text, &FORMS))?;
        let form = form.unwrap_or_default();
        let recursive = options.has("recursive");
        if recursive && form == ListingForm::Nlst {
            let message =
                "--listing nlst cannot be combined with -R: NLST does not mark directories";
            return Err(Failure::usage(message));
        }
        let list = ListOptions { all: options.has("all"), form };
        Ok(Self { list, long: options.has("long"), recursive })
    }
}

/// Returns the pattern for names: the last part of a URL.
fn pattern(url: &FtpUrl) -> Result<Pattern, Failure> {
    match url.path().rsplit(|byte| *byte == b'/').next() {
        None | Some(b"") => {
            let message = format!("{url}: --glob needs a pattern at the end");
            Err(Failure::usage(message))
        }
        Some(name) => Ok(Pattern::of(name)),
    }
}

/// Lists one directory.
pub(super) struct Lister {
    pub(super) how: How,
    pub(super) pattern: Option<Pattern>,
    pub(super) lines: ResultLines,
    pub(super) messages: Messages,
    pub(super) events: Events,
    /// Number of lines that were printed, or left out.
    pub(super) shown: u64,
    /// Reason why entries were left out.
    pub(super) left_out: Option<Failure>,
}

impl Lister {
    /// Lists the directory at `place`, or the one of the pattern.
    ///
    /// # Errors
    ///
    /// Returns the failure that ended the listing early. [`finish`](Self::finish) reports entries
    /// that were left out.
    pub(super) fn list(&mut self, client: &mut Client, mut place: Place) -> Result<(), Failure> {
        loop {
            let path = place.path().to_vec();
            let directory = match self.pattern {
                Some(_) => path::split(&path).0,
                None => &path,
            };
            let attempt = match self.how.recursive {
                true => self.walk(client, directory),
                false => self.attempt(client, directory),
            };
            match attempt {
                Ok(listed) => return listed,
                Err(error) if place.enter(client, &error)? == Entered::There => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reports the result.
    ///
    /// # Errors
    ///
    /// Returns the failure that ended the listing early, that made it leave entries out, or that
    /// standard output had.
    pub(super) fn finish(
        &mut self,
        listed: Result<(), Failure>,
        what: &dyn std::fmt::Display,
    ) -> Result<(), Failure> {
        let flushed = self.lines.flush();
        listed?;
        flushed?;
        if let Some(failure) = self.left_out.take() {
            return Err(failure);
        }
        self.events.done(|| Object::event("done").text("source", &what.to_string()), 0);
        Ok(())
    }

    /// Lists in one attempt. Returns `Err` if the listing could not begin, `Ok(Err)` if it could
    /// not end.
    fn attempt(
        &mut self,
        client: &mut Client,
        directory: &[u8],
    ) -> Result<Result<(), Failure>, Error> {
        let mut list = self.how.list;
        // Every server reports plain names exactly.
        let is_plain = !self.how.long && !self.events.is_on();
        if list.form == ListingForm::Auto && is_plain && !client.features()?.has("MLST") {
            list.form = ListingForm::Nlst;
        }
        let entries = client.list_with(directory, list)?;
        let form = entries.form();
        let mut is_empty = true;
        for listed in entries {
            is_empty = false;
            let printed = match listed {
                Ok(Listed::Entry(entry)) if form == ListingForm::Nlst => self.name(&entry),
                Ok(Listed::Entry(entry)) => self.entry(&entry.name, &entry),
                // The line is meant for users, who may understand it.
                Ok(Listed::Unparsed(line))
                    if form == ListingForm::List
                        && self.pattern.is_none()
                        && !self.events.is_on() =>
                {
                    self.shown += 1;
                    self.lines.print(&line)
                }
                Ok(Listed::Unparsed(line)) => {
                    self.leave_out(&format!("not understood: {}", Escaped(&line)));
                    Ok(())
                }
                Err(error) => Err(error.into()),
            };
            if printed.is_err() {
                return Ok(printed);
            }
        }
        if is_empty && form != ListingForm::Mlsd && !directory.is_empty() {
            // Some servers, such as vsftpd, list a missing directory as empty.
            object::can_enter(client, directory)?;
        }
        Ok(Ok(()))
    }

    /// Lists a tree. Names are paths below the directory.
    fn walk(
        &mut self,
        client: &mut Client,
        directory: &[u8],
    ) -> Result<Result<(), Failure>, Error> {
        let options = WalkOptions { list: self.how.list, ..WalkOptions::default() };
        let mut is_first = true;
        for walked in client.walk(directory, options) {
            let walked = match walked {
                Ok(walked) => walked,
                Err(error) if is_first => return Err(error),
                Err(error) => return Ok(Err(error.into())),
            };
            is_first = false;
            let printed = match walked {
                Walked::Entry { path, entry, .. } => {
                    let below = path.strip_prefix(directory).unwrap_or(&path);
                    // In an absolute path, the leading `/` is the directory itself.
                    let below = match directory {
                        [] => below,
                        _ => below.strip_prefix(b"/").unwrap_or(below),
                    };
                    self.entry(below, &entry)
                }
                Walked::Skipped { why: Skipped::Loop, .. } => Ok(()),
                Walked::Skipped { directory, why } => {
                    self.leave_out(&format!("{}: {why}", Escaped(&directory)));
                    Ok(())
                }
            };
            if printed.is_err() {
                return Ok(printed);
            }
        }
        if is_first && !directory.is_empty() {
            object::can_enter(client, directory)?;
        }
        Ok(Ok(()))
    }

    /// Prints a name of `NLST`: some servers prefix a directory that was not requested.
    fn name(&mut self, entry: &Entry) -> Result<(), Failure> {
        let name = entry.name.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
        match name.unwrap_or(&entry.name).to_vec().as_slice() {
            b"." | b".." => Ok(()),
            name => self.entry(name, entry),
        }
    }

    fn entry(&mut self, name: &[u8], entry: &Entry) -> Result<(), Failure> {
        if let Some(pattern) = &self.pattern
            && !pattern.matches(path::split(name).1)
        {
            return Ok(());
        }
        self.shown += 1;
        if self.events.is_on() {
            self.events.emit(|| show_entry::event(name, entry));
            return Ok(());
        }
        if !self.how.long {
            return self.lines.print(name);
        }
        let mut line = show_entry::columns(entry).into_bytes();
        line.extend_from_slice(name);
        if let Some(target) = &entry.target {
            line.extend_from_slice(b" -> ");
            line.extend_from_slice(target);
        }
        self.lines.print(&line)
    }

    fn leave_out(&mut self, why: &str) {
        self.shown += 1;
        self.messages.say(format_args!("left out, {why}"));
        self.left_out.get_or_insert_with(|| match self.how.recursive {
            true => Failure::item(Exit::Partial, "not all of the tree was listed"),
            false => {
                let message = "the listing has lines that cannot be parsed";
                Failure::item(Exit::Protocol, message)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::console::output::Output;
    use crate::console::output::tests::Kept;

    #[test]
    fn names_are_stripped_and_exact_li_04_li_05() {
        let lines: [&[u8]; 7] = [b"a", b"dir/b", b".", b"dir/..", b"d/", b" c\xff", b"\x1b[2J"];
        for (escapes, want) in
            [(false, &b"a\nb\nd/\n c\xff\n\x1b[2J\n"[..]), (true, b"a\nb\nd/\n c\\xff\n\\x1b[2J\n")]
        {
            let kept = Kept::default();
            let mut lister = Lister {
                how: How { list: ListOptions::default(), long: false, recursive: false },
                pattern: None,
                lines: ResultLines::new(Output::new(kept.clone()), escapes),
                messages: Messages::new(io::sink(), false),
                events: Events::default(),
                shown: 0,
                left_out: None,
            };
            for line in lines {
                lister.name(&Entry::new(line)).unwrap();
            }
            lister.lines.flush().unwrap();
            assert_eq!(kept.bytes(), want);
        }
    }

    #[test]
    fn a_pattern_is_the_last_part_of_a_url() {
        for (url, fits, not) in [
            ("ftp://h/d/*.txt", "a.txt", "a.tx"),
            ("ftp://h/a%3F", "ab", "a"),
            ("h:a[bc]", "ac", "ad"),
            ("ftp://h/plain", "plain", "plainer"),
        ] {
            let pattern = pattern(&FtpUrl::parse(url.as_bytes()).unwrap()).ok().unwrap();
            assert!(pattern.matches(fits.as_bytes()) && !pattern.matches(not.as_bytes()), "{url}");
        }
        for url in ["ftp://h/", "ftp://h/d/"] {
            let url = FtpUrl::parse(url.as_bytes()).unwrap();
            assert_eq!(pattern(&url).unwrap_err().exit, Exit::Usage, "{url}");
        }
    }
}
