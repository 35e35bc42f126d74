//! Flights: commands that are sent in one write, so that they cost one round trip together. A reply
//! names neither its command nor its file. So the replies count only if all have arrived and each is
//! in its place, which the last one proves by a code that can answer no other command.

use std::time::Duration;

use ftp_proto::{
    Command, Entry, EpsvArgument, Pathname, Reply, ReplyCode, RepresentationType, SetupStep,
    Severity, TimeVal, TransferMode, TransferSetup, Verb,
};

use super::Client;
use crate::control::proof::{ends_transfer, is_in_place};
use crate::control::{Answers, mdtm};
use crate::error::{Error, Phase, accepted};
use crate::trace;

/// The maximum length of a flight in bytes. It fits into one segment, also under TLS.
const SEGMENT: usize = 1_200;

/// The number of round trips to wait for another reply of a server that has not yet answered a whole
/// flight. Some servers read one command at a time, and drop what comes with it.
const PATIENCE: u32 = 4;

/// The least wait for the first reply of a server that is being tested: without it, the connection
/// must be closed.
const FIRST_REPLY: Duration = Duration::from_secs(5);

/// The least wait for each further reply.
const NEXT_REPLY: Duration = Duration::from_secs(2);

/// The largest number of files that a caller removes together. If the connection is lost, any of them
/// may have been removed.
pub(crate) const TOGETHER: usize = 64;

impl Client {
    /// Returns the modification times of several files (`MDTM`), `None` for those that the server
    /// does not report, in the order of the paths. Returns `None` if the questions must be sent one
    /// by one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`together`](Self::together).
    pub(crate) fn modified_together(
        &mut self,
        paths: &[Vec<u8>],
    ) -> Result<Option<Vec<Option<TimeVal>>>, Error> {
        let time = |reply: Reply| {
            let is_told = reply.code().severity() == Severity::Completion;
            TimeVal::parse(reply.text().trim_ascii()).ok().filter(|_| is_told)
        };
        let mut times = Vec::new();
        while let Some(rest) = paths.get(times.len()..).filter(|rest| !rest.is_empty()) {
            let Some(replies) = self.together(rest, mdtm)? else { return Ok(None) };
            times.extend(replies.into_iter().map(time));
        }
        Ok(Some(times))
    }

    /// Removes the first of several files (`DELE`), as many as fit into one flight, and returns the
    /// result for each, in the order of the paths. Returns `None`, and removes nothing, if the commands
    /// must be sent one by one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`together`](Self::together). Any file of the flight may have been removed
    /// then.
    pub(crate) fn delete_together(
        &mut self,
        paths: &[Vec<u8>],
    ) -> Result<Option<Vec<Result<(), Error>>>, Error> {
        let replies = self.together(paths, Command::Dele)?;
        let result = |reply| accepted(Verb::Dele, reply).map(drop);
        Ok(replies.map(|replies| replies.into_iter().map(result).collect()))
    }

    /// Returns the codes of the replies to a question about each path, together if the server takes
    /// several commands at once; `None` for a path that cannot be sent.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`together`](Self::together).
    pub(crate) fn codes_of(
        &mut self,
        paths: &[Vec<u8>],
        question: fn(Pathname) -> Command,
    ) -> Result<Vec<Option<ReplyCode>>, Error> {
        let mut codes = Vec::new();
        while let Some(rest) = paths.get(codes.len()..)
            && let Some(next) = rest.first()
        {
            match self.together(rest, question)? {
                Some(replies) => codes.extend(replies.iter().map(|reply| Some(reply.code()))),
                None => codes.push(match self.pathname(next) {
                    Err(Error::Argument(_)) => None,
                    path => Some(self.request(&question(path?))?.code()),
                }),
            }
        }
        Ok(codes)
    }

    /// Sends a command for each of the first paths, as many as fit into one flight with `PWD` at its
    /// end, and returns the replies. Returns `None` if the server takes one command at a time, or a path
    /// cannot be sent.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`fly`](Self::fly).
    fn together(
        &mut self,
        paths: &[Vec<u8>],
        command: fn(Pathname) -> Command,
    ) -> Result<Option<Vec<Reply>>, Error> {
        // Refusals of all paths would say nothing about the objects.
        if paths.iter().any(|path| self.may_need_cwd(path)) {
            return Ok(None);
        }
        let (mut left, mut flight) = (SEGMENT, Vec::new());
        for path in paths {
            let command = match self.pathname(path) {
                Err(Error::Argument(_)) => return Ok(None),
                path => command(path?),
            };
            if self.needs_agreement(path) {
                return Ok(None);
            }
            // The command itself reports what is wrong.
            let Ok(line) = command.encode() else { return Ok(None) };
            if line.len() > left && !flight.is_empty() {
                break;
            }
            left = left.saturating_sub(line.len());
            flight.push(command);
        }
        let Some(verb) = flight.first().map(Command::verb) else { return Ok(None) };
        self.make_ready_for(verb)?;
        flight.push(Command::Pwd);
        let mut replies = Vec::new();
        if !self.fly(&flight, |_, reply| replies.push(reply))? {
            return Ok(None);
        }
        match replies.pop() {
            Some(here) if here.code() == ReplyCode::PATHNAME => self.check_directory(&here)?,
            _ => return Err(self.end_flights()),
        }
        Ok(Some(replies))
    }

    /// Asks in one write for the size and the modification time of the file at `path`, if the server is
    /// known to answer several commands in order. [`size`](Self::size) and
    /// [`modified`](Self::modified) then know the replies.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`fly`](Self::fly).
    pub(crate) fn ask_together(&mut self, path: &[u8]) -> Result<(), Error> {
        if !self.may_fly()
            || !self.is_in_image()
            || self.may_need_cwd(path)
            || self.needs_agreement(path)
        {
            return Ok(());
        }
        let path = self.sendable(path)?;
        let commands = [Command::Size(path.clone()), mdtm(path)];
        if commands.iter().all(|command| self.control.has_answer(command)) {
            return Ok(());
        }
        self.make_ready()?;
        self.come_back()?;
        self.ask_all(&commands)
    }

    /// Asks in one write for the size of the file that was just uploaded to `path`, for its new
    /// modification time, and for the port of the next upload unless it uses the same data connection.
    /// The calls that follow ([`size`](Self::size), [`set_modified`](Self::set_modified),
    /// [`store`](Self::store)) then know the replies. Sends nothing if they must be sent one by one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`fly`](Self::fly), except if the connection of a server that answers
    /// flights has ended: the next call reports that.
    pub(crate) fn ask_after_upload(
        &mut self,
        path: &[u8],
        time: Option<TimeVal>,
    ) -> Result<(), Error> {
        let Ok(path) = self.sendable(path) else { return Ok(()) };
        let time = time.map(|time| Command::Mfmt(time, path.clone()));
        let commands = [Command::Size(path.clone())].into_iter().chain(time);
        self.ask_ahead(commands.collect(), Command::Stor(path))
    }

    /// Asks in one write for the modification time of the file at `path` and for the port of its
    /// download. [`retrieve_with_time`](Self::retrieve_with_time) then knows the replies.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`ask_after_upload`](Self::ask_after_upload).
    pub(crate) fn ask_before_download(&mut self, path: &[u8]) -> Result<(), Error> {
        // With pipelining, the download itself sends these commands together with its own.
        let path = self.sendable(path).ok().filter(|_| !self.config.rules.pipeline);
        let Some(path) = path else { return Ok(()) };
        let question = mdtm(path.clone());
        if self.control.has_answer(&question) {
            return Ok(());
        }
        self.ask_ahead(vec![question], Command::Retr(path))
    }

    /// Returns the object at `path` as [`find`](Self::find) does, for a caller who downloads it then. If the
    /// connection may send [flights](crate::Pool::flights), the same write asks for the port of the download
    /// that follows, which saves a round trip.
    ///
    /// ```no_run
    /// use ftp_client::{Client, Pool};
    ///
    /// let dial = || {
    ///     let mut client = Client::builder().connect("ftp.example.org")?;
    ///     client.login("me", "secret").map(|()| client)
    /// };
    /// let pool = Pool::new(dial).flights(true);
    /// let bytes = pool.run(&(), |client| {
    ///     let mut bytes = Vec::new();
    ///     match client.find_before_download("/a.bin")?.and_then(|found| found.size) {
    ///         Some(..1_000_000) => client.retrieve("/a.bin")?.copy_to(&mut bytes).map(|_| Some(bytes)),
    ///         _ => Ok(None), // missing, no file, or too large
    ///     }
    /// })?;
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`find`](Self::find), and [`Error::Desynchronised`] if a reply is not in its
    /// place: another connection can repeat the question.
    pub fn find_before_download(&mut self, path: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        self.find_before(path.as_ref(), Command::Retr)
    }

    /// Returns the object at `path` as [`find_before_download`](Self::find_before_download) does, for a
    /// caller who uploads to it then.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`find_before_download`](Self::find_before_download).
    pub fn find_before_upload(&mut self, path: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        self.find_before(path.as_ref(), Command::Stor)
    }

    fn find_before(
        &mut self,
        path: &[u8],
        transfer: fn(Pathname) -> Command,
    ) -> Result<Option<Entry>, Error> {
        let lists = self.features()?.has("MLST");
        if let Ok(name) = self.sendable(path)
            && !self.may_need_cwd(path)
        {
            let questions = match lists {
                true => vec![Command::Mlst(Some(name.clone()))],
                false => vec![Command::Size(name.clone()), mdtm(name.clone())],
            };
            self.ask_ahead(questions, transfer(name))?;
        }
        self.find(path)
    }

    /// Returns the [`size`](Self::size) of the file at `from`, and the object at `to` as
    /// [`find`](Self::find) does, for a caller who decides then whether to rename. If the connection may send
    /// [flights](crate::Pool::flights), and the server lists `SIZE` and `MLST`, both questions and `RNFR` cost
    /// one round trip: [`rename_from`](Self::rename_from), called next, knows its reply.
    ///
    /// ```no_run
    /// # let mut client = ftp_client::Client::builder().connect("ftp.example.org")?;
    /// let report = client.store(".in.a")?.copy_from(&mut &b"all sold"[..])?;
    /// // That nothing is shown does not prove that the name is free: see `Repeat::rename_new`.
    /// let (size, there) = client.look_before_rename(b".in.a", b"a")?;
    /// if size == Some(report.bytes) && there.is_none_or(|there| there.is_file()) {
    ///     let to = client.rename_from(b".in.a", b"a")?;
    ///     client.rename_to(&to)?;
    /// }
    /// # Ok::<(), ftp_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`size`](Self::size) and of
    /// [`find_before_download`](Self::find_before_download).
    pub fn look_before_rename(
        &mut self,
        from: &[u8],
        to: &[u8],
    ) -> Result<(Option<u64>, Option<Entry>), Error> {
        let features = self.features()?;
        let is_agreed = !self.needs_agreement(from) && !self.needs_agreement(to);
        let is_listed = features.has("SIZE") && features.has("MLST");
        if self.may_fly() && self.is_in_image() && is_agreed && is_listed {
            let (old, new) = (self.sendable(from)?, self.sendable(to)?);
            let commands =
                [Command::Size(old.clone()), Command::Mlst(Some(new)), Command::Rnfr(old)];
            self.make_ready_for(Verb::Rnfr)?;
            self.is_renaming = true;
            self.ask_all(&commands)?;
        }
        Ok((self.size(from)?, self.find(to)?))
    }

    /// Returns the commands that prepare the download of the file at `path`: `MDTM` if `asks_time`, and
    /// one for a port. They can be sent when the data of the previous download has ended, before its
    /// 226, so that a server that confirms late answers all at once. Until the server has shown that it
    /// answers in order, returns only `NOOP`, which disturbs no server. Returns nothing if the commands
    /// must wait for the 226.
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub(crate) fn questions_at_end(
        &mut self,
        path: &[u8],
        asks_time: bool,
    ) -> Result<Vec<Command>, Error> {
        let is_ready = self.kept.is_none() && !self.config.rules.pipeline;
        let may_ask = is_ready && self.may_fly();
        let Some(path) = self.sendable(path).ok().filter(|_| may_ask) else {
            return Ok(Vec::new());
        };
        let time = asks_time.then(|| mdtm(path.clone()));
        let mut commands = Vec::from_iter(time);
        if !self.add_port(&mut commands, Command::Retr(path))? {
            return Ok(Vec::new());
        }
        let is_proved = self.config.learned.early.is_proved();
        Ok(if is_proved { commands } else { vec![Command::Noop] })
    }

    /// Sends the questions at the end of a download, unless its confirmation may have arrived, the
    /// server does not answer in order, or another client is testing that. Returns those that were sent.
    ///
    /// # Errors
    ///
    /// Returns only errors of the control connection.
    pub(crate) fn ask_at_end(&mut self, questions: Vec<Command>) -> Result<Vec<Command>, Error> {
        let early = &self.config.learned.early;
        let may_ask = || early.is_proved() || questions == [Command::Noop] && early.begin();
        // After the confirmation, the replies would prove nothing, and no round trip would be saved.
        let is_early = self.control.is_outstanding() && self.control.is_silent();
        if !(is_early && self.may_fly() && may_ask()) {
            return Ok(Vec::new());
        }
        let deadline = self.control.reply_deadline();
        let sent = self.control.send_more(&questions, deadline);
        if sent.is_err() {
            self.config.learned.early.end();
        }
        sent.map(|()| questions)
    }

    /// Returns the final reply of a download, and keeps those to the questions at its end.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Desynchronised`] if a reply is not in its place: the download counts for
    /// nothing then. The connection is closed, and no client of the same builder asks so early again.
    /// Also returns the error of `reply`, and those of the control connection.
    pub(crate) fn answers_at_end(
        &mut self,
        questions: &[Command],
        reply: Result<Reply, Error>,
    ) -> Result<Reply, Error> {
        if questions.is_empty() {
            return reply;
        }
        let judged =
            reply.and_then(|reply| self.keep_at_end(questions, reply.code()).map(|()| reply));
        // Neither proved nor failed: another client can begin the test.
        if questions == [Command::Noop] {
            self.config.learned.early.end();
        }
        judged
    }

    /// Keeps the replies to the questions at the end of a download, whose final reply has this code.
    fn keep_at_end(&mut self, questions: &[Command], code: ReplyCode) -> Result<(), Error> {
        let is_confirmed = ends_transfer(code);
        if code.severity() == Severity::Completion && !is_confirmed {
            return Err(self.end_early());
        }
        let mut answers = Answers::default();
        for question in questions {
            let is_test = *question == Command::Noop;
            match self.reply_of_flight(is_test, question) {
                // The next call reports the end of the connection.
                Err(Error::Closed | Error::ServiceClosing(_)) => return Ok(()),
                // Any other code can be the final reply of the download, after that of `NOOP`.
                Ok(reply) if is_test && reply.code() != ReplyCode::OKAY => {
                    return Err(self.end_early());
                }
                Ok(_) if is_test && is_confirmed => self.config.learned.early.prove(),
                Ok(_) if is_test => {}
                reply => answers.add(question.clone(), reply?),
            }
        }
        self.control.keep_answers(answers);
        Ok(())
    }

    /// Closes the connection because questions before the confirmation of a download are answered
    /// before it, and returns the error.
    fn end_early(&mut self) -> Error {
        trace::note(format_args!("questions are answered early here: sending them later"));
        self.config.learned.early.fail();
        self.control.close();
        Error::Desynchronised
    }

    /// Sends `commands` and the one for the data connection of `transfer`, and keeps the replies.
    fn ask_ahead(&mut self, mut commands: Vec<Command>, transfer: Command) -> Result<(), Error> {
        if !self.add_port(&mut commands, transfer)? || commands.len() < 2 {
            return Ok(());
        }
        match self.ask_all(&commands) {
            Err(Error::Closed | Error::ServiceClosing(_)) => Ok(()),
            asked => asked,
        }
    }

    /// Sends `commands` in one write, and keeps the replies for the calls that ask for them.
    fn ask_all(&mut self, commands: &[Command]) -> Result<(), Error> {
        let mut answers = Answers::default();
        let flown = self.fly(commands, |command, reply| answers.add(command.clone(), reply));
        self.control.keep_answers(answers);
        flown.map(drop)
    }

    /// Adds the command for the data connection of `transfer` to `commands`, unless that is open.
    /// Returns whether they can be sent together.
    fn add_port(&mut self, commands: &mut Vec<Command>, transfer: Command) -> Result<bool, Error> {
        let is_agreed = |path: &Pathname| !self.needs_agreement(path.as_bytes());
        if !self.is_in_image()
            || !self.plan.is_open()
            || !matches!(&transfer, Command::Retr(path) | Command::Stor(path) if is_agreed(path))
        {
            return Ok(false);
        }
        self.settle()?;
        if self.kept.is_none() {
            if self.mode()? != TransferMode::Stream {
                return Ok(false);
            }
            let setup = TransferSetup::new(transfer, self.config.rules);
            match setup.step(&self.state) {
                SetupStep::Send(Command::Epsv(EpsvArgument::All)) => return Ok(false),
                SetupStep::Send(port @ (Command::Epsv(_) | Command::Pasv)) => commands.push(port),
                _ => return Ok(false),
            }
        }
        let lines = commands.iter().map(|command| Ok(command.encode()?.len()));
        Ok(lines.sum::<Result<usize, Error>>()? <= SEGMENT)
    }

    /// Sends `TYPE` or `FEAT`, and returns the reply. The first of them in a run takes `PWD` along, which
    /// costs no round trip: only a server that answers both in order gets flights.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Desynchronised`] if the server answers neither, or ends the connection, which is
    /// closed then. Also returns the errors of the control connection.
    pub(crate) fn request_with_proof(&mut self, command: &Command) -> Result<Reply, Error> {
        let may_test = self.tests_flights && !self.control.has_answer(command);
        if !(may_test && self.config.learned.flights.begin()) {
            return self.control.request(command);
        }
        match self.prove(command) {
            Ok((reply, true)) => {
                self.config.learned.flights.prove();
                Ok(reply)
            }
            Ok((reply, false)) => {
                self.go_one_by_one();
                match reply.code().severity() {
                    Severity::Completion => Ok(reply),
                    // The server may have taken both for one command.
                    _ => self.control.request(command),
                }
            }
            Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => {
                self.config.learned.flights.end();
                Err(error)
            }
            Err(_) => {
                let error = self.end_flights();
                self.config.learned.flights.cut();
                Err(error)
            }
        }
    }

    /// Sends a command and `PWD` in one write. Returns the reply to the command, and whether that to `PWD`
    /// came after it. Without the second one, it may be late, and `PWD` is not sent again: that would
    /// shift each later reply.
    fn prove(&mut self, command: &Command) -> Result<(Reply, bool), Error> {
        let deadline = self.control.reply_deadline();
        let longest = self.patience(FIRST_REPLY).max(2 * self.control.slowest);
        self.control.send_together(&[command.clone(), Command::Pwd], deadline)?;
        let within = |client: &Self, limit| {
            deadline.or(Some(client.control.deadline(limit, Phase::Reply(None))))
        };
        let limit = within(self, longest);
        let reply = self.control.final_reply(limit)?;
        let limit = within(self, self.patience(NEXT_REPLY));
        let second = self.control.final_reply_in(limit)?;
        if second.is_none() {
            self.control.drop_proof();
        }
        Ok((reply, second.is_some_and(|second| second.code() == ReplyCode::PATHNAME)))
    }

    /// Sends commands in one write, and passes each with its reply to `read`. Returns `false`, and
    /// sends nothing, if the server is not known to answer several commands in order.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Desynchronised`] if a reply is missing, late or not in its place, or if the
    /// server ends the connection before the last one. The connection is then closed, and no client of
    /// the same builder sends flights any more. Also returns the errors of the control connection.
    fn fly(
        &mut self,
        commands: &[Command],
        mut read: impl FnMut(&Command, Reply),
    ) -> Result<bool, Error> {
        if !self.may_fly() {
            return Ok(false);
        }
        let deadline = self.control.reply_deadline();
        self.control.send_together(commands, deadline)?;
        for command in commands {
            match self.reply_of_flight(false, command) {
                Err(Error::Closed | Error::ServiceClosing(_)) => return Err(self.end_flights()),
                reply => read(command, reply?),
            }
        }
        Ok(true)
    }

    /// Reads the next reply of a flight. `is_tested` limits the wait for it.
    fn reply_of_flight(&mut self, is_tested: bool, command: &Command) -> Result<Reply, Error> {
        let mut deadline = self.control.reply_deadline();
        if is_tested {
            deadline = deadline
                .or(Some(self.control.deadline(self.patience(NEXT_REPLY), Phase::Reply(None))));
        }
        let reply = self.control.final_reply(deadline);
        let is_surprise = match &reply {
            Ok(reply) => !is_in_place(command.verb(), reply.code()),
            Err(Error::Timeout(Phase::Reply(_))) => true,
            Err(error) => error.is_out_of_step(),
        };
        if is_surprise { Err(self.end_flights()) } else { reply }
    }

    /// Closes the connection because the replies to a flight are not in their places, and returns
    /// the error.
    fn end_flights(&mut self) -> Error {
        self.go_one_by_one();
        self.control.close();
        Error::Desynchronised
    }

    pub(crate) fn is_in_image(&self) -> bool {
        self.state.representation == Some(RepresentationType::Image)
    }

    /// Returns whether the server is known to answer several commands in order, and the caller
    /// connects again if that fails.
    fn may_fly(&self) -> bool {
        self.tests_flights && self.config.learned.flights.is_proved()
    }

    /// Makes this client send one command at a time, and those that its builder makes from now on. This
    /// also ends [`pipeline`](crate::ClientBuilder::pipeline).
    pub(crate) fn go_one_by_one(&mut self) {
        trace::note(format_args!("several commands at once fail: sending one at a time"));
        self.config.learned.flights.fail();
        self.config.learned.early.fail();
        self.config.rules.pipeline = false;
    }

    /// Returns how long to wait for the reply to a command that the server may have dropped.
    pub(crate) fn patience(&self, least: Duration) -> Duration {
        (PATIENCE * self.round_trip()).max(least)
    }
}

#[cfg(test)]
mod tests;
