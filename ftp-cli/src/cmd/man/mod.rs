//! `man`: prints a man page, generated from the tables of this program.

mod program;
mod roff;
mod settings;

use crate::console::output;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::{MAN_PAGES, Options, values};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let name = match options.operands.as_slice() {
        [] => "ftp-cli".into(),
        [name] => name.to_string_lossy(),
        _ => return Err(Failure::usage(format!("man takes one page: {MAN_PAGES}"))),
    };
    let pages: &[(_, fn() -> String)] = &[
        ("ftp-cli", program::page),
        #[cfg(feature = "server")]
        ("server.toml", settings::page),
    ];
    let page =
        values::word(&name, pages).map_err(|wrong| Failure::usage(format!("man: {wrong}")))?;
    output::print(&mut stdio.output, page().as_bytes())
}
