//! A folder of trainings of five trackers, in a git repository, written for the questions of a test.

use crate::code::git;
use crate::common::Project;
use runq::store::Limits;
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

/// Before every test is run: 14 November 2023.
const BEGIN_S: i64 = 1_700_000_000;

/// The folder: below another one, so that a command may put something beside it.
pub struct Shelf {
    project: Project,
}

/// What was in the file of each commit: people made the first two, exprag the last one, of changes.
pub const CODES: [&str; 3] = ["lr = 1e-3\n", "lr = 3e-4\n", "lr = 3e-4\nwarmup = 200\n"];

impl Shelf {
    pub fn folder(&self) -> PathBuf {
        self.project.root().join("work")
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        self.project.write(&format!("work/{path}"), text);
    }
}

/// Four projects: `vision` in MLflow, `lm` in exprag, `ocr` in Sacred, and logs of no project: six JSON lines
/// in `seeds`, one of Lightning's CSV files.
pub fn shelf() -> Shelf {
    let shelf = Shelf { project: Project::empty().with_limits(Limits::default()) };
    shelf.write("runq.toml", "");
    shelf.write(".gitignore", "*\n!train.py\n!.gitignore\n");
    let folder = shelf.folder();
    git(&folder, &["init", "-q"]);
    let commits = CODES.map(|text| {
        shelf.write("train.py", text);
        git(&folder, &["add", "-A"]);
        git(&folder, &["commit", "-q", "-m", "c"]);
        git(&folder, &["rev-parse", "HEAD"])
    });
    git(&folder, &["branch", "run/lm-4", &commits[2]]);
    git(&folder, &["reset", "-q", "--hard", &commits[1]]);
    vision(&shelf);
    language(&shelf, &commits);
    seeds(&shelf);
    lightning(&shelf);
    ocr(&shelf);
    shelf
}

fn time(seconds: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(BEGIN_S + seconds, 0).unwrap()
}

/// A curve that falls from a height to a value.
fn falling(nth: i64, steps: i64, height: f64, end: f64) -> f64 {
    let wave = 0.01 * ((nth * 7 % 5) as f64 - 2.0) * f64::from(u8::from(nth + 1 < steps));
    end + (height - end) * (-8.0 * nth as f64 / steps as f64).exp() + wave.abs() * end
}

/// Learning rates with accuracy, hours and GPUs: the longest run is not the one of the most GPU hours.
const VISION: [(f64, f64, f64, i64); 5] = [
    (0.3, 0.62, 1.0, 1),
    (0.1, 0.912, 2.0, 2),
    (0.03, 0.934, 3.0, 4),
    (0.01, 0.921, 2.5, 8),
    (0.003, 0.88, 1.0, 1),
];

fn vision(shelf: &Shelf) {
    shelf.write(
        "mlruns/7/meta.yaml",
        "artifact_location: file:///x/7\nexperiment_id: '7'\nlifecycle_stage: active\nname: vision\n",
    );
    for (nth, (lr, accuracy, hours, gpus)) in VISION.into_iter().enumerate() {
        let id = format!("{:032x}", 0xb0b0_0000_0000_0000_0000_0000_0000_u128 + nth as u128);
        let start_ms = 1000 * (BEGIN_S + 20_000 * nth as i64);
        let end_ms = start_ms + (hours * 3_600_000.0) as i64;
        let write = |path: &str, text: String| shelf.write(&format!("mlruns/7/{id}/{path}"), text);
        write(
            "meta.yaml",
            format!(
                "artifact_uri: file:///x/7/{id}\nend_time: {end_ms}\nexperiment_id: '7'\nlifecycle_stage: active\nrun_id: {id}\n\
             run_name: lr{lr}\nstart_time: {start_ms}\nstatus: 3\nuser_id: demo\n"
            ),
        );
        write("params/lr", lr.to_string());
        write("params/batch_size", "128".to_owned());
        write("params/num_gpus", gpus.to_string());
        let points = |of: &dyn Fn(i64) -> f64| -> String {
            let time = |epoch: i64| start_ms + (end_ms - start_ms) * (epoch + 1) / 30;
            (0..30).map(|epoch| format!("{} {} {epoch}\n", time(epoch), of(epoch))).collect()
        };
        write("metrics/val_accuracy", points(&|epoch| accuracy - falling(epoch, 30, 0.5, 0.0)));
        write("metrics/loss", points(&|epoch| falling(epoch, 30, 2.5, 2.0 * (1.0 - accuracy))));
    }
}

/// The oldest is the best of all; of the newest five, `lm-4`.
const LANGUAGE: [(f64, f64); 7] =
    [(3e-4, 1.1), (1e-2, 1.9), (3e-3, 1.7), (1e-3, 1.5), (3e-4, 1.3), (1e-4, 1.6), (1e-3, 1.45)];

fn language(shelf: &Shelf, commits: &[String; 3]) {
    for (nth, (lr, loss)) in LANGUAGE.into_iter().enumerate() {
        let id = format!("lm-{nth}");
        let begin_s = 200_000 + 10_000 * nth as i64;
        let (commit, branch) = match nth {
            4 => (&commits[2], "run/lm-4"),
            nth => (&commits[usize::from(nth > 2)], "main"),
        };
        let event = |kind: &str, after_s: i64, value: Value| {
            let time = time(begin_s + after_s).to_rfc3339();
            json!({"created_at": time, "experiment_name": "lm", "exprag_version": "0.1.2", "kind": kind, "run_id": id, "value": value})
        };
        let start = json!({
            "git": {"branch": branch, "commit": commit, "dirty": nth == 4},
            "metadata": {"lr": lr, "layers": 12, "batch_size": 64},
            "process": {"argv": ["python", "train.py"], "cwd": "/nowhere/at/all"},
        });
        let point = |step: i64| {
            let (val_loss, train_loss) = (falling(step, 100, 6.0, loss), falling(step, 100, 6.0, loss - 0.1));
            event("track", 60 * step, json!({"step": step, "val_loss": val_loss, "train_loss": train_loss}))
        };
        let events = std::iter::once(event("run_start", 0, start)).chain((0..100).map(point));
        let end = event("run_end", 6000, json!({"status": "success"}));
        let lines: String = events.chain([end]).map(|event| format!("{event}\n")).collect();
        shelf.write(&format!(".exprag/runs/{id}.jsonl"), lines);
    }
}

/// Two learning rates and three seeds; the learning rate moves `f1` by 0.1, the seed by 0.01.
fn seeds(shelf: &Shelf) {
    for (lr, level) in [(0.1, 0.7), (0.2, 0.8)] {
        for seed in 0..3 {
            let config = json!({"config": {"lr": lr, "seed": seed}});
            let row = |step: i64| {
                let f1 = level + 0.01 * f64::from(seed) - falling(step, 20, 0.5, 0.0);
                json!({"step": step, "f1": f1, "timestamp": BEGIN_S + 300_000 + 1000 * i64::from(seed) + step})
            };
            let rows = std::iter::once(config).chain((0..20).map(row));
            shelf.write(
                &format!("seeds/lr{lr}-{seed}.jsonl"),
                rows.map(|row| format!("{row}\n")).collect::<String>(),
            );
        }
    }
}

/// Fifty steps an epoch; gradients explode at step 371, in epoch 7.
fn lightning(shelf: &Shelf) {
    let mut text = "epoch,step,train_loss,grad_norm\n".to_owned();
    for step in 0..500_i64 {
        let is_broken = step >= 371;
        let norm = if is_broken {
            40.0 * 1.05_f64.powi((step - 371) as i32)
        } else {
            1.0 + 0.1 * (step * 7 % 11) as f64 / 11.0
        };
        let loss = if is_broken { 6.0 + 0.01 * (step * 5 % 7) as f64 } else { falling(step, 400, 5.0, 1.5) };
        text.push_str(&format!("{},{step},{loss},{norm}\n", step / 50));
    }
    let path = "lightning_logs/version_0/metrics.csv";
    shelf.write(path, text);
    shelf.write("lightning_logs/version_0/hparams.yaml", "lr: 0.01\nwidth: 16\n");
    // A log without times is as old as its file.
    let begin = UNIX_EPOCH + Duration::from_secs(BEGIN_S.unsigned_abs());
    let file = File::options().append(true).open(shelf.folder().join(path)).unwrap();
    file.set_modified(begin).unwrap();
}

/// The last two runs of all: one with a batch of 64, one with 512, which failed.
fn ocr(shelf: &Shelf) {
    for (id, batch_size, is_failed) in [("1", 64, false), ("2", 512, true)] {
        let (begin_s, count) = if is_failed { (420_000, 8) } else { (400_000, 60) };
        let time = |step: i64| time(begin_s + 60 * step).format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        let write = |name: &str, text: String| shelf.write(&format!("sacred/{id}/{name}"), text);
        let run = json!({
            "command": "main", "experiment": {"name": "ocr", "mainfile": "train.py", "dependencies": []},
            "host": {"hostname": "box"}, "start_time": time(0), "heartbeat": time(count), "stop_time": time(count),
            "status": if is_failed { "FAILED" } else { "COMPLETED" },
        });
        write("run.json", run.to_string());
        write("config.json", json!({"lr": 0.001, "batch_size": batch_size}).to_string());
        let printed: String = (0..count).map(|step| format!("iter {step}\n")).collect();
        let last = if is_failed {
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
        } else {
            "done"
        };
        write("cout.txt", format!("{printed}{last}\n"));
        let steps: Vec<i64> = (0..count).collect();
        let values: Vec<f64> = steps.iter().map(|step| falling(*step, 60, 4.0, 0.8)).collect();
        let times: Vec<String> = steps.iter().map(|step| time(*step)).collect();
        let curve = json!({"steps": steps, "values": values, "timestamps": times});
        write("metrics.json", json!({"train.loss": curve}).to_string());
    }
}
