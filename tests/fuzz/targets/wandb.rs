#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runq_fuzz::wandb(data));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let room = data.len().min(max_size);
    runq_fuzz::mutation::framed(&mut data[..room], size, seed, &mut |data, size| {
        libfuzzer_sys::fuzzer_mutate(data, size, data.len())
    })
});
