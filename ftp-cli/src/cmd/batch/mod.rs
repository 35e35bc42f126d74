//! `batch URL [FILE|-]`: runs commands, one per line, over one control connection.

mod line;
mod queue;
mod session;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use self::line::Order;
use self::queue::{Count, Queue};
use crate::connect::Sessions;
use crate::console::output::shown_path;
use crate::console::{Board, Cleanup, Stdio, When};
use crate::exit::{Failure, Result};
use crate::options::{Options, parse_url, values};
use crate::remote::Reporter;
use crate::transfer::{Context, Interruptible, TransferOptions};

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
    if script.is_none() && session::is_wanted(options, stdio) {
        return session::run(options, stdio, &settings, &url, representation);
    }
    let cleanup = Cleanup::start(options, stdio)?;
    let input = std::mem::replace(&mut stdio.input, Box::new(io::empty()));
    // Each line shows its own progress.
    let board = Board::new(When::from_options(options)?, stdio, 1, None);
    let mut queue = Queue::new(
        Sessions::new(options, stdio, &cleanup)?,
        Context::new(options, stdio, &settings, &cleanup, board),
        Reporter::new(options, stdio),
        (stdio.lines(options), !options.has("raw-names") && stdio.output_is_terminal()),
        (&url, representation),
    );
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
    count.finish(&queue.reporter, options.is_quiet())
}

/// Runs the lines of a batch file.
fn do_script(queue: &mut Queue<'_>, count: &mut Count, script: Vec<(usize, Order)>) {
    let mut orders = script.into_iter();
    for (number, order) in orders.by_ref() {
        if order.name == "bye" {
            break;
        }
        let done = queue.act(number, &order);
        if count.add(&queue.reporter, number, done).is_break() {
            break;
        }
    }
    count.leave(orders.len());
}

/// Runs the lines of standard input as they arrive.
fn do_input(queue: &mut Queue<'_>, count: &mut Count, mut input: impl BufRead) {
    for number in 1_usize.. {
        let done = match next(&mut input) {
            Ok(None) => break,
            Ok(Some(line)) => {
                let line = if number == 1 { values::without_mark(&line) } else { &line };
                match Order::parse(line) {
                    Ok(None) => continue,
                    Ok(Some(order)) if order.name == "bye" => break,
                    Ok(Some(order)) => queue.act(number, &order),
                    Err(failure) => {
                        queue.misread(number, line);
                        Err(failure)
                    }
                }
            }
            Err(failure) => Err(failure),
        };
        if count.add(&queue.reporter, number, done).is_break() {
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
        let order = Order::parse(line)
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

#[cfg(test)]
mod tests {
    use super::line::COMMANDS;
    use crate::options::Command;

    #[test]
    fn batch_help_lists_every_command_usage() {
        for command in &COMMANDS {
            let usage = command.1;
            assert!(Command::Batch.help().about.contains(usage), "{usage}");
        }
    }
}
