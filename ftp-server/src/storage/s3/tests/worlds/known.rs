//! Cases that fail. A column of a row is the beginning of that column of all its cases: the command,
//! its request with the number of equal ones before, the fault with the moment of the other node, and
//! the act of the other node.

/// What no condition of a store can tell: whether a missing name has never existed, and whether an
/// empty object is the same one. Nothing is lost: a file that was renamed or removed meanwhile
/// comes back, or an empty directory goes.
pub(super) const OPEN: [&str; 14] = [
    "STOR | PutObject | LostAnswer During | RNFR",
    "STOR | PutObject | Other(NoContent, true) During | RNFR",
    "STOR | PutObject | Other(Nothing, true) During | RNFR",
    "STOR | PutObject | Other(Json, true) During | RNFR",
    "STOR | PutObject | Other(Text, true) During | RNFR",
    "STOR | PutObject | Twice During | RNFR",
    "STOR new | PutObject | Adrift After | DELE",
    "STOR new | PutObject | Adrift After | RNFR n",
    "STOR new | PutObject | Twice After | DELE",
    "STOR new | PutObject | Twice After | RNFR n",
    "MKD | PutObject | Adrift After | RMD",
    "MKD | PutObject | Twice After | RMD",
    "RMD | DeleteObject | Adrift After | MKD",
    "RMD | DeleteObject | Twice After | MKD",
];

/// What must be mended.
pub(super) const KNOWN: [&str; 27] = [
    // A request without a condition replaces or removes what is newer.
    "STOR | PutObject | LateWork Left",
    "STOR | CompleteMultipartUpload | LateWork Left",
    "STOR | PutObject | Adrift After",
    "STOR | PutObject | Twice After",
    "DELE | DeleteObject | LateWork Left",
    "DELE | DeleteObject | Adrift After",
    "DELE | DeleteObject | Twice After",
    "RNTO | CopyObject | LateWork Left",
    "MFMT | CopyObject | SlowCopy",
    "moto: MFMT | CopyObject | SlowCopy",
    // The answer of another program is a success.
    "STOR | PutObject | Other(Nothing, false)",
    "APPE | PutObject | Other(Nothing, false)",
    "REST | PutObject | Other(Nothing, false)",
    "MKD | PutObject | Other(Nothing, false)",
    "RNTO tree | PutObject | Other(Nothing, false)",
    "DELE | DeleteObject | Other(NoContent, false)",
    "RMD | DeleteObject | Other(NoContent, false)",
    "RNTO | DeleteObject | Other(NoContent, false)",
    // The rename has changed something, and the reply says that it has not.
    "RNTO new | HeadObject",
    "RNTO over | HeadObject",
    "RNTO tree | HeadObject",
    "RNTO | CopyObject",
    "RNTO | DeleteObject",
    "RNTO tree | PutObject",
    "moto: RNTO | HeadObject",
    "moto: RNTO | CopyObject",
    "moto: RNTO | DeleteObject",
];

/// The same for uploads that are resumed: the size, the request, the fault and the client.
pub(super) const UNRECORDED: [&str; 4] = [
    "51 bytes | PutObject",
    "51 bytes | silence",
    "5242889 bytes | CreateMultipartUpload",
    "5242889 bytes | PutObject",
];
