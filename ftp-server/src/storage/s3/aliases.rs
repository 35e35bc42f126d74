//! Finds stores that take two names for one. With such a store, a client reaches a file by a name
//! that no rule of the user's directories has.

use super::error::S3Error;
use super::inner::Inner;
use super::objects::Condition;

/// A name, and names that disks and gateways may take for it. No path has the name that stores with
/// `\` take for it.
const NAME: &str = "Aä b";
const OTHERS: [&str; 5] = ["aä b", "Aa\u{308} b", "Aä b.", "Aä b ", "Aä\u{a0}b"];

/// Stores a test object, and looks for it under other names.
///
/// # Errors
///
/// Returns an error if the store has it there.
pub(super) fn check(store: &Inner, key: &str) -> Result<(), S3Error> {
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
