//! `rmdir URL...`: removes empty directories.

use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::Options;
use crate::remote::refusal;
use crate::report::jobs::{self, Outcome, for_each_url};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    if options.operands.is_empty() {
        return Err(Failure::usage("rmdir needs a URL: ftp-cli rmdir URL..."));
    }
    jobs::are_named(&options.operands)?;
    for_each_url(
        options,
        stdio,
        &options.operands,
        "directories removed",
        |client, url, _, repeat| {
            let removed = jobs::at(client, url, |client, path| repeat.rmdir(client, path));
            removed.map(|()| Outcome::Done("removed")).map_err(|failure| {
                refusal::explained(failure, client, url, |is_directory| match is_directory(false) {
                    Some(true) => "; to remove it with its content, use ftp-cli rm -r",
                    _ => "",
                })
            })
        },
    )
}
