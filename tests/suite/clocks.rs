//! Every use of the wall clock. The clock may be set during sessions, so no timeout depends on it:
//! they all use `Instant`, which is monotonic.

use std::fs;
use std::path::{Path, PathBuf};

/// The files that read the wall clock, and why: to show the time of a file, a message, an event or a
/// login, to find the missing year of a listed date, to find the age of files that an earlier server
/// left, to recognise a directory, to check the dates of a certificate, to find whether a user
/// has expired, to find the age of files to transfer, to sign requests, and to tell files of Windows apart.
const READERS: [&str; 36] = [
    // Whether a file has just been written: both are times of day.
    "ftp-cli/src/cmd/mirror/options.rs",
    "ftp-cli/src/console/output.rs",
    "ftp-cli/src/gateway/storage.rs",
    "ftp-cli/src/gateway/tests.rs",
    "ftp-client/src/age.rs",
    "ftp-client/src/file/begin.rs",
    "ftp-client/src/file/get.rs",
    "ftp-client/src/file/local.rs",
    "ftp-client/src/file/segments.rs",
    "ftp-client/src/listing/entries.rs",
    "ftp-client/src/system/windows.rs",
    "ftp-client/src/tree/copy/down.rs",
    "ftp-client/src/tree/local/mod.rs",
    "ftp-proto/src/text/mod.rs",
    "ftp-proto/src/text/values.rs",
    "ftp-proto/src/time_val.rs",
    "ftp-server/src/auth/mod.rs",
    "ftp-server/src/auth/tests.rs",
    "ftp-server/src/command/access.rs",
    "ftp-server/src/daemon/check/users.rs",
    "ftp-server/src/daemon/config/forms/numbers.rs",
    "ftp-server/src/daemon/config/mod.rs",
    "ftp-server/src/daemon/config/user.rs",
    "ftp-server/src/daemon/control/mod.rs",
    "ftp-server/src/daemon/home.rs",
    "ftp-server/src/daemon/hooks/notice.rs",
    "ftp-server/src/daemon/metrics.rs",
    "ftp-server/src/daemon/running.rs",
    "ftp-server/src/daemon/systemd.rs",
    "ftp-server/src/daemon/users.rs",
    // Only `unix_now`, which the rest of the server asks.
    "ftp-server/src/deadline.rs",
    "ftp-server/src/log/xferlog.rs",
    "ftp-server/src/service/register.rs",
    // Compares the time of a change with the present: both are times of day.
    "ftp-server/src/storage/local/names.rs",
    // The processor time of a thread, not the time of day.
    "ftp-server/src/threads.rs",
    "ftp-server/src/tls/load.rs",
];

/// The calls that read it, of std and of rustix.
const WAYS: [&str; 5] =
    ["SystemTime", "UNIX_EPOCH", "ClockId::Realtime", "clock_gettime", "CLOCK_REALTIME"];

#[test]
fn timeouts_do_not_use_the_system_clock_ho_15() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut readers = Vec::new();
    let mut limits = 0;
    for member in ["ftp-proto/src", "ftp-client/src", "ftp-server/src", "ftp-cli/src"] {
        for path in sources(&root.join(member)) {
            let text = fs::read_to_string(&path).unwrap();
            // Test modules may read it.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            if WAYS.iter().any(|way| code.contains(way)) {
                let path = path.strip_prefix(&root).unwrap();
                readers.push(path.to_str().unwrap().to_owned());
            }
            limits += code.matches("Instant::now()").count();
        }
    }
    readers.sort();
    assert_eq!(readers, READERS);
    assert!(limits > 20, "{limits} looks at the other clock");
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
