//! Reads the operands of `get`: URLs, patterns, and the destination of their files.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use ftp_client::Client;
use ftp_proto::{EntryKind, FtpUrl, RepresentationType};

use super::GetItem;
use crate::config_file;
use crate::console::stdio;
use crate::display::{shown, shown_path};
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::options::urls;
use crate::options::values;
use crate::remote::pattern::{self, Named};
use crate::transfer::options::TransferOptions;
use crate::transfer::target::{Target, name_of};

/// URLs of the command line and of `--input-file`, and the destination of their files.
pub(super) struct Requests<'o> {
    wanted: Vec<Wanted>,
    destination: Destination<'o>,
    creates: bool,
    /// `--glob`: every URL is a pattern.
    globs: bool,
}

pub(super) enum Wanted {
    File(GetItem),
    /// The last part may be a pattern; the server's listing decides.
    Pattern(FtpUrl, RepresentationType),
}

/// Destination of the downloaded files.
#[derive(Clone, Copy)]
enum Destination<'o> {
    /// LOCAL or `--output`: a file, a directory or `-`.
    Local(&'o OsStr),
    /// `--directory`.
    Directory(&'o OsStr),
    /// The current directory.
    Here,
}

impl<'o> Requests<'o> {
    /// Reads options and operands; `input` is standard input, for `-i -`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for operands that contradict each other or are not URLs of files. Returns
    /// `Local` for a list of URLs that cannot be read or a target that cannot be written.
    pub(super) fn from_options(
        options: &'o Options,
        settings: &TransferOptions,
        input: &mut dyn Read,
    ) -> Result<Self, Failure> {
        let (operands, destination) = operands(options)?;
        let mut urls = operands.iter().map(|operand| urls::parse(operand)).collect::<Vec<_>>();
        if let Some(file) = options.value("input-file") {
            urls.extend(listed(file, input)?);
        }
        let creates = settings.create_directories;
        let globs = options.has("glob");
        let mut this = Self { wanted: Vec::new(), destination, creates, globs };
        for url in urls {
            let url = url?;
            config_file::check(options, &url)?;
            let representation = settings.representation(&url)?;
            let wanted = this.want(url, representation)?;
            this.wanted.push(wanted);
        }
        let is_one = matches!(this.wanted.as_slice(), [Wanted::File(_)]);
        let takes_several = options.has("directory") || options.has("input-file");
        if is_one && settings.jobs > Some(1) && !takes_several {
            return Err(Failure::usage("--jobs needs several files: ftp-cli get -P DIR URL..."));
        }
        if this.is_output() && settings.jobs > Some(1) {
            return Err(Failure::usage("--jobs cannot be combined with standard output"));
        }
        this.check_single()?;
        check_targets(this.files())?;
        Ok(this)
    }

    fn want(&self, url: FtpUrl, representation: RepresentationType) -> Result<Wanted, Failure> {
        if self.globs {
            pattern::is_usable(&url)?;
        }
        if url.is_directory() {
            return Err(Failure::usage(format!(
                "{url} names a directory; use ftp-cli get -r to download it, or ftp-cli ls to list it"
            )));
        }
        if self.globs || pattern::is_pattern(&url) {
            return Ok(Wanted::Pattern(url, representation));
        }
        self.item(url, representation).map(Wanted::File)
    }

    /// Returns the file of a URL with its target.
    fn item(&self, url: FtpUrl, representation: RepresentationType) -> Result<GetItem, Failure> {
        let path = url.path();
        let target = match self.destination {
            Destination::Local(local) => Target::find(Some(local), path, self.creates)?,
            Destination::Directory(directory) => Target::within(directory, path, self.creates)?,
            Destination::Here => Target::find(None, path, self.creates)?,
        };
        Ok(GetItem { url, target, representation })
    }

    /// Checks that LOCAL is the target of only one URL, unless it is standard output.
    fn check_single(&self) -> Result<(), Failure> {
        match self.destination {
            Destination::Local(local) if local != "-" && self.wanted.len() > 1 => {
                let local = shown(local.as_bytes());
                Err(Failure::usage(format!(
                    "{local}: cannot be the target of {} URLs; use -P DIR",
                    self.wanted.len()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether files go to standard output.
    pub(super) fn is_output(&self) -> bool {
        matches!(self.destination, Destination::Local(local) if local == "-")
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &GetItem> {
        self.wanted.iter().filter_map(|wanted| match wanted {
            Wanted::File(item) => Some(item),
            Wanted::Pattern(..) => None,
        })
    }

    /// Separates the URLs from their destination, which is returned first.
    pub(super) fn split(mut self) -> (Self, Vec<Wanted>) {
        let wanted = std::mem::take(&mut self.wanted);
        (self, wanted)
    }

    /// Returns the files of a URL whose last part may be a pattern, and the matching names that are
    /// not valid.
    ///
    /// # Errors
    ///
    /// Returns `Refused` if no file matches, and `Usage` if the URL is a pattern and LOCAL is not a
    /// directory. Also returns the failures of the listing and of the targets.
    pub(super) fn expand(
        &self,
        client: &mut Client,
        url: &FtpUrl,
        representation: RepresentationType,
    ) -> Result<(Vec<GetItem>, Vec<Vec<u8>>), Failure> {
        let item = |url| {
            let item = self.item(url, representation);
            item.map_err(|failure| Failure { fatal: false, ..failure })
        };
        let (matches, invalid) = match pattern::named(client, url, self.globs)? {
            Named::Itself => return item(url.clone()).map(|item| (vec![item], Vec::new())),
            Named::Matches { entries, invalid, .. } => (entries, invalid),
        };
        if let Destination::Local(local) = self.destination
            && local != "-"
            && !local.as_bytes().ends_with(b"/")
            && !fs::metadata(Path::new(local)).is_ok_and(|metadata| metadata.is_dir())
        {
            let local = shown(local.as_bytes());
            let message = format!(
                "a pattern needs a local directory, but {local} is not a directory; use -P DIR"
            );
            return Err(Failure::item(Exit::Usage, message));
        }
        let is_file = |kind| matches!(kind, None | Some(EntryKind::File | EntryKind::Link));
        let files: Vec<_> = matches.iter().filter(|entry| is_file(entry.kind)).collect();
        if files.is_empty() && invalid.is_empty() {
            let message = "the pattern matches only directories; use ftp-cli get -r for each";
            return Err(Failure::item(Exit::Refused, message));
        }
        let items = files.into_iter().map(|entry| item(url.beside(&entry.name)));
        Ok((items.collect::<Result<_, _>>()?, invalid))
    }
}

/// Returns the operands that are URLs, and the destination.
fn operands(options: &Options) -> Result<(&[OsString], Destination<'_>), Failure> {
    let operands = options.operands.as_slice();
    let has_list = options.has("input-file");
    match (options.value("output"), options.value("directory")) {
        (None, Some(directory)) if directory == "-" => Err(Failure::usage(
            "-P needs a directory, not -; use --active for active mode, or -o - for standard output",
        )),
        (_, directory) if operands.is_empty() && !has_list => match directory.is_some() {
            true => Err(Failure::usage("get -P needs URLs: ftp-cli get -P DIR URL...")),
            false => Err(Failure::usage("get needs a URL: ftp-cli get URL [LOCAL]")),
        },
        (Some(file), _) => Ok((operands, Destination::Local(file))),
        (None, Some(directory)) => Ok((operands, Destination::Directory(directory))),
        (None, None) if has_list => Ok((operands, Destination::Here)),
        (None, None) => match operands {
            [_] => Ok((operands, Destination::Here)),
            _ if are_urls(operands) => Ok((operands, Destination::Here)),
            [first, second] if urls::is_url(second.as_bytes()) && !urls::is_remote(first) => {
                Err(Failure::usage("get takes the URL first; to upload, use ftp-cli put LOCAL URL"))
            }
            [_, second] if FtpUrl::parse(second.as_bytes()).is_ok() => Err(Failure::usage(
                "LOCAL looks like a URL: write ./NAME for a local name with a colon, or ftp:// before each URL",
            )),
            [_, local] => Ok((operands.get(..1).unwrap_or_default(), Destination::Local(local))),
            _ => {
                Err(Failure::usage("get takes one URL and one LOCAL; use -P DIR for several URLs"))
            }
        },
    }
}

/// Returns whether all operands are URLs of one form: with a scheme, or `host:path`.
fn are_urls(operands: &[OsString]) -> bool {
    let has_scheme = |operand: &OsString| urls::is_url(operand.as_bytes());
    let is_short =
        |operand: &OsString| !has_scheme(operand) && FtpUrl::parse(operand.as_bytes()).is_ok();
    operands.iter().all(has_scheme) || operands.iter().all(is_short)
}

/// Reads the URLs in a file, one per line. Empty lines and lines that begin with `#` are skipped.
fn listed(
    file: &OsStr,
    input: &mut dyn Read,
) -> Result<impl Iterator<Item = Result<FtpUrl, Failure>> + use<>, Failure> {
    let (name, text) = stdio::read(file, input)?;
    let lines: Vec<(usize, Vec<u8>)> = values::without_mark(&text)
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .zip(1..)
        .filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"))
        .map(|(line, number)| (number, line.to_vec()))
        .collect();
    Ok(lines.into_iter().map(move |(number, line)| {
        let url = urls::parse(&OsString::from_vec(line));
        url.map_err(|failure| failure.context(format_args!("{name}:{number}")))
    }))
}

/// Checks that no two files have the same target.
///
/// # Errors
///
/// Returns `Usage` if two files have the same target.
pub(super) fn check_targets<'i>(items: impl Iterator<Item = &'i GetItem>) -> Result<(), Failure> {
    let mut taken = HashSet::new();
    for item in items {
        if let Target::File(path) = &item.target
            && !taken.insert(path)
        {
            return Err(Failure::usage(format!(
                "{}: target of two sources; choose different names or directories",
                shown_path(path)
            )));
        }
    }
    Ok(())
}

/// Returns the name of the local directory for the tree at a URL: the last part of its path.
///
/// # Errors
///
/// Returns `Usage` if the path has no such part.
pub(super) fn name_of_tree(url: &FtpUrl) -> Result<&OsStr, Failure> {
    let path = url.path();
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    name_of(path.get(..end).unwrap_or_default()).map_err(|_| {
        let what_to_do = "name it: ftp-cli get -r URL DIR";
        Failure::usage(format!("{url}: no name for the local directory; {what_to_do}"))
    })
}
