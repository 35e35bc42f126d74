//! `ls URL`: the names in a directory, or with `-l` more about each.

use std::io::{BufWriter, Write};

use ftp_client::{Client, Error};
use ftp_proto::{Escaped, FactType, Facts, FtpUrl, Severity};
use log::LevelFilter;

use crate::exit::Failure;
use crate::options::Options;
use crate::remote::{self, Dialler, Entered};
use crate::signals::Cleanup;
use crate::stdio::{Messages, Stdio};
use crate::trace;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let [url] = options.operands.as_slice() else {
        return Err(Failure::usage("ls takes one URL: ftp-cli ls [-l] URL"));
    };
    let url = remote::url(url)?;
    let dialler = Dialler::from_options(options)?;
    trace::start(options, &stdio.messages, LevelFilter::Warn)?;
    let cleanup = Cleanup::watch(stdio)?;
    let mut client = dialler.stopped_by(&cleanup).connect(options, &url, &stdio.messages)?;
    let mut lister = Lister {
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

struct Lister<'a, W: Write> {
    long: bool,
    escape: bool,
    output: W,
    messages: &'a Messages,
    /// The first line that was no entry; the others were listed.
    unreadable: Option<Failure>,
}

impl<W: Write> Lister<'_, W> {
    fn list(&mut self, client: &mut Client, url: &FtpUrl) -> Result<(), Failure> {
        let path = url.path();
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(1, |at| at + 1);
        let directory = path.get(..end.min(path.len())).filter(|directory| !directory.is_empty());
        let mut begun = self.attempt(client, directory);
        let mut parts: Vec<_> = url.parts().collect();
        while parts.pop_if(|last| last.is_empty()).is_some() {}
        if let Err(error) = &begun
            && remote::is_not_found(error)
            && let Entered::There(name) = remote::enter(client, &parts)?
        {
            begun = self.attempt(client, Some(name));
        }
        begun?
    }

    /// `Err` if the listing could not begin, `Ok(Err)` if it could not end.
    fn attempt(
        &mut self,
        client: &mut Client,
        directory: Option<&[u8]>,
    ) -> Result<Result<(), Failure>, Error> {
        if client.features()?.has("MLST") {
            match client.entries(directory) {
                Ok(entries) => {
                    for entry in entries {
                        match entry {
                            Ok(entry) => {
                                if let Err(failure) = self.entry(&entry) {
                                    return Ok(Err(failure));
                                }
                            }
                            Err(error @ Error::Protocol(_)) => self.note(&error),
                            Err(error) => return Ok(Err(error.into())),
                        }
                    }
                    return Ok(Ok(()));
                }
                // Such as for a file, which MLSD does not list and the others do.
                Err(Error::Refused(_, reply)) if reply.code().severity() == Severity::Permanent => {
                }
                Err(error) => return Err(error),
            }
        }
        let mut is_empty = true;
        let lines = if self.long { client.list(directory)? } else { client.names(directory)? };
        for line in lines {
            let printed = match line {
                Ok(line) if self.long => self.print(&line),
                Ok(line) => self.name(&line),
                Err(error) => Err(error.into()),
            };
            if printed.is_err() {
                return Ok(printed);
            }
            is_empty = false;
        }
        if is_empty && let Some(directory) = directory {
            // Some servers, vsftpd among them, list what is not there as if it were empty.
            client.cwd(directory)?;
        }
        Ok(Ok(()))
    }

    /// What `NLST` gives: some servers put the directory in front.
    fn name(&mut self, line: &[u8]) -> Result<(), Failure> {
        let name = line.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
        match name.unwrap_or(line) {
            b"." | b".." => Ok(()),
            name => self.print(name),
        }
    }

    fn entry(&mut self, entry: &Facts) -> Result<(), Failure> {
        match (entry.kind(), self.long) {
            (Some(FactType::CurrentDirectory | FactType::ParentDirectory), _) => Ok(()),
            (_, false) => self.print(entry.name()),
            (_, true) => {
                let mut line = columns(entry).into_bytes();
                line.extend_from_slice(entry.name());
                self.print(&line)
            }
        }
    }

    fn print(&mut self, line: &[u8]) -> Result<(), Failure> {
        let written = if self.escape {
            writeln!(self.output, "{}", Escaped(line))
        } else {
            self.output.write_all(line).and_then(|()| self.output.write_all(b"\n"))
        };
        written.map_err(|error| Failure::local("standard output", &error))
    }

    fn note(&mut self, error: &Error) {
        if self.unreadable.is_none() {
            let failure = Failure::from(error);
            self.messages.say(format_args!("a line is left out: {}", failure.message));
            let message = "the listing holds lines that are no entries".to_owned();
            self.unreadable = Some(Failure { message, ..failure });
        }
    }
}

/// What stands before the name: `-rw-r--r--         1024  2024-02-29 13:45  `. The time is UTC;
/// what the server does not tell is `?`, or `-` where there is nothing to tell.
fn columns(entry: &Facts) -> String {
    let kind = match entry.kind() {
        Some(FactType::File) => '-',
        Some(FactType::Directory) => 'd',
        _ if is_link(entry.get("type").unwrap_or_default()) => 'l',
        _ => '?',
    };
    let permissions = entry.get("UNIX.mode").and_then(permissions);
    let permissions = permissions.unwrap_or_else(|| "?".repeat(9));
    let size = entry.size().map_or_else(|| "-".to_owned(), |size| size.to_string());
    let time = entry.modify().map_or_else(
        || "-".to_owned(),
        |time| {
            let (year, month, day) = (time.year(), time.month(), time.day());
            format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", time.hour(), time.minute())
        },
    );
    format!("{kind}{permissions} {size:>12}  {time:<16}  ")
}

/// Whether a `type` such as `OS.unix=slink:/target` or `OS.unix=symlink` is a symbolic link.
fn is_link(kind: &[u8]) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.starts_with(b"os.unix=slink") || kind.starts_with(b"os.unix=symlink")
}

/// `0755` as `rwxr-xr-x`.
fn permissions(mode: &[u8]) -> Option<String> {
    let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok()?;
    let letters = "rwxrwxrwx".chars().enumerate();
    Some(letters.map(|(at, letter)| if mode & (0o400 >> at) == 0 { '-' } else { letter }).collect())
}

#[cfg(test)]
mod tests {
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
            assert_eq!(columns(&Facts::parse(facts.as_bytes()).unwrap()), want, "{facts}");
        }
    }

    fn lister(escape: bool, long: bool) -> (Lister<'static, Vec<u8>>, &'static Messages) {
        let messages: &'static Messages =
            Box::leak(Box::new(Messages::new(std::io::sink(), false)));
        (Lister { long, escape, output: Vec::new(), messages, unreadable: None }, messages)
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

    #[test]
    fn the_directory_itself_is_not_listed() {
        let (mut lister, _) = lister(false, false);
        for line in ["type=cdir; .", "type=pdir; ..", "type=file; f", "type=dir; d"] {
            lister.entry(&Facts::parse(line.as_bytes()).unwrap()).unwrap();
        }
        assert_eq!(lister.output, b"f\nd\n");
    }
}
