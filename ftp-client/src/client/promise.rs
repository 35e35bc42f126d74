//! A feature that the server lists (`FEAT`) is a promise, which its replies test.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ftp_proto::{Reply, Severity};

/// The number of different objects whose refusals in a row show that a feature is missing.
const OBJECTS: u32 = 3;

/// A listed feature, as far as the replies of one run show it. The jobs of a run share it.
#[derive(Debug, Default)]
pub(crate) struct Promise {
    is_broken: AtomicBool,
    /// Objects in a row for which the feature was refused.
    refused: AtomicU32,
}

impl Promise {
    /// Returns the promise of a server that lists the feature, or does not.
    pub(crate) fn of(is_listed: bool) -> Self {
        Self { is_broken: AtomicBool::new(!is_listed), refused: AtomicU32::new(0) }
    }

    pub(crate) fn holds(&self) -> bool {
        !self.is_broken.load(Ordering::Relaxed)
    }

    /// Notes that the server has carried out a command of the feature.
    pub(crate) fn kept(&self) {
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Counts a refusal: an unknown command shows at once that the feature is missing, the refusal
    /// for one object only if this run has stored that object a moment before (`is_own`), or after
    /// several objects without a success. A transient reply shows nothing. Returns whether this
    /// refusal has shown it, so that one caller reports it.
    pub(crate) fn refused(&self, reply: &Reply, is_own: bool) -> bool {
        let code = reply.code();
        let is_missing = match code.value() {
            500..=504 | 522 => true,
            _ if code.severity() != Severity::Permanent => false,
            550..=553 => is_own || self.refused.fetch_add(1, Ordering::Relaxed) + 1 >= OBJECTS,
            _ => false,
        };
        is_missing && !self.is_broken.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16) -> Reply {
        Reply::new(ftp_proto::ReplyCode::new(code).unwrap(), "no")
    }

    #[test]
    fn a_feature_is_missing_once_refusals_show_it_and_that_is_told_once() {
        for code in [500, 501, 502, 504, 522] {
            let promise = Promise::of(true);
            assert!(promise.refused(&reply(code), false) && !promise.holds(), "{code}");
            assert!(!promise.refused(&reply(code), false), "{code}");
        }
        let promise = Promise::of(true);
        for _ in 0..9 {
            assert!(!promise.refused(&reply(450), true) && promise.holds());
        }
        assert!(!promise.refused(&reply(550), false) && !promise.refused(&reply(550), false));
        promise.kept();
        assert!(!promise.refused(&reply(550), false) && !promise.refused(&reply(553), false));
        assert!(promise.refused(&reply(551), false) && !promise.holds());
        let promise = Promise::of(true);
        assert!(promise.refused(&reply(550), true) && !promise.holds());
        assert!(!Promise::of(false).holds());
    }
}
