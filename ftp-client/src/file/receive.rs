//! The request for the missing bytes of a download, and the comparison of those that it receives
//! again.

use std::io::{self, Write};
use std::time::Duration;

use ftp_proto::{ReplyCode, RepresentationType, TimeVal, Verb};

use super::begin::{DownloadStart, GetJob, Writing};
use super::options::Left;
use crate::client::Client;
use crate::digest::Checksum;
use crate::error::Error;
use crate::event::{Event, Observer, Verify, Why};
use crate::system::FileExt;
use crate::transfer::Download;

/// The request for the missing bytes.
pub(super) struct Request<'r, 'j> {
    pub(super) job: &'r mut GetJob<'j>,
    pub(super) on: &'r dyn Observer,
    pub(super) checksum: &'r mut Option<Checksum>,
    pub(super) listed: Option<u64>,
    /// Whether the modification time is asked for together with the file.
    pub(super) asks_time: bool,
    /// How often the file may be requested again because it has grown since it was listed.
    pub(super) repetitions: u32,
}

/// How often a file that grows is requested again.
pub(super) const REPETITIONS: u32 = 2;

pub(super) enum Ended {
    Complete(ReceivedBytes),
    FromZero(Why),
}

/// The received bytes of a complete transfer, without those that were only compared.
pub(super) struct ReceivedBytes {
    pub(super) bytes: u64,
    pub(super) duration: Duration,
    /// Whether the server has told the size before the transfer.
    pub(super) is_known: bool,
    /// The modification time, if it was asked for together with the file.
    pub(super) modified: Option<TimeVal>,
}

impl Request<'_, '_> {
    pub(super) fn run(
        &mut self,
        client: &mut Client,
        start: &mut DownloadStart<'_>,
    ) -> Result<Ended, Error> {
        let from = start.kept - start.compare;
        let size = start.origin.and_then(|origin| origin.size);
        // Without the length, nothing else would show that the server ignores REST.
        let has_length = size.is_some() && self.job.options.verify != Verify::None;
        if from > 0 && !has_length && start.overlap_is_beginning() {
            return Ok(Ended::FromZero(Why::NoRestart));
        }
        let (path, received) = loop {
            let path = self.job.place.path().to_vec();
            let error = match self.begin(client, &path, from) {
                Ok(download) => break (path.clone(), self.receive(download, &path, start)),
                Err(error) => error,
            };
            if from > 0 && error.refuses_restart() {
                self.job.past.no_restart = true;
                return Ok(Ended::FromZero(Why::NoRestart));
            }
            if self.job.place.enter(client, &error)? {
                continue;
            }
            // Some servers refuse only the request from another byte.
            if from > 0 && is_of_download(&error) {
                self.job.past.no_restart = true;
                return Ok(Ended::FromZero(Why::NoRestart));
            }
            return Err(error);
        };
        let (written, is_listed, error) = match received? {
            Received::All(moved) => return Ok(Ended::Complete(moved)),
            Received::Others => return Ok(Ended::FromZero(Why::TailDiffers)),
            Received::Broken { written, is_listed, error } => (written, is_listed, error),
        };
        let Error::Incomplete { bytes, announced: Some(told) } = error else { return Err(error) };
        let bytes = from.saturating_add(bytes);
        let all = from.saturating_add(told);
        if is_listed && self.listed == Some(all) {
            // The listing may be older than the file: SIZE decides. If the reply to RETR named the
            // size, the file changed during the transfer.
            let now = client.size_afterwards(&path)?;
            if now == Some(bytes) && bytes < all {
                let duration = Duration::ZERO;
                return Ok(Ended::Complete(ReceivedBytes {
                    bytes: written,
                    duration,
                    is_known: true,
                    modified: None,
                }));
            }
            if now.is_some_and(|now| now > all)
                && !start.is_restored
                && let Some(left) = self.repetitions.checked_sub(1)
                && let Writing::File(file) = &mut start.target
            {
                // The file has grown: it is requested again, as long as it is now.
                (self.listed, self.repetitions) = (now, left);
                file.again(0).map_err(Error::local)?;
                (start.kept, start.compare) = (0, 0);
                *self.checksum = self.checksum.take().and_then(|it| Checksum::new(it.algorithm()));
                return self.run(client, start);
            }
        }
        let error = Error::Incomplete { bytes, announced: Some(all) };
        if size == Some(all) && self.is_image() && !start.keeps(&error) {
            self.job.past.left = Left::Wrong;
        }
        Err(error)
    }

    fn begin<'c>(
        &self,
        client: &'c mut Client,
        path: &[u8],
        from: u64,
    ) -> Result<Download<&'c mut Client>, Error> {
        let asks_time = self.asks_time && from == 0;
        if asks_time {
            client.ask_before_download(path)?;
        }
        let next = self.job.in_tree.as_ref().and_then(|in_tree| in_tree.next);
        let questions = next.map(|(next, asks_time)| client.questions_at_end(next, asks_time));
        let questions = questions.transpose()?.unwrap_or_default();
        let mut download = match asks_time {
            true => client.retrieve_with_time(path)?,
            false => client.retrieve_from(path, from)?,
        };
        download.ask_at_end(questions);
        Ok(download)
    }

    fn is_image(&self) -> bool {
        self.job.options.representation == RepresentationType::Image
    }

    fn receive(
        &mut self,
        mut download: Download<&mut Client>,
        path: &[u8],
        start: &mut DownloadStart<'_>,
    ) -> Result<Received, Error> {
        let from = start.kept - start.compare;
        let size = start.origin.and_then(|origin| origin.size);
        let announced = download.announced();
        let modified = download.modified();
        // With an offset, some servers announce the size of the rest, and some that of the whole
        // file.
        let total = size.or(announced.filter(|_| from == 0)).or(self.listed);
        if self.job.options.verify == Verify::None {
            (download.announced, download.expected) = (None, None);
        } else if let Some(size) = size.or(self.listed.filter(|_| announced.is_none()))
            && self.is_image()
        {
            download.expect_length(size.saturating_sub(from));
        }
        download.most = self.job.options.most_bytes.map(|most| most.saturating_sub(from));
        let target = start.name().to_vec();
        let at = start.kept;
        self.on.event(Event::Begun { source: path, target: &target, at, total });
        let mut joiner = Joiner {
            target: &mut start.target,
            at: from,
            left: start.compare,
            cuts: from == 0 && !start.is_restored,
            written: 0,
            is_other: false,
            is_cut: false,
            checksum: self.checksum,
            on: self.on,
        };
        let rate = self.job.options.rate_limit.as_ref();
        let copied = download.copy_to_limited(&mut joiner, rate);
        let Joiner { left, written, is_other, is_cut, .. } = joiner;
        if is_cut {
            // The server's bytes replaced the kept ones from the first difference on.
            self.on.event(Event::FromZero { target: &target, why: Why::TailDiffers });
            (start.kept, start.compare) = (0, 0);
        }
        let error = match copied {
            Ok(_) if left > 0 => {
                // The server's file ends before the kept bytes do.
                self.job.past.left = Left::Wrong;
                let bytes = start.kept - left;
                return Err(Error::Incomplete { bytes, announced: Some(start.kept) });
            }
            Ok(report) => {
                let is_known = announced.is_some() && self.is_image() || size.is_some();
                let duration = report.duration;
                let moved = ReceivedBytes { bytes: written, duration, is_known, modified };
                return Ok(Received::All(moved));
            }
            Err(_) if is_other => return Ok(Received::Others),
            Err(Error::Local(error)) => start.failed_here(&error),
            Err(error) => error,
        };
        self.job.past.left = match &start.target {
            Writing::Stream(_) if written > 0 => Left::Stream,
            Writing::File(file) if !file.is_kept() && written > 0 => Left::Removed,
            _ => Left::Nothing,
        };
        Ok(Received::Broken { written, is_listed: size.or(announced).is_none(), error })
    }
}

/// Returns whether a server refuses a download for a reason that may lie in its first byte.
fn is_of_download(error: &Error) -> bool {
    matches!(error, Error::Refused { verb: Verb::Rest | Verb::Retr, reply }
        if ![ReplyCode::NO_DATA_CONNECTION, ReplyCode::NOT_LOGGED_IN].contains(&reply.code()))
}

enum Received {
    All(ReceivedBytes),
    /// Other bytes than the kept ones.
    Others,
    Broken {
        /// The number of new bytes before the failure.
        written: u64,
        /// Whether only the listing told the size.
        is_listed: bool,
        error: Error,
    },
}

/// Receives a download: compares the bytes before the resume point with the kept ones, and writes
/// the others.
pub(super) struct Joiner<'j, 's> {
    pub(super) target: &'j mut Writing<'s>,
    /// The position in the local file.
    pub(super) at: u64,
    /// The number of bytes that are still to be compared.
    pub(super) left: u64,
    /// Whether the file is cut at the first difference, because the transfer began at byte 0, and
    /// the kept bytes are this program's.
    pub(super) cuts: bool,
    pub(super) written: u64,
    /// Whether the server's bytes are others, and the transfer must be ended.
    pub(super) is_other: bool,
    /// Whether the kept bytes were others, and the file was cut at the first difference.
    pub(super) is_cut: bool,
    pub(super) checksum: &'j mut Option<Checksum>,
    pub(super) on: &'j dyn Observer,
}

impl Joiner<'_, '_> {
    /// Returns how many of the first bytes are equal to those in the file.
    fn equal(&self, bytes: &[u8]) -> usize {
        let Writing::File(file) = &self.target else { return 0 };
        let mut here = vec![0; bytes.len()];
        match file.file().read_exact_at(&mut here, self.at) {
            Ok(()) => here.iter().zip(bytes).take_while(|(here, there)| here == there).count(),
            Err(_) => 0,
        }
    }

    /// Drops the kept bytes after the first difference, in a transfer that began at byte 0.
    fn cut(&mut self) -> io::Result<()> {
        let Writing::File(file) = &mut self.target else { return Ok(()) };
        file.cut(self.at)?;
        self.left = 0;
        self.is_cut = true;
        self.written = self.at;
        if let Some(checksum) = self.checksum {
            let mut new = Checksum::new(checksum.algorithm());
            if let Some(new) = &mut new {
                new.update_from(file.file(), self.at)?;
            }
            *self.checksum = new;
        }
        Ok(())
    }
}

impl Write for Joiner<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left > 0 {
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (overlap, _) = bytes.split_at(length);
            let equal = self.equal(overlap);
            if equal < length && !self.cuts {
                self.is_other = true;
                return Err(io::Error::other("the server sent other bytes than before"));
            }
            self.at += equal as u64;
            self.left -= equal as u64;
            if equal < length {
                self.cut()?;
            }
            if equal > 0 {
                return Ok(equal);
            }
        }
        let count = match &mut self.target {
            Writing::File(file) => file.write(bytes)?,
            Writing::Stream(stream) => stream.write(bytes)?,
            Writing::Target(_) => 0,
        };
        let (piece, _) = bytes.split_at(count.min(bytes.len()));
        if let Some(checksum) = self.checksum {
            checksum.update(piece);
        }
        self.at += count as u64;
        self.written += count as u64;
        if self.on.wants_bytes() {
            self.on.event(Event::Moved { bytes: count as u64 });
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Writing::Stream(stream) => stream.flush(),
            _ => Ok(()),
        }
    }
}
