//! Mutations for formats with checksums: a change inside a record is of no use unless the
//! checksums around it hold.

use crate::sources::testing::{WandbWriter, tf_record};
use std::ops::Range;

const WANDB_HEADER: &[u8] = b":W&B\xE1\xBE\x00";

/// Changes `data[..size]`, which may grow to its end, as `mutate` does; returns the new size. Most
/// changes happen inside one record, and the log is written anew around it; some are left raw.
pub fn framed(
    data: &mut [u8],
    size: usize,
    seed: u32,
    mutate: &mut dyn FnMut(&mut [u8], usize) -> usize,
) -> usize {
    let Some(mut records) = records(&data[..size]).filter(|_| seed % 4 > 0) else {
        return mutate(data, size);
    };
    let is_wandb = data.starts_with(&WANDB_HEADER[..4]);
    // What stands behind the records: torn, or read as something else by the target.
    let count = records.len();
    let at = (seed >> 2) as usize % count;
    let other = (seed >> 12) as usize % count;
    match (seed >> 24) % 16 {
        0 => records.insert(at, records[other].clone()),
        1 => records.swap(at, other),
        2 if count > 1 => drop(records.remove(at)),
        _ => {
            let mut choices = seed;
            records[at] = mutated_message(&records[at], &mut choices, mutate);
        }
    }
    let out = written(is_wandb, seed, &records);
    let kept = out.len().min(data.len());
    data[..kept].copy_from_slice(&out[..kept]);
    kept
}

/// A protobuf message with one field changed, mostly deep inside; the lengths around it hold.
fn mutated_message(
    message: &[u8],
    choices: &mut u32,
    mutate: &mut dyn FnMut(&mut [u8], usize) -> usize,
) -> Vec<u8> {
    *choices = choices.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let choice = (*choices >> 8) as usize;
    let inner = fields_with_length(message).filter(|fields| !fields.is_empty() && choice % 4 > 0);
    let Some(fields) = inner else {
        let mut out = message.to_vec();
        out.resize(message.len() * 2 + 64, 0);
        let size = mutate(&mut out, message.len());
        out.truncate(size);
        return out;
    };
    let (length_at, content) = fields[(choice >> 2) % fields.len()].clone();
    let changed = mutated_message(&message[content.clone()], choices, mutate);
    let mut out = message[..length_at].to_vec();
    let mut length = changed.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(&changed);
    out.extend_from_slice(&message[content.end..]);
    out
}

/// Where the length and the content of each field stand that has a length; `None` when the bytes
/// are no message.
fn fields_with_length(message: &[u8]) -> Option<Vec<(usize, Range<usize>)>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let tag = varint(message, &mut at)?;
        let length_at = at;
        let size = match tag & 7 {
            0 => varint(message, &mut at).map(|_| 0)?,
            1 => 8,
            2 => usize::try_from(varint(message, &mut at)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let end = at.checked_add(size).filter(|end| *end <= message.len())?;
        if tag & 7 == 2 {
            found.push((length_at, at..end));
        }
        at = end;
    }
    Some(found)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn written(is_wandb: bool, seed: u32, records: &[Vec<u8>]) -> Vec<u8> {
    if is_wandb {
        let mut writer = WandbWriter::new(if (seed >> 8) % 8 == 0 { 7 } else { 0 });
        records.iter().for_each(|record| writer.record(record));
        return writer.bytes;
    }
    let mut out = Vec::new();
    records.iter().for_each(|record| tf_record(&mut out, record));
    out
}

/// The records of a log, whether their checksums hold or not; `None` when it is none.
fn records(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let records = match data.strip_prefix(WANDB_HEADER) {
        Some(rest) => wandb_records(rest),
        None => tf_records(data),
    };
    (!records.is_empty()).then_some(records)
}

fn wandb_records(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    while let Some(([_, _, _, _, low, high, kind], tail)) = rest.split_first_chunk::<7>() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        match (tail.get(..length), kind, records.last_mut()) {
            (Some(part), 3 | 4, Some(record)) => record.extend_from_slice(part),
            (Some(part), 1 | 2, _) => records.push(part.to_vec()),
            // Padding at the end of a block, or damage.
            _ => {
                rest = &rest[1..];
                continue;
            }
        }
        rest = &tail[length..];
    }
    records
}

fn tf_records(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<8>() {
        let length = u64::from_le_bytes(*length);
        let Some(size) = usize::try_from(length).ok().and_then(|length| length.checked_add(8)) else { break };
        let Some(record) = tail.get(4..size - 4) else { break };
        records.push(record.to_vec());
        rest = tail.get(size..).unwrap_or_default();
    }
    records
}
