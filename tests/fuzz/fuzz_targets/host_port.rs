//! `PORT` and the text of a 227.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::host_port(data));
