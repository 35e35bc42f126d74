//! Forms of values that are one of a few words.

use crate::daemon::config::forms::{Optional, Scalar};
use crate::daemon::config::kind::Kind;
use crate::daemon::values::word;
use crate::{
    ClientCertificates, ConfinementPolicy, LogFormat, PartialPolicy, RepresentationType,
    SessionReuse, SyncPolicy, TlsPolicy, TlsVersion, WithoutLedger,
};

/// A type with one word per value.
trait Words: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

const fn one_of<T: Words>(kind: Kind) -> Scalar<T> {
    let read = |text: &str| word(text, T::WORDS);
    let show = |value: &T| {
        let found = T::WORDS.iter().find(|(_, known)| known == value);
        found.map_or_else(String::new, |(word, _)| (*word).to_owned())
    };
    Scalar::new(kind, read, show)
}

/// Returns the form of a word that can be empty. Empty: the value for all users.
const fn own<T: Words>(kind: Kind) -> Optional<T> {
    Optional(one_of(kind))
}

pub(crate) const OWN_SWITCH: Optional<bool> = own(Kind::SwitchOrNone);
pub(crate) const OWN_PARTIAL: Optional<PartialPolicy> = own(Kind::Text);
pub(crate) const OWN_SYNC: Optional<SyncPolicy> = own(Kind::Text);
pub(crate) const SWITCH: Scalar<bool> = one_of(Kind::Switch);
pub(crate) const TLS: Scalar<TlsPolicy> = one_of(Kind::Text);
pub(crate) const TYPE: Scalar<RepresentationType> = one_of(Kind::Text);
pub(crate) const REUSE: Scalar<SessionReuse> = one_of(Kind::Text);
pub(crate) const VERSION: Scalar<TlsVersion> = one_of(Kind::Text);
pub(crate) const CLIENTS: Scalar<ClientCertificates> = one_of(Kind::Text);
pub(crate) const PARTIAL: Scalar<PartialPolicy> = one_of(Kind::Text);
pub(crate) const SYNC: Scalar<SyncPolicy> = one_of(Kind::Text);
pub(crate) const CONFINE: Scalar<ConfinementPolicy> = one_of(Kind::Text);
pub(crate) const ON_FAILURE: Scalar<WithoutLedger> = one_of(Kind::Text);
pub(crate) const LOG: Scalar<LogFormat> = one_of(Kind::Text);

impl Words for bool {
    const WORDS: &[(&str, Self)] = &[("true", true), ("false", false)];
}

impl Words for TlsPolicy {
    const WORDS: &[(&str, Self)] =
        &[("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

impl Words for RepresentationType {
    const WORDS: &[(&str, Self)] = &[("ascii", Self::Ascii), ("image", Self::Image)];
}

impl Words for SessionReuse {
    const WORDS: &[(&str, Self)] = &[
        ("off", Self::Off),
        ("observe", Self::Observe),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
    ];
}

impl Words for TlsVersion {
    const WORDS: &[(&str, Self)] = &[("1.2", Self::V1_2), ("1.3", Self::V1_3)];
}

impl Words for ClientCertificates {
    const WORDS: &[(&str, Self)] = &[("optional", Self::Optional), ("required", Self::Required)];
}

impl Words for PartialPolicy {
    const WORDS: &[(&str, Self)] =
        &[("resume", Self::Resume), ("discard", Self::Discard), ("publish", Self::Publish)];
}

impl Words for WithoutLedger {
    const WORDS: &[(&str, Self)] = &[("refuse", Self::Refuse), ("allow", Self::Allow)];
}

impl Words for SyncPolicy {
    const WORDS: &[(&str, Self)] =
        &[("none", Self::None), ("file", Self::File), ("file+dir", Self::FileAndDirectory)];
}

impl Words for ConfinementPolicy {
    const WORDS: &[(&str, Self)] =
        &[("best-effort", Self::BestEffort), ("require", Self::Require), ("off", Self::Off)];
}

impl Words for LogFormat {
    const WORDS: &[(&str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}
