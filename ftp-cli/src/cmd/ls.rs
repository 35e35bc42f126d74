//! `ls URL`: the names in a directory, or with `-l` more about each.

use std::io::{BufWriter, Write};

use ftp_client::{Client, Entered, Error, ListOptions, Listed, ListingForm, Place};
use ftp_proto::{Entry, EntryKind, Escaped, FtpUrl, Modified, Precision};
use log::LevelFilter;

use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::remote::{self, Dialler};
use crate::signals::Cleanup;
use crate::stdio::{Messages, Stdio};
use crate::{trace, values};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("ls takes one URL: ftp-cli ls [-l] URL"));
    };
    let url = remote::url(url)?;
    let dialler = Dialler::from_options(options)?;
    let form = options.parsed("listing", |text| values::word(text, &FORMS))?;
    let list = ListOptions { all: options.has("all"), form: form.unwrap_or_default() };
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let mut client = dialler.stopped_by(&cleanup).connect(options, &url, &stdio.messages)?;
    let mut lister = Lister {
        list,
        long: options.has("long"),
        escape: stdio.output_is_terminal,
        output: BufWriter::new(&mut *stdio.output),
        messages: &stdio.messages,
        unreadable: None,
    };
    let listed = lister.list(&mut client, &url);
    let flushed = lister.output.flush().map_err(|error| Failure::local("standard output", &error));
    let unreadable = lister.unreadable.take();
    remote::part(client, listed.as_ref().err());
    listed
        .map_err(|failure| Failure { message: format!("{url}: {}", failure.message), ..failure })?;
    flushed?;
    unreadable.map_or(Ok(()), Err)
}

/// The words of `--listing`.
const FORMS: [(&str, ListingForm); 4] = [
    ("auto", ListingForm::Auto),
    ("mlsd", ListingForm::Mlsd),
    ("list", ListingForm::List),
    ("nlst", ListingForm::Nlst),
];

struct Lister<'a, W: Write> {
    list: ListOptions,
    long: bool,
    escape: bool,
    output: W,
    messages: &'a Messages,
    /// The first line that was no entry; the others were listed.
    unreadable: Option<Failure>,
}

impl<W: Write> Lister<'_, W> {
    fn list(&mut self, client: &mut Client, url: &FtpUrl) -> Result<(), Failure> {
        let mut place = Place::of(url);
        loop {
            match self.attempt(client, place.path()) {
                Ok(listed) => return listed,
                Err(error) if place.enter(client, &error)? == Entered::There => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// `Err` if the listing could not begin, `Ok(Err)` if it could not end.
    fn attempt(
        &mut self,
        client: &mut Client,
        directory: &[u8],
    ) -> Result<Result<(), Failure>, Error> {
        let mut list = self.list;
        // Names alone every server tells exactly.
        if list.form == ListingForm::Auto && !self.long && !client.features()?.has("MLST") {
            list.form = ListingForm::Nlst;
        }
        let entries = client.list_with(directory, list)?;
        let form = entries.form();
        let mut is_empty = true;
        for listed in entries {
            is_empty = false;
            let printed = match listed {
                Ok(Listed::Entry(entry)) if form == ListingForm::Nlst => self.name(&entry.name),
                Ok(Listed::Entry(entry)) => self.entry(&entry),
                // Made for people: they may understand it.
                Ok(Listed::Unparsed(line)) if form == ListingForm::List => self.print(&line),
                Ok(Listed::Unparsed(line)) => {
                    self.note(&line);
                    Ok(())
                }
                Err(error) => Err(error.into()),
            };
            if printed.is_err() {
                return Ok(printed);
            }
        }
        if is_empty && form != ListingForm::Mlsd && !directory.is_empty() {
            // Some servers, vsftpd among them, list what is not there as if it were empty.
            client.cwd(directory)?;
        }
        Ok(Ok(()))
    }

    /// What `NLST` gives: some servers put a directory in front that is not the one they were
    /// asked for.
    fn name(&mut self, line: &[u8]) -> Result<(), Failure> {
        let name = line.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
        match name.unwrap_or(line) {
            b"." | b".." => Ok(()),
            name => self.print(name),
        }
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        if !self.long {
            return self.print(&entry.name);
        }
        let mut line = columns(entry).into_bytes();
        line.extend_from_slice(&entry.name);
        if let Some(target) = &entry.target {
            line.extend_from_slice(b" -> ");
            line.extend_from_slice(target);
        }
        self.print(&line)
    }

    fn print(&mut self, line: &[u8]) -> Result<(), Failure> {
        let written = if self.escape {
            writeln!(self.output, "{}", Escaped(line))
        } else {
            self.output.write_all(line).and_then(|()| self.output.write_all(b"\n"))
        };
        written.map_err(|error| Failure::local("standard output", &error))
    }

    fn note(&mut self, line: &[u8]) {
        self.messages.say(format_args!("not understood, left out: {}", Escaped(line)));
        self.unreadable.get_or_insert_with(|| {
            Failure::new(Exit::Protocol, "the listing holds lines that are no entries".to_owned())
        });
    }
}

/// What stands before the name: `-rw-r--r--         1024  2024-02-29 13:45  `. The time is UTC
/// where the server says so, by `MLSD`, and else as it tells it; what it does not tell is `?`, or
/// `-` where there is nothing to tell.
fn columns(entry: &Entry) -> String {
    let kind = match entry.kind {
        Some(EntryKind::File) => '-',
        Some(EntryKind::Directory) => 'd',
        Some(EntryKind::Link) => 'l',
        _ => '?',
    };
    let permissions = entry.permissions.map_or_else(|| "?".repeat(9), |mode| mode.to_string());
    let size = entry.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
    let time = entry.modified.map_or_else(
        || "-".to_owned(),
        |Modified { time, precision, .. }| {
            let (year, month, day) = (time.year(), time.month(), time.day());
            let date = format!("{year:04}-{month:02}-{day:02}");
            match precision {
                Precision::Day => date,
                _ => format!("{date} {:02}:{:02}", time.hour(), time.minute()),
            }
        },
    );
    format!("{kind}{permissions} {size:>12}  {time:<16}  ")
}

#[cfg(test)]
mod tests {
    use ftp_proto::{Facts, ListLine};

    use super::*;

    #[test]
    fn columns_show_what_is_known() {
        for (facts, want) in [
            (
                "type=file;size=1024;modify=20240229134559;UNIX.mode=0644; x",
                "-rw-r--r--         1024  2024-02-29 13:45  ",
            ),
            ("type=dir;UNIX.mode=100755; x", "drwxr-xr-x            -  -                 "),
            ("Type=OS.unix=slink:/etc; x", "l?????????            -  -                 "),
            (" x", "??????????            -  -                 "),
            ("type=file;UNIX.mode=worse; x", "-?????????            -  -                 "),
        ] {
            let facts_of = Facts::parse(facts.as_bytes()).unwrap();
            assert_eq!(columns(&Entry::from(&facts_of)), want, "{facts}");
        }
        let now = ftp_proto::TimeVal::new(2024, 6, 1, 0, 0, 0).unwrap();
        let line = b"lrwxrwxrwx 1 u g 7 Feb 29 2020 x -> /etc";
        let ListLine::Entry(entry) = ListLine::parse(line, now) else { panic!() };
        assert_eq!(columns(&entry), "lrwxrwxrwx            7  2020-02-29        ");
    }

    fn lister(escape: bool, long: bool) -> (Lister<'static, Vec<u8>>, &'static Messages) {
        let messages: &'static Messages =
            Box::leak(Box::new(Messages::new(std::io::sink(), false)));
        (
            Lister {
                list: ListOptions::default(),
                long,
                escape,
                output: Vec::new(),
                messages,
                unreadable: None,
            },
            messages,
        )
    }

    #[test]
    fn names_are_stripped_and_exact_li_04_li_05() {
        let lines: [&[u8]; 7] = [b"a", b"dir/b", b".", b"dir/..", b"d/", b" c\xff", b"\x1b[2J"];
        for (escape, want) in
            [(false, &b"a\nb\nd/\n c\xff\n\x1b[2J\n"[..]), (true, b"a\nb\nd/\n c\\xff\n\\x1b[2J\n")]
        {
            let (mut lister, _) = lister(escape, false);
            for line in lines {
                lister.name(line).unwrap();
            }
            assert_eq!(lister.output, want);
        }
    }
}
