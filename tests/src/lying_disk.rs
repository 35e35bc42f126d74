//! A file system that lies: a few files over FUSE, whose answers a test chooses. Only root can mount
//! it. It removes a directory with all that is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::peer::{impossible, skipped};

/// What the disk says. A test can change it at any time.
#[derive(Debug, Default)]
pub struct Lies {
    /// The files by their paths, with their content. A path such as `d/f` makes a directory, too.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The inode number of every file; `None`: one for each name.
    pub inode: Option<u64>,
    /// The inode number of the root; `None`: always the same.
    pub root_inode: Option<u64>,
    /// Whether listings omit the kinds of objects.
    pub hides_kinds: bool,
    /// A file that another program removes while a directory is read, after its first name.
    pub vanishes: Option<String>,
    /// A name that the next listing lacks, as of a file that is replaced just then.
    pub misses: Option<String>,
    /// Whether names in another ASCII case are the same.
    pub folds: bool,
    /// Paths that also lead to these objects, but are not listed, like the short names of FAT.
    pub shorts: BTreeMap<String, String>,
    /// Whether the kernel may keep names for an hour, but attributes not at all.
    pub keeps_names: bool,
    /// The error of a listing after its first name; 0: none.
    pub listing_error: i32,
    /// A name that cannot be looked up, and the error.
    pub unknown: Option<(String, i32)>,
    /// The error of a question for the free space; 0: none.
    pub space_error: i32,
    /// Whether the disk tells no size.
    pub hides_size: bool,
    /// A call that fails, and its error. FLUSH fails only for a file that was written to, which then
    /// loses its content, as on disks that store at `close`.
    pub fails: Option<(u32, i32)>,
    /// Whether only a call that opens for writing can make a file.
    pub makes_for_writers: bool,
    /// How long the disk takes to say that a name is missing.
    pub slow: Duration,
    /// The nodes that were written to.
    written: BTreeSet<u64>,
    /// The nodes of the files that were made or renamed, by path.
    nodes: BTreeMap<String, u64>,
    /// The number of files that were made.
    made: u64,
}

/// The number of the call that writes.
pub const WRITE: u32 = 16;
/// The number of the call that `close` makes.
pub const FLUSH: u32 = 25;
/// The number of the call that opens a directory.
pub const OPENDIR: u32 = 27;
/// The number of the call that makes a file.
pub const CREATE: u32 = 35;
/// The number of the call that replaces a file by another one.
pub const RENAME: u32 = 12;
/// The number of the call that syncs a file.
pub const FSYNC: u32 = 20;

/// A mounted file system that lies; unmounted on drop.
pub struct LyingDisk {
    directory: PathBuf,
    lies: Arc<Mutex<Lies>>,
}

impl fmt::Debug for LyingDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LyingDisk").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl LyingDisk {
    /// Mounts a disk with these files at an existing directory. Reports and returns `None` if that
    /// is impossible.
    #[must_use]
    pub fn mount<const N: usize>(directory: &Path, files: [(&str, &str); N]) -> Option<Self> {
        let Ok(device) = OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
            impossible("this user cannot open /dev/fuse");
            return None;
        };
        // The number of the descriptor is that of the standard input of `mount`.
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0";
        let input = device.try_clone().expect("a descriptor");
        let mut mounting = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", options, "lies"])
            .arg(directory)
            .stdin(Stdio::from(input))
            .stderr(Stdio::null())
            .spawn()
            .expect("mount runs");
        let files = files.map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec()));
        let lies = Arc::new(Mutex::new(Lies { files: files.into(), ..Lies::default() }));
        let server = Server { device, lies: Arc::clone(&lies) };
        thread::spawn(move || server.run());
        if !mounting.wait().expect("mount ends").success() {
            skipped("no FUSE can be mounted");
            return None;
        }
        Some(Self { directory: directory.to_owned(), lies })
    }

    /// Returns what the disk says.
    pub fn lies(&self) -> MutexGuard<'_, Lies> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LyingDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.directory).output();
    }
}

/// Errors of the system.
const ENOENT: i32 = 2;
const EPERM: i32 = 1;
const EIO: i32 = 5;
const EEXIST: i32 = 17;
const ENOSYS: i32 = 38;

/// The node of the root.
const ROOT: u64 = 1;

/// A number above the nodes of files that nobody made.
const FIRST_MADE: u64 = 1_000_003;

/// Largest request.
const REQUEST: usize = 256 * 1024;

/// Answers requests of the kernel.
struct Server {
    device: File,
    lies: Arc<Mutex<Lies>>,
}

/// A request after its header.
struct Request {
    operation: u32,
    node: u64,
    body: Vec<u8>,
}

impl Request {
    fn number(&self, at: usize) -> u64 {
        u64::from_ne_bytes(bytes(&self.body, at))
    }

    /// Returns the text from `at` on, up to its NUL.
    fn name(&self, at: usize) -> String {
        let rest = self.body.get(at..).unwrap_or_default();
        let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    from.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

impl Server {
    /// Answers until the disk is unmounted.
    fn run(mut self) {
        let mut buffer = vec![0; REQUEST];
        let mut is_mounted = false;
        let mut patience = 5_000;
        loop {
            let count = match self.device.read(&mut buffer) {
                Ok(count) => count,
                // Not mounted yet.
                Err(error)
                    if !is_mounted && error.raw_os_error() == Some(EPERM) && patience > 0 =>
                {
                    patience -= 1;
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Err(error) if error.raw_os_error() == Some(ENOENT) => continue,
                Err(_) => return,
            };
            is_mounted = true;
            let read = buffer.get(..count).unwrap_or_default();
            let request = Request {
                operation: u32::from_ne_bytes(bytes(read, 4)),
                node: u64::from_ne_bytes(bytes(read, 16)),
                body: read.get(40..).unwrap_or_default().to_vec(),
            };
            // FORGET and BATCH_FORGET have no answer.
            if matches!(request.operation, 2 | 42) {
                continue;
            }
            let answer = self.answer(&request);
            let (error, body) = answer.map_or_else(|error| (-error, Vec::new()), |body| (0, body));
            let length = u32::try_from(16 + body.len()).expect("a short answer");
            let mut out = [length.to_ne_bytes(), error.to_ne_bytes()].concat();
            out.extend(bytes::<8>(read, 8));
            out.extend(body);
            let _ = self.device.write_all(&out);
        }
    }

    fn answer(&self, request: &Request) -> Result<Vec<u8>, i32> {
        let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, error)) = lies.fails.filter(|(call, _)| *call == request.operation) {
            if request.operation == FLUSH {
                if !lies.written.contains(&request.node) {
                    return Ok(Vec::new());
                }
                lies.content(request.node)?.clear();
            }
            return Err(error);
        }
        match request.operation {
            // LOOKUP
            1 => {
                let unknown = lies.unknown.iter().find(|(name, _)| *name == request.name(0));
                if let Some((_, error)) = unknown {
                    return Err(*error);
                }
                let path = lies.at(request.node, &request.name(0))?;
                let (entry, slow) = (lies.entry(&path), lies.slow);
                drop(lies);
                if entry.is_err() {
                    thread::sleep(slow);
                }
                entry
            }
            // GETATTR and SETATTR, which changes only the size
            3 | 4 => {
                // The kernel says with one bit which attribute changes.
                if request.operation == 4 && bytes::<1>(&request.body, 0)[0] & 8 != 0 {
                    let size = usize::try_from(request.number(16)).expect("a small file");
                    lies.content(request.node)?.resize(size, 0);
                }
                Ok([vec![0; 16], lies.attributes(request.node)?].concat())
            }
            CREATE => {
                let access = u32::from_ne_bytes(bytes(&request.body, 0)) & 3;
                if lies.makes_for_writers && access == 0 {
                    return Err(EIO);
                }
                let path = lies.at(request.node, &request.name(16))?;
                lies.made += 1;
                let node = FIRST_MADE + lies.made;
                lies.nodes.insert(path.clone(), node);
                lies.files.insert(path.clone(), Vec::new());
                Ok([lies.entry(&path)?, vec![0; 16]].concat())
            }
            WRITE => {
                let from = usize::try_from(request.number(8)).expect("a small file");
                let new = request.body.get(40..).unwrap_or_default();
                lies.written.insert(request.node);
                let content = lies.content(request.node)?;
                content.resize(content.len().max(from + new.len()), 0);
                content.splice(from..from + new.len(), new.iter().copied());
                Ok(words64([new.len() as u64]))
            }
            // UNLINK
            10 => {
                let path = lies.at(request.node, &request.name(0))?;
                lies.nodes.remove(&path);
                lies.files.remove(&path).map(|_| Vec::new()).ok_or(ENOENT)
            }
            // RMDIR
            11 => {
                let below = lies.at(request.node, &request.name(0))? + "/";
                lies.files.retain(|path, _| !path.starts_with(&below));
                Ok(Vec::new())
            }
            // RENAME and RENAME2
            RENAME | 45 => {
                let start = if request.operation == RENAME { 8 } else { 16 };
                let from = request.name(start);
                let to = lies.at(request.number(0), &request.name(start + from.len() + 1))?;
                let from = lies.at(request.node, &from)?;
                let is_new = bytes::<4>(&request.body, 8) == 1_u32.to_ne_bytes();
                if request.operation == 45 && is_new && lies.files.contains_key(&to) {
                    return Err(EEXIST);
                }
                let content = lies.files.remove(&from).ok_or(ENOENT)?;
                let node = lies.node(&from);
                lies.nodes.remove(&from);
                lies.nodes.insert(to.clone(), node);
                lies.files.insert(to, content);
                Ok(Vec::new())
            }
            // OPEN and OPENDIR
            14 | 27 => Ok(vec![0; 16]),
            // READ
            15 => {
                let content = lies.files.get(&lies.path(request.node)?).ok_or(ENOENT)?;
                let from = usize::try_from(request.number(8)).unwrap_or(usize::MAX);
                let most = u32::from_ne_bytes(bytes(&request.body, 16)) as usize;
                let rest = content.get(from..).unwrap_or_default();
                Ok(rest.get(..most).unwrap_or(rest).to_vec())
            }
            // STATFS
            17 if lies.space_error != 0 => Err(lies.space_error),
            17 if lies.hides_size => Ok(vec![0; 80]),
            17 => {
                let mut space = words64([1 << 20; 5]);
                space.extend([4_096_u32, 255, 4_096].map(u32::to_ne_bytes).concat());
                space.resize(80, 0);
                Ok(space)
            }
            // INIT: version 7.31, without any ability
            26 => {
                let mut init = [7_u32, 31, 0, 0, 0].map(u32::to_ne_bytes).concat();
                init.extend(64_000_u32.to_ne_bytes());
                init.resize(64, 0);
                Ok(init)
            }
            // READDIR
            28 => {
                let from = request.number(8);
                if from > 0
                    && let Some(name) = lies.vanishes.take()
                {
                    lies.files.remove(&name);
                }
                let listed = lies.listing(&lies.path(request.node)?, from)?;
                if listed.is_empty() {
                    lies.misses = None;
                }
                Ok(listed)
            }
            // RELEASE, FSYNC, RELEASEDIR and FSYNCDIR
            18 | FSYNC | FLUSH | 29 | 30 => Ok(Vec::new()),
            _ => Err(ENOSYS),
        }
    }
}

fn words64<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.map(u64::to_ne_bytes).concat()
}

impl Lies {
    /// Returns the paths of all files and directories.
    fn paths(&self) -> impl Iterator<Item = &str> {
        let above = |path: &str| path.match_indices('/').map(|(end, _)| end).collect::<Vec<_>>();
        self.files.keys().flat_map(move |path| {
            let ends = above(path).into_iter().chain([path.len()]);
            ends.filter_map(|end| path.get(..end))
        })
    }

    /// Returns the node of a path, which is empty for the root.
    fn node(&self, path: &str) -> u64 {
        let digest =
            || path.bytes().fold(ROOT, |node, byte| (node * 131 + u64::from(byte)) % FIRST_MADE);
        self.nodes.get(path).copied().unwrap_or_else(digest)
    }

    fn path(&self, wanted: u64) -> Result<String, i32> {
        let mut paths = self.paths().chain([""]);
        paths.find(|path| self.node(path) == wanted).map(str::to_owned).ok_or(ENOENT)
    }

    fn content(&mut self, node: u64) -> Result<&mut Vec<u8>, i32> {
        let path = self.path(node)?;
        self.files.get_mut(&path).ok_or(ENOENT)
    }

    /// Returns the answer about a name, with the attributes of its object.
    fn entry(&self, path: &str) -> Result<Vec<u8>, i32> {
        let node = self.node(path);
        let attributes = self.attributes(node)?;
        let names = if self.keeps_names { 3_600 } else { 0 };
        Ok([words64([node, 1, names, 0, 0]), attributes].concat())
    }

    /// Returns the path of a name in a directory.
    fn at(&self, directory: u64, name: &str) -> Result<String, i32> {
        let above = self.path(directory)?;
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
        let path = self.shorts.get(&path).cloned().unwrap_or(path);
        let same = |there: &&str| self.folds && there.eq_ignore_ascii_case(&path);
        Ok(self.paths().find(same).map(str::to_owned).unwrap_or(path))
    }

    fn inode(&self, node: u64) -> u64 {
        let told = if node == ROOT { self.root_inode } else { self.inode };
        told.unwrap_or(node)
    }

    fn attributes(&self, node: u64) -> Result<Vec<u8>, i32> {
        let content = self.files.get(&self.path(node)?);
        let mode = if content.is_some() { 0o100_644 } else { 0o040_755_u32 };
        let size = content.map_or(0, Vec::len) as u64;
        let mut found = words64([self.inode(node), size, 0, 0, 1_000_000_000, 0]);
        found.extend([0, 0, 0, mode, 1, 0, 0, 0, 4_096, 0].map(u32::to_ne_bytes).concat());
        Ok(found)
    }

    /// Returns the entry of a directory that follows the first `from` ones.
    fn listing(&self, directory: &str, from: u64) -> Result<Vec<u8>, i32> {
        if from > 0 && self.listing_error != 0 {
            return Err(self.listing_error);
        }
        let names: BTreeSet<_> = self
            .paths()
            .filter_map(|path| match directory {
                "" => Some(path),
                above => path.strip_prefix(above)?.strip_prefix('/'),
            })
            .filter(|name| !name.contains('/') && self.misses.as_deref() != Some(*name))
            .collect();
        let at = usize::try_from(from).unwrap_or(usize::MAX);
        let Some(name) = names.into_iter().nth(at) else { return Ok(Vec::new()) };
        let node = self.node(&self.at(self.node(directory), name)?);
        let kind: u32 = match self.files.contains_key(&self.path(node)?) {
            _ if self.hides_kinds => 0,
            true => 8,
            false => 4,
        };
        let length = u32::try_from(name.len()).expect("a short name");
        let mut entry = words64([self.inode(node), from + 1]);
        entry.extend([length, kind].map(u32::to_ne_bytes).concat());
        entry.extend(name.bytes());
        entry.resize(entry.len().next_multiple_of(8), 0);
        Ok(entry)
    }
}
