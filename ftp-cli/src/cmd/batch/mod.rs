//! `batch URL [FILE|-]`: runs commands, one per line, over one control connection.
//!
//! `batch URL` typed at a terminal has a prompt with the current directory, and the commands that need
//! one. Ctrl-C ends what is going on, not the session.

pub(super) mod line;
mod queue;

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read};
use std::path::Path;

use ftp_proto::{FtpUrl, RepresentationType};

use self::line::{OF_SESSIONS, Order};
use self::queue::{Count, Entered, Queue};
use crate::connect::{Dialler, Finder, Sessions};
use crate::console::output::{shown, shown_local, shown_path};
use crate::console::signals::Aim;
use crate::console::{Cleanup, Printable, Stdio};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Command as Subcommand, Options, parse_url, values};
use crate::system::{self, OsStrExt, Running};
use crate::transfer::{Interruptible, TransferOptions};

/// Largest length of a line of standard input in bytes.
const LINE: u64 = 64 * 1_024;

/// Largest size of a batch file in bytes: the whole file is parsed before the first command is
/// sent.
const FILE: u64 = 64 << 20;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let (url, script) = match options.operands.as_slice() {
        [url] => (url, OsStr::new("-")),
        [url, script] => (url, script.as_os_str()),
        _ => {
            let message = "batch takes a URL and at most one file: ftp-cli batch URL [FILE|-]";
            return Err(Failure::usage(message));
        }
    };
    let url = parse_url(url)?;
    let settings = TransferOptions::from_options(options)?;
    let representation = settings.representation(&url)?;
    let script = match script {
        script if script == "-" => None,
        script => Some(read(script)?),
    };
    if script.is_none() && is_typed(options, stdio) {
        return run_typed(options, stdio, &settings, &url, representation);
    }
    let cleanup = Cleanup::start(options, stdio)?;
    let input = std::mem::replace(&mut stdio.input, Box::new(io::empty()));
    let sessions = Sessions::new(options, stdio, &cleanup)?;
    let of_run = (&settings, &cleanup);
    let mut queue = Queue::new(sessions, (options, stdio), of_run, (&url, representation))?;
    let mut count = Count::new(options.has("stop-on-error"));
    match script {
        Some(script) => do_script(&mut queue, &mut count, script),
        None => {
            let mut input = input;
            let input = Interruptible { input: &mut *input, cleanup: &cleanup };
            do_input(&mut queue, &mut count, BufReader::new(input));
        }
    }
    queue.sessions.quit(count.fatal());
    count.finish(&queue.context.witness, options.is_quiet())
}

/// Runs the lines of a batch file.
fn do_script(queue: &mut Queue<'_>, count: &mut Count, script: Vec<(usize, Order)>) {
    let mut orders = script.into_iter();
    for (number, order) in orders.by_ref() {
        if order.name == "bye" {
            break;
        }
        let done = queue.act(number, &order);
        if count.add(&queue.context.witness, number, done).is_break() {
            break;
        }
    }
    count.left = orders.len();
}

/// Runs the lines of standard input as they arrive.
fn do_input(queue: &mut Queue<'_>, count: &mut Count, mut input: impl BufRead) {
    for number in 1_usize.. {
        let done = match next(&mut input) {
            Ok(None) => break,
            Ok(Some(line)) => {
                let line = if number == 1 { values::without_mark(&line) } else { &line };
                match Order::parse(line, &[]) {
                    Ok(None) => continue,
                    Ok(Some(order)) if order.name == "bye" => break,
                    Ok(Some(order)) => queue.act(number, &order),
                    Err(failure) => {
                        // It may have been meant as a `cd`, or as the `lcd` of a session.
                        if line::enters(line) {
                            queue.cd_failed(number);
                        }
                        Err(failure)
                    }
                }
            }
            Err(failure) => Err(failure),
        };
        if count.add(&queue.context.witness, number, done).is_break() {
            break;
        }
    }
}

/// Reads all lines of a file.
///
/// # Errors
///
/// Returns `Usage` with the line number of an invalid command, before any command is run. Returns
/// `Local` if the file cannot be read or is too large.
fn read(script: &OsStr) -> Result<Vec<(usize, Order)>> {
    let name = shown_path(Path::new(script));
    let mut text = Vec::new();
    let read = File::open(script).and_then(|file| file.take(FILE + 1).read_to_end(&mut text));
    read.and_then(|_| match text.len() as u64 > FILE {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => Ok(()),
    })
    .map_err(|error| Failure::local(&name, &error))?;
    let mut orders = Vec::new();
    let text = values::without_mark(&text);
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let order = Order::parse(line, &[])
            .map_err(|failure| failure.context(format_args!("{name}:{number}")))?;
        orders.extend(order.map(|order| (number, order)));
    }
    Ok(orders)
}

/// Returns the next line of standard input, without its line feed.
fn next(input: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = input.take(LINE).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::local("standard input", &error))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() as u64 == LINE {
        return Err(Failure::usage("line longer than 64 KiB: reading stopped here"));
    }
    Ok(Some(line))
}

/// Returns whether a person types the commands and reads what comes of them. A program that reads
/// `--json` needs no prompt.
fn is_typed(options: &Options, stdio: &Stdio) -> bool {
    stdio.is_process
        && !options.has("json")
        && stdio.messages.is_terminal()
        && io::stdin().is_terminal()
}

/// Runs a session at a terminal until `bye` or the end of the input. The exit code is that of a batch only with
/// `--stop-on-error`.
///
/// # Errors
///
/// Returns the failure of the first connection, and the failures of a batch.
fn run_typed(
    options: &Options,
    stdio: &mut Stdio,
    settings: &TransferOptions,
    url: &FtpUrl,
    representation: RepresentationType,
) -> Result {
    let mut cleanup = Cleanup::start_session(options, stdio)?;
    // Read once: a new connection after Ctrl-C asks for no password again, and `lcd` changes the
    // meaning of relative names.
    let dialler = Dialler::from_options(options)?;
    let credentials = Finder::new(options, &stdio.messages).find(url)?;
    let input = std::mem::replace(&mut stdio.input, Box::new(io::empty()));
    let prompt = cleanup.renewed()?;
    let mut session = Session { stdio, input, prompt, directory: None, pending: None };
    let mut count = Count::new(options.has("stop-on-error"));
    let (mut entered, mut uploads, mut representation) = (Vec::new(), None, representation);
    loop {
        let stdio = session.stdio;
        let dialler = dialler.clone().stopped_by(&cleanup);
        let mut sessions = Sessions::with(options, dialler, stdio.messages.clone());
        sessions.log_in_as(url, credentials.clone());
        let of_run = (settings, &cleanup);
        let mut queue = Queue::new(sessions, (options, stdio), of_run, (url, representation))?;
        queue.entered = std::mem::take(&mut entered);
        queue.uploads = uploads.take().unwrap_or_default();
        if session.directory.is_none() {
            queue.connect(0)?;
            let hint = "help lists the commands, bye ends the session";
            stdio.messages.say_if(!options.is_quiet(), hint);
        }
        let is_over = session.converse(&mut queue, &mut count, &cleanup);
        (entered, representation) = (std::mem::take(&mut queue.entered), queue.representation);
        uploads = Some(std::mem::take(&mut queue.uploads));
        let interrupted = (!is_over).then(|| Failure::new(Exit::Interrupted, "interrupted"));
        queue.sessions.quit(interrupted.as_ref());
        // SIGTERM and SIGHUP end the process.
        stdio.ending.heed();
        match (is_over, options.has("stop-on-error")) {
            // Who typed the lines has seen each failure.
            (true, false) => return Ok(()),
            (true, true) => return count.finish(&queue.context.witness, true),
            // Another connection follows.
            (false, _) => cleanup = cleanup.renewed()?,
        }
    }
}

/// The person at the terminal.
struct Session<'s> {
    stdio: &'s Stdio,
    input: Box<dyn Read + Send>,
    /// What Ctrl-C cancels at the prompt.
    prompt: Cleanup,
    directory: Option<Current>,
    /// A line that needs a new connection, because Ctrl-C has cancelled the old one before.
    pending: Option<Vec<u8>>,
}

/// The current directory as the last prompt showed it.
struct Current {
    /// Its path, if the server names it.
    path: Option<Vec<u8>>,
    /// What lines had done to the session then.
    entered: Vec<Entered>,
}

impl Session<'_> {
    /// Reads and runs commands. Returns true at the end, and false if Ctrl-C has cancelled the
    /// connection. `cleanup` is that of the queue.
    fn converse(&mut self, queue: &mut Queue<'_>, count: &mut Count, cleanup: &Cleanup) -> bool {
        loop {
            cleanup.aim(Aim::Work);
            let Some(text) = self.pending.take().or_else(|| self.ask(queue)) else {
                return true;
            };
            if cleanup.is_cancelled() {
                self.pending = Some(text);
                return false;
            }
            cleanup.aim(Aim::Work);
            let done = match text.trim_ascii_start().strip_prefix(b"!") {
                // The terminal sends Ctrl-C to the command itself.
                Some(command) => cleanup.lend(|| shell(command)),
                None => match Order::parse(&text, &OF_SESSIONS) {
                    Ok(None) => continue,
                    Ok(Some(order)) => match order.name {
                        "bye" => return true,
                        "help" => help(queue),
                        "pwd" => pwd(queue),
                        "lcd" => lcd(order.operands.first().map(Vec::as_slice), queue),
                        _ => queue.act(0, &order),
                    },
                    Err(failure) => Err(failure),
                },
            };
            self.stdio.ending.heed();
            if done.is_err() && line::enters(&text) {
                // Lines that were pasted with it would run in the wrong directory.
                match system::discard_typed() {
                    Some(0) => {}
                    Some(_) => self.stdio.messages.say("the lines typed after it are discarded"),
                    None => queue.failed_cd = Some(0),
                }
            }
            // The next line may succeed, even if a connection could not be restored.
            let done = done.map_err(|failure| match failure.exit {
                Exit::Interrupted => Failure { exit: Exit::Partial, fatal: false, ..failure },
                _ => Failure { fatal: false, ..failure },
            });
            let ends = count.add(&queue.context.witness, 0, done).is_break();
            if cleanup.is_cancelled() || ends {
                return !cleanup.is_cancelled();
            }
        }
    }

    /// Prompts and returns a line, or `None` at the end of the input. Ctrl-C discards a line. A
    /// process that continues in the foreground prompts again.
    fn ask(&mut self, queue: &mut Queue<'_>) -> Option<Vec<u8>> {
        let messages = &self.stdio.messages;
        if self.directory.as_ref().is_none_or(|current| current.entered != queue.entered) {
            self.directory =
                Some(Current { path: queue.directory(), entered: queue.entered.clone() });
        }
        let directory = self.directory.iter().find_map(|current| current.path.as_deref());
        let directory = directory.map_or_else(String::new, |path| format!(":{}", shown(path)));
        let prompt = format!("ftp-cli {}{directory}> ", queue.url.host());
        loop {
            self.prompt.aim(Aim::Prompt);
            messages.write(Printable(&prompt).to_string().as_bytes());
            let input = Interruptible { input: &mut *self.input, cleanup: &self.prompt };
            // Byte by byte: what follows the line may be for a program that the line starts.
            let line = next(&mut BufReader::with_capacity(1, input));
            self.stdio.ending.heed();
            match line {
                _ if self.prompt.is_cancelled() => {
                    messages.write(b"\n");
                    self.prompt = self.prompt.renewed().ok()?;
                }
                Ok(Some(line)) => return Some(line),
                Ok(None) => {
                    messages.write(b"\n");
                    return None;
                }
                Err(failure) => {
                    messages.say(failure.message);
                    return None;
                }
            }
        }
    }
}

/// Prints the commands, as `ftp-cli help batch` does.
fn help(queue: &mut Queue<'_>) -> Result {
    let about = Subcommand::Batch.help().about;
    for text in about.lines().filter(|text| text.starts_with("    ")) {
        queue.lines.print(text.as_bytes())?;
    }
    queue.lines.flush()
}

fn pwd(queue: &mut Queue<'_>) -> Result {
    let path = queue.pwd()?;
    queue.lines.print(&path)?;
    queue.lines.flush()
}

/// Enters a local directory, if one is given, and shows where that is.
fn lcd(directory: Option<&[u8]>, queue: &Queue<'_>) -> Result {
    let named = directory.map_or_else(|| ".".to_owned(), shown_local);
    let entered = directory.map_or(Ok(()), |path| env::set_current_dir(OsStr::from_bytes(path)));
    let here = entered.and_then(|()| env::current_dir());
    let here = here.map_err(|error| Failure { fatal: false, ..Failure::local(named, &error) })?;
    queue.context.witness.messages.say(format_args!("local directory: {}", shown_path(&here)));
    Ok(())
}

/// Runs a command in a shell, or a shell. Its exit status says nothing about the session.
fn shell(command: &[u8]) -> Result {
    let mut program = match command.trim_ascii() {
        [] => system::interactive_shell(),
        command => system::shell(OsStr::from_bytes(command)),
    };
    let failed = |error: io::Error| Failure::item(Exit::Local, format!("!: {error}"));
    let child = program.spawn().map_err(failed)?;
    Running::watch(child).wait().map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::line::COMMANDS;
    use super::*;
    use crate::options::Command;

    #[test]
    fn batch_help_lists_every_command_usage() {
        for command in &COMMANDS {
            let usage = command.1;
            assert!(Command::Batch.help().about.contains(usage), "{usage}");
        }
    }

    #[test]
    fn commands_of_other_clients_name_the_line_to_type() {
        for (text, words) in [
            ("dir", "use: ls -l"),
            ("mget *.txt", "ftp-cli mget URL"),
            ("lcd a b", "expected lcd [DIRECTORY]"),
            ("lss", "did you mean ls?"),
            ("bye now", "expected bye"),
        ] {
            let message = Order::parse(text.as_bytes(), &OF_SESSIONS).unwrap_err().message;
            assert!(message.contains(words), "{text}: {message}");
        }
        assert_eq!(Order::parse(b"# bye", &OF_SESSIONS).unwrap(), None);
    }
}
