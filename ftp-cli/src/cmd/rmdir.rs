//! `rmdir URL...`: removes empty directories.

use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::Options;
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
            jobs::at(client, url, |client, path| repeat.rmdir(client, path))?;
            Ok(Outcome::Done("removed"))
        },
    )
}
