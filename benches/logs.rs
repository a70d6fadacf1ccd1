//! Logs to measure with, as their producers write them. The numbers are random but the same in each run.

use crate::random::Random;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

fn create(path: &Path) -> BufWriter<File> {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    BufWriter::with_capacity(1 << 20, File::create(path).unwrap())
}

/// One run of curves as training makes them: decay, noise, spikes, a cosine schedule; 8 fields a
/// line, `val_loss` on each hundredth. Lines `from..to` are appended.
pub fn curves(path: &Path, steps: std::ops::Range<u64>, planned: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut random = Random(7 + steps.start);
    let mut line = String::new();
    for step in steps {
        let progress = step as f64 / planned as f64;
        let spike = if random.next() < 1e-5 { 3.0 } else { 0.0 };
        let loss = 1.2 + 3.0 / (1.0 + 40.0 * progress).sqrt() + 0.05 * (random.next() - 0.5) + spike;
        let grad_norm = 0.8 + random.next() * 0.4 + spike;
        let lr = 3e-4 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let time = 1_760_000_000.0 + 0.25 * step as f64 + 0.1 * random.next();
        let speed = 5e4 + 1e3 * random.next();
        line.clear();
        write!(line, r#"{{"step": {step}, "loss": {loss}, "grad_norm": {grad_norm}, "lr": {lr}"#).unwrap();
        write!(line, r#", "tokens_per_s": {speed:.1}, "gpu_mem": 21474836480"#).unwrap();
        write!(line, r#", "epoch": {:.4}, "acc": {:.4}"#, progress * 3.0, 0.9 - 0.5 * loss / 4.2).unwrap();
        write!(line, r#", "time": {time:.3}"#).unwrap();
        if step % 100 == 0 {
            write!(line, r#", "val_loss": {}"#, loss + 0.1).unwrap();
        }
        line.push_str("}\n");
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// Metrics of [`curves`].
pub const CURVES: [&str; 8] =
    ["loss", "grad_norm", "lr", "tokens_per_s", "gpu_mem", "epoch", "acc", "val_loss"];

/// Points that [`curves`] writes in so many steps.
pub fn curve_points(steps: u64) -> u64 {
    steps * 7 + steps.div_ceil(100)
}

/// The value of one of 20 metrics: eight of float32 noise, four of full precision, two rounded to
/// four digits, two to two, a schedule, a counter, an epoch, a constant.
fn mixed(metric: usize, step: u64, steps: u64, random: &mut Random) -> f64 {
    let progress = step as f64 / steps as f64;
    let curve = 1.0 + 3.0 / (1.0 + 40.0 * progress).sqrt() + 0.2 * (random.next() - 0.5);
    match metric {
        0..8 => f64::from(curve as f32),
        8..12 => curve,
        12..14 => (curve * 1e4).round() / 1e4,
        14..16 => (curve * 1e2).round() / 1e2,
        16 => 3e-4 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        17 => (step * 4096) as f64,
        18 => (progress * 3e4).round() / 1e4,
        _ => 21_474_836_480.0,
    }
}

/// Metrics of [`mix`].
pub const MIXED: [&str; 20] = [
    "train/loss",
    "val/loss",
    "grad_norm",
    "opt/update_norm",
    "opt/weight_norm",
    "policy/entropy",
    "policy/kl",
    "reward/mean",
    "acts/mean",
    "acts/std",
    "time/forward_s",
    "time/backward_s",
    "acc",
    "val/acc",
    "tokens_per_s",
    "mfu",
    "lr",
    "tokens",
    "epoch",
    "system/gpu_mem",
];

/// `runs` JSON-lines logs of `steps` lines with 20 metrics and times with jitter.
pub fn mix(root: &Path, runs: usize, steps: u64) {
    for run in 0..runs {
        let mut file = create(&root.join(format!("run-{run:05}/metrics.jsonl")));
        let mut random = Random(run as u64);
        let mut line = String::new();
        for step in 0..steps {
            line.clear();
            let time = 1_760_000_000.0 + (run as u64 * 1000 + step) as f64 * 0.25 + 0.1 * random.next();
            write!(line, r#"{{"step": {step}, "time": {time:.6}"#).unwrap();
            for (metric, name) in MIXED.iter().enumerate() {
                write!(line, r#", "{name}": {}"#, mixed(metric, step, steps, &mut random)).unwrap();
            }
            line.push_str("}\n");
            file.write_all(line.as_bytes()).unwrap();
        }
    }
}

/// One log of full-precision float64 noise: 8 metrics, times with jitter.
pub fn noise(path: &Path, steps: u64) {
    let mut file = create(path);
    let mut random = Random(3);
    for step in 0..steps {
        let time = 1_760_000_000.0 + 0.25 * step as f64 + 0.1 * random.next();
        write!(file, r#"{{"step": {step}, "time": {time:.6}"#).unwrap();
        for metric in 0..8 {
            write!(file, r#", "noise_{metric}": {}"#, random.next() * 4.0 - 2.0).unwrap();
        }
        file.write_all(b"}\n").unwrap();
    }
}

/// Adds a name, which is field `number` of an item, and its value.
fn item(message: &mut Vec<u8>, number: u32, name: &str, json: &str) {
    let mut item = Vec::new();
    field(&mut item, number, name.as_bytes());
    field(&mut item, 16, json.as_bytes());
    field(message, 1, &item);
}

/// A protobuf field of bytes, text or a message.
fn field(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// A W&B transaction log: LevelDB blocks of protobuf records.
struct WandbLog {
    file: BufWriter<File>,
    written: usize,
}

impl WandbLog {
    const BLOCK: usize = 32768;

    fn create(path: &Path) -> WandbLog {
        let mut file = create(path);
        file.write_all(b":W&B\xE1\xBE\x00").unwrap();
        WandbLog { file, written: 7 }
    }

    fn record(&mut self, mut record: &[u8]) {
        let mut begun = false;
        loop {
            let mut room = Self::BLOCK - self.written % Self::BLOCK;
            if room < 7 {
                self.put(&[0; 6][..room]);
                room = Self::BLOCK;
            }
            let (part, rest) = record.split_at(record.len().min(room - 7));
            let kind = match (begun, rest.is_empty()) {
                (false, true) => 1,
                (false, false) => 2,
                (true, false) => 3,
                (true, true) => 4,
            };
            self.chunk(kind, part);
            (begun, record) = (true, rest);
            if record.is_empty() {
                return;
            }
        }
    }

    fn chunk(&mut self, kind: u8, part: &[u8]) {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&[kind]);
        checksum.update(part);
        self.put(&checksum.finalize().to_le_bytes());
        self.put(&u16::try_from(part.len()).unwrap().to_le_bytes());
        self.put(&[kind]);
        self.put(part);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
        self.written += bytes.len();
    }

    /// A history row, and the summary row that W&B writes after it.
    fn row(&mut self, values: &[(&str, String)]) {
        let items = |of: u32| {
            let mut message = Vec::new();
            for (name, json) in values {
                item(&mut message, 2, name, json);
            }
            let mut record = Vec::new();
            field(&mut record, of, &message);
            record
        };
        self.record(&items(2));
        self.record(&items(3));
    }

    fn run(&mut self, id: &str, name: &str, config: &[(&str, &str)]) {
        let mut run = Vec::new();
        field(&mut run, 1, id.as_bytes());
        field(&mut run, 3, b"demo");
        let mut update = Vec::new();
        for (key, json) in config {
            item(&mut update, 1, key, json);
        }
        field(&mut run, 4, &update);
        field(&mut run, 8, name.as_bytes());
        let mut record = Vec::new();
        field(&mut record, 17, &run);
        self.record(&record);
    }

    fn exit(mut self) {
        let mut record = Vec::new();
        field(&mut record, 18, &[]);
        self.record(&record);
        self.file.flush().unwrap();
    }
}

/// A `.wandb` log of `rows` history rows with 8 metrics.
pub fn wandb(path: &Path, rows: u64) {
    let mut log = WandbLog::create(path);
    log.run("bench001", "bench", &[("lr", "0.001")]);
    let mut random = Random(5);
    for step in 0..rows {
        let mut values: Vec<(&str, String)> =
            MIXED[..8].iter().map(|name| (*name, format!("{}", 1.0 + random.next()))).collect();
        values.push(("_step", step.to_string()));
        values.push(("_timestamp", format!("{:.6}", 1.76e9 + 0.25 * step as f64)));
        values.push(("_runtime", format!("{:.6}", 0.25 * step as f64)));
        log.row(&values);
    }
    log.exit();
}

/// Run folders as W&B leaves them: the log, `files`, `logs`, `tmp/code`, a link to the latest one.
pub fn wandb_runs(root: &Path, runs: usize, rows: u64) {
    let mut random = Random(11);
    for run in 0..runs {
        let id = format!("r{run:07}");
        let second = format!("{:02}{:02}{:02}", run / 3600 % 24, run / 60 % 60, run % 60);
        let folder = root.join(format!("wandb/run-202611{:02}_{second}-{id}", 1 + run / 86_400));
        for (name, text) in WANDB_FILES {
            create(&folder.join(name)).write_all(text.as_bytes()).unwrap();
        }
        fs::create_dir_all(folder.join("tmp/code")).unwrap();
        let mut log = WandbLog::create(&folder.join(format!("run-{id}.wandb")));
        log.run(&id, &format!("sweep-{run}"), &[("lr", &format!("{}", 1e-3 * random.next()))]);
        for step in 0..rows {
            let loss = 3.0 / (1.0 + step as f64).sqrt() + 0.1 * random.next();
            log.row(&[
                ("train/loss", format!("{loss}")),
                ("val_loss", format!("{}", loss + 0.1)),
                ("_step", step.to_string()),
                ("_timestamp", format!("{:.3}", 1.76e9 + step as f64)),
            ]);
        }
        log.exit();
    }
}

const WANDB_FILES: [(&str, &str); 7] = [
    ("files/config.yaml", "lr:\n    value: 0.001\n"),
    ("files/wandb-summary.json", "{\"_step\": 9}\n"),
    ("files/wandb-metadata.json", "{\"program\": \"train.py\"}\n"),
    ("files/output.log", "epoch 1\n"),
    ("files/requirements.txt", "numpy==2.0\n"),
    ("logs/debug.log", "started\n"),
    ("logs/debug-internal.log", "{}\n"),
];

/// A TensorBoard log of `scalars` scalars, one an event, over 10 tags.
pub fn tfevents(folder: &Path, scalars: u64) -> PathBuf {
    let path = folder.join("events.out.tfevents.1760000000.bench.1.0");
    let mut file = create(&path);
    tf_event(&mut file, 0.0, 0, Some(b"brain.Event:2"), None);
    let mut random = Random(13);
    for i in 0..scalars {
        let (step, tag) = (i / 10, (i % 10) as usize);
        let value = (tag, 1.0 + random.next() as f32);
        tf_event(&mut file, 1.76e9 + step as f64, step, None, Some(value));
    }
    file.flush().unwrap();
    path
}

fn tf_event(
    file: &mut impl Write,
    time: f64,
    step: u64,
    version: Option<&[u8]>,
    scalar: Option<(usize, f32)>,
) {
    use prost::encoding::{double, encode_varint, float};
    let mut event = Vec::new();
    double::encode(1, &time, &mut event);
    event.push(0x10);
    encode_varint(step, &mut event);
    if let Some(version) = version {
        field(&mut event, 3, version);
    }
    if let Some((tag, value)) = scalar {
        let (mut summary, mut point) = (Vec::new(), Vec::new());
        field(&mut point, 1, MIXED[tag].as_bytes());
        float::encode(2, &value, &mut point);
        field(&mut summary, 1, &point);
        field(&mut event, 5, &summary);
    }
    let masked =
        |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (event.len() as u64).to_le_bytes();
    for part in [&length[..], &masked(&length), &event, &masked(&event)] {
        file.write_all(part).unwrap();
    }
}
