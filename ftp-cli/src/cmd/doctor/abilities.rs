//! Checks the server's abilities besides plain transfers: machine-readable listings, names,
//! resuming, sizes, times and digests.

use ftp_client::error::Phase;
use ftp_client::listing::{ListOptions, ListingForm};
use ftp_client::{Client, Error, ListLine};
use ftp_proto::{EntryKind, Escaped, Features, Pathname, Reply, Severity};

use super::dial::ask;
use super::finding::{Check, Diagnosis, Finding};
use crate::console::output::counted;

/// Number of listing entries that are enough to recognise the format.
const ENOUGH: usize = 1_000;

/// Size in bytes of the smallest file worth reading, which does not fit into one packet. Where large
/// packets are lost, fewer bytes arrive.
pub(super) const LEAST: u64 = 4 << 10;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Listing {
    /// The server sent the listing.
    ListingContent(ListingContent),
    Refused(Reply),
    /// The listing started but did not end, for this reason.
    Stuck(Diagnosis, String),
    Failed(String),
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ListingContent {
    pub(super) entries: usize,
    /// First line that cannot be parsed as an entry.
    pub(super) unreadable: Option<String>,
    /// Name of a file that needs more than one packet.
    large: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct AbilitiesSeen {
    pub(super) features: Features,
    /// `None` if the server does not list MLST.
    pub(super) mlsd: Option<Listing>,
    pub(super) list: Listing,
    /// Reply to `REST 0`.
    pub(super) rest: Reply,
    /// Of a directory.
    pub(super) size: Reply,
    /// Reply to `OPTS UTF8 ON`, if the server lists UTF8.
    pub(super) utf8: Option<Reply>,
}

impl AbilitiesSeen {
    /// Returns whether LIST works, but MLSD does not.
    pub(super) fn needs_list(&self) -> bool {
        let is_good = |listing: &Listing| {
            matches!(listing, Listing::ListingContent(ListingContent { unreadable: None, .. }))
        };
        is_good(&self.list) && self.mlsd.as_ref().is_some_and(|mlsd| !is_good(mlsd))
    }

    /// Returns the path of a file in the listed directory that needs more than one packet.
    pub(super) fn large(&self, directory: &[u8]) -> Option<Vec<u8>> {
        let mut listings = self.mlsd.iter().chain([&self.list]);
        listings.find_map(|listing| match listing {
            Listing::ListingContent(came) => {
                came.large.as_ref().map(|name| Pathname::join(directory, name))
            }
            _ => None,
        })
    }

    /// Returns whether the server refused every listing that was tried.
    pub(super) fn may_not_list(&self) -> bool {
        let mut tried = self.mlsd.iter().chain([&self.list]);
        tried.all(|listing| matches!(listing, Listing::Refused(_)))
    }
}

/// Examines a server's abilities and its listings of `directory`, over a logged-in connection.
///
/// # Errors
///
/// Returns an error of the connection before the listings, and the check that it ends.
pub(super) fn look(client: &mut Client, directory: &[u8]) -> Result<AbilitiesSeen, (Check, Error)> {
    let features = client.features().map_err(|error| (Check("feat"), error))?;
    let mut say = |check, command| ask(client, command).map_err(|error| (check, error));
    let utf8 = features.has("UTF8").then(|| say(Check("utf8"), "OPTS UTF8 ON")).transpose()?;
    // Some servers refuse REST in type ASCII.
    say(Check("rest"), "TYPE I")?;
    let rest = say(Check("rest"), "REST 0")?;
    let size = say(Check("size"), "SIZE .")?;
    let mut list_by = |form| list(client, directory, form);
    let list = list_by(ListingForm::List);
    // MLSD comes last: after a fault of it, LIST could not be examined. A fault of LIST is not one of MLSD.
    let mlsd = features.has("MLST").then(|| match &list {
        Listing::Stuck(_, why) | Listing::Failed(why) => Listing::Failed(why.clone()),
        _ => list_by(ListingForm::Mlsd),
    });
    Ok(AbilitiesSeen { features, mlsd, list, rest, size, utf8 })
}

fn list(client: &mut Client, directory: &[u8], form: ListingForm) -> Listing {
    let error = match entries(client, directory, form) {
        Ok(came) => return Listing::ListingContent(came),
        Err(Error::Refused { reply, .. }) => return Listing::Refused(reply),
        Err(error) => error,
    };
    let diagnosis = match &error {
        Error::Timeout(Phase::Stall) => Diagnosis("big-packets-lost"),
        Error::Timeout(Phase::FinalReply | Phase::Reply(_)) => Diagnosis("final-reply-never"),
        Error::Closed | Error::ServiceClosing(_) => Diagnosis("connection-lost"),
        Error::Protocol(_) | Error::Unexpected { .. } => Diagnosis("reply-invalid"),
        // Concerns the data connection, or is judged elsewhere.
        _ => return Listing::Failed(error.to_string()),
    };
    Listing::Stuck(diagnosis, error.to_string())
}

fn entries(
    client: &mut Client,
    directory: &[u8],
    form: ListingForm,
) -> Result<ListingContent, Error> {
    let mut came = ListingContent::default();
    for listed in client.list_with(directory, ListOptions::by(form))? {
        match listed? {
            ListLine::Entry(entry) => {
                came.entries += 1;
                let is_large = entry.size.is_some_and(|size| size >= LEAST);
                if is_large && entry.kind == Some(EntryKind::File) {
                    came.large.get_or_insert(entry.name);
                }
            }
            ListLine::Unparsed(line) => {
                came.unreadable.get_or_insert_with(|| Escaped(&line).to_string());
            }
        }
        if came.entries >= ENOUGH {
            break;
        }
    }
    Ok(came)
}

pub(super) fn judge(seen: &AbilitiesSeen) -> Vec<Finding> {
    let AbilitiesSeen { features, mlsd, list, rest, size, utf8 } = seen;
    let listed = |check: Check, word: &str, without: &str| match features.parameters(word) {
        Some(b"") => check.ok(format_args!("FEAT lists {word}")),
        Some(parameters) => check.ok(format_args!("FEAT lists {word}: {}", Escaped(parameters))),
        None => check.ok(format_args!("FEAT does not list {word}: {without}")),
    };
    vec![
        match mlsd {
            Some(Listing::Refused(reply)) => Check("mlsd").warn(
                Diagnosis("mlsd-broken"),
                format_args!("FEAT lists MLST, but MLSD is refused: {reply}"),
            ),
            // The path carries large packets: a similar listing arrived.
            Some(Listing::Stuck(Diagnosis("big-packets-lost"), why)) if seen.needs_list() => {
                Check("mlsd").fail(Diagnosis("mlsd-broken"), why)
            }
            Some(listing) => came(Check("mlsd"), listing, Diagnosis("mlsd-broken")),
            None => {
                Check("mlsd").ok("FEAT does not list MLST: the client must parse the text of LIST")
            }
        },
        came(Check("list"), list, Diagnosis("listing-unreadable")),
        match utf8 {
            Some(reply) => Check("utf8").ok(format_args!("OPTS UTF8 ON: {reply}")),
            None => listed(Check("utf8"), "UTF8", "non-ASCII names are sent as raw bytes"),
        },
        match rest {
            reply if reply.code().severity() == Severity::Intermediate => {
                Check("rest").ok(format_args!("REST 0: {reply}"))
            }
            reply => Check("rest").warn(Diagnosis("no-restart"), format_args!("REST 0: {reply}")),
        },
        match size {
            reply if matches!(reply.code().value(), 500 | 502) => Check("size")
                .ok(format_args!("SIZE is not supported ({reply}): sizes are not verified")),
            _ => Check("size").ok("SIZE is supported"),
        },
        listed(Check("mfmt"), "MFMT", "put -p cannot set modification times"),
        match hashes(features) {
            hashes if hashes.is_empty() => {
                Check("hash").ok("FEAT lists no digests: --verify hash is not available")
            }
            hashes => Check("hash").ok(format_args!("digests: {}", hashes.join(", "))),
        },
    ]
}

fn came(check: Check, listing: &Listing, diagnosis: Diagnosis) -> Finding {
    match listing {
        Listing::ListingContent(ListingContent { unreadable: Some(line), .. }) => {
            check.warn(diagnosis, format_args!("cannot parse a line of the listing: {line}"))
        }
        Listing::ListingContent(ListingContent { entries, .. }) => {
            check.ok(format_args!("{} read", counted(*entries, "entry")))
        }
        Listing::Refused(reply) => check.skip(format_args!("the listing was refused: {reply}")),
        Listing::Stuck(diagnosis, why) => check.fail(*diagnosis, why),
        Listing::Failed(why) => check.skip(format_args!("the listing failed: {why}")),
    }
}

/// Returns the listed digests, escaped.
fn hashes(features: &Features) -> Vec<String> {
    let of_hash = features.choices("HASH").map(|(name, _)| Escaped(name).to_string());
    let words = ["XSHA512", "XSHA256", "XSHA1", "XMD5", "XCRC"];
    let others = words.into_iter().filter(|word| features.has(word)).map(str::to_owned);
    of_hash.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use ftp_proto::ReplyCode;

    use super::*;

    fn reply(code: u16) -> Reply {
        Reply::new(ReplyCode::new(code).unwrap(), "so")
    }

    fn features(lines: &[&str]) -> Features {
        let code = ReplyCode::SYSTEM_STATUS;
        Features::read(&Reply::multi_line(code, "F", lines.iter().copied(), "End"))
    }

    fn good() -> AbilitiesSeen {
        let came =
            Listing::ListingContent(ListingContent { entries: 3, ..ListingContent::default() });
        AbilitiesSeen {
            features: features(&[" MLST type*;", " UTF8", " HASH SHA-256*;SHA-1;"]),
            mlsd: Some(came.clone()),
            list: came,
            rest: reply(350),
            size: reply(550),
            utf8: Some(reply(200)),
        }
    }

    fn names(seen: &AbilitiesSeen) -> Vec<&'static str> {
        judge(seen).iter().filter_map(|found| Some(found.diagnosis?.0)).collect()
    }

    #[test]
    fn listed_features_must_work_and_unlisted_ones_may_be_missing() {
        assert_eq!(names(&good()), [""; 0]);
        let odd = ListingContent {
            entries: 3,
            unreadable: Some("?".to_owned()),
            ..ListingContent::default()
        };
        let odd = Listing::ListingContent(odd);
        for (seen, want) in [
            (AbilitiesSeen { mlsd: None, features: features(&[]), utf8: None, ..good() }, &[][..]),
            (
                AbilitiesSeen { mlsd: Some(Listing::Refused(reply(500))), ..good() },
                &["mlsd-broken"],
            ),
            (AbilitiesSeen { mlsd: Some(odd.clone()), ..good() }, &["mlsd-broken"]),
            (AbilitiesSeen { mlsd: Some(Listing::Failed("no data".into())), ..good() }, &[]),
            (
                AbilitiesSeen {
                    mlsd: Some(Listing::Stuck(Diagnosis("big-packets-lost"), "x".into())),
                    ..good()
                },
                &["mlsd-broken"],
            ),
            (AbilitiesSeen { list: odd, ..good() }, &["listing-unreadable"]),
            (AbilitiesSeen { list: Listing::Refused(reply(550)), ..good() }, &[]),
            (
                AbilitiesSeen {
                    list: Listing::Stuck(Diagnosis("big-packets-lost"), "x".into()),
                    ..good()
                },
                &["big-packets-lost"],
            ),
            (AbilitiesSeen { rest: reply(502), ..good() }, &["no-restart"]),
            (AbilitiesSeen { size: reply(500), ..good() }, &[]),
        ] {
            assert_eq!(names(&seen), want, "{seen:?}");
        }
    }

    #[test]
    fn hash_algorithms_are_read_from_the_features() {
        let features = features(&[" HASH SHA-256*;SHA-1;", " XCRC", " XMD5"]);
        assert_eq!(hashes(&features), ["SHA-256", "SHA-1", "XMD5", "XCRC"]);
    }
}
