//! The notes about unfinished uploads in the store. They forbid every server to resume an upload at
//! the length of the object that it was to replace, and allow any of them to resume it at its own.
//!
//! A note names the multipart upload at the store, and the object with the last bytes, which are
//! too few for a part. It also names the version of the object that the upload is to replace. A
//! session that writes renews its note. Another session can take over the upload when the age of the
//! note, by the store's clock, exceeds the lease. The servers' own clocks do not matter.
//!
//! The bytes count for 12 hours, and as long as the object is the one that the upload was to
//! replace. The note of a replacement stays until it has [ended](has_ended), however old it is: there
//! are at most as many as objects. Any other note also ends after 90 days.
//!
//! Parts are stored one after the other. So all listed parts except the last are complete and
//! belong together. The last part can be the end of the file. If `SIZE` counted that part, the
//! client would assume that the whole file is stored. So after a server has died, the last part
//! does not count.

use std::time::Duration;

use super::error::S3Error;
use super::inner::Inner;
use super::keys;
use super::multipart::{Multipart, Part, PartBuffer};
use super::objects::{Condition, ID, StoredObject};
use super::pages::Listed;
use super::record::has_ended;
use crate::storage::unfinished::{RECORDED, REMEMBERED};
use crate::storage::{StorageErrorKind as Kind, StorageResult};

/// Maximum length of a note, in bytes. An upload id takes a few hundred bytes.
const LONGEST: u64 = 4_096;

const TITLE: &str = "ftp-server partial upload 1";

/// Time for which a note without bytes is kept. A sweep that removes its bytes writes it again.
const BARE: Duration = RECORDED.saturating_sub(REMEMBERED);

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Note {
    /// A random number that identifies the session that wrote the note.
    pub(super) owner: String,
    pub(super) key: String,
    /// The metadata that identifies the object once it is stored.
    pub(super) object: String,
    /// The id of the multipart upload, if one was begun.
    pub(super) upload: Option<String>,
    /// Whether a session is writing.
    pub(super) is_active: bool,
    /// Whether the received bytes are kept, even if the server is killed.
    pub(super) keeps: bool,
    /// The number of parts before the last bytes.
    pub(super) parts: u32,
    /// The total size of these parts, in bytes.
    pub(super) stored: u64,
    /// The `owner` in the key of the object with the last bytes, and the number of these bytes.
    pub(super) tail: Option<(String, u64)>,
    /// The version of the object that the upload is to replace; `None` if there was no object.
    /// An empty text differs from every version.
    pub(super) old: Option<String>,
}

impl Note {
    /// Returns what a note counts for that cannot be read: it has no bytes, and forbids.
    fn doubtful() -> Self {
        Self { old: Some(String::new()), ..Self::default() }
    }

    pub(super) const fn has_bytes(&self) -> bool {
        self.upload.is_some() || self.tail.is_some()
    }

    /// Returns whether the record [has ended](has_ended) if this is the object now. If the server of
    /// the upload died, others may have stored the file while the upload was running.
    fn has_ended(&self, now: Option<&StoredObject>) -> bool {
        let is_own = |now: &StoredObject| now.metadata(ID) == Some(&self.object);
        let may_end = !self.is_active || now.is_none_or(is_own);
        may_end && has_ended(self.old.as_deref(), now)
    }

    /// Returns a note of the same upload that names no bytes.
    fn bare(&self) -> Self {
        let (upload, tail, is_active, parts, stored) = (None, None, false, 0, 0);
        Self { upload, tail, is_active, parts, stored, ..self.clone() }
    }

    /// Returns the number of bytes that the note names.
    fn size(&self) -> u64 {
        self.stored + self.tail.as_ref().map_or(0, |(_, length)| *length)
    }

    fn encode(&self) -> String {
        let Self { owner, key, object, upload, is_active, keeps, parts, stored, tail, old } = self;
        let state = match (is_active, keeps) {
            (true, true) => "active",
            (true, false) => "discarding",
            (false, _) => "cut",
        };
        let upload = upload.as_deref().unwrap_or("-");
        let (by, length) = tail.as_ref().map_or(("-", 0), |(by, length)| (&**by, *length));
        let old = old.as_deref().unwrap_or("-");
        format!(
            "{TITLE}\nowner {owner}\nkey {key}\nobject {object}\nupload {upload}\nstate {state}\n\
             parts {parts}\nstored {stored}\ntail {by}\nlength {length}\nold {old}\n"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return None;
        }
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let unless_dash = |text: &str| (text != "-").then(|| text.to_owned());
        let owner = value("owner")?.to_owned();
        let key = value("key")?.to_owned();
        let object = value("object")?.to_owned();
        let upload = unless_dash(value("upload")?);
        let (is_active, keeps) = match value("state")? {
            "active" => (true, true),
            "discarding" => (true, false),
            "cut" => (false, true),
            _ => return None,
        };
        let parts = value("parts")?.parse().ok()?;
        let stored = value("stored")?.parse().ok()?;
        let tail = unless_dash(value("tail")?);
        let tail = tail.zip(Some(value("length")?.parse().ok()?));
        let old = unless_dash(value("old")?);
        Some(Self { owner, key, object, upload, is_active, keeps, parts, stored, tail, old })
    }
}

/// A note in the store.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) note: Note,
    pub(super) tag: String,
    /// Whether the session that wrote the note is still writing.
    pub(super) is_running: bool,
    /// Whether the bytes are too old to be resumed.
    is_old: bool,
}

impl Found {
    /// Returns whether the upload does not run, and its record has ended if this is the object now.
    pub(super) fn has_ended(&self, now: Option<&StoredObject>) -> bool {
        !self.is_running && self.note.has_ended(now)
    }
}

#[derive(Debug)]
pub(super) struct KeptBytes {
    /// The parts before the last bytes.
    pub(super) parts: Vec<Part>,
    /// The `owner` in the key of the object with the last bytes, and the number of these bytes.
    pub(super) tail: Option<(String, u64)>,
}

impl KeptBytes {
    /// Returns the number of bytes in parts.
    pub(super) fn stored(&self) -> u64 {
        sum(&self.parts)
    }

    /// Returns the number of bytes that were received at least. A part is stored only when further
    /// bytes follow.
    pub(super) fn received(&self) -> u64 {
        self.stored() + self.tail.as_ref().map_or(1, |(_, length)| *length)
    }
}

/// Returns the note with this key; `None` if it is missing, or has ended by its age.
pub(super) fn find(store: &Inner, key: &str) -> Result<Option<Found>, S3Error> {
    let Some((object, note)) = read(store, key)? else { return Ok(None) };
    let age = Duration::from_secs(u64::try_from(object.age()).unwrap_or(0));
    let note = note.unwrap_or_else(Note::doubtful);
    if age >= RECORDED && note.old.is_none() {
        return Ok(None);
    }
    let (is_running, is_old) = (note.is_active && age <= store.lease, age >= REMEMBERED);
    Ok(Some(Found { note, tag: object.tag, is_running, is_old }))
}

/// Returns the object of a note of any age, and the note if it can be parsed; `None` if the object is
/// missing.
fn read(store: &Inner, key: &str) -> Result<Option<(StoredObject, Option<Note>)>, S3Error> {
    let found = store.client.get_small(key, LONGEST)?;
    Ok(found.map(|(object, bytes)| (object, str::from_utf8(&bytes).ok().and_then(Note::parse))))
}

/// Returns the bytes of a note that can be resumed; `None` if there are none.
pub(super) fn load(store: &Inner, found: &Found) -> Result<Option<KeptBytes>, S3Error> {
    let note = &found.note;
    if found.is_old {
        return Ok(None);
    }
    let listed = match &note.upload {
        Some(_) if !note.keeps => return Ok(None),
        Some(upload) => {
            let upload = Multipart { key: note.key.clone(), upload: upload.clone() };
            match store.client.list_parts(&upload)? {
                Some(parts) => parts,
                None => return Ok(None),
            }
        }
        None => Vec::new(),
    };
    let whole = contiguous(&listed);
    let noted = whole.get(..note.parts as usize).map(<[Part]>::to_vec);
    let noted = noted.filter(|parts| sum(parts) == note.stored);
    // All parts except the last listed one, even those that were stored after the note was written.
    let mut since = whole.to_vec();
    if since.len() == listed.len() {
        since.pop();
    }
    let kept = match noted {
        Some(parts) if !note.is_active || note.size() >= sum(&since) => {
            let tail = note.tail.clone().filter(|(_, length)| *length > 0);
            KeptBytes { parts, tail }
        }
        _ if note.is_active => KeptBytes { parts: since, tail: None },
        _ => return Ok(None),
    };
    Ok((!kept.parts.is_empty() || kept.tail.is_some()).then_some(kept))
}

/// Returns the parts from number 1 up to the first gap.
fn contiguous(parts: &[Part]) -> &[Part] {
    let count = parts.iter().zip(1..).take_while(|(part, number)| part.number == *number).count();
    parts.get(..count).unwrap_or_default()
}

fn sum(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.size).sum()
}

/// Removes a note and the bytes that it names. A newer note with the same key stays.
pub(super) fn discard(store: &Inner, note_key: &str, found: &Found) -> Result<(), S3Error> {
    match store.delete_if(note_key, &found.tag) {
        Ok(()) => discard_bytes(store, &found.note),
        // Another session has resumed the upload or replaced the note.
        Err(error) if error.is_precondition() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Discards the partial upload of another session. Tries several times, because that session may
/// still renew the note.
pub(super) fn supersede(store: &Inner, note_key: &str) -> Result<(), S3Error> {
    const TRIES: u32 = 3;
    for _ in 0..TRIES {
        match find(store, note_key)? {
            Some(found) => discard(store, note_key, &found)?,
            None => break,
        }
    }
    Ok(())
}

pub(super) fn discard_bytes(store: &Inner, note: &Note) -> Result<(), S3Error> {
    abort(store, note).and_then(|()| delete_tail(store, note))
}

fn abort(store: &Inner, note: &Note) -> Result<(), S3Error> {
    let Some(upload) = note.upload.clone() else { return Ok(()) };
    store.client.abort_upload(&Multipart { key: note.key.clone(), upload })
}

pub(super) fn delete_tail(store: &Inner, note: &Note) -> Result<(), S3Error> {
    let Some((owner, _)) = &note.tail else { return Ok(()) };
    store.client.delete(&keys::tail(owner), &Condition::None)
}

/// An unfinished upload that this session resumes.
pub(super) struct ResumedUpload {
    /// The note, and its entity tag.
    pub(super) note: (Note, String),
    pub(super) parts: Vec<Part>,
    /// The bytes that follow the parts.
    pub(super) tail: PartBuffer,
}

impl ResumedUpload {
    /// Takes over the upload of a note, to go on after its first `from` bytes. `old` is the object
    /// to replace.
    ///
    /// # Errors
    ///
    /// Returns `BadRestart` if these bytes are not kept; `Busy` if another session has taken over
    /// the upload first; or an error of the store.
    pub(super) fn take_up(
        store: &Inner,
        note_key: &str,
        found: Option<Found>,
        old: Option<&StoredObject>,
        from: u64,
    ) -> StorageResult<Self> {
        let found = found.ok_or(Kind::BadRestart)?;
        if found.is_running {
            return Err(Kind::Busy.into());
        }
        let mut kept = match found.note.old == old.map(StoredObject::version) {
            true => load(store, &found)?.ok_or(Kind::BadRestart)?,
            false => return Err(Kind::BadRestart.into()),
        };
        let (owner, length) = kept.tail.clone().unwrap_or_default();
        let more = from.checked_sub(kept.stored()).filter(|more| *more <= length);
        let (more, mut tail) = (more.ok_or(Kind::BadRestart)?, PartBuffer::new(&store.pool));
        if more > 0 {
            tail.hold(more)?;
            let found = store.client.get_small(&keys::tail(&owner), more)?;
            let bytes = found.map(|(_, bytes)| bytes).unwrap_or_default();
            if bytes.len() as u64 != more {
                return Err(Kind::BadRestart.into());
            }
            tail.set(bytes);
        }
        // Bytes after the first `from` ones are given up, even if this upload fails.
        kept.tail = kept.tail.map(|(owner, _)| (owner, more));
        let note = take_over(store, note_key, &found, &kept)?;
        Ok(Self { note, parts: kept.parts, tail })
    }
}

/// Writes the note of an upload that another session resumes, so that no third one does. Returns the
/// note and its entity tag.
pub(super) fn take_over(
    store: &Inner,
    note_key: &str,
    found: &Found,
    kept: &KeptBytes,
) -> StorageResult<(Note, String)> {
    let note = Note {
        owner: Inner::unique()?,
        is_active: true,
        parts: u32::try_from(kept.parts.len()).unwrap_or(u32::MAX),
        stored: kept.stored(),
        tail: kept.tail.clone(),
        ..found.note.clone()
    };
    match write(store, note_key, &note, &Condition::Is(found.tag.clone())) {
        Ok(tag) => Ok((note, tag)),
        Err(error) if error.is_precondition() || error.is_missing() => Err(Kind::Busy.into()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the note of an upload that has ended: with the parts and the bytes after them, or if
/// `received` is `None`, with the bytes that `note` names. Discards all other bytes.
pub(super) fn leave(
    store: &Inner,
    note_key: &str,
    note: &Note,
    received: Option<(&[Part], &[u8])>,
    condition: &Condition,
) -> Result<(), S3Error> {
    let mut left = Note { is_active: false, ..note.clone() };
    if let Some((parts, tail)) = received {
        (left.parts, left.stored) = (u32::try_from(parts.len()).unwrap_or(u32::MAX), sum(parts));
        left.tail = None;
        if !tail.is_empty() {
            let owner = Inner::unique()?;
            let key = keys::tail(&owner);
            store.put(&key, tail, &Condition::None)?;
            left.tail = Some((owner, tail.len() as u64));
        }
    }
    if left.parts == 0 {
        left.upload = None;
    }
    match write(store, note_key, &left, condition) {
        // Another session has taken over the upload.
        Err(error) if error.is_precondition() => return Ok(()),
        done => done.map(drop)?,
    }
    if left.upload.is_none() {
        abort(store, note)?;
    }
    if left.tail == note.tail { Ok(()) } else { delete_tail(store, note) }
}

/// Writes a note, and returns its entity tag. A session writes its note again and again: the id of
/// each object tells the writes apart.
pub(super) fn write(
    store: &Inner,
    key: &str,
    note: &Note,
    condition: &Condition,
) -> Result<String, S3Error> {
    store.put(key, note.encode().as_bytes(), condition)
}

/// Discards the uploads whose notes have this prefix and pass the test.
pub(super) fn discard_all(
    store: &Inner,
    prefix: &str,
    is_discarded: impl Fn(&Found) -> bool,
) -> Result<(), S3Error> {
    store.each_key(prefix, |listed| match find(store, &listed.key)? {
        Some(found) if is_discarded(&found) => discard(store, &listed.key, &found),
        _ => Ok(()),
    })
}

/// Moves the notes of a renamed directory, without their bytes: a multipart upload cannot be moved. What
/// they forbade under the old name, they forbid under the new one.
pub(super) fn move_notes(
    store: &Inner,
    (from, to): (&str, &str),
    (old, new): (&str, &str),
) -> Result<(), S3Error> {
    let mut all = Vec::new();
    store.each_key(from, |listed| {
        // A running upload goes on to the old name, and ends its note itself.
        let is_left = |found: &Found| !found.is_running || found.note.upload.is_some();
        all.extend(find(store, &listed.key)?.filter(is_left).map(|found| (listed.key, found)));
        Ok(())
    })?;
    let is_there = !all.is_empty() && store.has_keys(old)?;
    for (key, found) in all {
        let Some(name) = key.strip_prefix(from) else { continue };
        let moved_key = format!("{to}{name}");
        // A note that cannot be read may be about any file, and forbids at both places.
        let (mut place, mut now, mut is_left) = (String::new(), None, is_there);
        if let Some(rest) = found.note.key.strip_prefix(old) {
            place = format!("{new}{rest}");
            now = store.client.head(&place)?;
            is_left = is_there && store.client.head(&found.note.key)?.is_some();
        }
        // A note that is there already is of a later upload.
        let other = find(store, &moved_key)?;
        let is_free = other.as_ref().is_none_or(|other| other.has_ended(now.as_ref()));
        if found.note.old.is_some() && is_free && (now.is_some() || place.is_empty()) {
            let old = now.map_or_else(String::new, |now| now.version());
            let note = Note { key: place, old: Some(old), ..found.note.bare() };
            let condition = other.map_or(Condition::New, |other| Condition::Is(other.tag));
            match write(store, &moved_key, &note, &condition) {
                Err(error) if error.is_precondition() => {}
                written => drop(written?),
            }
        }
        match is_left && found.note.old.is_some() {
            true => discard_bytes(store, &found.note)?,
            false => discard(store, &key, &found)?,
        }
    }
    Ok(())
}

/// Maximum number of objects that a sweep cannot remove. After that, the store itself is at fault.
const FAILURES: u32 = 10;

/// Removes the records that are too old or have ended, and the bytes of others that are too old.
/// Returns their number. An object that cannot be read or removed is left to the next sweep.
pub(super) fn sweep(store: &Inner) -> Result<usize, S3Error> {
    let now = store.client.clock()?.unwrap_or_else(super::encode::now);
    let oldest = now - i64::try_from(REMEMBERED.as_secs()).unwrap_or(i64::MAX);
    let mut failures = 0;
    let mut pass = |key: &str, removed: Result<bool, S3Error>| match removed {
        Err(error) if failures < FAILURES => {
            failures += 1;
            log::warn!("{key:?}: cannot remove what an unfinished upload has left: {error}");
            Ok(false)
        }
        removed => removed,
    };
    let mut removed = 0;
    store.each_key(keys::NOTES, |listed| {
        if listed.modified <= oldest {
            let swept = sweep_note(store, &listed, (now, oldest));
            removed += usize::from(pass(&listed.key, swept)?);
        }
        Ok(())
    })?;
    // Also removes the tails that no note names any more, and the objects that failed moves of
    // directories and interrupted tests of the store have left. An upload that goes on with a tail for
    // longer than another half a day without a further part loses these bytes, and is then refused.
    let older = oldest - i64::try_from(REMEMBERED.as_secs()).unwrap_or(i64::MAX);
    for (prefix, oldest) in
        [(keys::TAILS, older), (keys::TREE_MOVES, oldest), (keys::PROBES, oldest)]
    {
        store.each_key(prefix, |listed| {
            if listed.modified <= oldest {
                let deleted = store.client.delete(&listed.key, &Condition::None);
                pass(&listed.key, deleted.map(|()| true))?;
            }
            Ok(())
        })?;
    }
    Ok(removed)
}

/// Removes the bytes that a note names and that are still too old; and the note, unless it must
/// forbid for longer. Returns `false` if nothing was removed, or if the note was written again.
fn sweep_note(store: &Inner, listed: &Listed, (now, oldest): (i64, i64)) -> Result<bool, S3Error> {
    let Some((object, note)) = read(store, &listed.key)? else { return Ok(false) };
    // If the response has no time, the one in the listing counts. Since then, another session can
    // have resumed the upload or begun another one: its note has another tag.
    let is_new = match object.modified {
        Some(modified) => modified > oldest,
        None => listed.tag.as_ref().is_some_and(|tag| *tag != object.tag),
    };
    if is_new {
        return Ok(false);
    }
    let bare = now.saturating_sub(object.modified.unwrap_or(listed.modified));
    let is_too_old = u64::try_from(bare).is_ok_and(|age| age >= BARE.as_secs());
    let note = note.unwrap_or_else(Note::doubtful);
    let is_over = is_too_old && note.old.is_none()
        || !note.key.is_empty() && note.has_ended(store.client.head(&note.key)?.as_ref());
    if !is_over && !note.has_bytes() {
        return Ok(false);
    }
    // No session can resume the upload any more. Without the note, no server would find parts that
    // the store has not removed. But without times no upload is too old to be resumed, and only the
    // change of the note proves that no session has resumed it.
    let has_times = object.modified.is_some();
    if has_times {
        abort(store, &note)?;
    }
    let changed = match is_over {
        true => store.delete_if(&listed.key, &object.tag),
        false => {
            let condition = Condition::Is(object.tag.clone());
            write(store, &listed.key, &note.bare(), &condition).map(drop)
        }
    };
    match changed {
        Err(error) if error.is_precondition() => return Ok(false),
        changed => changed?,
    }
    if !has_times {
        abort(store, &note)?;
    }
    delete_tail(store, &note).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32) -> Part {
        Part { number, size: 10, tag: String::new() }
    }

    #[test]
    fn partial_upload_notes_round_trip_and_malformed_ones_are_rejected() {
        let mut note = Note {
            owner: "o1".to_owned(),
            key: "d/a b é".to_owned(),
            object: "id".to_owned(),
            upload: Some("up/1+=".to_owned()),
            is_active: true,
            keeps: false,
            parts: 3,
            stored: 30,
            tail: Some(("o0".to_owned(), 7)),
            old: Some("\"tag\" 7 id".to_owned()),
        };
        assert_eq!(Note::parse(&note.encode()).as_ref(), Some(&note));
        (note.upload, note.tail, note.old) = (None, None, None);
        (note.is_active, note.keeps) = (false, true);
        assert_eq!(Note::parse(&note.encode()).as_ref(), Some(&note));
        for wrong in ["", "x", TITLE, &note.encode().replace("cut", "eaten")] {
            assert_eq!(Note::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_count_up_to_the_first_gap() {
        for (numbers, want) in [(&[1, 2, 3][..], 3), (&[1, 3], 1), (&[2, 3], 0), (&[], 0)] {
            let parts: Vec<_> = numbers.iter().copied().map(part).collect();
            assert_eq!(contiguous(&parts).len(), want, "{numbers:?}");
        }
    }
}
