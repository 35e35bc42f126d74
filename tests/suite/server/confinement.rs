//! The second barrier: what the thread of a session can still reach.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use ftp_server::{
    AuthError, Authenticator, Confine, LocalStorage, Login, LoginAttempt, Rights, Server, Source,
    Storage, StorageError, StorageErrorKind, VirtualPath, forward_storage,
};
use ftp_tests::raw::{DEADLINE, RawSession};

/// A storage that opens any path, as if it had a defect.
struct Careless {
    local: LocalStorage,
    root: File,
}

struct Whole(File);

impl Source for Whole {
    fn size(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }

    fn seek_to(&mut self, _offset: u64) -> Result<(), StorageError> {
        Err(StorageErrorKind::Unsupported.into())
    }
}

impl std::io::Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Storage for Careless {
    forward_storage!(self, self.local; capabilities, stat, list, write);
    forward_storage!(self, self.local; unfinished, kept, forget, space);

    fn confine(&self) -> Confine<'_> {
        Confine::Beneath(vec![self.root.as_fd()])
    }

    fn read(&self, path: &VirtualPath) -> Result<Box<dyn Source>, StorageError> {
        Ok(Box::new(Whole(File::open(path.to_string())?)))
    }
}

#[test]
fn a_careless_storage_is_still_confined_to_the_root_hp_06() {
    let outer = tempfile::tempdir().expect("a directory");
    let root = outer.path().join("root");
    fs::create_dir(&root).expect("a directory");
    fs::write(outer.path().join("secret"), "outside").expect("a file");
    fs::write(root.join("file"), "inside").expect("a file");
    let storage = || Careless {
        local: LocalStorage::open(&root).expect("it opens"),
        root: File::open(&root).expect("it opens"),
    };
    let secret = format!("{}/secret", outer.path().display());
    let outside = VirtualPath::root().join(secret.trim_start_matches('/').as_bytes());
    assert!(storage().read(&outside).is_ok(), "nothing but the wall is in the way");

    let server = Server::builder().storage(storage()).user("u", "p", Rights::FULL);
    let server = server.bind("127.0.0.1:0").expect("a server on loopback");
    for _ in 0..2 {
        let mut session = RawSession::login(server.local_addr(), "u", "p");
        for outside in [&*secret, "/etc/passwd"] {
            session.expect("EPSV", 229);
            session.expect(format!("RETR {outside}"), 550);
        }
        let inside = session.download(format!("RETR {}/file", root.display()));
        assert_eq!(inside, b"inside");
    }
    assert!(storage().read(&outside).is_ok(), "only sessions are confined");
}

/// Accepts users with the names of directories. For each login it reads a file outside of them all,
/// and records its thread.
struct Directories {
    parent: PathBuf,
    asked: Arc<Mutex<Vec<ThreadId>>>,
}

impl Authenticator for Directories {
    fn login(&self, attempt: &LoginAttempt<'_>) -> Result<Login, AuthError> {
        self.asked.lock().expect("no test panics with it").push(thread::current().id());
        let password = fs::read(self.parent.join("password"));
        let password = password.map_err(|_| AuthError::Unavailable)?;
        let name = String::from_utf8_lossy(attempt.user).into_owned();
        let root = LocalStorage::open(self.parent.join(name)).map_err(|_| AuthError::Refused)?;
        match attempt.password == password {
            true => Ok(Login::new(Arc::new(root), Rights::FULL)),
            false => Err(AuthError::Refused),
        }
    }
}

#[test]
fn after_rein_a_session_continues_in_an_unconfined_thread_cm_17() {
    let parent = tempfile::tempdir().expect("a directory");
    fs::write(parent.path().join("password"), "p").expect("a file");
    for user in ["a", "b"] {
        fs::create_dir(parent.path().join(user)).expect("a directory");
        fs::write(parent.path().join(user).join("name"), user).expect("a file");
    }
    let asked = Arc::default();
    let users = Directories { parent: parent.path().to_owned(), asked: Arc::clone(&asked) };
    let server = Server::builder().authenticator(users).bind("127.0.0.1:0");
    let server = server.expect("a server on loopback");
    let mut session = RawSession::greeted(server.local_addr());
    for user in ["a", "b", "a", "b"] {
        session.expect(format!("USER {user}"), 331);
        session.expect("PASS p", 230);
        assert_eq!(session.download("RETR name"), user.as_bytes());
        session.upload("STOR new", b"new");
        session.expect("DELE new", 250);
        session.expect("REIN", 220);
        session.expect("PWD", 530);
    }
    // Pending input moves with the session, in order.
    session.send("REIN\r\nUSER a\r\nPASS p\r\nREIN\r\nUSER b\r\nPASS p\r\nPWD\r\nNO");
    for code in [220, 331, 230, 220, 331, 230, 257] {
        session.expect_reply(code);
    }
    session.send("OP\r\n");
    session.expect_reply(200);
    assert_eq!(session.download("RETR name"), b"b");
    let report = server.shutdown(DEADLINE);
    assert_eq!((report.drained, report.cut), (1, 0), "the register knew it all along");
    session.expect_reply(421);
    let asked = asked.lock().expect("nothing panicked");
    let mut threads = asked.clone();
    threads.dedup();
    assert_eq!(threads.len(), 6, "one for each user who left, and the last: {asked:?}");
}
