//! The bytes that a server sends, to replies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::reply(data));
