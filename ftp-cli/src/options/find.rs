//! From the name that was typed to a command.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_proto::FtpUrl;

use super::command::Command;
use super::{urls, values};
use crate::exit::Failure;

impl Command {
    /// The command called `name`.
    ///
    /// # Errors
    ///
    /// Usage, with the command that may be meant.
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
            None => "ftp-cli help lists them".to_owned(),
        };
        Err(Failure::usage(format!("there is no command \"{name}\"; {hint}")))
    }
}

/// What a command of other clients is called here.
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

/// What is said where a URL stands in the place of the command. A password in it is not shown.
fn lacking(argument: &[u8]) -> Option<Failure> {
    let lists = "ftp-cli help lists the commands";
    if urls::is_url(argument) {
        return Some(Failure::usage(match FtpUrl::parse(argument) {
            Ok(url) => format!("no command before the URL; to download it: ftp-cli get {url}"),
            Err(_) => format!("no command before the URL; {lists}"),
        }));
    }
    let message = format!("no such command (not shown: it may hold a password); {lists}");
    urls::may_hold_password(argument).then(|| Failure::usage(message))
}
