#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tributary_fuzz::{control, mutate};

fuzz_target!(|data: &[u8]| control::check(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate(data, size, max_size, seed, fuzzer_mutate, control::fresh, mutate::message_behind::<1>)
});
