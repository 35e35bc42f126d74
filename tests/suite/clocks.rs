//! Who looks at the clock on the wall. It is set forwards and back while sessions run, so that no
//! limit of time may depend on it: they are all made of `Instant`, which only goes on.

use std::fs;
use std::path::{Path, PathBuf};

/// Where that clock is read, and why: to show a time of a file, of a message or of a login to people,
/// to find the year that a date in a listing lacks, to tell how old a file is that a server before this
/// one may have left, whether a directory is the one that it was, and whether a certificate is valid.
const READERS: [&str; 23] = [
    "ftp-cli/src/cmd/doctor/clock.rs",
    "ftp-cli/src/cmd/mirror/probe.rs",
    "ftp-cli/src/cmd/serve/certificate.rs",
    "ftp-cli/src/cmd/serve/user_storage.rs",
    "ftp-cli/src/console/trace.rs",
    "ftp-cli/src/display.rs",
    "ftp-cli/src/transfer/download.rs",
    "ftp-cli/src/transfer/local_file.rs",
    "ftp-cli/src/transfer/upload.rs",
    "ftp-client/src/file/download.rs",
    "ftp-client/src/file/local.rs",
    "ftp-client/src/file/origin.rs",
    "ftp-client/src/file/resume.rs",
    "ftp-client/src/file/upload.rs",
    "ftp-client/src/listing/entries.rs",
    "ftp-proto/src/time_val.rs",
    "ftp-server/src/command/listing.rs",
    "ftp-server/src/log/line.rs",
    "ftp-server/src/log/xferlog.rs",
    "ftp-server/src/service/session_list.rs",
    "ftp-server/src/storage/local/hidden.rs",
    "ftp-server/src/storage/memory/tree.rs",
    "ftp-server/src/tls/load.rs",
];

/// How it is read: by std, and by the system calls that rustix has.
const WAYS: [&str; 5] =
    ["SystemTime", "UNIX_EPOCH", "ClockId::Realtime", "clock_gettime", "CLOCK_REALTIME"];

#[test]
fn limits_do_not_run_by_the_clock_on_the_wall_ho_15() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut readers = Vec::new();
    let mut limits = 0;
    for member in ["ftp-proto/src", "ftp-client/src", "ftp-server/src", "ftp-cli/src"] {
        for path in sources(&root.join(member)) {
            let text = fs::read_to_string(&path).unwrap();
            // Tests of ours may look at what they like.
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
