//! Finds a command by its name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_proto::FtpUrl;

use super::command::Command;
use super::{urls, values};
use crate::exit::Failure;

impl Command {
    /// Returns the command called `name`.
    ///
    /// # Errors
    ///
    /// Returns `Usage` with the command that may be meant.
    pub(crate) fn find(name: &OsStr) -> Result<Self, Failure> {
        let bytes = name.as_bytes();
        let name = name.to_string_lossy();
        if let Some(command) = Self::ALL.iter().find(|command| command.name() == name) {
            return Ok(*command);
        }
        if let Some(failure) = lacking(bytes) {
            return Err(failure);
        }
        let near = || values::nearest(&name, Self::ALL.iter().map(|command| command.name()));
        let hint = match own_name(&name).or_else(near) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "ftp-cli help lists the commands".to_owned(),
        };
        Err(Failure::usage(format!("unknown command \"{name}\"; {hint}")))
    }
}

/// Returns the name of another client's command here.
fn own_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "cat" | "download" | "reget" | "mget" | "wget" => "get",
        "cp" | "sync" => "mirror",
        "del" | "dele" | "delete" | "mdelete" => "rm",
        "dir" | "list" | "nlist" => "ls",
        "mput" | "upload" => "put",
        "move" | "ren" | "rename" => "mv",
        "test" => "doctor",
        _ => return None,
    })
}

/// Returns the failure for a URL in place of a command. Does not show a password in it.
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
