#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runq_fuzz::trackers(data));
