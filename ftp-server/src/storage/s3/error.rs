//! Errors of an object store, and their conversion to storage errors.

use std::io;

use crate::storage::{StorageError, StorageErrorKind as Kind};

/// The operation of the Security Token Service (STS). All other operations are those of the store.
pub(super) const STS_OPERATION: &str = "AssumeRoleWithWebIdentity";

/// The name of requests for the keys that a platform offers.
pub(super) const PLATFORM_OPERATION: &str = "GetCredentials";

/// Error of an object store. It never contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Error {
    /// A setting is invalid.
    #[error("{0}")]
    Configuration(String),
    /// The endpoint's host name cannot be resolved.
    #[error("{host}: cannot find the address: {reason}")]
    Unresolved {
        /// The endpoint's host name.
        host: String,
        /// The reason that the system reports.
        reason: io::Error,
    },
    /// The store, or a service that issues access keys, refused the request.
    #[error("{operation}: {} responds with {status}{}", server(.operation), detail(.code, .message))]
    Refused {
        /// The operation, such as `PutObject`.
        operation: &'static str,
        /// The HTTP status. It is 200 if only the body of the response reported the error.
        status: u16,
        /// The error code, such as `SlowDown`; empty if the response had none.
        code: String,
        /// The message in the response, on one line.
        message: String,
    },
    /// The request was not sent, because no connection could be made.
    #[error("{operation}: no connection to {}: {reason}", server(.operation))]
    Unsent {
        /// The operation.
        operation: &'static str,
        /// The reason, such as a refused connection.
        reason: String,
    },
    /// No complete response of the store arrived: the connection failed, a timeout expired, or
    /// another program responded, such as a proxy.
    #[error("{operation}: no response from {}: {reason}", server(.operation))]
    Lost {
        /// The operation.
        operation: &'static str,
        /// The reason, such as a reset connection.
        reason: String,
    },
    /// The response is invalid, or its content is damaged.
    #[error("{operation}: invalid response from {}: {reason}", server(.operation))]
    Wrong {
        /// The operation.
        operation: &'static str,
        /// Description of the defect.
        reason: String,
    },
    /// The request to change something had this error, and the store did not tell whether the
    /// change was made.
    #[error("{0}; the change may still be made")]
    Undecided(Box<Self>),
    /// No access keys are available: the request for temporary keys, such as those of a
    /// [role](crate::S3StoreBuilder::web_identity), failed. The string is the reason.
    #[error("no access keys: {0}")]
    NoKeys(String),
    /// The system cannot provide a thread or memory for the request.
    #[error("cannot start a request: {0}")]
    Local(io::Error),
}

fn server(operation: &str) -> &'static str {
    match operation {
        STS_OPERATION => "STS",
        PLATFORM_OPERATION => "the platform",
        _ => "the store",
    }
}

fn detail(code: &str, message: &str) -> String {
    let space = if code.is_empty() { "" } else { " " };
    let colon = if message.is_empty() { "" } else { ": " };
    format!("{space}{code}{colon}{message}")
}

impl S3Error {
    pub(super) fn wrong(operation: &'static str, reason: impl Into<String>) -> Self {
        Self::Wrong { operation, reason: reason.into() }
    }

    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "",
        }
    }

    /// Returns whether a condition of the request was not met.
    pub(super) fn is_precondition(&self) -> bool {
        self.status() == Some(412) || self.code() == "PreconditionFailed"
    }

    /// Returns the error for a change whose condition the server itself found not met.
    pub(super) fn changed(operation: &'static str) -> Self {
        let (code, message) =
            ("PreconditionFailed".to_owned(), "the object has changed".to_owned());
        Self::Refused { operation, status: 412, code, message }
    }

    /// Returns whether the store does not know what the request asks for, such as a condition.
    pub(super) fn is_unimplemented(&self) -> bool {
        self.status() == Some(501) && self.code() == "NotImplemented"
    }

    /// Returns whether the object is no longer the one of the condition. Some stores say that it is
    /// missing.
    pub(super) fn is_changed(&self) -> bool {
        self.is_precondition() || self.is_missing() && self.code() != "NoSuchUpload"
    }

    /// Returns whether the object or the upload is missing.
    pub(super) fn is_missing(&self) -> bool {
        self.status() == Some(404) && !matches!(self.code(), "" | "NoSuchBucket")
    }

    /// Returns whether the response can mean that temporary access keys have expired. Stores use
    /// several codes for this. A response to `HeadObject` has no body, and therefore no code.
    pub(super) fn is_expiry(&self) -> bool {
        match self.code() {
            "" => matches!(self.status(), Some(400 | 403)),
            code => matches!(
                code,
                "ExpiredToken" | "InvalidAccessKeyId" | "InvalidToken" | "InvalidTokenId"
            ),
        }
    }

    /// Returns whether the same request may succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Unsent { .. } => true,
            Self::Refused { status, code, .. } => {
                matches!(status, 429 | 500 | 502 | 503 | 504)
                    || matches!(
                        &**code,
                        "InternalError"
                            | "SlowDown"
                            | "ServiceUnavailable"
                            | "RequestTimeout"
                            | "ConditionalRequestConflict"
                            | "OperationAborted"
                    )
            }
            _ => false,
        }
    }

    /// Returns whether the store may have executed the request without confirming it.
    pub(super) fn is_undecided(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Refused { status, code, .. } => {
                matches!(status, 500 | 502 | 504)
                    || code == "InternalError"
                    || (*status == 503 && code.is_empty())
            }
            _ => false,
        }
    }

    /// Returns whether a change with this error may be made, now or later.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Undecided(_)) || self.is_undecided()
    }

    /// Returns the error of a change that is made, but not with all that belongs to it.
    pub(super) fn after_change(error: impl Into<StorageError>) -> StorageError {
        let error: StorageError = error.into();
        let source = error.source.unwrap_or_else(|| io::Error::other(error.kind.to_string()));
        StorageError::caused_by(Kind::Unknown, source)
    }

    fn kind(&self) -> Kind {
        let (status, code) = match self {
            Self::Refused { status, code, .. } => (status, code),
            Self::Undecided(_) => return Kind::Unknown,
            _ => return Kind::Io,
        };
        match (&**code, status) {
            ("NoSuchBucket", _) => Kind::Io,
            // Another session has ended or changed the upload, or the store is overloaded.
            ("NoSuchUpload" | "InvalidPart" | "SlowDown" | "ServiceUnavailable", _) => Kind::Busy,
            ("KeyTooLongError", _) => Kind::NameNotAllowed,
            ("EntityTooLarge", _) => Kind::OverQuota,
            ("QuotaExceeded" | "XMinioStorageFull", _) | (_, 507) => Kind::NoSpace,
            // Only these codes become `Denied`. The third one means that the object is archived.
            // Other refusals with status 403 are the server's fault, for example because of wrong
            // access keys or a wrong clock, and become `Io`.
            ("AccessDenied" | "AllAccessDisabled" | "InvalidObjectState", _) => Kind::Denied,
            (code, 404) if !code.is_empty() => Kind::NotFound,
            (_, 409 | 412 | 429 | 503) => Kind::Busy,
            _ => Kind::Io,
        }
    }
}

impl From<io::Error> for S3Error {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

impl From<S3Error> for StorageError {
    fn from(error: S3Error) -> Self {
        Self::caused_by(error.kind(), io::Error::other(error))
    }
}

impl From<S3Error> for io::Error {
    fn from(error: S3Error) -> Self {
        StorageError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use ftp_proto::text::values::in_full;

    use super::*;

    #[test]
    fn s3_error_codes_map_to_storage_errors() {
        for (status, code, kind) in [
            (404, "NoSuchKey", Kind::NotFound),
            (404, "", Kind::Io),
            (404, "NoSuchBucket", Kind::Io),
            (404, "NoSuchUpload", Kind::Busy),
            (400, "InvalidPart", Kind::Busy),
            (403, "AccessDenied", Kind::Denied),
            (403, "", Kind::Io),
            (403, "InvalidObjectState", Kind::Denied),
            (403, "SignatureDoesNotMatch", Kind::Io),
            (403, "RequestTimeTooSkewed", Kind::Io),
            (503, "SlowDown", Kind::Busy),
            (503, "", Kind::Busy),
            (500, "InternalError", Kind::Io),
            (200, "InternalError", Kind::Io),
            (412, "PreconditionFailed", Kind::Busy),
            (400, "EntityTooLarge", Kind::OverQuota),
            (400, "KeyTooLongError", Kind::NameNotAllowed),
            (507, "XMinioStorageFull", Kind::NoSpace),
        ] {
            let code = code.to_owned();
            let message = "why".to_owned();
            let error = S3Error::Refused { operation: "PutObject", status, code, message };
            let text = error.to_string();
            // Sessions get the error from `io::Write`.
            let back = StorageError::from(io::Error::from(error));
            assert_eq!(back.kind, kind, "{text}");
            assert_eq!(back.source.map(|source| source.to_string()), Some(text));
        }
        let lost = S3Error::Lost { operation: "GetObject", reason: "reset".to_owned() };
        assert_eq!(StorageError::from(lost).kind, Kind::Io);
    }

    #[test]
    fn a_printed_chain_of_causes_says_nothing_twice() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let host = "s3.example.org".to_owned();
        for error in [S3Error::Unresolved { host, reason: reset() }, S3Error::from(reset())] {
            assert_eq!(in_full(&error), error.to_string());
        }
    }

    #[test]
    fn errors_name_sts_or_the_store() {
        let servers = [(STS_OPERATION, "STS"), (PLATFORM_OPERATION, "the platform")];
        for (operation, server) in [("PutObject", "the store")].into_iter().chain(servers) {
            let lost = S3Error::Lost { operation, reason: "reset".to_owned() };
            assert_eq!(lost.to_string(), format!("{operation}: no response from {server}: reset"));
        }
    }
}
