//! A list of ports and ranges.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ftp_tests::check::port_ranges(data));
