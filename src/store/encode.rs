//! Parquet's encodings of whole numbers (the format's `Encodings.md`), as far as points need them.

/// Numbers of one block of differences, which has a smallest difference of its own.
const BLOCK: usize = 256;

/// Numbers of a block that share a bit width.
const MINI_BLOCK: usize = 64;

/// Repeats below this number are packed like other values.
const MIN_REPEATS: usize = 16;

/// Bits that a number takes.
pub fn bit_width(number: u64) -> u8 {
    (u64::BITS - number.leading_zeros()) as u8
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i64, out: &mut Vec<u8>) {
    varint(((number << 1) ^ (number >> 63)) as u64, out);
}

/// Numbers of `width` bits one after the other, the lowest bit first, filled up to a whole byte.
fn pack(numbers: impl Iterator<Item = u64>, width: u8, out: &mut Vec<u8>) {
    let (mut held, mut bits) = (0u128, 0u32);
    for number in numbers {
        held |= u128::from(number) << bits;
        bits += u32::from(width);
        if bits >= u64::BITS {
            out.extend_from_slice(&(held as u64).to_le_bytes());
            held >>= u64::BITS;
            bits -= u64::BITS;
        }
    }
    out.extend_from_slice(&held.to_le_bytes()[..bits.div_ceil(8) as usize]);
}

/// `DELTA_BINARY_PACKED`. 32-bit numbers take the same form as long as none of them is negative.
pub fn delta(numbers: &[i64], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint((BLOCK / MINI_BLOCK) as u64, out);
    varint(numbers.len() as u64, out);
    let mut previous = numbers.first().copied().unwrap_or_default();
    zigzag(previous, out);
    for block in numbers.get(1..).unwrap_or_default().chunks(BLOCK) {
        let mut deltas = [0i64; BLOCK];
        for (delta, number) in deltas.iter_mut().zip(block) {
            *delta = number.wrapping_sub(previous);
            previous = *number;
        }
        delta_block(&mut deltas, block.len(), out);
    }
}

fn delta_block(deltas: &mut [i64; BLOCK], count: usize, out: &mut Vec<u8>) {
    let used = deltas.get_mut(..count).unwrap_or_default();
    let smallest = used.iter().copied().min().unwrap_or_default();
    zigzag(smallest, out);
    used.iter_mut().for_each(|delta| *delta = delta.wrapping_sub(smallest));
    let widths: [u8; BLOCK / MINI_BLOCK] = std::array::from_fn(|i| {
        let mini_block = &deltas[i * MINI_BLOCK..(i + 1) * MINI_BLOCK];
        bit_width(mini_block.iter().fold(0, |all, delta| all | *delta as u64))
    });
    out.extend_from_slice(&widths);
    // Behind the last number whole mini blocks are left out; one that is begun is filled up.
    for (mini_block, width) in deltas.chunks(MINI_BLOCK).zip(widths).take(count.div_ceil(MINI_BLOCK)) {
        pack(mini_block.iter().map(|delta| *delta as u64), width, out);
    }
}

/// One number of `width` bits many times over, in the hybrid of `RLE` and `RLE_DICTIONARY`.
pub fn repeat(number: u32, count: usize, width: u8, out: &mut Vec<u8>) {
    varint((count as u64) << 1, out);
    out.extend_from_slice(&number.to_le_bytes()[..usize::from(width).div_ceil(8)]);
}

/// Numbers of `width` bits in the hybrid of `RLE` and `RLE_DICTIONARY`.
pub fn hybrid(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut at, mut packed_to) = (0, 0);
    while let Some(number) = numbers.get(at) {
        let repeats = numbers[at..].iter().take_while(|next| *next == number).count();
        // Packed numbers come in eights.
        let missing = (at - packed_to).next_multiple_of(8) - (at - packed_to);
        if repeats >= missing + MIN_REPEATS {
            packed(&numbers[packed_to..at + missing], width, out);
            repeat(*number, repeats - missing, width, out);
            packed_to = at + repeats;
        }
        at += repeats;
    }
    packed(&numbers[packed_to..], width, out);
}

fn packed(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    if !numbers.is_empty() {
        let filled = numbers.len().next_multiple_of(8);
        varint((filled as u64 / 8) << 1 | 1, out);
        let zeros = std::iter::repeat_n(0, filled - numbers.len());
        pack(numbers.iter().map(|number| u64::from(*number)).chain(zeros), width, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_varint(bytes: &[u8], at: &mut usize) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[*at];
            *at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    fn read_packed(bytes: &[u8], at: &mut usize, width: u8, count: usize) -> Vec<u64> {
        let bit = |i: usize| u64::from(bytes[*at + i / 8] >> (i % 8) & 1);
        let width = usize::from(width);
        let number = |i: usize| (0..width).fold(0, |number, b| number | bit(i * width + b) << b);
        let numbers = (0..count).map(number).collect();
        *at += (count * width).div_ceil(8);
        numbers
    }

    fn read_zigzag(bytes: &[u8], at: &mut usize) -> i64 {
        let number = read_varint(bytes, at);
        (number >> 1) as i64 ^ -((number & 1) as i64)
    }

    /// Reads as the format's specification says.
    fn read_delta(bytes: &[u8]) -> Vec<i64> {
        let at = &mut 0;
        let (block, minis) = (read_varint(bytes, at) as usize, read_varint(bytes, at) as usize);
        let count = read_varint(bytes, at) as usize;
        let mut last = read_zigzag(bytes, at);
        let mut numbers = if count > 0 { vec![last] } else { Vec::new() };
        while numbers.len() < count {
            let smallest = read_zigzag(bytes, at);
            let widths = bytes[*at..*at + minis].to_vec();
            *at += minis;
            for width in widths {
                if numbers.len() >= count {
                    break;
                }
                for delta in read_packed(bytes, at, width, block / minis) {
                    last = last.wrapping_add(smallest).wrapping_add(delta as i64);
                    numbers.push(last);
                }
            }
        }
        assert_eq!(*at, bytes.len());
        numbers.truncate(count);
        numbers
    }

    fn read_hybrid(bytes: &[u8], width: u8, count: usize) -> Vec<u64> {
        let (at, mut numbers) = (&mut 0, Vec::new());
        while *at < bytes.len() {
            let header = read_varint(bytes, at) as usize;
            if header & 1 == 1 {
                numbers.extend(read_packed(bytes, at, width, (header >> 1) * 8));
            } else {
                let size = usize::from(width).div_ceil(8);
                let number = (0..size).fold(0, |number, i| number | u64::from(bytes[*at + i]) << (8 * i));
                *at += size;
                numbers.extend(std::iter::repeat_n(number, header >> 1));
            }
        }
        numbers.truncate(count);
        numbers
    }

    proptest! {
        #[test]
        fn differences_come_back(
            spread in 0u32..64,
            numbers in prop::collection::vec(any::<i64>(), 0..600),
        ) {
            let numbers: Vec<i64> = numbers.into_iter().map(|number| number >> spread).collect();
            let mut bytes = Vec::new();
            delta(&numbers, &mut bytes);
            prop_assert_eq!(read_delta(&bytes), numbers);
        }

        #[test]
        fn runs_and_single_numbers_come_back(
            width in 0u8..18,
            runs in prop::collection::vec((any::<u32>(), 1usize..40), 0..60),
        ) {
            let mask = (1u64 << width) as u32 - 1;
            let all = runs.iter().flat_map(|(number, count)| std::iter::repeat_n(number & mask, *count));
            let numbers: Vec<u32> = all.collect();
            let mut bytes = Vec::new();
            hybrid(&numbers, width, &mut bytes);
            let expected: Vec<u64> = numbers.iter().map(|number| u64::from(*number)).collect();
            prop_assert_eq!(read_hybrid(&bytes, width, numbers.len()), expected);
        }
    }
}
