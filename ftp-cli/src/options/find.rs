//! Finds a command by its name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_proto::FtpUrl;

use super::command::Command;
use super::{Synonym, urls, values};
use crate::exit::Failure;

impl Command {
    /// Returns the command with this name or synonym.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if no command has this name; the message suggests a similar name, if there
    /// is one.
    pub(crate) fn find(name: &OsStr) -> Result<Self, Failure> {
        let bytes = name.as_bytes();
        let name = name.to_string_lossy();
        if let Some(command) = Self::ALL.iter().find(|command| command.name() == name) {
            return Ok(*command);
        }
        if let Some(synonym) = Synonym::find(name.as_ref().as_ref()) {
            return Ok(synonym.command);
        }
        if let Some(failure) = lacking(bytes) {
            return Err(failure);
        }
        // Names are short, so a word that differs by more than a typing error is unrelated.
        let most = (name.chars().count() / 4).max(1);
        let near = || {
            let near = values::nearest(&name, Self::ALL.iter().map(|command| command.name()));
            near.filter(|near| strsim::osa_distance(&name, near) <= most)
        };
        let hint = match (own_line(&name), own_name(&name).or_else(near)) {
            (Some(line), _) => line.to_owned(),
            (None, Some(near)) => format!("did you mean \"{near}\"?"),
            (None, None) => "ftp-cli help lists the commands".to_owned(),
        };
        Err(Failure::usage(format!("unknown command \"{name}\"; {hint}")))
    }
}

/// Returns the command of this program that corresponds to a command of another client.
fn own_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "download" | "get1" | "curl" | "wget" | "copyto" | "copyurl" => "get",
        "copy" | "bisync" | "rsync" => "mirror",
        "dele" | "delete" | "deletefile" | "erase" | "mdelete" | "mrm" => "rm",
        "list" | "nlist" | "cls" | "rels" | "lsd" | "lsf" => "ls",
        "upload" | "send" | "reput" | "rcat" => "put",
        "rename" | "mmv" => "mv",
        "move" | "moveto" => "mv, or mirror --remove-source",
        "more" | "less" | "zcat" => "cat",
        "open" | "connect" | "cd" | "lcd" => "batch",
        "site" | "quot" | "literal" => "quote",
        "test" => "doctor",
        _ => return None,
    })
}

/// Returns what to type for a command of another client that needs an option here, or why there is
/// no such command.
fn own_line(name: &str) -> Option<&'static str> {
    Some(match name {
        "pget" => "use: ftp-cli get --segments N URL",
        "reget" => "use: ftp-cli get --continue URL",
        "purge" => "use: ftp-cli rm -r URL",
        "lsl" => "use: ftp-cli ls -lR URL",
        "lsjson" => "use: ftp-cli ls --json URL",
        "find" => "use: ftp-cli ls -R URL",
        "du" => "use: ftp-cli ls -R --json URL, and add up the sizes",
        "mount" => "ftp-cli cannot mount a server",
        "config" => "a URL needs no configuration",
        _ => return None,
    })
}

/// Returns the failure for a URL in place of a command, or for another argument that may hold a
/// password. The message does not show the password.
fn lacking(argument: &[u8]) -> Option<Failure> {
    let lists = "ftp-cli help lists the commands";
    if urls::is_url(argument) {
        return Some(Failure::usage(match FtpUrl::parse(argument) {
            Ok(url) => {
                format!("missing command before the URL; to download it, use ftp-cli get {url}")
            }
            Err(_) => format!("missing command before the URL; {lists}"),
        }));
    }
    let message = format!("unknown command (not shown: it may hold a password); {lists}");
    urls::may_hold_password(argument).then(|| Failure::usage(message))
}
