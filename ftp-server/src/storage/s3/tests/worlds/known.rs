//! Cases that fail. A column of a row is the beginning of that column of all its cases: the command,
//! its request with the number of equal ones before, the fault with the moment of the other node, and
//! the act of the other node.

/// What no condition of a store can tell: whether a missing name has never existed, and whether an
/// empty object is the same one. Nothing is lost: a file that was renamed or removed meanwhile
/// comes back, or an empty directory goes.
pub(super) const OPEN: [&str; 27] = [
    "STOR | PutObject | LostAnswer During | RNFR",
    "STOR | PutObject | Other(NoContent, true) During | RNFR",
    "STOR | PutObject | Other(Nothing, true) During | RNFR",
    "STOR | PutObject | Other(Json, true) During | RNFR",
    "STOR | PutObject | Other(Text, true) During | RNFR",
    "STOR | PutObject | Other(Gateway, true) During | RNFR",
    "STOR | PutObject | Twice During | RNFR",
    "STOR new | PutObject | Adrift After | DELE",
    "STOR new | PutObject | Adrift After | RNFR n",
    "STOR new | PutObject | Twice After | DELE",
    "STOR new | PutObject | Twice After | RNFR n",
    "RNTO new | CopyObject | LostAnswer During | RNFR n",
    "RNTO new | CopyObject | Other(NoContent, true) During | RNFR n",
    "RNTO new | CopyObject | Other(Nothing, true) During | RNFR n",
    "RNTO new | CopyObject | Other(Json, true) During | RNFR n",
    "RNTO new | CopyObject | Other(Text, true) During | RNFR n",
    "RNTO new | CopyObject | Other(Gateway, true) During | RNFR n",
    "RNTO tree | CopyObject | LostAnswer During | RNFR t/x",
    "RNTO tree | CopyObject | Other(NoContent, true) During | RNFR t/x",
    "RNTO tree | CopyObject | Other(Nothing, true) During | RNFR t/x",
    "RNTO tree | CopyObject | Other(Json, true) During | RNFR t/x",
    "RNTO tree | CopyObject | Other(Text, true) During | RNFR t/x",
    "RNTO tree | CopyObject | Other(Gateway, true) During | RNFR t/x",
    "MKD | PutObject | Adrift After | RMD",
    "MKD | PutObject | Twice After | RMD",
    "RMD | DeleteObject | Adrift After | MKD",
    "RMD | DeleteObject | Twice After | MKD",
];

/// What a note could tell only if it preceded the first byte, which would cost each upload over a file
/// two requests: the store is away before it has the note, and the client goes on at another node. A
/// row is the size, the request, the fault and the client.
pub(super) const UNRECORDED: [&str; 2] =
    ["51 bytes | PutObject 0 | Outage(false) Other", "5242889 bytes | PutObject 0"];
