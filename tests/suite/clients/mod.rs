//! Client programs and libraries of other projects with our server. `scenarios` holds the steps,
//! the same for all; `table` says how to run them with each client, with a small script for each
//! library. `particular` holds steps for one client only.

mod particular;
mod scenarios;
mod table;

use std::process::Command;

use ftp_server::{PassivePolicy, ServerConfig};
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

/// A client program, or a library in a script.
struct Client {
    find: fn() -> Option<Peer>,
    /// Its methods of data connections.
    ways: &'static [Way],
    /// Its operations.
    does: &'static [Verb],
    /// Does the steps in order, with one login or one per step, in the local directory. Returns its
    /// standard output. Some failures show only in the missing result.
    perform: fn(&Meeting, Way, &[Step]) -> Vec<u8>,
}

/// The command of a data connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// `PASV`.
    Passive,
    /// `EPSV`.
    Extended,
    /// `PORT` or `EPRT`.
    Active,
}

/// An operation. Names in the local directory and on the server contain no TAB, `"` or backslash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    /// Upload the local file `from` as `to`, in type image.
    Put,
    /// Download `from` to the local file `to`, in type image.
    Get,
    /// As `Put`, in type ASCII.
    PutText,
    /// As `Get`, in type ASCII.
    GetText,
    /// Upload the rest of the local file `from` to `to`, which has [`Meeting::THERE`] bytes.
    ContinuePut,
    /// Download the rest of `from` to the local file `to`, which has [`Meeting::THERE`] bytes.
    ContinueGet,
    /// Write a long listing of the directory `from` to standard output.
    List,
    /// Write the names in the directory `from` to standard output, one per line.
    Names,
    /// Make the directory `from`.
    MakeDirectory,
    /// Remove the empty directory `from`.
    RemoveDirectory,
    /// Delete the file `from`.
    Delete,
    /// Rename `from` to `to`.
    Rename,
}

impl Verb {
    /// The operations of an interactive client, or of a complete library.
    const ALL: &'static [Self] = &[
        Self::Put,
        Self::Get,
        Self::PutText,
        Self::GetText,
        Self::ContinuePut,
        Self::ContinueGet,
        Self::List,
        Self::Names,
        Self::MakeDirectory,
        Self::RemoveDirectory,
        Self::Delete,
        Self::Rename,
    ];
}

/// One step.
struct Step {
    verb: Verb,
    from: String,
    to: String,
}

impl Step {
    /// Returns a step with two names.
    fn two(verb: Verb, from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { verb, from: from.into(), to: to.into() }
    }

    /// Returns a step with one name.
    fn one(verb: Verb, from: impl Into<String>) -> Self {
        Self::two(verb, from, "")
    }
}

/// A client, our server, and a directory for the client.
struct Meeting {
    peer: Peer,
    server: OurServer,
    local: TempRoot,
    /// Scripts, and the client's own files.
    home: TempRoot,
}

impl Meeting {
    /// The length of the existing part before `ContinuePut` and `ContinueGet`, in bytes.
    const THERE: usize = 70_000;

    /// Starts a server that supports only data connections of this kind. Reports and returns `None`
    /// if the client is not installed.
    #[track_caller]
    fn new(find: fn() -> Option<Peer>, way: Way) -> Option<Self> {
        let peer = find()?;
        let active = way == Way::Active;
        let config =
            ServerConfig::new().active(active).passive(PassivePolicy::new().enabled(!active));
        let (server, local, home) = (OurServer::with(config), TempRoot::new(), TempRoot::new());
        Some(Self { peer, server, local, home })
    }

    fn host(&self) -> String {
        self.server.address.ip().to_string()
    }

    fn port(&self) -> String {
        self.server.address.port().to_string()
    }

    /// Returns the client's command line to extend, in the local directory.
    fn command(&self) -> Command {
        let mut command = self.peer.command();
        command.env("HOME", self.home.path()).current_dir(self.local.path());
        command
    }

    /// Runs a program that takes commands from standard input: first `opening`, then the result of
    /// `say` for each step. Such a program ends with success whatever was refused.
    #[track_caller]
    fn typed(
        command: &mut Command,
        opening: &str,
        steps: &[Step],
        say: fn(&Step) -> String,
    ) -> Vec<u8> {
        let lines: Vec<_> = steps.iter().map(say).collect();
        let input = format!("{opening}\n{}\nquit\n", lines.join("\n"));
        run_with(command, input.as_bytes(), LIMIT).succeeded()
    }

    /// Runs a script with HOST PORT USER PASSWORD WAY; its standard input has a line for each step:
    /// verb, from, to, separated by TAB. It ends with an error after a failure.
    #[track_caller]
    fn scripted(&self, script: &str, way: Way, steps: &[Step]) -> Vec<u8> {
        let script = self.home.write("script", script.as_bytes());
        let mut command = self.command();
        command.arg(script).args([&self.host(), &self.port()]);
        command.args([self.server.user, self.server.password, &format!("{way:?}")]);
        let line = |step: &Step| format!("{:?}\t{}\t{}\n", step.verb, step.from, step.to);
        let lines: String = steps.iter().map(line).collect();
        run_with(&mut command, lines.as_bytes(), LIMIT).succeeded()
    }

    /// Runs a program that does one step, with a meaningful exit code.
    #[track_caller]
    fn one_by_one(&self, steps: &[Step], call: impl Fn(&mut Command, &Step)) -> Vec<u8> {
        let mut said = Vec::new();
        for step in steps {
            let mut command = self.command();
            call(&mut command, step);
            said.extend(run_with(&mut command, &[], LIMIT).succeeded());
        }
        said
    }
}
