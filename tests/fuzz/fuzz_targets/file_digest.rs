//! The text of a reply to `HASH`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::file_digest(data));
