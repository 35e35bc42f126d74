//! Reads the source of `--password-file`, `--password-fd` or `--password-command`: lines with one
//! password each.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, geteuid, getpid, pidfd_getfd, pidfd_open};

use super::{Secret, read_line};
use crate::connect::netrc::unfit;
use crate::console::children::Running;
use crate::display::shown;
use crate::exit::{Exit, Failure};
use crate::options::Options;

/// Options of password sources; the last one given wins.
const OPTIONS: [&str; 3] = ["password-file", "password-fd", "password-command"];

/// Largest output of a password command in bytes.
const LONGEST_OUTPUT: u64 = 1 << 20;

/// A source of passwords, one per line, with its name.
pub(super) struct PasswordSource {
    input: Box<dyn Read + Send>,
    name: String,
    /// A warning, if the source is a file that another user owns or others can access.
    pub(super) warning: Option<String>,
}

/// Returns the option that names a source, if there is one.
pub(super) fn option(options: &Options) -> Option<&'static str> {
    options.last_of(&OPTIONS)
}

impl PasswordSource {
    /// Opens the source that the options name, if there is one. Runs a command to its end.
    ///
    /// # Errors
    ///
    /// Returns `Local` for an unreadable source, `Usage` for an invalid descriptor number or too
    /// much output, and `Login` for a command that fails.
    pub(super) fn open(options: &Options) -> Result<Option<Self>, Failure> {
        let Some(option) = option(options) else { return Ok(None) };
        let Some(value) = options.value(option) else { return Ok(None) };
        let mut warning = None;
        let (input, name): (Box<dyn Read + Send>, _) = match option {
            "password-file" => {
                let name = shown(value.as_bytes());
                let file = File::open(value).map_err(|error| Failure::local(&name, &error))?;
                warning = open_to_others(&file).map(|why| format!("{name}: {why}"));
                (Box::new(BufReader::new(file)), name)
            }
            "password-fd" => {
                let number = options.parsed(option, number)?.unwrap_or_default();
                let name = format!("--password-fd {number}");
                let file = inherited(number).map_err(|error| Failure::local(&name, &error))?;
                // Unbuffered, because the bytes after the line belong to other readers.
                (Box::new(file), name)
            }
            _ => {
                // The command is not shown, because it may contain a secret.
                let name = "--password-command".to_owned();
                (Box::new(Cursor::new(printed(value, &name)?)), name)
            }
        };
        Ok(Some(Self { input, name, warning }))
    }

    /// Returns the next line.
    ///
    /// # Errors
    ///
    /// Returns `Local` if the line cannot be read. Returns `Usage` if the line is empty or too
    /// long, or has a byte that FTP cannot send.
    pub(super) fn line(&mut self) -> Result<Secret, Failure> {
        read_line(&mut self.input, &self.name)
    }
}

/// Returns a warning if another user owns a file or others can access it.
fn open_to_others(file: &File) -> Option<String> {
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    unfit(&metadata, geteuid().as_raw())
}

fn number(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| format!("invalid descriptor \"{text}\": expected a number"))
}

/// Returns a copy of a descriptor that this process inherited.
///
/// Only descriptors that this process opened itself are close-on-exec. They are rejected, because
/// reading one by mistake could block forever.
fn inherited(number: i32) -> io::Result<File> {
    const CLOSED_AT_EXEC: u32 = 0o2_000_000;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
    let flags = info.ok().and_then(|info| {
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(flags.trim(), 8).ok()
    });
    if flags.is_none_or(|flags| flags & CLOSED_AT_EXEC != 0) {
        return Err(io::Error::other("no such descriptor was passed to this process"));
    }
    let copy: io::Result<OwnedFd> = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|this| pidfd_getfd(this, number, PidfdGetfdFlags::empty()))
        .map_err(io::Error::from);
    // In sandboxes that forbid these system calls, opens the descriptor's path instead.
    copy.map(File::from).or_else(|_| File::open(format!("/proc/self/fd/{number}")))
}

/// Returns the output of a shell command. The command gets no input, because standard input may be
/// the data to upload.
fn printed(command: &OsStr, name: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: &io::Error| Failure::local(name, error);
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().map_err(|error| failed(&error))?;
    let output = child.stdout.take().map(|output| output.take(LONGEST_OUTPUT + 1));
    let mut text = Vec::new();
    let mut child = Running::watch(child);
    let read = output.map_or(Ok(0), |mut output| output.read_to_end(&mut text));
    if read.is_err() || text.len() as u64 > LONGEST_OUTPUT {
        // The command no longer has a reader, and might run forever.
        child.kill();
    }
    let ended = child.wait().map_err(|error| failed(&error))?;
    read.map_err(|error| failed(&error))?;
    if text.len() as u64 > LONGEST_OUTPUT {
        return Err(Failure::usage(format!("{name}: too much output: expected at most 1 MiB")));
    }
    match ended.success() {
        true => Ok(text),
        false => {
            let message = format!("{name}: the command failed: {ended}");
            Err(Failure::new(Exit::Login, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    fn lines(option: &str, value: &str, count: usize) -> Result<Vec<String>, Exit> {
        let line = ["get", option, value].map(Into::into);
        let (_, options) = options::parse(line).ok().unwrap();
        let mut given = PasswordSource::open(&options).map_err(|failure| failure.exit)?.unwrap();
        let text = |secret: Secret| String::from_utf8_lossy(secret.as_bytes()).into_owned();
        (0..count).map(|_| given.line().map(text).map_err(|failure| failure.exit)).collect()
    }

    #[test]
    fn a_password_command_yields_its_first_lines_li_01() {
        for (command, want) in [
            ("echo one; echo two", Ok(vec!["one", "two"])),
            ("printf 'one\\r\\ntwo'", Ok(vec!["one", "two"])),
            ("echo one; exit 3", Err(Exit::Login)),
            ("echo one; kill $$", Err(Exit::Login)),
            ("exec no-such-program-at-all 2>/dev/null", Err(Exit::Login)),
            ("true", Err(Exit::Usage)),
            ("echo one", Err(Exit::Usage)),
            ("cat", Err(Exit::Usage)),
            ("yes", Err(Exit::Usage)),
            ("trap '' PIPE; while :; do echo one || :; done 2>/dev/null", Err(Exit::Usage)),
            ("tr '\\0' x </dev/zero", Err(Exit::Usage)),
        ] {
            let want = want.map(|lines| lines.into_iter().map(str::to_owned).collect());
            assert_eq!(lines("--password-command", command, 2), want, "{command}");
        }
    }

    #[test]
    fn a_password_descriptor_must_be_inherited_li_01() {
        // Test processes did not inherit this descriptor, or must not read it.
        let own = File::open("/dev/zero").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&own).to_string();
        for (number, want) in [
            (number.as_str(), Exit::Local),
            ("1000000", Exit::Local),
            ("-1", Exit::Usage),
            ("", Exit::Usage),
            ("stdin", Exit::Usage),
            ("4294967296", Exit::Usage),
        ] {
            assert_eq!(lines("--password-fd", number, 1), Err(want), "{number}");
        }
    }
}
