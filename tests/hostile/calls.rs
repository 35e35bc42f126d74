//! The client calls that the tables name, and their results in the tables' words.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;

use ftp_client::listing::{Lines, ListOptions, ListingForm};
use ftp_client::{Client, ClientBuilder, Error, ListLine, RawCommand};
use ftp_tests::hostile::{LENGTH, Moved, Played, content};

/// The offset of a resumed transfer.
const HALF: usize = LENGTH / 2;

/// The number of lines that are read from a listing before it is dropped.
const SOME_LINES: usize = 20_000;

/// The result of a successful call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing to compare.
    Done,
    /// A value from the server.
    Value(String),
    /// The number of downloaded bytes, their offset in the content, and whether they equal it.
    Got { from: usize, bytes: usize, is_content: bool },
    /// The server has everything from this offset on.
    Put { from: usize },
    /// The number of lines.
    Listed(usize),
}

impl Outcome {
    /// Returns the result in words, or why it is false.
    pub(crate) fn judged(&self, played: &Played) -> Result<String, String> {
        let moved = played.moved.last().cloned().unwrap_or_default();
        let Moved { sent, lines, taken, is_content, ended } = moved;
        match *self {
            Self::Done => Ok("ok".to_owned()),
            Self::Value(ref value) => Ok(format!("value {value}")),
            Self::Got { bytes, .. } if bytes as u64 != sent => {
                Err(format!("success for {bytes} bytes, where {sent} were sent"))
            }
            Self::Got { from, bytes, is_content } if bytes == LENGTH - from && is_content => {
                Ok("ok".to_owned())
            }
            Self::Got { bytes, .. } => Ok(format!("ok {bytes}")),
            Self::Put { from } if taken == (LENGTH - from) as u64 && is_content && ended => {
                Ok("ok".to_owned())
            }
            Self::Put { .. } => Err(format!("success for an upload of which {taken} bytes came")),
            // The last line may lack its line ending, and empty lines may be left out.
            Self::Listed(count) if count > lines + 1 => {
                Err(format!("success for {count} lines, where {lines} were sent"))
            }
            Self::Listed(50) => Ok("ok".to_owned()),
            Self::Listed(count) => Ok(format!("ok {count}")),
        }
    }
}

/// Returns an error in words: its kind, and its code or phase.
pub(crate) fn described(error: &Error) -> String {
    match error {
        Error::Refused { reply, .. } => format!("refused {}", reply.code()),
        Error::ServiceClosing(_) => "closing".to_owned(),
        Error::Greeting(reply) => format!("greeting {}", reply.code()),
        Error::Unexpected { reply, .. } => format!("unexpected {}", reply.code()),
        Error::Protocol(_) => "protocol".to_owned(),
        Error::Desynchronised => "desynchronised".to_owned(),
        Error::Argument(_) => "argument".to_owned(),
        Error::Timeout(phase) => format!("timeout {}", phase.as_str()),
        Error::Io(_) => "io".to_owned(),
        Error::Closed => "closed".to_owned(),
        Error::DataConnection(attempts) => {
            let ways = attempts.iter().map(|attempt| described(&attempt.error));
            format!("data ({})", ways.collect::<Vec<_>>().join(", "))
        }
        Error::Incomplete { .. } => "incomplete".to_owned(),
        Error::ListingCut(_) => "cut".to_owned(),
        Error::Unsupported(_) => "unsupported".to_owned(),
        Error::Cancelled => "cancelled".to_owned(),
        _ => "an error that no table knows".to_owned(),
    }
}

/// Connects and logs in.
pub(crate) fn login(
    builder: ClientBuilder,
    server: SocketAddr,
    client: &mut Option<Client>,
) -> Result<(), Error> {
    client.insert(builder.connect(&server.to_string())?).login("u", "p")
}

/// Returns whether a command gets its own reply.
pub(crate) fn is_usable(client: &mut Client) -> bool {
    client.system().is_ok_and(|text| text == b"probe")
}

/// Makes the call of this name.
pub(crate) fn make(client: &mut Client, call: &str) -> Result<Outcome, Error> {
    let value = |value: Option<String>| Outcome::Value(value.unwrap_or_else(|| "none".to_owned()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match call {
        "login" => Outcome::Done,
        "get" => get(client, 0)?,
        "resume" => get(client, HALF)?,
        "get-some" => {
            // Dropped with unread data, which the next call must handle.
            let mut file = client.retrieve("a")?;
            let _ = file.read(&mut [0; 1_000]).map_err(packed)?;
            Outcome::Done
        }
        "get-abort" => {
            let mut file = client.retrieve("a")?;
            let _ = file.read(&mut [0; 1_000]).map_err(packed)?;
            file.abort()?;
            Outcome::Done
        }
        "put" => put(client.store("a")?, 0)?,
        "put-file" => {
            client.store("a")?.copy_from_file(&local_file())?;
            Outcome::Put { from: 0 }
        }
        "append" => put(client.append("a")?, 0)?,
        "put-rest" => put(client.store_from("a", HALF as u64)?, HALF)?,
        "put-some" => {
            let mut file = client.store("a")?;
            file.write_all(&[0; 1_000]).map_err(packed)?;
            Outcome::Done
        }
        "list" => {
            Outcome::Listed(lines(client.list_lines("", ListOptions::by(ListingForm::List))?)?)
        }
        "names" => {
            Outcome::Listed(lines(client.list_lines("", ListOptions::by(ListingForm::Nlst))?)?)
        }
        "list-some" => {
            for line in client.list_lines("", ListOptions::by(ListingForm::List))?.take(SOME_LINES)
            {
                line?;
            }
            Outcome::Done
        }
        "entries" => entries(client)?,
        // The actions of a program that removes everything that a listing names.
        "delete-all" => {
            let names: Result<Vec<_>, _> =
                client.list_lines("", ListOptions::by(ListingForm::Nlst))?.collect();
            let (mut sent, mut refused) = (0, 0);
            for name in names? {
                match client.delete(name) {
                    Err(Error::Argument(_)) => refused += 1,
                    result => {
                        result?;
                        sent += 1;
                    }
                }
            }
            Outcome::Value(format!("{sent} sent, {refused} refused"))
        }
        "size" => value(client.size("a")?.map(|size| size.to_string())),
        "modified" => value(client.modified("a")?.map(|time| time.to_string())),
        "pwd" => Outcome::Value(text(client.pwd()?.as_bytes())),
        "mkdir" => value(client.mkdir("d")?.map(|path| text(path.as_bytes()))),
        "features" => Outcome::Value(client.features()?.iter().count().to_string()),
        "delete" => client.delete("a").map(|()| Outcome::Done)?,
        "delete-utf8" => client.delete("\u{e9}").map(|()| Outcome::Done)?,
        "rename" => client.rename("a", "b").map(|()| Outcome::Done)?,
        "noop" => client.noop().map(|()| Outcome::Done)?,
        "quote" => {
            let command = RawCommand::new("SITE HELP").map_err(Error::Argument)?;
            Outcome::Value(client.quote(&command)?.code().to_string())
        }
        _ => panic!("no such call: {call}"),
    })
}

/// Downloads from offset `from`. The bytes are compared, not kept.
fn get(client: &mut Client, from: usize) -> Result<Outcome, Error> {
    let mut file = client.retrieve_from("a", from as u64)?;
    let (mut bytes, mut is_content, mut piece) = (0, true, vec![0; 65_536]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                let at = from + bytes;
                is_content &= content().get(at..at + count) == piece.get(..count);
                bytes += count;
            }
            Err(error) => {
                // After one failure, `finish` must fail too.
                assert!(file.finish().is_err(), "success behind {error}");
                return Err(packed(error));
            }
        }
    }
    assert_eq!(file.transferred(), bytes as u64);
    let report = file.finish()?;
    assert_eq!(report.bytes, bytes as u64);
    Ok(Outcome::Got { from, bytes, is_content })
}

/// Uploads the content from offset `from`.
fn put(mut file: ftp_client::Upload<&mut Client>, from: usize) -> Result<Outcome, Error> {
    for piece in content().get(from..).unwrap().chunks(65_536) {
        if let Err(error) = file.write_all(piece) {
            assert!(file.finish().is_err(), "success behind {error}");
            return Err(packed(error));
        }
    }
    let report = file.finish()?;
    assert_eq!(report.bytes, (LENGTH - from) as u64);
    Ok(Outcome::Put { from })
}

/// Returns the content as a file without a name, at its beginning.
fn local_file() -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content()).unwrap();
    file.rewind().unwrap();
    file
}

fn lines(listing: Lines<'_>) -> Result<usize, Error> {
    let mut count = 0;
    for line in listing {
        line?;
        count += 1;
    }
    Ok(count)
}

fn entries(client: &mut Client) -> Result<Outcome, Error> {
    let (mut entries, mut others) = (0, 0);
    for listed in client.list_with("", ListOptions::by(ListingForm::Mlsd))? {
        match listed? {
            ListLine::Entry(_) => entries += 1,
            ListLine::Unparsed(_) => others += 1,
        }
    }
    Ok(match others {
        0 => Outcome::Listed(entries),
        _ => Outcome::Value(format!("{entries} entries, {others} not")),
    })
}

/// Returns the client's error that a read or write wrapped.
fn packed(error: std::io::Error) -> Error {
    Error::downcast(error).expect("only the client fails here")
}
