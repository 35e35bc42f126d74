//! Reads the list from a server, and replaces it there.

use std::io::{self, Read, Write};

use ftp_proto::{Pathname, Verb};

use super::{Deploy, Distrust, LARGEST, Manifest, NEW, Records};
use crate::client::Client;
use crate::digest::Checksum;
use crate::error::{Error, ErrorKind};
use crate::listing::ListingForm;
use crate::pool::Pool;
use crate::tree::entry::check_name;
use crate::tree::fault::{Reporter, Setting, TreeFault};
use crate::tree::hand::Hand;
use crate::tree::options::SyncOptions;
use crate::tree::scan::{RemoteTree, TargetSeen};

impl Deploy {
    /// Checks the name of the list, and the options beside it.
    ///
    /// # Errors
    ///
    /// Returns `Usage` unless the name is that of a file in the top, in UTF-8, and if sources are
    /// to be removed.
    pub(crate) fn check(options: &SyncOptions<'_>) -> Result<(), TreeFault> {
        let Some(name) = &options.manifest else { return Ok(()) };
        let checked = match check_name(name.as_bytes()) {
            Ok(()) if options.moves => Err("removed sources and a list of them exclude each other"),
            Ok(()) if name.len() + NEW.len() > 255 => Err("is too long"),
            checked => checked,
        };
        checked.map_err(|why| {
            let fault = TreeFault::new(ErrorKind::Usage, why).about(name.as_bytes());
            fault.of(Setting::Manifest)
        })
    }

    /// Reads the list of earlier deploys.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the target has another file of this name. Also returns errors that end
    /// the connection.
    pub(crate) fn read(
        target: &mut RemoteTree<'_, '_>,
        name: &str,
        seen: &TargetSeen,
        options: &SyncOptions<'_>,
    ) -> Result<Self, TreeFault> {
        let path = Pathname::join(target.top, name.as_bytes());
        let mut is_left = false;
        let found = match seen.is_new && seen.is_sure {
            true => Ok(Manifest::default()),
            false => {
                let new = [&path, NEW].concat();
                let (first, next) =
                    target.hand.ask(|client| Ok((shown(client, &path)?, shown(client, &new)?)))?;
                is_left = next != Err(Distrust::Missing);
                for (end, found) in [(&b""[..], &first), (NEW, &next)] {
                    use Distrust::{Foreign, TooLarge, Unread};
                    if matches!(found, Err(Foreign | TooLarge | Unread)) {
                        // Somebody needs that file.
                        let text = "exists in the target, and is not a list of uploaded files, or cannot be read";
                        let fault = TreeFault::new(ErrorKind::Usage, text)
                            .about(&[name.as_bytes(), end].concat());
                        return Err(fault.of(Setting::Manifest));
                    }
                }
                first_of(first, || Ok(next))?
            }
        };
        let distrust = found.as_ref().err().copied();
        let compares = options.compare.is_some()
            || distrust.is_some()
                && target.hand.ask(|client| Ok(Checksum::for_server(client)?.is_some()))?;
        Ok(Self {
            name: name.as_bytes().to_vec(),
            list: found.unwrap_or_default(),
            distrust,
            replaces_changed: options.replaces_changed,
            compares,
            takes_times: seen.takes_times,
            // Writing the list takes away a next version that a killed run has left.
            has_changed: distrust.is_some() || is_left,
            sent: Records::new(),
        })
    }

    /// Announces the files that are about to be sent: whatever happens from now on, the next run
    /// knows which of them are uncertain. A run that only `deletes` is noticed by other runs too.
    ///
    /// # Errors
    ///
    /// Returns the failure of a step. Returns `Limit` if another run has written the list since it
    /// was read: the plan is then outdated.
    pub(crate) fn announce<'p>(
        &mut self,
        (hand, pool, top): (&mut Hand<'p>, &Pool<'p>, &[u8]),
        deletes: bool,
        reporter: &Reporter<'_>,
    ) -> Result<(), TreeFault> {
        if self.sent.is_empty() && !deletes {
            return Ok(());
        }
        let (list, path) = (self.announced(), Pathname::join(top, &self.name));
        list.check_size()?;
        let announced =
            reporter.persist(&path, &mut |fault| pool.replaces(fault.recovery()), || {
                hand.ask(|client| match read(client, &path)? {
                    // The reply to an earlier attempt was lost.
                    Ok(now) if now.generation == list.generation => Ok(()),
                    Ok(now) if !self.is_expected(&now) => {
                        let text =
                            "another deploy has changed the target since this one began; nothing was done";
                        Err(TreeFault::new(ErrorKind::Limit, text).about(&path))
                    }
                    _ => write(client, &path, &list),
                })
            });
        let announced = announced.and_then(|()| match self.distrust {
            // A server that hides names with a dot, and does not send them, would get all files again
            // in each run.
            Some(Distrust::Missing) => hand.ask(|client| match read(client, &path)? {
                Ok(now) if now.generation == list.generation => Ok(()),
                _ => {
                    let text = "the server does not send the list that it has stored; give it another name";
                    Err(TreeFault::new(ErrorKind::Unsupported, text).about(&path))
                }
            }),
            _ => Ok(()),
        });
        announced.map_err(|fault| fault.ending(true).of(Setting::Manifest))?;
        (self.list.generation, self.distrust) = (list.generation, None);
        self.has_changed = true;
        Ok(())
    }
}

/// Reads the list at `path`, or its next version if that list is missing or cut: a run that was
/// killed while it replaced the list may have left only that.
///
/// # Errors
///
/// Returns errors that end the connection, and those that may pass.
pub(crate) fn read(
    client: &mut Client,
    path: &[u8],
) -> Result<Result<Manifest, Distrust>, TreeFault> {
    let first = fetch(client, path)?;
    first_of(first, || fetch(client, &[path, NEW].concat()))
}

/// Returns the list, or its next version if only that is whole.
fn first_of(
    first: Result<Manifest, Distrust>,
    next: impl FnOnce() -> Result<Result<Manifest, Distrust>, TreeFault>,
) -> Result<Result<Manifest, Distrust>, TreeFault> {
    match first {
        Err(distrust @ (Distrust::Missing | Distrust::Cut)) => Ok(next()?.map_err(|_| distrust)),
        _ => Ok(first),
    }
}

/// Reads a list. A file that the server shows and does not send is not missing.
fn shown(client: &mut Client, path: &[u8]) -> Result<Result<Manifest, Distrust>, TreeFault> {
    let found = fetch(client, path)?;
    if found == Err(Distrust::Missing) {
        let is_there = client.look(path, ListingForm::Auto).map_err(TreeFault::from)?.is_some();
        return Ok(Err(if is_there { Distrust::Unread } else { Distrust::Missing }));
    }
    Ok(found)
}

/// Returns the content of a file, up to the first byte beyond [`LARGEST`].
pub(crate) fn receive(client: &mut Client, path: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut download = client.retrieve(path)?;
    let read = download.by_ref().take(LARGEST as u64 + 1).read_to_end(&mut bytes);
    read.map_err(recovered)?;
    if bytes.len() <= LARGEST {
        download.finish()?;
    }
    Ok(bytes)
}

fn fetch(client: &mut Client, path: &[u8]) -> Result<Result<Manifest, Distrust>, TreeFault> {
    match receive(client, path) {
        Ok(text) => Ok(Manifest::parse(&text)),
        // Servers that open a file after their 150 refuse a missing one with 551 (ftp-srv).
        Err(Error::Refused { reply, .. }) if matches!(reply.code().value(), 550..=553) => {
            Ok(Err(Distrust::Missing))
        }
        Err(error) => match TreeFault::from(error).about(path) {
            fault if fault.ends_run() => Err(fault),
            fault if fault.kind() == ErrorKind::Temporary => Err(fault.ending(true)),
            _ => Ok(Err(Distrust::Unread)),
        },
    }
}

/// Replaces the list at `path`, so that the server has a whole one at every moment.
///
/// # Errors
///
/// Returns the failure of a step.
pub(crate) fn write(client: &mut Client, path: &[u8], list: &Manifest) -> Result<(), TreeFault> {
    let (new, text) = ([path, NEW].concat(), list.encode());
    let mut replace = || {
        store(client, &new, &text)?;
        let renamed = match client.rename(&new, path) {
            // Some servers give no file a name that exists. After a kill between these two
            // commands, the next run finds the new list.
            Err(Error::Refused { verb: Verb::Rnto, .. }) => {
                match client.delete(path) {
                    Ok(()) | Err(Error::Refused { .. }) => {}
                    Err(error) => return Err(error),
                }
                client.rename(&new, path)
            }
            renamed => renamed,
        };
        match renamed {
            // After a kill meanwhile, the next run finds a cut list, and the new one.
            Err(Error::Refused { .. }) => {
                store(client, path, &text)?;
                match client.delete(&new) {
                    Err(Error::Refused { .. }) => Ok(()),
                    gone => gone,
                }
            }
            renamed => renamed,
        }
    };
    replace().map_err(|error| TreeFault::from(error).about(path))
}

fn store(client: &mut Client, path: &[u8], text: &[u8]) -> Result<(), Error> {
    let mut upload = client.store(path)?;
    upload.write_all(text).map_err(recovered)?;
    upload.finish().map(drop)
}

fn recovered(error: io::Error) -> Error {
    Error::downcast(error).unwrap_or_else(Error::io)
}
