//! Logs as scripts print them, and what they say: key, step and value.

use super::{PLAIN, is_log, read, verdict};
use crate::sources::Verdict;
use crate::sources::testing::{Memory, assert_survives};

/// Points of a log: `loss@3=2.5`.
fn points(sink: &Memory) -> Vec<String> {
    let places = ["epoch", "iter", "batch"];
    let told = sink.points.iter().filter(|point| !places.contains(&point.key.as_str()));
    told.map(|point| format!("{}@{}={}", point.key, point.step, point.value)).collect()
}

/// Logs, and the points in them.
const LOGS: &[(&str, &str)] = &[
    // An epoch and a place in an epoch are a step of the run.
    (
        "Train: 0 [   0/10 (  0%)]  Loss: 6.5 (6.51)  Time: 0.345s,  742.03/s  (0.350s)\nTrain: 0 [   9/10 ( 90%)]  Loss: 6 (6)\nTest: [   0/5]  Loss:   5 ( 5)\nTest: [   4/5]  Loss:   4 ( 4)\nTrain: 1 [   0/10 (  0%)]  Loss: 5.5 (6)\n",
        "train/Loss@0=6.5 train/Time@0=0.345 train/Loss@9=6 test/Loss@9=5 test/Loss@9=4 train/Loss@10=5.5",
    ),
    (
        "[0/3][0/10]\tLoss_D: 2.5\tD(G(z)): 0.5 / 0.25\n[0/3][9/10]\tLoss_D: 2\tD(G(z)): 0.5 / 0.25\n[1/3][0/10]\tLoss_D: 1\tD(G(z)): 1 / 2\n",
        "Loss_D@0=2.5 D(G(z))@0=0.5 Loss_D@9=2 D(G(z))@9=0.5 Loss_D@10=1 D(G(z))@10=1",
    ),
    (
        "| epoch   1 |   200/ 2983 batches | ms/batch 12.5 | loss  5.5\n| epoch   2 |   200/ 2983 batches | ms/batch 12.5 | loss  5\n| end of epoch   2 | time: 45.5s | valid loss  4.5\n",
        "ms/batch@200=12.5 loss@200=5.5 ms/batch@3183=12.5 loss@3183=5 time@3183=45.5 valid loss@3183=4.5",
    ),
    (
        "Epoch 1\n-----\nloss: 2.5  [   64/6000]\nloss: 2.0  [ 3264/6000]\nTest Error: \n Accuracy: 54.0%, Avg loss: 2.25 \n\nEpoch 2\n-----\nloss: 1.5  [   64/6000]\n",
        "loss@64=2.5 loss@3264=2 test/Accuracy@3264=54 test/Avg loss@3264=2.25 loss@6064=1.5",
    ),
    (
        "[1,  2000] loss: 1.5\n[1,  4000] loss: 1.25\n[2,  2000] loss: 1\n",
        "loss@2000=1.5 loss@4000=1.25 loss@6000=1",
    ),
    (
        "[1/2] Training: 100%|##| 10/10 [00:01<00:00, 9it/s, loss=2]\n[1/2] Validating: 100%|##| 4/4 [00:01<00:00, 9it/s, loss=3]\n[2/2] Training: 100%|##| 10/10 [00:01<00:00, 9it/s, loss=1]\n",
        "train/loss@10=2 val/loss@10=3 train/loss@20=1",
    ),
    (
        "100%|##| 10/10 [00:01<00:00, 9it/s, loss=2]\nepoch 0: val_loss=3\n100%|##| 10/10 [00:01<00:00, 9it/s, loss=1]\nepoch 1: val_loss=2\n",
        "loss@10=2 val_loss@10=3 loss@20=1 val_loss@20=2",
    ),
    (
        "Epoch 0 Batch 0 of 5 loss 3\nEpoch 0 Batch 5 of 5 loss 2\nEpoch 1 Batch 0 of 5 loss 1\n",
        "loss@0=3 loss@5=2 loss@6=1",
    ),
    (
        "epoch 3 step 90/100 loss 3\nepoch 3 step 100/100 loss 2\nepoch 4 step 10/100 loss 1\n",
        "loss@290=3 loss@300=2 loss@310=1",
    ),
    (
        "epoch 0 step 90/1000 loss 3\nepoch 1 step 110/1000 loss 2\nepoch 2 step 210/1000 loss 1\n",
        "loss@90=3 loss@110=2 loss@210=1",
    ),
    (
        "step 0.5K | loss 3\nstep 10k | loss 2\nstep 1,000,000 | loss 1\n",
        "loss@500=3 loss@10000=2 loss@1000000=1",
    ),
    // What is said of another step replaces nothing.
    (
        "Epoch 1/10 | val_loss: 3\nEpoch 2/10 | val_loss: 2\nEpoch 2: val_loss improved from 3 to 2, saving model\nRestoring best model: epoch 1, val_loss 9.5\nLoaded best checkpoint from epoch 1 (val_loss: 9.5)\nNew best model saved! val_loss: 9.5\n",
        "val_loss@1=3 val_loss@2=2",
    ),
    (
        "Training until validation scores don't improve for 5 rounds\n[50]\ttrain's loss: 3\n[100]\ttrain's loss: 2\nEarly stopping, best iteration is:\n[50]\ttrain's loss: 3\n",
        "train's loss@50=3 train's loss@100=2",
    ),
    // Values keep one scale.
    (
        "step 1 loss=2 tokens=900K mem=900MB time=990ms\nstep 2 loss=1 tokens=1.1M mem=1.1GB time=1.5s\n",
        "loss@1=2 tokens@1=900000 mem@1=900000000 time@1=0.99 loss@2=1 tokens@2=1100000 mem@2=1100000000 time@2=1.5",
    ),
    (
        "Epoch 1 loss: 0,6758 time: 1m 3s total 1h 2m 3s\nEpoch 2 loss: 0,675 time: 59s total 2h 0m 0s\n",
        "loss@1=0.6758 time@1=63 total@1=3723 loss@2=0.675 time@2=59 total@2=7200",
    ),
    (
        "step 1 loss=tensor(0.5, device='cuda:0') acc=1\nstep 2 loss=None acc=2\nstep 3 loss=0.5±0.02 acc=np.float64(3)\n",
        "loss@1=0.5 acc@1=1 acc@2=2 loss@3=0.5 acc@3=3",
    ),
    ("Epoch 1: loss 2, Accuracy: 905/1000 (90%) 12345/12345 tok/s\n", "loss@1=2 Accuracy@1=0.905"),
    // Splits have keys of their own.
    ("TRAIN | epoch 1 | loss 2\nVALID | epoch 1 | loss 3\n", "train/loss@1=2 valid/loss@1=3"),
    ("[train] step 10 loss 2\n[eval] step 10 loss 3\n", "train/loss@10=2 eval/loss@10=3"),
    ("Epoch 1 Training - loss: 2\nEpoch 1 Validation - loss: 3\n", "train/loss@1=2 validation/loss@1=3"),
    (
        "Training Results - Epoch: 1  Avg loss: 2\nValidation Results - Epoch: 1  Avg loss: 3\n",
        "train/Avg loss@1=2 validation/Avg loss@1=3",
    ),
    ("step 100 loss 2\nstep 100 loss 3 (eval)\n", "loss@100=2 eval/loss@100=3"),
    ("Epoch 1, phase: train, loss: 2\nEpoch 1, phase: val, loss: 3\n", "train/loss@1=2 val/loss@1=3"),
    ("Train Epoch 1 loss=2\nVal   Epoch 1 loss=3\n", "train/loss@1=2 val/loss@1=3"),
    (
        "Epoch 0/24\n----------\ntrain Loss: 2 Acc: 0.5\nval Loss: 3 Acc: 0.25\n\nEpoch 1/24\n----------\ntrain Loss: 1 Acc: 0.75\nval Loss: 2 Acc: 0.5\n",
        "train/Loss@0=2 train/Acc@0=0.5 val/Loss@0=3 val/Acc@0=0.25 train/Loss@1=1 train/Acc@1=0.75 val/Loss@1=2 val/Acc@1=0.5",
    ),
    (
        "Epoch 1\nTrain: loss=2 acc=0.5\nVal: loss=3 acc=0.25\n",
        "train/loss@1=2 train/acc@1=0.5 val/loss@1=3 val/acc@1=0.25",
    ),
    (
        "Epoch: [0][0/5]\tLoss 3 (3)\tAcc@1 10 (10)\nEpoch: [0][4/5]\tLoss 2 (2)\tAcc@1 20 (20)\n * Acc@1 30 Acc@5 40\n",
        "Loss@0=3 Acc@1@0=10 Loss@4=2 Acc@1@4=20 val/Acc@1@4=30 val/Acc@5@4=40",
    ),
    // An epoch on a line of its own.
    (
        "Epoch 1/10:\n  Train Loss: 2\n  Val Loss:   3\nEpoch 2/10:\n  Train Loss: 1\n  Val Loss:   2\n",
        "Train Loss@1=2 Val Loss@1=3 Train Loss@2=1 Val Loss@2=2",
    ),
    (
        "[batch=1/99]:\n\t Train loss/total: 2\n[batch=2/99]:\n\t Train loss/total: 1\n",
        "Train loss/total@1=2 Train loss/total@2=1",
    ),
    // Names of loggers are no metrics.
    (
        "2026-11-19 09:21:00.123 | INFO     | __main__:train:41 - Epoch 1: loss=2\n[11/19/26 09:22:00] INFO     Epoch 2: loss=1      train.py:42\nI1119 09:01:00.1 14 solver.cpp:218] Epoch 3: loss=0.5\n",
        "loss@1=2 loss@2=1 loss@3=0.5",
    ),
    (
        "Epoch 1 finished. train loss 2, valid loss 3. Took 12.3 s\nEpoch 2 of 10: train loss 1\n",
        "train loss@1=2 valid loss@1=3 train loss@2=1",
    ),
    // Numbers at the start of a line.
    (
        "100 | loss 2.5 | lr 1e-3 | 12ms\n110 | loss 2.0 | lr 1e-3 | 12ms\n",
        "loss@100=2.5 lr@100=0.001 loss@110=2 lr@110=0.001",
    ),
    (
        "[0]\ttrain-rmse:2.5\teval-rmse:3\n[10]\ttrain-rmse:2\teval-rmse:2.5\n",
        "train-rmse@0=2.5 eval-rmse@0=3 train-rmse@10=2 eval-rmse@10=2.5",
    ),
    (
        "completed step: 0, seconds: 1.5, loss: 11\nsamples/sec: 1.5 | iteration       10/  320 | lm_loss: 2 | number of nan iterations: 0 |\n",
        "seconds@0=1.5 loss@0=11 samples/sec@10=1.5 lm_loss@10=2 number of nan iterations@10=0",
    ),
];

#[test]
fn logs_say_what_they_say() {
    for (text, wanted) in LOGS {
        let found = read(text);
        assert_eq!(points(&found).join(" "), *wanted, "{text}");
        assert_eq!((found.segment, found.problems.len()), (0, 0), "{text}");
    }
}

#[test]
fn logs_grow_as_they_are_read_at_once() {
    for (text, _) in LOGS {
        assert_survives(&PLAIN, ("train.log", ""), text.as_bytes());
    }
}

#[test]
fn what_is_planned_counts_as_the_steps_do() {
    for (text, planned) in [
        ("[0/3][0/10] loss 2\n[0/3][5/10] loss 2\n", Some(30)),
        ("Epoch 1/5\n10/10 [====] - 4s 2ms/step - loss: 1.5 - val_loss: 1\n", Some(50)),
        ("step 10/500 loss 2\n", Some(500)),
        ("[10/500] loss 2\n", None),
        ("Train: 4 [ 250/1251 (20%)]  Loss: 1.5\n", None),
        ("epoch 1/5 loss 2\n", None),
        ("eta: 0:09:00  iter: 19  total_loss: 2\n", None),
    ] {
        assert_eq!(read(text).facts.planned_steps, planned, "{text}");
    }
}

#[test]
fn times_are_read_in_every_shape() {
    for line in [
        "[INFO|2026-11-19 12:01:00] pkg.train.callbacks:143 >> step 1 loss 2",
        "11/19/2026 12:01:00 - INFO - __main__ -   step 1 loss 2",
        "[Thu Nov 19 12:01:00 2026] step 1 loss 2",
        "[2026-11-19 12:01:00,000 INFO] step 1 loss 2",
        "[rank0]:[titan] 2026-11-19 12:01:00,000 - root - INFO - step 1 loss 2",
        "[11/19/26 12:01:00] INFO     step 1 loss 2       train.py:42",
        "I20261119 12:01:00.000000 12 solver.cpp:218] step 1 loss 2",
        "2026-11-19T12:01:00.000000000Z stdout F step 1 loss 2",
    ] {
        let sink = read(&format!("{line}\n"));
        let told: Vec<_> = sink.points.iter().map(|point| (point.key.as_str(), point.time)).collect();
        assert_eq!(told, [("loss", Some(1_795_089_660_000))], "{line}");
    }
}

#[test]
fn rows_are_found_below_headers_and_long_preambles() {
    let preamble = "INFO loading shard of the data set\n".repeat(1000);
    let many = |line: &str| (1..9).map(|i| line.replace('#', &i.to_string()) + "\n").collect::<String>();
    for (path, text) in [
        ("a.log", many("Epoch #/10:\n  Train Loss: 2\n  Val Loss:   3")),
        ("a.log", many("Epoch #/24\n----\ntrain Loss: 2 Acc: 0.5\nval Loss: 3 Acc: 0.25\n")),
        ("a.log", many("[train] step # loss 2")),
        ("a.log", many("Epoch ## loss 2")),
        ("a.txt", many("2026-11-19 09:20:00.000000: Epoch #\n2026-11-19 09:20:00.000000: train_loss -0.1")),
        ("a.log", many("[1,  #000] loss: 1.5")),
    ] {
        assert!(is_log(path, &text), "{path}: {:?}\n{text}", verdict(path, &text));
    }
    let text = format!("{preamble}{}", many("epoch # loss 2"));
    assert_eq!(verdict("plain.log", &text), Verdict::TooEarly);
    assert!(matches!(super::Source::sniff(&PLAIN, "plain.log", text.as_bytes()), Verdict::Log { .. }));
}

#[test]
fn places_without_training_are_no_logs() {
    let many = |line: &str| (1..40).map(|i| line.replace('#', &i.to_string()) + "\n").collect::<String>();
    for line in [
        "10.0.0.1 - - [19/Nov/2026:12:00:# +0000] \"GET /train/step/# HTTP/1.1\" 200 1000 \"loss=0.1\"",
        "Chapter #\nThe number of pages: 12",
        "[#] https://example.com/a page about training loss 3",
        "# | 12.5 | 7 | 9",
        "Step #/40 : RUN pip install torch==2.1",
        "Epoch #\nsee the next part",
    ] {
        let found = verdict("some.log", &many(line));
        assert!(!matches!(found, Verdict::Log { .. }), "{line}: {found:?}");
    }
}
