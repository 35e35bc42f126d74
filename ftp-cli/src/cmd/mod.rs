//! The commands, one file each, and their dispatch.

pub(crate) mod batch;
pub(crate) mod chmod;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod fxp;
pub(crate) mod get;
pub(crate) mod help;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod mirror;
pub(crate) mod mkdir;
pub(crate) mod mv;
pub(crate) mod passwd;
pub(crate) mod put;
pub(crate) mod quote;
pub(crate) mod rm;
pub(crate) mod rmdir;
pub(crate) mod serve;
pub(crate) mod stat;

use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::options::{Command, Options};

/// Runs `command`.
///
/// # Errors
///
/// Returns the failure that ends the program.
pub(crate) fn run(command: Command, options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    match command {
        Command::Get => get::run(options, stdio),
        Command::Put => put::run(options, stdio),
        Command::Ls => ls::run(options, stdio),
        Command::Mirror => mirror::run(options, stdio),
        Command::Stat => stat::run(options, stdio),
        Command::Rm => rm::run(options, stdio),
        Command::Mkdir => mkdir::run(options, stdio),
        Command::Rmdir => rmdir::run(options, stdio),
        Command::Mv => mv::run(options, stdio),
        Command::Chmod => chmod::run(options, stdio),
        Command::Quote => quote::run(options, stdio),
        Command::Batch => batch::run(options, stdio),
        Command::Fxp => fxp::run(options, stdio),
        Command::Doctor => doctor::run(options, stdio),
        Command::Serve => serve::run(options, stdio),
        Command::Who
        | Command::Status
        | Command::Kick
        | Command::Drain
        | Command::Reload
        | Command::Unban => control::run(command, options, stdio),
        Command::Passwd => passwd::run(options, stdio),
        Command::Demo => demo::run(options, stdio),
        Command::Help => help::run(options, stdio),
        Command::Man => man::run(options, stdio),
        Command::Completions => completions::run(options, stdio),
    }
}
