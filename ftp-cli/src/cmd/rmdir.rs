//! `rmdir URL...`: removes empty directories.

use crate::console::stdio::Stdio;
use crate::each::{self, Became};
use crate::exit::Failure;
use crate::options::Options;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    if options.operands.is_empty() {
        return Err(Failure::usage("rmdir needs a URL: ftp-cli rmdir URL..."));
    }
    each::are_named(&options.operands)?;
    each::each(options, stdio, &options.operands, "directories removed", &mut |client, url, _| {
        each::at(client, url, |client, path| client.rmdir(path))?;
        Ok(Became::Done("removed"))
    })
}
