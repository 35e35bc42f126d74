//! Bytes from a server, decoded into replies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::reply(data));
