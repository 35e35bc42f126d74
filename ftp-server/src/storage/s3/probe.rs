//! Tests the features of a store, because some stores silently ignore the conditions of a request.

use super::encode::{xml_elements, xml_text};
use super::error::S3Error;
use super::http::{Client, IF_IS, IF_NEW, Request, Treatment, Treatments, check_wanted};
use super::inner::Inner;
use super::keys;
use super::multipart::LEAST;
use super::objects::{Condition, ID};
use crate::threads::RECENT;

const CONTENT: &[u8] = b"a probe of ftp-server";

const CONDITIONAL: [&str; 4] =
    ["PutObject", "CompleteMultipartUpload", "CopyObject", "DeleteObject"];

impl Inner {
    /// Returns how the store treats the conditions of this operation, or for `UploadPartCopy`,
    /// whether it has it. The first call tests it; if the test fails, the next one does so again.
    pub(super) fn test(&self, operation: &'static str) -> Result<Treatments, S3Error> {
        let checks = &self.client.checks;
        let _alone = checks.testing.lock();
        if let Some(found) = checks.known(operation) {
            return Ok(found);
        }
        let found = test(self, operation)?;
        if operation == "PutObject" && found.has(Treatment::Missing) {
            return Err(S3Error::wrong(operation, "expected an object store"));
        }
        checks.learn(operation, found);
        for header in [IF_NEW, IF_IS] {
            if found.of(header) == Treatment::Refused {
                log::warn!(
                    "bucket {}: the store refuses {header} of {operation}, which is sent without it",
                    self.client.bucket
                );
            }
        }
        Ok(found)
    }

    /// Returns whether the store is proved to check the condition of this operation that has this header.
    pub(super) fn checks(&self, operation: &'static str, header: &str) -> bool {
        let tested = self.test(operation).inspect_err(|error| {
            log::warn!("bucket {}: cannot test the store: {error}", self.client.bucket);
        });
        tested.is_ok_and(|found| found.of(header) == Treatment::Checked)
    }

    /// Makes a change of the object at `key` under a condition: that of the store; or directly after
    /// a look at the object, if a test has shown that the store does not check it. `send` sends the
    /// change with the condition that the store knows.
    ///
    /// # Errors
    ///
    /// Returns an error for a condition that is not met, or an error of the requests.
    pub(super) fn conditional<T>(
        &self,
        (operation, key): (&'static str, &str),
        condition: &Condition,
        send: impl Fn(&Condition) -> Result<T, S3Error>,
    ) -> Result<T, S3Error> {
        let Some((header, _)) = condition.header() else { return send(condition) };
        let mut known = self.client.checks.known(operation).map(|known| known.of(header));
        if known.is_none_or(|known| known == Treatment::Checked) {
            match send(condition) {
                // What a single refusal says may be a mistake: only the test decides.
                Err(error) if error.is_unimplemented() => {
                    known = Some(self.test(operation)?.of(header));
                    if known != Some(Treatment::Refused) {
                        return Err(error);
                    }
                }
                // Before the test, nothing without a response was sent again.
                Err(lost) if known.is_none() && lost.is_in_doubt() && !keys::is_hidden(key) => {
                    if !self.checks(operation, header) || check_wanted(RECENT).is_err() {
                        return Err(lost);
                    }
                    // The store may have made the first change since.
                    return send(condition).map_err(|again| match again.is_changed() {
                        true => S3Error::Undecided(Box::new(lost)),
                        false => again,
                    });
                }
                sent => return sent,
            }
        }
        if !condition.is_met(self.client.head(key)?.as_ref()) {
            return Err(S3Error::changed(operation));
        }
        // The look and the test took time.
        check_wanted(RECENT)?;
        send(if known == Some(Treatment::Refused) { &Condition::None } else { condition })
    }

    /// Stores an object in one request, under a condition.
    pub(super) fn store_object(
        &self,
        key: &str,
        bytes: &[u8],
        condition: &Condition,
        id: &str,
    ) -> Result<String, S3Error> {
        self.conditional(("PutObject", key), condition, |condition| {
            self.client.put(key, bytes, condition, id, self.checksums)
        })
    }

    /// As [`store_object`](Self::store_object), for a key that nothing else is published under. Waits
    /// for a removal of the object.
    pub(super) fn put(
        &self,
        key: &str,
        bytes: &[u8],
        condition: &Condition,
    ) -> Result<String, S3Error> {
        let _turn = self.turn_of_own(key);
        self.store_object(key, bytes, condition, &Self::unique()?)
    }
}

/// The optional features of an object store.
///
/// A store that lacks some features is still usable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct S3Features {
    /// The store refuses a write if its condition is not met. A condition requires that the object
    /// is new, or that it has not changed. Without this feature, two clients that create the same
    /// file at once may both succeed, two servers may resume the same upload, and a request without a
    /// response may replace newer bytes.
    pub conditional_writes: bool,
    /// The store checks such conditions when it completes a multipart upload, not only when it
    /// stores an object in one request.
    pub conditional_completion: bool,
    /// The store checks such conditions on the target of a copy. Without this feature, `RNTO` and
    /// `MFMT` copy in parts. If the store does not check the conditions of their completion either,
    /// `RNTO` can lose a file that another server stores at the same moment, and `MFMT` fails.
    pub conditional_copy: bool,
    /// The store removes an object only if a condition is met. Without this feature, `RNTO`, `DELE`
    /// and `RMD` can lose a file that another server stores at the same moment.
    pub conditional_removal: bool,
    /// The store refuses requests with some of these conditions, instead of ignoring them. The
    /// server then looks at the object, and sends the request without a condition.
    pub refuses_conditions: bool,
    /// The store copies objects, which `RNTO` and `MFMT` require.
    pub copies: bool,
    /// The store copies parts of objects, which `APPE` and `REST` before `STOR` require to keep 5
    /// MiB or more of an existing file.
    pub part_copies: bool,
    /// The bucket has a lifecycle rule that removes abandoned multipart uploads.
    pub removes_abandoned: bool,
    /// The bucket keeps no old versions, or a lifecycle rule removes those of the server's own
    /// objects. Otherwise each upload and each change of a ledger leaves versions for ever.
    pub removes_old_versions: bool,
}

/// Tests an operation with temporary objects.
fn test(store: &Inner, operation: &'static str) -> Result<Treatments, S3Error> {
    let client = &store.client;
    let key = format!("{}{}", keys::PROBES, Inner::unique()?);
    let copy_key = format!("{key}-copy");
    let put = |condition: &Condition| {
        client.put(&key, CONTENT, condition, &Inner::unique()?, store.checksums)
    };
    let tested = match operation {
        "PutObject" => treatments(store, &key, true, |condition| put(condition).map(drop)),
        // A removal has one condition only.
        "DeleteObject" => treatments(store, &key, false, |condition| match condition {
            Condition::None => put(condition).map(drop),
            condition => client.delete(&key, condition),
        }),
        "CopyObject" => put(&Condition::None).and_then(|tag| {
            treatments(store, &copy_key, true, |condition| {
                let metadata = [(ID.to_owned(), Inner::unique()?)];
                client.copy(&key, &tag, &copy_key, condition, &metadata).map(drop)
            })
        }),
        "UploadPartCopy" => put(&Condition::None).and_then(|tag| part_copies(store, &key, &tag)),
        _ => treatments(store, &key, true, |condition| parts(store, &key, condition)),
    };
    let removed = [&key, &copy_key].map(|key| client.delete(key, &Condition::None));
    // The error of the test is more useful than that of the removal.
    let found = tested?;
    removed.into_iter().collect::<Result<(), _>>().map(|()| found)
}

/// Returns how the store treats the conditions of `change`, which without one makes the object at
/// `key`; and also on the condition that there is none, if `makes_new` is set.
fn treatments(
    store: &Inner,
    key: &str,
    makes_new: bool,
    change: impl Fn(&Condition) -> Result<(), S3Error>,
) -> Result<Treatments, S3Error> {
    if !is_supported(change(&Condition::None))? {
        return Ok(Treatments::both(Treatment::Missing));
    }
    let Some(object) = store.client.head(key)? else {
        return Ok(Treatments::both(Treatment::Ignored));
    };
    let wrong = change(&Condition::Is("\"none\"".to_owned()));
    let is = treatment(wrong, || change(&Condition::Is(object.tag)))?;
    if !makes_new {
        return Ok(Treatments::both(is));
    }
    let new = treatment(change(&Condition::New), || {
        store.client.delete(key, &Condition::None).and_then(|()| change(&Condition::New))
    })?;
    Ok(Treatments { new, is })
}

/// Returns how the store treats a kind of condition. `wrong` is the result of a change whose condition
/// is not met, and `right` makes one whose condition is met.
fn treatment(
    wrong: Result<(), S3Error>,
    right: impl FnOnce() -> Result<(), S3Error>,
) -> Result<Treatment, S3Error> {
    match wrong {
        Err(error) if error.is_precondition() => {}
        Err(error) if error.is_unimplemented() => return Ok(Treatment::Refused),
        Err(error) if !is_unsupported(&error) => return Err(error),
        _ => return Ok(Treatment::Ignored),
    }
    // A store that refuses every change with a condition passes so far.
    match right() {
        Err(error) if error.is_transient() || error.is_in_doubt() => Err(error),
        Err(_) => Ok(Treatment::Ignored),
        Ok(()) => Ok(Treatment::Checked),
    }
}

/// Tests the store with temporary objects below the hidden prefix.
pub(super) fn probe(store: &Inner) -> Result<S3Features, S3Error> {
    let key = format!("{}{}", keys::PROBES, Inner::unique()?);
    let probed = with_object(store, &key);
    let removed = store.client.delete(&key, &Condition::None);
    probed.and_then(|probed| removed.map(|()| probed))
}

fn with_object(store: &Inner, key: &str) -> Result<S3Features, S3Error> {
    let client = &store.client;
    client.put(key, CONTENT, &Condition::None, &Inner::unique()?, store.checksums)?;
    match client.get_small(key, 1_024)? {
        Some((_, bytes)) if bytes == CONTENT => {}
        _ => return Err(S3Error::wrong("GetObject", "expected the stored bytes")),
    }
    let mut is_listed = false;
    store.each_key(key, |listed| {
        is_listed |= listed.key == key;
        Ok(())
    })?;
    if !is_listed {
        return Err(S3Error::wrong("ListObjectsV2", "the object that was just stored is missing"));
    }
    check_aliases(store, key)?;
    let found = CONDITIONAL.map(|operation| store.test(operation));
    let [writes, completion, copy, removal] = found;
    let (writes, completion, copy, removal) = (writes?, completion?, copy?, removal?);
    let rules = client.setting("GetBucketLifecycleConfiguration", "lifecycle")?;
    let versioning = client.setting("GetBucketVersioning", "versioning")?;
    Ok(S3Features {
        conditional_writes: writes.are_checked(),
        conditional_completion: completion.are_checked(),
        conditional_copy: copy.are_checked(),
        conditional_removal: removal.are_checked(),
        refuses_conditions: [writes, completion, copy, removal]
            .into_iter()
            .any(|found| found.has(Treatment::Refused)),
        copies: !copy.has(Treatment::Missing),
        part_copies: !store.test("UploadPartCopy")?.has(Treatment::Missing),
        removes_abandoned: rules.contains("AbortIncompleteMultipartUpload"),
        removes_old_versions: xml_text(&versioning, "Status").as_deref() != Some("Enabled")
            || removes_old_versions(&rules),
    })
}

impl Client {
    /// Returns a setting of the bucket, which is empty if the bucket or the store has none. An
    /// account may have access to the bucket without the right to read its settings.
    fn setting(&self, operation: &'static str, name: &str) -> Result<String, S3Error> {
        let query = vec![(name, "")];
        match self.call(&Request { query, ..Request::of(operation, None) }) {
            Ok(answer) => Ok(answer.body),
            Err(error) if error.is_missing() || matches!(error.status(), Some(403 | 405 | 501)) => {
                Ok(String::new())
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns whether a lifecycle rule removes old versions of all of the server's own objects.
fn removes_old_versions(rules: &str) -> bool {
    let has = |rule: &str, name| !xml_elements(rule, name).is_empty();
    xml_elements(rules, "Rule").into_iter().any(|rule| {
        let is_for_all = keys::HIDDEN.starts_with(&xml_text(rule, "Prefix").unwrap_or_default())
            && !["Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"]
                .iter()
                .any(|it| has(rule, it));
        let is_on = xml_text(rule, "Status").as_deref() == Some("Enabled");
        is_on && is_for_all && has(rule, "NoncurrentVersionExpiration")
    })
}

/// Makes an object with a multipart upload, under a condition.
fn parts(store: &Inner, key: &str, condition: &Condition) -> Result<(), S3Error> {
    let (client, id) = (&store.client, Inner::unique()?);
    let upload = client.create_upload(key, &[(ID.to_owned(), id.clone())])?;
    let part = client.upload_part(&upload, 1, b"a part");
    let done = part.and_then(|part| {
        if client.list_parts(&upload)?.is_none_or(|parts| parts.len() != 1) {
            let reason = "the part that was just stored is missing";
            return Err(S3Error::wrong("ListParts", reason));
        }
        client.complete(&upload, &[part], condition, &id).map(drop)
    });
    if done.is_err() {
        client.abort_upload(&upload)?;
    }
    done
}

fn part_copies(store: &Inner, key: &str, tag: &str) -> Result<Treatments, S3Error> {
    let client = &store.client;
    let upload = client.create_upload(&format!("{key}-copy"), &[])?;
    let copied = client.copy_part(&upload, 1, (key, tag), 0..5, false);
    client.abort_upload(&upload)?;
    let is_there = match copied {
        // A store may refuse because this object is too small. It still supports the operation.
        Err(error) if error.status() == Some(400) && LEAST > 5 => true,
        copied => is_supported(copied.map(drop))?,
    };
    Ok(Treatments::both(if is_there { Treatment::Checked } else { Treatment::Missing }))
}

/// Returns whether the store knows no such conditions.
fn is_unsupported(error: &S3Error) -> bool {
    let is_refusal = matches!(error.status(), Some(400 | 405 | 501)) && !error.code().is_empty();
    is_refusal && !error.is_expiry() && !error.is_transient()
}

fn is_supported(result: Result<(), S3Error>) -> Result<bool, S3Error> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.status(), Some(405 | 501)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A name, and names that disks and gateways may take for it. No path has the name that stores with
/// `\` take for it.
const NAME: &str = "Aä b";
const OTHERS: [&str; 5] = ["aä b", "Aa\u{308} b", "Aä b.", "Aä b ", "Aä\u{a0}b"];

/// Stores a test object, and looks for it under other names. With a store that takes two names for one,
/// a client reaches a file by a name that no rule of the user's directories has.
///
/// # Errors
///
/// Returns an error if the store has it there.
fn check_aliases(store: &Inner, key: &str) -> Result<(), S3Error> {
    let (own, client) = (format!("{key}-{NAME}"), &store.client);
    client.put(&own, &[], &Condition::None, &Inner::unique()?, store.checksums)?;
    let checked =
        OTHERS.iter().try_for_each(|other| match client.head(&format!("{key}-{other}"))? {
            Some(_) => {
                let why = format!(
                    "the store takes {other:?} for {NAME:?}; two names must be two objects"
                );
                Err(S3Error::wrong("HeadObject", why))
            }
            None => Ok(()),
        });
    let removed = client.delete(&own, &Condition::None);
    checked.and(removed)
}
