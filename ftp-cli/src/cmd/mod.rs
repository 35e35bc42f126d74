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

use std::ffi::OsString;

use crate::config_file;
use crate::console::output::{self, Hidden};
use crate::console::signals::start_watchdog;
use crate::console::stdio::Stdio;
use crate::exit::Failure;
use crate::lock::hold;
use crate::options::{self, Command};
use crate::report::events::Events;

/// Parses the arguments, applies the configuration file and runs the command. Messages hide
/// `hidden`.
///
/// # Errors
///
/// Returns the failure that ends the program.
pub(crate) fn run(
    arguments: Vec<OsString>,
    hidden: Hidden,
    stdio: &mut Stdio,
) -> Result<(), Failure> {
    let asks_for_all = arguments.iter().any(|argument| argument == "--help");
    let (command, mut options) = options::parse(arguments)?;
    let configured = config_file::apply(command, &mut options);
    stdio.events = Events::from_options(&options, &stdio.shared_output, hidden);
    configured?;
    start_watchdog(command, &options, stdio)?;
    if let Some(path) = options.value("log-file") {
        stdio.messages.log_to(path)?;
    }
    let options = &options;
    if options.has("version") {
        let version = concat!("ftp-cli ", env!("CARGO_PKG_VERSION"), "\n");
        return output::print(&mut stdio.output, version.as_bytes());
    }
    if options.has("help") {
        return help::print(command, asks_for_all, stdio);
    }
    let Some(command) = command else {
        return Err(Failure::usage("missing command; ftp-cli -h lists the commands"));
    };
    options.relate(command)?;
    let _held = hold(options)?;
    let done = match command {
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
        Command::Ctl => control::run(options, stdio),
        Command::Passwd => passwd::run(options, stdio),
        Command::Demo => demo::run(options, stdio),
        Command::Help => help::run(options, stdio),
        Command::Man => man::run(options, stdio),
        Command::Completions => completions::run(options, stdio),
    };
    let usage = stdio.messages.usage();
    if options.is_verbose() && usage.counts.connections() > 0 {
        stdio.messages.say(usage);
    }
    done.and_then(|()| stdio.messages.replies().check())
}
