//! `mkdir [-p] URL...`: creates directories.

use ftp_client::pool::Repeat;
use ftp_client::{Client, Error};

use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::{Options, urls};
use crate::remote::refusal;
use crate::report::jobs::{self, Outcome, for_each_url};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let needs = "mkdir needs a URL: ftp-cli mkdir [-p] URL...";
    let urls = urls::parse_all(&options.operands, needs, jobs::is_named)?;
    let parents = options.has("parents");
    for_each_url(options, stdio, &urls, "directories made", |client, url, _, repeat| {
        let made = jobs::at(client, url, |client, path| make(client, path, parents, repeat));
        made.map_err(|failure| match parents {
            true => failure,
            false => {
                refusal::explained(failure, client, url, |is_directory| match is_directory(true) {
                    Some(false) => "; use -p to create missing parents",
                    _ if is_directory(false) == Some(true) => {
                        "; use -p to accept an existing directory"
                    }
                    _ => "",
                })
            }
        })
    })
}

/// Creates a directory. With `parents`, also creates missing parent directories, and accepts an
/// existing directory.
///
/// # Errors
///
/// Returns the server's refusal, and errors of the connection. With `parents`, returns the refusal
/// for the first missing directory that cannot be created.
pub(super) fn make(
    client: &mut Client,
    path: &[u8],
    parents: bool,
    repeat: &mut Repeat,
) -> Result<Outcome, Error> {
    let is_new = match parents {
        true => client.make_directories(path)?,
        false => repeat.mkdir(client, path).map(|_| true)?,
    };
    Ok(if is_new { Outcome::Done("made") } else { Outcome::Skipped("exists already") })
}
