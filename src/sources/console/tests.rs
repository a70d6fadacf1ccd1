#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::records::Axis;
use crate::sources::HEAD_BYTES;
use crate::sources::parse::json::{Json, parse};
use crate::sources::testing::{Memory, assert_metrics, assert_survives, file, read_whole, samples};
use serde_json::Value;

mod logs;

fn read(text: &str) -> Memory {
    read_whole(&PLAIN, ("train.log", ""), text.as_bytes())
}

fn verdict(path: &str, text: &str) -> Verdict {
    assert!(PLAIN.may_claim(path), "{path}");
    PLAIN.sniff(path, &text.as_bytes()[..text.len().min(HEAD_BYTES)])
}

fn is_log(path: &str, text: &str) -> bool {
    matches!(verdict(path, text), Verdict::Log { .. })
}

fn shown(fields: &Fields<'_>) -> Vec<String> {
    fn show(value: &Json<'_>) -> String {
        match value {
            Json::Number(number, _) => number.to_string(),
            Json::Object(fields) => shown(fields).join(" "),
            other => format!("{other:?}"),
        }
    }
    fields.iter().map(|(key, value)| format!("{key}={}", show(value))).collect()
}

#[test]
fn samples_of_the_dialects_say_what_they_say() {
    for dialect in dialect::ALL {
        assert!(!dialect.samples.is_empty());
        for (line, wanted) in dialect.samples {
            let row = (dialect.read)(line).unwrap_or_else(|| panic!("{}: {line}", dialect.name));
            let (Json::Object(wanted), _) = parse(wanted.as_bytes()).unwrap() else { panic!("{wanted}") };
            assert_eq!(shown(&row.fields), shown(&wanted), "{}: {line}", dialect.name);
            let first =
                dialect::ALL.iter().find(|dialect| (dialect.read)(prefix::split(line).text).is_some());
            assert_eq!(first.unwrap().name, dialect.name, "{line}");
            let printed = format!("[rank0]: 2026-01-02 03:04:05,678 - train - INFO - {line}");
            let message = prefix::split(&printed);
            let bare = line.trim().trim_start_matches(['|', ' ']);
            assert_eq!((message.text, message.time.is_some()), (bare, true), "{line}");
        }
    }
}

#[test]
fn nanogpt_reads_as_python_reads_it() {
    let data = |name: &str| std::fs::read_to_string(samples("jsonl").join(name)).unwrap();
    let expected: Value = serde_json::from_str(&data("expected.json")).unwrap();
    for name in ["nanogpt_stdout.log", "nanogpt_crash.log"] {
        let text = data(name);
        assert!(is_log(name, &text));
        let sink = read(&text);
        let mut wanted =
            expected["runs"].as_array().unwrap().iter().find(|run| run["path"] == name).unwrap().clone();
        let metrics = wanted["metrics"].as_object_mut().unwrap();
        for (told, ours) in [("train loss", "train/loss"), ("val loss", "val/loss")] {
            let metric = metrics.remove(told).unwrap();
            metrics.insert(ours.to_string(), metric);
        }
        assert_eq!(sink.keys().len(), metrics.len());
        assert_metrics(&sink, &wanted, "");
        assert_eq!(sink.console.len() as u64, wanted["lines"].as_u64().unwrap());
        assert_eq!((sink.segment, sink.problems.len()), (0, 0));
    }
}

/// Kept by W&B under a name of its own: here only its text is of interest.
#[test]
fn what_the_trainer_prints_is_read() {
    let path = "out/wandb_clean/wandb/offline-run-20261120_183351-oosdypft/files/output.log";
    let text = std::fs::read_to_string(samples("hf_trainer").join(path)).unwrap();
    assert!(is_log("train.log", &text));
    let sink = read(&text);
    let losses = sink.line("train/loss");
    assert_eq!((losses.len(), losses[0].1, losses[12].1), (13, 3.269, 2.443));
    assert_eq!((sink.line("eval/loss").len(), sink.axes["eval/loss"]), (7, Axis::Index));
    assert_eq!(sink.line("train/train_loss").len(), 1);
    assert_eq!((sink.segment, sink.console.len(), sink.problems.len()), (0, 26, 0));
}

#[test]
fn what_mmengine_prints_is_read_under_any_name() {
    let path = "work_dirs/clean/20261120_181315/20261120_181315.log";
    let text = std::fs::read_to_string(samples("mmengine").join(path)).unwrap();
    let sink = read(&text);
    assert_eq!(sink.steps("loss"), [5, 10, 17, 22, 29, 34, 41, 46, 53, 58]);
    assert_eq!(sink.line("mse"), [(10, 0.4794), (22, 1.8633), (34, 0.2569), (46, 0.2709), (58, 0.074)]);
    assert_eq!(sink.of("mse").next().unwrap().time, Some(1_795_198_399_000));
    assert_eq!(sink.keys().len(), 9, "{:?}", sink.keys());
    assert_eq!((sink.segment, sink.problems.len()), (0, 0));
}

#[test]
fn a_log_that_goes_on_is_a_second_start() {
    let sink = read(
        "s:0 tel:11\ns:1 trl:10.5 lr:0.1 norm:1\ns:2 trl:10 lr:0.1 norm:1\ns:1 trl:9 lr:0.1 norm:1\ns:2 tel:8\n",
    );
    let told: Vec<_> = sink.of("trl").map(|point| (point.segment, point.step, point.value)).collect();
    assert_eq!(told, [(0, 1, 10.5), (0, 2, 10.0), (1, 1, 9.0)]);
    assert_eq!((sink.segment, sink.steps("tel")), (1, vec![0, 2]));
    assert_eq!(judge_name("run1/main.log"), "run1");
}

fn judge_name(path: &str) -> String {
    PLAIN.group(&[file(path, 1, "")])[0].name.clone().unwrap()
}

const MEGATRON: &str = "\
7: using world size: 8
7:  [2026-01-02 03:04:05] iteration      100/    5000 | consumed samples:        25600 | lm loss: 2.5E+00 | grad norm: nan |
7: ------------------------
7:  validation loss at iteration 100 | lm loss value: 2.25E+00 | lm loss PPL: 9.5E+00 |
0: [2026-01-02 03:05:05] iteration      200/    5000 | lm loss: 7.5E+00 |
7:  [2026-01-02 03:05:05] iteration      200/    5000 | consumed samples:        51200 | lm loss: 2.0E+00 | grad norm: 1.5 |
";

#[test]
fn megatron_with_ranks_and_times() {
    assert!(is_log("slurm-12.out", MEGATRON));
    let sink = read(MEGATRON);
    assert_eq!(sink.line("lm loss"), [(100, 2.5), (200, 2.0)]);
    assert_eq!(
        (sink.line("validation/lm loss"), sink.line("rank0/lm loss")),
        (vec![(100, 2.25)], vec![(200, 7.5)])
    );
    assert_eq!(sink.of("lm loss").next().unwrap().time, Some(1_767_323_045_000));
    assert_eq!((sink.facts.planned_steps, sink.console.len()), (Some(5000), 6));
    assert_eq!(sink.console[1].time, Some(1_767_323_045_000));
}

#[test]
fn rows_of_the_trainer_are_counted_or_go_by_epoch() {
    let fractions = read(
        "{'loss': '1.5', 'epoch': '0.5'}\n{'loss': '1.25', 'epoch': '1.0'}\n{'eval_loss': '1.0', 'epoch': '1.0'}\n",
    );
    assert_eq!((fractions.steps("train/loss"), fractions.axes["train/loss"]), (vec![0, 1], Axis::Index));
    assert_eq!(fractions.line("eval/loss"), [(2, 1.0)]);
    let whole = read("{'loss': 1.5, 'epoch': 1.0}\n{'loss': nan, 'epoch': 2.0}\n");
    assert_eq!((whole.steps("train/loss"), whole.axes["train/loss"]), (vec![1, 2], Axis::Epoch));
}

#[test]
fn bars_and_escapes_are_resolved() {
    let sink = read(concat!(
        "\u{1b}[32mINFO\u{1b}[0m: loading\n",
        "  0%|          | 0/10 [00:00<?, ?it/s]\rEpoch 1:  10%|#         | 1/10 [00:01<00:09, 1.0it/s, loss=3.5]\rEpoch 1: 100%|##########| 10/10 [00:10<00:00, 1.0it/s, loss=2.5]\r\n",
        "Epoch 2: 100%|##########| 10/10 [00:10<00:00, 1.0it/s, loss=1.5]\n",
        "    val_loss: 1.75\n",
    ));
    assert_eq!(sink.line("loss"), [(10, 2.5), (20, 1.5)]);
    assert_eq!(sink.line("val_loss"), [(20, 1.75)]);
    assert_eq!(sink.console[0].text, "INFO: loading");
    assert!(sink.console[1].text.starts_with("Epoch 1: 100%"));
}

#[test]
fn lines_without_metrics_never_harm() {
    let noise = "\
Namespace(lr=0.1, steps=100, batch_size=32)
learning_rate: 0.001
val_loss: 7
Overriding: eval_interval = 250
step
[rank0]:[W123 ProcessGroup.cpp:12] Warning: 3 of 4
  File \"train.py\", line 301, in <module>
    loss = model(x, step=3)
RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 10.76 GiB total)
saving checkpoint to out/step_100
2026-01-02 03:04:05 INFO Epoch 3 begins
GET /?step=1&loss=2 HTTP/1.1 200
";
    let sink = read(noise);
    assert_eq!((sink.points.len(), sink.config.len()), (0, 0), "{:?}", sink.points);
    assert_eq!(sink.console.len(), noise.lines().count());
    let mixed = format!("{noise}step 1: loss 2.5\n{noise}step 2: loss 2.0\n");
    assert_eq!(read(&mixed).line("loss"), [(1, 2.5), (2, 2.0)]);
}

#[test]
fn printed_logs_are_recognised() {
    let preamble = "some_setting: 12345\n".repeat(500);
    for (path, text) in [
        ("train.log", "step 1: loss 2.5\nstep 2: loss 2\n".to_string()),
        ("hole.log", "step 1: loss 2.5\n\0\0step 2: loss 2\nstep 3: loss 2\n".to_string()),
        ("out.txt", "Epoch 1/10 - loss: 0.5 - acc: 0.9\n\nEpoch 2/10 - loss: 0.4 - acc: 0.95\nx\nEpoch 3/10 - loss: 0.3 - acc: 0.96\n".into()),
        ("slurm-1.out", format!("{preamble}[10/500] loss=1.5\n[20/500] loss=1.25\n")),
        ("a/log_1700000000.txt", "Step 1 | loss:1.5 lr:0.1 \nStep 2 | loss:1.25 lr:0.1 \n".into()),
        ("job.err", "{'loss': 1.5, 'epoch': 0.1}\n{'loss': 1.25, 'epoch': 0.2}\n".into()),
        (
            "stdout.0",
            "iter 0: loss 3, time 12.30ms, mfu -100.00%\niter 1: loss 2, time 12.30ms, mfu 1.00%\n".into(),
        ),
        ("run.log", "INFO:root:{\"step\": 1, \"loss\": 2}\nINFO:root:{\"step\": 2, \"loss\": 1}\n".into()),
        (
            "x.log",
            "Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.3\nTrain Epoch: 1 [640/60000 (1%)]\tLoss: 2.2\n".into(),
        ),
    ] {
        assert!(is_log(path, &text), "{path}: {:?}", verdict(path, &text));
    }
    for (path, text) in [
        ("train.log", "loading\n".to_string()),
        ("train.log", String::new()),
        ("slurm-1.out", "hello\n".into()),
        ("x.txt", "using torch 2.5\n".into()),
        ("train.log", "step 1: loss 2.5\n".into()),
        ("train.log", "setting: 1\n".repeat(5000)),
    ] {
        assert_eq!(verdict(path, &text), Verdict::TooEarly, "{path} {}", text.len());
    }
}

#[test]
fn other_texts_are_left_alone() {
    let many = |line: &str| (1..40).map(|i| line.replace('#', &i.to_string()) + "\n").collect::<String>();
    for (path, text) in [
        ("access.log", many("10.0.0.# - - [02/Jan/2026:03:04:05 +0000] \"GET /step/# HTTP/1.1\" 200 12#")),
        (
            "error.log",
            many("2026-01-02 03:04:05 [error] 12#4: connect() failed (111), step: # upstream: \"http://a\""),
        ),
        ("syslog.log", many("Jan  2 03:04:# host kernel: [  12.34] usb 1-#: new device number #")),
        ("docker.log", many("Step #/40 : RUN pip install torch==2.#")),
        ("pytest.log", many("tests/test_train.py::test_step_# PASSED [ #%]")),
        ("make.log", many("[ #%] Building CXX object step#.o")),
        ("app.log", many("2026-01-02 03:04:05 INFO request id=# status=200 duration=12.#ms")),
        ("bench.txt", many("iteration #: time=12.5ms size=4096")),
        ("recipe.txt", many("Step #: mix 200 g of flour and wait 10 minutes")),
        ("book.txt", many("It was the #th step of a long way, and no loss was felt.")),
        ("numbers.txt", many("# 0.5 0.25 12.5")),
        ("gps.txt", many("step # lat: 48.1 lon: 11.5")),
        (
            "paper.txt",
            format!("{}step 10: loss 2.5\nstep 20: loss 2.0\n{}", many("words #"), many("more words")),
        ),
        ("wheel.out", many("Collecting package#==1.#")),
        ("gurobi.log", many("  #   12.5   0.25  0s")),
        ("mysqld.err", many("2026-01-02T03:04:05.#Z 0 [Note] InnoDB: page_cleaner: 1000ms loop took 12#ms.")),
        ("dump.txt", "\0\0\0".into()),
    ] {
        let found = verdict(path, &text);
        assert!(!matches!(found, Verdict::Log { .. }), "{path}: {found:?}");
    }
    for path in [
        "README.txt",
        "requirements.txt",
        "a/LICENSE.txt",
        "vocab.txt",
        "notes.md",
        "a.csv",
        "stdout.x",
        "cout.txt",
    ] {
        assert!(!PLAIN.may_claim(path), "{path}");
    }
    for path in ["train.log", "slurm-12.out", "job.err", "stderr.3", "rank0.log", "notes2.txt"] {
        assert!(PLAIN.may_claim(path), "{path}");
    }
}

#[test]
fn patterns_of_the_project_come_first() {
    let entry = |pattern: &str, sample: &str| custom::Entry {
        name: "mine".into(),
        pattern: pattern.into(),
        sample: sample.into(),
    };
    let settings = custom::Settings {
        patterns: vec![
            entry(r"^<(?P<step>\d+)> L=(?P<loss>\S+)", "<3> L=2.5"),
            entry(r"run (?P<run>\w+) at (?P<step>\d+): (?P<score>\S+)", "run a at 3: 0.5"),
        ],
    };
    let console = Console::new(&settings).unwrap();
    let text = "<1> L=2.5\nrun a at 3: 0.5\n<2> L=nan\nstep 3: loss 1.5\nrun b at 1: 0.25\n";
    assert!(matches!(console.sniff("x.log", text.as_bytes()), Verdict::Log { .. }));
    assert!(!matches!(PLAIN.sniff("x.log", b"<1> L=2.5\n<2> L=2\n"), Verdict::Log { .. }));
    let run = &console.group(&[file("x/rank1.log", 1, "")])[0];
    assert!(run.inputs[0].role.starts_with("rank1/;patterns "), "{}", run.inputs[0].role);
    let sink = read_whole(&console, ("x.log", ""), text.as_bytes());
    let told: Vec<_> =
        sink.points.iter().map(|point| (point.run.as_str(), point.key.as_str(), point.step)).collect();
    assert_eq!(
        told,
        [("", "loss", 1), ("a", "score", 3), ("a", "loss", 2), ("a", "loss", 3), ("b", "score", 1)]
    );
    let ranked = read_whole(&console, ("x/rank1.log", &run.inputs[0].role), text.as_bytes());
    assert_eq!(ranked.keys(), ["rank1/loss", "rank1/score"]);
    assert_survives(&console, ("x.log", ""), text.as_bytes());
    assert_eq!((PLAIN.settings(), console.settings().is_empty()), ("", false));
}

#[test]
fn logs_survive_damage() {
    assert_survives(&PLAIN, ("train.log", ""), MEGATRON.as_bytes());
    let text = concat!(
        "\u{1b}[1mEpoch 1\u{1b}[0m\n",
        "10%|#| 1/10 [00:01<00:09, 1.0it/s, loss=3.5]\r20%|#| 2/10 [00:01<00:09, 1.0it/s, loss=3]\n",
        "Epoch(train) [1][5/12]  lr: 1e-2  loss: nan\nEpoch(val) [1][4/4]    mse: 0.5\n",
        "{'loss': '1.5', 'epoch': '0.5'}\r\nstep 3: train loss 2, val loss 1\n| valid | {\"valid_loss\": \"4.5\", \"num_updates\": \"5\"}\n",
        "\u{e9} step 2, loss=1,\n\nit: 7",
    );
    assert_survives(&PLAIN, ("train.log", ""), text.as_bytes());
}

proptest::proptest! {
    #[test]
    fn random_text_never_panics(bytes: Vec<u8>, text in "[a-z:=,|\\[\\]{}'\"()0-9./% \n\r\u{1b}-]*", saved in "\\PC*") {
        for bytes in [bytes, text.into_bytes()] {
            read_whole(&PLAIN, ("a.log", ""), &bytes);
            PLAIN.sniff("a.log", &bytes);
            let from = Resume { state: saved.clone(), ..Resume::default() };
            crate::sources::testing::read_on(&PLAIN, ("a.log", ""), &bytes, 16, from, &mut Memory::default());
        }
    }
}
