//! TensorBoard run directories, of one or more event files: what they say, how it is written, what
//! it means.

use super::{File, Input, Point, Run, row, time};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

/// An event.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Step, time and scalars.
    Scalars(i64, i64, Vec<(&'static str, f32)>),
    /// A session starts: what was logged from this step on is taken back.
    Start(i64),
    /// A record whose bytes were damaged on disk.
    Damage,
}

/// A run: its directory and the events of each file, in the order of the files.
#[derive(Debug, Clone)]
pub struct Log {
    pub directory: String,
    pub entries: Vec<Vec<Entry>>,
}

const TAGS: [&str; 4] = ["train/loss", "val/loss", "train/lr", "hp"];

fn scalar() -> impl Strategy<Value = f32> {
    prop_oneof![12 => -8.0f32..8.0, 2 => Just(0.5), 1 => select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX])]
}

/// An event before it knows its step: how far it moves and which scalars it has.
fn event() -> impl Strategy<Value = (i64, i64, Vec<Option<f32>>, u8)> {
    let delta = prop_oneof![16 => 1i64..4, 2 => Just(0), 1 => -15i64..0];
    let gap_s = prop_oneof![9 => 1i64..9, 1 => 700i64..2_000];
    (delta, gap_s, prop::collection::vec(prop::option::weighted(0.5, scalar()), TAGS.len()), 0u8..40)
}

/// A run in `directory`.
pub fn log(directory: String) -> impl Strategy<Value = Log> {
    let file = (prop::option::weighted(0.6, 1i64..30), prop::collection::vec(event(), 3..40));
    prop::collection::vec(file, 1..4).prop_map(move |files| {
        let (mut step, mut clock) = (0i64, 1_760_000_000_000i64);
        let mut entries = Vec::new();
        for (n, (back, events)) in files.into_iter().enumerate() {
            let mut told = Vec::new();
            if n > 0 {
                step = (step - back.unwrap_or(0)).max(0);
                told.extend(back.map(|_| Entry::Start(step)));
            }
            for (delta, gap_s, values, odd) in events {
                clock += gap_s * 1000;
                let scalars = TAGS.iter().copied().zip(values).filter_map(|(tag, value)| Some((tag, value?)));
                // One tag is at one step only.
                let scalars = scalars.filter(|(tag, _)| *tag != "hp" || step == 0 || odd == 7);
                told.push(Entry::Scalars(step, clock, scalars.collect()));
                match odd {
                    0 => told.push(Entry::Damage),
                    1 if step > 5 => told.push(Entry::Start(step - 3)),
                    _ => {}
                }
                step = (step + delta).max(0);
            }
            entries.push(told);
        }
        Log { directory: directory.clone(), entries }
    })
}

// ---- How it is written: TFRecords around protobuf ----

fn field(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    prost::encoding::bytes::encode(number, &content.to_vec(), out);
}

fn value(tag: &str, number: f32) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 1, tag.as_bytes());
    prost::encoding::float::encode(2, &number, &mut out);
    out
}

fn record(file: &mut Vec<u8>, data: &[u8]) {
    let masked =
        |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (data.len() as u64).to_le_bytes();
    file.extend([&length[..], &masked(&length), data, &masked(data)].concat());
}

fn data(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    match entry {
        Entry::Scalars(step, ms, scalars) => {
            let mut summary = Vec::new();
            scalars.iter().for_each(|(tag, number)| field(&mut summary, 1, &value(tag, *number)));
            prost::encoding::double::encode(1, &(*ms as f64 / 1000.0), &mut out);
            prost::encoding::int64::encode(2, step, &mut out);
            field(&mut out, 5, &summary);
        }
        Entry::Start(step) => {
            let mut session = Vec::new();
            prost::encoding::int64::encode(1, &1, &mut session);
            prost::encoding::int64::encode(2, step, &mut out);
            field(&mut out, 7, &session);
        }
        Entry::Damage => out = version(),
    }
    out
}

/// The event that opens a file.
fn version() -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 3, b"brain.Event:2");
    out
}

impl Log {
    fn path(&self, n: usize) -> String {
        format!("{}/events.out.tfevents.176000000{n}.host-2.77.{n}", self.directory)
    }

    pub fn files(&self) -> Vec<File> {
        let file = |(n, entries): (usize, &Vec<Entry>)| {
            let mut bytes = Vec::new();
            record(&mut bytes, &version());
            let mut ends = vec![bytes.len()];
            for entry in entries {
                record(&mut bytes, &data(entry));
                if matches!(entry, Entry::Damage) {
                    *bytes.last_mut().unwrap() ^= 0xff;
                }
                ends.push(bytes.len());
            }
            File { path: self.path(n), bytes, starts: Vec::new(), ends }
        };
        self.entries.iter().enumerate().map(file).collect()
    }

    /// The run, as far as the first `said[n]` records of each file go.
    pub fn runs(&self, said: &[usize], modified_ms: i64) -> Vec<Run> {
        let there: Vec<usize> = (0..self.entries.len()).filter(|n| said[*n] > 0).collect();
        let facts = row(json!({"name": self.directory, "host": "host-2"}));
        let mut run =
            Run { source: "tensorboard", path: self.directory.clone(), facts, modified_ms, ..Run::default() };
        run.segments = there.len() as i32;
        run.inputs = there.iter().map(|n| self.path(*n)).collect();
        for (segment, n) in there.iter().enumerate() {
            let (mut seq, mut starts) = (0, 0);
            for entry in &self.entries[*n][..said[*n] - 1] {
                match entry {
                    Entry::Scalars(step, ms, scalars) => {
                        for (tag, number) in scalars {
                            let (key, value, time) = (tag.to_string(), f64::from(*number), Some(*ms));
                            run.points.push(Point {
                                key,
                                step: *step,
                                value,
                                time,
                                segment: segment as i32,
                                seq,
                                internal: false,
                            });
                            seq += 1;
                        }
                    }
                    // The first start of a run takes nothing back.
                    Entry::Start(step) => {
                        starts += 1;
                        run.rewinds.extend((segment > 0 || starts > 1).then_some((
                            segment as i32,
                            seq,
                            *step,
                        )));
                    }
                    Entry::Damage => {}
                }
            }
        }
        if there.is_empty() { Vec::new() } else { vec![run] }
    }

    pub fn inputs(&self, said: &[usize], sizes: &[usize], modified_ms: &[i64]) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (n, file) in self.files().into_iter().enumerate().filter(|(n, _)| said[*n] > 0) {
            let damaged = self.entries[n][..said[n] - 1]
                .iter()
                .zip(&file.ends)
                .filter(|(entry, _)| matches!(entry, Entry::Damage));
            let problems: Vec<String> = damaged.map(|(_, begin)| format!("byte {begin}")).collect();
            let shown = row(
                json!({"path": file.path, "source": "tensorboard", "size_bytes": sizes[n], "read_bytes": file.ends[said[n] - 1],
                "modified_at": time(Some(modified_ms[n])), "row_count": said[n], "problem_count": problems.len()}),
            );
            inputs.push(Input { row: shown, problems });
        }
        inputs
    }
}
