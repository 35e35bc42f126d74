//! A reply to `LIST` as Unix servers send it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::listing(data));
