//! The wider field: clients that others wrote, against our server. What is asked of all of them is
//! the same and stands in `scenarios`; how each is told stands in `table`, with a small script
//! beside it for those that are libraries. `particular` holds what only one of them does.

mod particular;
mod scenarios;
mod table;

use std::process::Command;

use ftp_server::ServerConfig;
use ftp_tests::peer::Peer;
use ftp_tests::process::{LIMIT, run_with};
use ftp_tests::root::TempRoot;
use ftp_tests::site::OurServer;

/// A client program, or a library with a program around it.
struct Client {
    find: fn() -> Option<Peer>,
    /// The ways it has to make a data connection.
    ways: &'static [Way],
    /// What it can do.
    does: &'static [Verb],
    /// Does the steps in order, logged in once or once a step, in the local directory. Returns
    /// what it wrote to standard output. What failed may show only in what is then not there.
    perform: fn(&Meeting, Way, &[Step]) -> Vec<u8>,
}

/// How a data connection is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// `PASV`.
    Passive,
    /// `EPSV`.
    Extended,
    /// `PORT` or `EPRT`.
    Active,
}

/// What a client is asked to do. Names in the local directory and on the server hold no TAB, `"`
/// or backslash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    /// Upload the local file `from` as `to`, as image.
    Put,
    /// Download `from` to the local file `to`, as image.
    Get,
    /// As `Put`, in ASCII.
    PutText,
    /// As `Get`, in ASCII.
    GetText,
    /// Upload the local file `from` from where `to`, of [`Meeting::THERE`] bytes, ends.
    ContinuePut,
    /// Download `from` from where the local file `to`, of [`Meeting::THERE`] bytes, ends.
    ContinueGet,
    /// Write to standard output the long list of the directory `from`.
    List,
    /// Write to standard output the names in the directory `from`, a line each.
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
    /// What a client for people, or a whole library, can do.
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

/// One thing to do.
struct Step {
    verb: Verb,
    from: String,
    to: String,
}

impl Step {
    /// One with two names.
    fn two(verb: Verb, from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { verb, from: from.into(), to: to.into() }
    }

    /// One with one name.
    fn one(verb: Verb, from: impl Into<String>) -> Self {
        Self::two(verb, from, "")
    }
}

/// A client, our server, and a directory for the client to work in.
struct Meeting {
    peer: Peer,
    server: OurServer,
    local: TempRoot,
    /// Scripts, and what a client keeps about itself.
    home: TempRoot,
}

impl Meeting {
    /// How much of a file is there before `ContinuePut` and `ContinueGet`, in bytes.
    const THERE: usize = 70_000;

    /// With a server that knows no other direction of data connections than that of `way`. `None`,
    /// having said so, if the client is not installed.
    #[track_caller]
    fn new(find: fn() -> Option<Peer>, way: Way) -> Option<Self> {
        let peer = find()?;
        let active = way == Way::Active;
        let config = ServerConfig::default().with(|config| {
            config.active.enabled = active;
            config.passive.enabled = !active;
        });
        let (server, local, home) = (OurServer::with(config), TempRoot::new(), TempRoot::new());
        Some(Self { peer, server, local, home })
    }

    fn host(&self) -> String {
        self.server.address.ip().to_string()
    }

    fn port(&self) -> String {
        self.server.address.port().to_string()
    }

    /// The client's command line to add to, in the local directory.
    fn command(&self) -> Command {
        let mut command = self.peer.command();
        command.env("HOME", self.home.path()).current_dir(self.local.path());
        command
    }

    /// A session of a program that takes commands from standard input: first `opening`, then what
    /// `say` makes of each step. Such a program ends well whatever was refused.
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

    /// A session by a script that is given HOST PORT USER PASSWORD WAY and, on standard input, a
    /// line for each step: verb, from, to, with TAB between. It ends with an error when one fails.
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

    /// A program that does one step and ends, with an exit code that tells.
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
