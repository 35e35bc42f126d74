//! Sending a command again after its reply was lost with the connection: the command may have been
//! carried out, so a refusal of the second one is judged by what the server shows.

use ftp_proto::{EntryKind, Modified, Pathname, TimeVal, Verb};

use super::Client;
use super::absence::Existence;
use crate::error::{Error, is_final_no};

/// One command that removes, makes or renames, with the memory of earlier attempts whose reply was
/// lost.
///
/// A server that carries out `DELE` and then loses the connection answers the second `DELE` with
/// 550. This type tells that apart from a file that was never there. Use one value for one command
/// and all its attempts:
///
/// ```no_run
/// use ftp_client::pool::Repeat;
/// use ftp_client::{Client, Retry};
///
/// let mut queue = Retry::new(Client::builder(), "ftp.example.org").login("me", "secret");
/// let mut rename = Repeat::new();
/// queue.run(|client| rename.rename(client, ".in.a.bin", "a.bin"))?;
/// let mut delete = Repeat::new();
/// queue.run(|client| delete.delete(client, "old.bin"))?;
/// # Ok::<(), ftp_client::Error>(())
/// ```
///
/// If a first attempt fails for another reason, the methods return the same as those of [`Client`].
#[derive(Debug, Default)]
pub struct Repeat {
    /// The command whose reply was lost, and its path.
    lost: Option<(Verb, Vec<u8>)>,
    /// Whether the facts before a renaming are not needed, since it is never repeated.
    is_single: bool,
    before: Option<RenameFacts>,
    /// Whether a removal of this object was begun.
    removes: bool,
    /// What the server told of a file before the first attempt to remove it.
    removed: Option<Facts>,
}

/// What the server showed before the first attempt at a renaming.
#[derive(Debug)]
struct RenameFacts {
    source: Facts,
    target: TargetBefore,
}

#[derive(Debug)]
enum TargetBefore {
    Absent,
    There(Facts),
    Unknown,
}

/// The facts by which an object is recognized under another name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Facts {
    size: Option<u64>,
    time: Option<TimeVal>,
    unique: Option<Vec<u8>>,
    is_directory: bool,
}

impl Facts {
    /// Returns whether both describe one object; `None` if they do not tell. An equal unique fact alone
    /// is not enough for that: disks give the number of a removed file to the next new one.
    fn are_of(&self, other: &Self) -> Option<bool> {
        let unique = self.unique.as_ref().zip(other.unique.as_ref()).map(|(one, two)| one == two);
        let size = self.size.zip(other.size).map(|(one, two)| one == two);
        let time = self.time.zip(other.time).map(|(one, two)| one == two);
        if self.is_directory != other.is_directory || [unique, size, time].contains(&Some(false)) {
            return Some(false);
        }
        // Each new object in a directory changes its time, and a directory has no size.
        let other_than_time = if self.is_directory { unique } else { size };
        (time.is_some() && other_than_time.is_some()).then_some(true)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lost {
    Delete,
    RemoveDirectory,
    MakeDirectory,
    /// A directory of a tree, which may exist already.
    MakeInTree,
    Rename,
}

impl Lost {
    const fn verb(self) -> Verb {
        match self {
            Self::Delete => Verb::Dele,
            Self::RemoveDirectory => Verb::Rmd,
            Self::MakeDirectory | Self::MakeInTree => Verb::Mkd,
            Self::Rename => Verb::Rnto,
        }
    }
}

/// What the server shows after it has refused the second command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shown {
    /// The object is there, or for a renaming, the source is.
    There,
    /// The object is not there. For a renaming, the source is not, and the target neither.
    Gone,
    /// The source is not there, and the target became what the source was.
    Moved,
    Unclear,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum RepeatVerdict {
    Done,
    /// The refusal counts.
    Refused,
    /// The refusal counts, but this run may be its cause.
    Uncertain,
}

/// The verdict on a second command that was refused with 5yz.
const VERDICTS: &[(Lost, Shown, RepeatVerdict)] = &[
    (Lost::Delete, Shown::Gone, RepeatVerdict::Done),
    (Lost::RemoveDirectory, Shown::Gone, RepeatVerdict::Done),
    // A directory that serves as a lock must not have two owners.
    (Lost::MakeDirectory, Shown::There, RepeatVerdict::Uncertain),
    (Lost::MakeInTree, Shown::There, RepeatVerdict::Done),
    (Lost::Rename, Shown::Moved, RepeatVerdict::Done),
    (Lost::Rename, Shown::Unclear, RepeatVerdict::Uncertain),
];

fn judge(lost: Lost, shown: Shown) -> RepeatVerdict {
    let row = VERDICTS.iter().find(|(command, seen, _)| (*command, *seen) == (lost, shown));
    row.map_or(RepeatVerdict::Refused, |(.., verdict)| *verdict)
}

impl Repeat {
    /// Returns the memory of one command that was not sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the memory of one command that will be sent only once: the methods then ask for nothing
    /// before they send the command.
    #[must_use]
    pub fn single() -> Self {
        Self { is_single: true, ..Self::default() }
    }

    /// Returns whether the reply to an earlier attempt was lost, so that the command may have been
    /// carried out.
    #[must_use]
    pub const fn is_uncertain(&self) -> bool {
        self.lost.is_some()
    }

    /// Removes a file (`DELE`). Before the first attempt, asks for its size, time and unique fact, unless
    /// this memory is [`single`](Self::single). Before the second object is removed over a connection,
    /// asks for the current directory (`PWD`): the answer shows whether the server answers a removal once.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::delete`], [`Client::size`] and [`Client::stat`]. After a lost
    /// reply, returns [`Error::Uncertain`] if the facts do not show that the file is the same one; success
    /// if the server shows that no object is at `path`.
    pub fn delete(&mut self, client: &mut Client, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref();
        if self.has_lost(&[Verb::Dele], path) {
            match seen(client, path, self.removed.as_ref())? {
                ObjectNow::Gone => return Ok(()),
                ObjectNow::Same => {}
                _ => return Err(Error::Uncertain { verb: Verb::Dele, reply: None }),
            }
        } else if !self.is_single {
            self.removed = facts_of(client, path)?;
        }
        self.begin_removal(client);
        let done = client.delete(path);
        self.settle(client, Lost::Delete, path, done)
    }

    /// Removes an empty directory (`RMD`). After a lost reply, it is not sent again: no fact tells a
    /// directory from another one that was made within the same second, and one that serves as a lock must
    /// not lose its next owner.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::rmdir`] and [`Client::existence`]. After a lost reply, returns
    /// success if the server shows that there is no directory, and refuses to enter it, and otherwise
    /// [`Error::Uncertain`].
    pub fn rmdir(&mut self, client: &mut Client, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref();
        if self.has_lost(&[Verb::Rmd], path) {
            // A listing lacks hidden names, and other spellings of a name.
            let is_gone = client.existence(path)? == Existence::Absent && !client.enters(path)?;
            return match is_gone {
                true => Ok(()),
                false => Err(Error::Uncertain { verb: Verb::Rmd, reply: None }),
            };
        }
        self.remove_listed(client, path)
    }

    /// Removes a directory (`RMD`) that this attempt has listed just before, and that is to go in any case.
    /// After a lost reply, a refusal counts as success if the server refuses to enter the directory.
    pub(crate) fn remove_listed(&mut self, client: &mut Client, path: &[u8]) -> Result<(), Error> {
        self.begin_removal(client);
        let done = client.rmdir(path);
        self.settle(client, Lost::RemoveDirectory, path, done)
    }

    /// Puts replies in doubt, if those to the removal of another object are not counted yet.
    fn begin_removal(&mut self, client: &mut Client) {
        if !std::mem::replace(&mut self.removes, true) {
            client.control.doubt_removals();
        }
    }

    /// Creates a directory (`MKD`).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::mkdir`]. After a lost reply, returns [`Error::Uncertain`] if
    /// the server refuses and the directory exists: this or another client may have made it.
    pub fn mkdir(
        &mut self,
        client: &mut Client,
        path: impl AsRef<[u8]>,
    ) -> Result<Option<Pathname>, Error> {
        let path = path.as_ref();
        let mut made = None;
        let done = client.mkdir(path).map(|path| made = path);
        self.settle(client, Lost::MakeDirectory, path, done).map(|()| made)
    }

    /// Creates a directory of a tree (`MKD`). After a lost reply, a refusal counts as success if the
    /// server enters the directory: other files of the tree may go there all the same.
    pub(crate) fn make_in_tree(&mut self, client: &mut Client, path: &[u8]) -> Result<(), Error> {
        let done = client.mkdir(path).map(drop);
        self.settle(client, Lost::MakeInTree, path, done)
    }

    /// Remembers that the reply to `DELE` was lost.
    pub(crate) fn lose_removal(&mut self, path: &[u8]) {
        self.lost = Some((Verb::Dele, path.to_vec()));
    }

    /// Returns whether a file whose removal got no reply is gone. Asks nothing, and returns
    /// `false`, if no reply was lost. If the file is there, it may be a new one: what proved that
    /// it may be removed must be proved again.
    pub(crate) fn was_removed(&mut self, client: &mut Client, path: &[u8]) -> Result<bool, Error> {
        Ok(self.has_lost(&[Verb::Dele], path) && client.existence(path)? == Existence::Absent)
    }

    pub(crate) fn rename_to_free(
        &mut self,
        client: &mut Client,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), Error> {
        if self.before.is_none() && !self.is_single {
            let source = facts_of(client, from)?.unwrap_or_default();
            self.before = Some(RenameFacts { source, target: TargetBefore::Absent });
        }
        self.rename(client, from, to)
    }

    /// Renames a file or directory (`RNFR`, `RNTO`). Before the first attempt, asks for the size,
    /// time and unique fact of both paths, unless this memory is [`single`](Self::single).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::rename`], [`Client::size`] and [`Client::stat`]. After a
    /// lost reply, a refusal counts as success if `from` is gone, and `to` has the facts that
    /// `from` had before, and did not have them before. Returns [`Error::Uncertain`] if `from` is
    /// gone and the facts do not tell, or if `from` may be another object by now: its facts
    /// differ, or `to` was free before and is not, or `to` was not free and the facts of `from`
    /// do not tell.
    pub fn rename(
        &mut self,
        client: &mut Client,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let (from, to) = (from.as_ref(), to.as_ref());
        if self.before.is_none() && !self.is_single {
            let source = facts_of(client, from)?.unwrap_or_default();
            let target = match client.existence(to)? {
                Existence::Absent => TargetBefore::Absent,
                Existence::Present => {
                    facts_of(client, to)?.map_or(TargetBefore::Unknown, TargetBefore::There)
                }
                Existence::Unknown => TargetBefore::Unknown,
            };
            self.before = Some(RenameFacts { source, target });
        }
        if self.has_lost(&[Verb::Rnto], from) && !self.may_repeat(client, from, to)? {
            return Err(Error::Uncertain { verb: Verb::Rnto, reply: None });
        }
        let refused = match client.rename(from, to) {
            Err(Error::Refused { verb, reply }) => (verb, reply),
            done => return self.note(client, Verb::Rnto, from, done),
        };
        let (verb, reply) = refused;
        if verb != Verb::Rnfr || !self.has_lost(&[Verb::Rnto], from) || !is_final_no(&reply) {
            return Err(Error::Refused { verb, reply });
        }
        let shown = self.shown_after_rename(client, from, to)?;
        conclude(judge(Lost::Rename, shown), verb, reply)
    }

    /// Returns whether a renaming whose reply was lost was carried out. Asks nothing, and returns
    /// `false`, if no reply was lost.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Client::size`] and [`Client::stat`].
    pub fn was_renamed(
        &mut self,
        client: &mut Client,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<bool, Error> {
        let (from, to) = (from.as_ref(), to.as_ref());
        if !self.has_lost(&[Verb::Rnto], from) {
            return Ok(false);
        }
        Ok(self.shown_after_rename(client, from, to)? == Shown::Moved)
    }

    /// Returns whether a renaming whose reply was lost harms nothing when it is sent again. If it was
    /// carried out, and another object is at `from` by now, it would replace what was renamed.
    fn may_repeat(&self, client: &mut Client, from: &[u8], to: &[u8]) -> Result<bool, Error> {
        let Some(RenameFacts { source, target }) = &self.before else { return Ok(false) };
        let is_free = matches!(target, TargetBefore::Absent);
        Ok(match seen(client, from, Some(source))? {
            ObjectNow::Gone => true,
            ObjectNow::Same if !is_free => true,
            ObjectNow::Same | ObjectNow::Unclear => {
                is_free && client.existence(to)? == Existence::Absent
            }
            ObjectNow::Another => false,
        })
    }

    fn shown_after_rename(
        &self,
        client: &mut Client,
        from: &[u8],
        to: &[u8],
    ) -> Result<Shown, Error> {
        match client.existence(from)? {
            Existence::Present => return Ok(Shown::There),
            Existence::Absent => {}
            Existence::Unknown => return Ok(Shown::Unclear),
        }
        if client.existence(to)? == Existence::Absent {
            return Ok(Shown::Gone);
        }
        let Some(RenameFacts { source, target }) = &self.before else {
            return Ok(Shown::Unclear);
        };
        let now = facts_of(client, to)?.and_then(|now| now.are_of(source));
        let was_another = match target {
            TargetBefore::Absent => true,
            TargetBefore::There(before) => before.are_of(source) == Some(false),
            TargetBefore::Unknown => false,
        };
        Ok(if now == Some(true) && was_another { Shown::Moved } else { Shown::Unclear })
    }

    /// Judges the result of a command, and remembers whether its reply was lost.
    fn settle(
        &mut self,
        client: &mut Client,
        lost: Lost,
        path: &[u8],
        done: Result<(), Error>,
    ) -> Result<(), Error> {
        let verb = lost.verb();
        // A tree is removed by both commands.
        let removals = &[Verb::Dele, Verb::Rmd];
        let related: &[Verb] = if removals.contains(&verb) { removals } else { &[Verb::Mkd] };
        let reply = match done {
            Err(Error::Refused { reply, .. })
                if is_final_no(&reply) && self.has_lost(related, path) =>
            {
                reply
            }
            done => return self.note(client, verb, path, done),
        };
        let shown = match verb {
            Verb::Dele => match client.existence(path)? {
                Existence::Present => Shown::There,
                Existence::Absent => Shown::Gone,
                Existence::Unknown => Shown::Unclear,
            },
            _ if client.enters(path)? => Shown::There,
            _ => Shown::Gone,
        };
        conclude(judge(lost, shown), verb, reply)
    }

    fn note(
        &mut self,
        client: &Client,
        verb: Verb,
        path: &[u8],
        done: Result<(), Error>,
    ) -> Result<(), Error> {
        if done.is_err() && client.control.unanswered() == Some(verb) {
            self.lost = Some((verb, path.to_vec()));
        }
        done
    }

    fn has_lost(&self, verbs: &[Verb], path: &[u8]) -> bool {
        self.lost.as_ref().is_some_and(|(verb, of)| verbs.contains(verb) && of == path)
    }
}

fn conclude(verdict: RepeatVerdict, verb: Verb, reply: ftp_proto::Reply) -> Result<(), Error> {
    match verdict {
        RepeatVerdict::Done => Ok(()),
        RepeatVerdict::Refused => Err(Error::Refused { verb, reply }),
        RepeatVerdict::Uncertain => Err(Error::Uncertain { verb, reply: Some(reply) }),
    }
}

/// What is now at the path of a command whose reply was lost.
enum ObjectNow {
    Gone,
    Same,
    Another,
    /// An object, but without facts that tell which, or perhaps none.
    Unclear,
}

/// Compares what is at `path` with the facts from `before` the first command.
fn seen(client: &mut Client, path: &[u8], before: Option<&Facts>) -> Result<ObjectNow, Error> {
    let now = before.map(|_| facts_of(client, path)).transpose()?.flatten();
    Ok(match now.zip(before).map(|(now, before)| now.are_of(before)) {
        None if client.existence(path)? == Existence::Absent => ObjectNow::Gone,
        Some(Some(true)) => ObjectNow::Same,
        Some(Some(false)) => ObjectNow::Another,
        None | Some(None) => ObjectNow::Unclear,
    })
}

fn facts_of(client: &mut Client, path: &[u8]) -> Result<Option<Facts>, Error> {
    if client.features()?.has("MLST")
        && let Some(entry) = client.stat(path)?
    {
        let time = entry.modified.map(|Modified { time, .. }| time);
        let is_directory = entry.kind == Some(EntryKind::Directory);
        return Ok(Some(Facts { size: entry.size, time, unique: entry.unique, is_directory }));
    }
    let (size, time) = (client.size(path)?, client.modified(path)?);
    let facts = Facts { size, time, ..Facts::default() };
    Ok((size.is_some() || time.is_some()).then_some(facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lost_command_has_one_verdict_for_what_is_shown() {
        use RepeatVerdict::{Done, Refused, Uncertain};
        use Shown::{Gone, Moved, There, Unclear};
        for lost in [
            Lost::Delete,
            Lost::RemoveDirectory,
            Lost::MakeDirectory,
            Lost::MakeInTree,
            Lost::Rename,
        ] {
            for shown in [There, Gone, Moved, Unclear] {
                let want = match (lost, shown) {
                    (Lost::Delete | Lost::RemoveDirectory, Gone) | (Lost::Rename, Moved) => Done,
                    (Lost::MakeInTree, There) => Done,
                    (Lost::MakeDirectory, There) => Uncertain,
                    (Lost::Rename, Unclear) => Uncertain,
                    _ => Refused,
                };
                assert_eq!(judge(lost, shown), want, "{lost:?} {shown:?}");
            }
        }
    }

    #[test]
    fn facts_recognize_an_object_or_do_not_tell() {
        let time = |text: &str| TimeVal::parse(text.as_bytes()).ok();
        let facts = |size, at: &str, unique: &str| Facts {
            size,
            time: time(at),
            unique: (!unique.is_empty()).then(|| unique.as_bytes().to_vec()),
            is_directory: false,
        };
        let one = facts(Some(1), "20200102030405", "a");
        for (other, want) in [
            (one.clone(), Some(true)),
            (facts(Some(1), "20200102030405", ""), Some(true)),
            (facts(Some(2), "20200102030405", ""), Some(false)),
            (facts(Some(1), "20210102030405", ""), Some(false)),
            // The number of a removed file, given to a new one.
            (facts(Some(1), "20210102030405", "a"), Some(false)),
            (facts(Some(2), "20200102030405", "a"), Some(false)),
            (facts(Some(1), "", "a"), None),
            (facts(None, "20200102030405", ""), None),
            (facts(Some(1), "", ""), None),
            (facts(Some(2), "", ""), Some(false)),
            (facts(Some(1), "20200102030405", "b"), Some(false)),
            (Facts { is_directory: true, ..one.clone() }, Some(false)),
            (Facts::default(), None),
        ] {
            assert_eq!(one.are_of(&other), want, "{other:?}");
            assert_eq!(other.are_of(&one), want, "{other:?}");
        }
    }
}
