//! `rmdir URL...`: removes empty directories.

use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::{Options, urls};
use crate::remote::refusal;
use crate::report::jobs::{self, Outcome, for_each_url};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let needs = "rmdir needs a URL: ftp-cli rmdir URL...";
    let urls = urls::parse_all(&options.operands, needs, jobs::is_named)?;
    for_each_url(options, stdio, &urls, "directories removed", |client, url, _, repeat| {
        let removed = jobs::at(client, url, |client, path| repeat.rmdir(client, path));
        removed.map(|()| Outcome::Done("removed")).map_err(|failure| {
            refusal::explained(failure, client, url, |is_directory| match is_directory(false) {
                Some(true) => "; to remove it with its content, use ftp-cli rm -r",
                _ => "",
            })
        })
    })
}
