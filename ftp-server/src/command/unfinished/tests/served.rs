//! The commands of the sequences, carried out by sessions on a storage.

use std::net::SocketAddr;
use std::sync::Arc;

use ftp_proto::{Pathname, PortRanges, Reply, RepresentationType, RestartMarker};
use sha2::Digest as _;

use super::*;
use crate::auth::{Login, UserTable};
use crate::command::{listing, objects, transfer};
use crate::config::{PassivePolicy, ServerConfig};
use crate::context::{Context, Current};
use crate::net::admission::Admission;
use crate::net::socket::Ends;
use crate::session::{Access, Payload, PreparedTransfer, User};
use crate::storage::{Keep, Upload};

pub(super) struct Served<S> {
    storage: S,
    world: World,
    context: Arc<Context>,
    session: Session,
    begun: Vec<(Session, Box<dyn Upload>)>,
}

fn context() -> Arc<Context> {
    let users = Arc::new(UserTable::new());
    // No session listens, so the system is not asked for its ports each time.
    let config =
        ServerConfig::new().passive(PassivePolicy::new().ports(PortRanges::parse(b"1").ok()));
    Context::new(config, users, Admission::new(1, 0))
}

fn path(text: &str) -> Pathname {
    Pathname::new(text.as_bytes()).unwrap()
}

fn code(handled: Result<Reply, Reply>) -> u16 {
    handled.unwrap_or_else(|refusal| refusal).code().value()
}

impl<S: Storage + Clone + 'static> Served<S> {
    pub(super) fn new(storage: S, world: World) -> Self {
        let context = context();
        let session = Self::session(&storage, &context, "u");
        Self { storage, world, context, session, begun: Vec::new() }
    }

    /// Lets another program do something to the file.
    fn others(&self, act: Act, model: &Model) -> std::io::Result<()> {
        let World::Disk(root) = &self.world else { return Ok(()) };
        let directory = root.join(&DIRECTORY[1..]);
        let file = root.join(&FILE[1..]);
        match act {
            Act::OthersReplace => {
                let new = directory.join("new");
                std::fs::write(&new, vec![0xFF; 20 + model.next as usize])?;
                std::fs::rename(new, file)
            }
            Act::OthersAppend => {
                std::fs::OpenOptions::new().append(true).open(file)?.write_all(b"+")
            }
            Act::OthersRemove => std::fs::remove_file(file),
            Act::OthersTouch => {
                let time = std::time::UNIX_EPOCH + Duration::from_secs(model.next.into());
                std::fs::OpenOptions::new().append(true).open(file)?.set_modified(time)
            }
            _ => {
                for found in std::fs::read_dir(directory)? {
                    let name = found?.file_name();
                    let is_kept =
                        model.begun.is_empty() && name.to_string_lossy().ends_with(".part");
                    if is_kept && !name.to_string_lossy().contains("record-") {
                        std::fs::remove_file(root.join(&DIRECTORY[1..]).join(name))?;
                    }
                }
                Ok(())
            }
        }
    }

    fn session(storage: &S, context: &Arc<Context>, name: &str) -> Session {
        let login = Login::new(Arc::new(storage.clone()), Rights::FULL);
        Self::session_of(context, name, login)
    }

    /// Lets the user log in again with other rights and this value of `overwrite`.
    pub(super) fn login_again(&mut self, rights: Rights, overwrite: bool) {
        let mut login = Login::new(Arc::new(self.storage.clone()), rights);
        login.overwrite = Some(overwrite);
        self.session = Self::session_of(&self.context, "u", login);
    }

    fn session_of(context: &Arc<Context>, name: &str, login: Login) -> Session {
        let peer = SocketAddr::from(([192, 0, 2, 1], 1_024));
        let ends = Ends::direct(peer, ([192, 0, 2, 2], 21).into());
        let mut session = Session::new(Current::new(Arc::clone(context)), ends);
        session.transfer.representation = RepresentationType::Image;
        let counted = context.user_sessions.enter(name.as_bytes(), 0, 0).unwrap();
        let user = User::new(&context.config, name.into(), login, counted, None);
        session.login.access = Access::User(user);
        session
    }

    /// Ends an upload as the session's loop does: with a commit if `end` is `None`.
    fn end(session: &mut Session, mut upload: Box<dyn Upload>, end: Option<StreamEnd>) -> u16 {
        let is_stored = match end {
            None => {
                upload.flush().unwrap();
                while !upload.prepare_commit().unwrap() {}
                upload.commit().unwrap();
                true
            }
            Some(end) => {
                upload.abort(end);
                false
            }
        };
        session.end_upload(&FILE.into(), is_stored, None);
        if is_stored { 226 } else { 426 }
    }

    fn open(prepared: Result<PreparedTransfer, Reply>) -> Result<Box<dyn Upload>, u16> {
        match prepared.map(|prepared| prepared.payload) {
            Ok(Payload::Receive(mut upload, _)) => {
                while !upload.prepare().unwrap() {}
                Ok(upload)
            }
            Ok(Payload::Send(_)) => panic!("not an upload"),
            Err(reply) => Err(reply.code().value()),
        }
    }

    fn upload(
        session: &mut Session,
        prepared: Result<PreparedTransfer, Reply>,
        sent: &[u8],
        end: Option<StreamEnd>,
    ) -> Ended {
        session.transfer.restart = 0;
        match Self::open(prepared) {
            Ok(mut upload) => {
                upload.write_all(sent).unwrap();
                (Self::end(session, upload, end), Vec::new())
            }
            Err(code) => (code, Vec::new()),
        }
    }

    /// Appends in a session that has asked nothing, as if `pause` had passed since the last time.
    /// Returns `None` if the system does not run as long.
    pub(super) fn append_after(&self, pause: Duration) -> Option<u16> {
        self.context.sights.seem_older(pause).then(|| {
            let mut session = Self::session(&self.storage, &self.context, "u");
            let prepared = transfer::appe(&mut session, &path(FILE));
            Self::upload(&mut session, prepared, b"+", None).0
        })
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> u16 {
        match code(objects::rnfr(&mut self.session, &path(from))) {
            350 => code(objects::rnto(&mut self.session, &path(to))),
            refused => refused,
        }
    }

    /// `model` is the state before the act: it knows what the client sends.
    pub(super) fn act(&mut self, act: Act, model: &Model) -> Ended {
        let name = &path(FILE);
        let (number, next) = (model.upload, model.upload + 1);
        let session = &mut self.session;
        let done = |code: u16| (code, Vec::new());
        let (cut, refused) = (Some(StreamEnd::Cut), Some(StreamEnd::Refused));
        match act {
            Act::Stor
            | Act::StorCut
            | Act::StorCutEarly
            | Act::StorFailed
            | Act::StorTextCut
            | Act::StorRefused => {
                let (length, end) = match act {
                    Act::Stor => (LENGTH, None),
                    Act::StorCut | Act::StorTextCut => (CUT, cut),
                    Act::StorCutEarly => (1, cut),
                    Act::StorRefused => (0, refused),
                    _ => (CUT, Some(StreamEnd::Failed)),
                };
                if act == Act::StorTextCut {
                    session.transfer.representation = RepresentationType::Ascii;
                }
                let prepared = transfer::stor(session, name);
                session.transfer.representation = RepresentationType::Image;
                Self::upload(session, prepared, &bytes(next, 0, length), end)
            }
            Act::RestStor | Act::RestStorCut | Act::RestStorRefused => {
                let rest = model.rest();
                let (to, end) = match act {
                    Act::RestStor => (LENGTH.max(rest + 3), None),
                    Act::RestStorCut => (rest + 2, cut),
                    _ => (rest, refused),
                };
                transfer::rest(session, RestartMarker::new(rest as u64).unwrap());
                let prepared = transfer::stor(session, name);
                Self::upload(session, prepared, &bytes(number, rest, to), end)
            }
            Act::Appe | Act::AppeCut | Act::AppeRefused => {
                let from = model.end();
                let (to, end) = match act {
                    Act::Appe => (LENGTH, None),
                    Act::AppeCut => (from + 2, cut),
                    _ => (from, refused),
                };
                let prepared = transfer::appe(session, name);
                Self::upload(session, prepared, &bytes(number, from, to), end)
            }
            Act::Size => {
                let reply = objects::size(session, name).unwrap_or_else(|refusal| refusal);
                let text = reply.encode();
                let size = text.strip_prefix(b"213 ").and_then(|it| it.strip_suffix(b"\r\n"));
                (reply.code().value(), size.unwrap_or_default().to_vec())
            }
            Act::Mlst => done(code(listing::mlst(session, Some(name)))),
            Act::Hash => {
                let mut working = match objects::hash(session, name) {
                    Ok(working) => working,
                    Err(refusal) => return done(refusal.code().value()),
                };
                let reply = std::iter::from_fn(|| Some(working.work.step())).flatten().next();
                let reply = String::from_utf8(reply.unwrap().encode()).unwrap();
                // The model tells which bytes these are.
                let (_, want) = model.clone().act(Act::Hash);
                let digest = sha2::Sha256::digest(&want)
                    .iter()
                    .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
                assert!(reply.contains(&digest), "{reply} {want:?} {model:?}");
                (213, want)
            }
            Act::Retr => match transfer::retr(session, name).map(|prepared| prepared.payload) {
                Ok(Payload::Send(mut outgoing)) => {
                    let mut sent = Vec::new();
                    while outgoing.fill(100, &mut sent).unwrap() {}
                    (226, sent)
                }
                Ok(Payload::Receive(..)) => panic!("not a download"),
                Err(reply) => done(reply.code().value()),
            },
            Act::Dele => done(code(objects::dele(session, name))),
            Act::RenameAway => done(self.rename(FILE, OTHER_FILE)),
            Act::RenameToItself => done(self.rename(FILE, FILE)),
            Act::RenameOnto => {
                let mut upload = self
                    .storage
                    .write(&OTHER_FILE.into(), WriteMode::Replace, Keep::Shared)
                    .unwrap();
                upload.write_all(b"another").unwrap();
                upload.commit().unwrap();
                done(self.rename(OTHER_FILE, FILE))
            }
            Act::Rmd => {
                let removed = code(objects::rmd(session, &path(DIRECTORY)));
                if removed == 250 {
                    assert_eq!(code(objects::mkd(session, &path(DIRECTORY))), 257);
                }
                done(removed)
            }
            Act::MoveDirectory => {
                assert_eq!(self.rename(DIRECTORY, OTHER_DIRECTORY), 250);
                done(self.rename(OTHER_DIRECTORY, DIRECTORY))
            }
            Act::Reconnect => {
                self.session = Self::session(&self.storage, &self.context, "u");
                done(0)
            }
            Act::OtherUserStores => {
                let mut other = Self::session(&self.storage, &self.context, "v");
                let prepared = transfer::stor(&mut other, name);
                Self::upload(&mut other, prepared, &bytes(7, 0, OTHERS), None)
            }
            Act::OtherUserDeletes => {
                let mut other = Self::session(&self.storage, &self.context, "v");
                done(code(objects::dele(&mut other, name)))
            }
            Act::Restart => {
                for (mut session, upload) in std::mem::take(&mut self.begun) {
                    Self::end(&mut session, upload, cut);
                }
                self.context = context();
                self.session = Self::session(&self.storage, &self.context, "u");
                done(0)
            }
            Act::Begin => {
                let mut session = Self::session(&self.storage, &self.context, "u");
                let prepared = transfer::stor(&mut session, name);
                let mut upload = Self::open(prepared).unwrap();
                upload.write_all(&bytes(next, 0, CUT)).unwrap();
                self.begun.push((session, upload));
                done(0)
            }
            Act::OthersReplace
            | Act::OthersAppend
            | Act::OthersRemove
            | Act::OthersTouch
            | Act::BytesGo => {
                // There may be no file.
                let _ = self.others(act, model);
                done(0)
            }
            Act::CutBegun | Act::EndBegun => {
                if !self.begun.is_empty() {
                    let (mut session, upload) = self.begun.remove(0);
                    Self::end(&mut session, upload, cut.filter(|_| act == Act::CutBegun));
                }
                done(0)
            }
        }
    }

    pub(super) fn content(&self) -> Option<Vec<u8>> {
        let mut source = self.storage.read(&FILE.into()).ok()?;
        let mut content = Vec::new();
        source.read_to_end(&mut content).unwrap();
        Some(content)
    }
}
