//! Worked examples of the diagnosis contract, and the laws of a streaming detector.

use super::{SpikeDetector, SpikeEvent};
use crate::kernels::diagnosis::Level;

/// The jitter -2, 0, 2, -1, 1, ...
fn jitter(i: usize) -> f64 {
    (7 * i % 5) as f64 - 2.0
}

fn flat(rows: usize) -> Vec<f64> {
    (0..rows).map(|i| 2.0 + 0.01 * jitter(i)).collect()
}

fn run(values: &[f64]) -> Vec<SpikeEvent> {
    let mut detector = SpikeDetector::new();
    let mut events = Vec::new();
    for (step, &value) in values.iter().enumerate() {
        events.extend(detector.push(step as i64, value));
    }
    events.extend(detector.finish());
    events
}

#[test]
fn example_1_three_row_spike() {
    let mut loss = flat(60);
    loss[40..43].copy_from_slice(&[3.0, 2.7, 2.5]);
    let events = run(&loss);
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    assert_eq!(event.level, Level::Warn);
    assert_eq!((event.step, event.end_step, event.rows), (40, Some(42), 3));
    assert_eq!(event.detected_step, 45);
    assert!((event.baseline - 2.0).abs() < 0.005, "{event:?}");
    assert!(event.score > 60.0, "{event:?}");
    assert_eq!(event.peak, 3.0);
}

#[test]
fn example_2_single_rows() {
    let mut loss = flat(60);
    loss[40] = 2.6;
    let events = run(&loss);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].level, events[0].rows), (Level::Info, 1));
    loss[40] = 4.5;
    let events = run(&loss);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].level, events[0].step), (Level::Error, 40));
    assert!((events[0].peak / events[0].baseline - 2.25).abs() < 0.01);
    loss[40] = 3.5;
    assert_eq!(run(&loss)[0].level, Level::Warn);
}

#[test]
fn example_3_second_mode() {
    let mut loss = flat(200);
    loss.iter_mut().step_by(10).for_each(|value| *value = 2.6);
    let events = run(&loss);
    assert!(events.iter().all(|event| event.level == Level::Info), "{events:?}");
}

#[test]
fn example_4_divergence_is_no_spike() {
    let mut loss = flat(150);
    for (i, value) in loss.iter_mut().enumerate().skip(100) {
        *value += 0.02 * (i as f64 - 99.0);
    }
    assert_eq!(run(&loss), vec![]);
}

#[test]
fn example_16_healthy_short_and_empty() {
    let healthy: Vec<f64> = (0..30).map(|i| 3.0 * (i as f64 + 1.0).powf(-0.15) + 0.01 * jitter(i)).collect();
    assert_eq!(run(&healthy), vec![]);
    assert_eq!(run(&flat(30)), vec![]);
    assert_eq!(run(&[5.0, 1.0, 90.0, 1.0, 2.0]), vec![]);
    assert_eq!(run(&[]), vec![]);
}

#[test]
fn score_waits_for_twelve_accepted_rows() {
    let mut detector = SpikeDetector::new();
    for (row, value) in flat(13).into_iter().enumerate() {
        assert_eq!(detector.score(value).is_some(), row >= 12);
        detector.push(row as i64, value);
    }
    assert_eq!(detector.score(f64::NAN), None);
    assert!(detector.score(3.0).is_some_and(|score| score > 50.0));
}

#[test]
fn early_spike_waits_for_twenty_rows() {
    let mut loss = flat(40);
    loss[14] = 5.0;
    assert_eq!(run(&loss[..19]), vec![]);
    assert_eq!(run(&loss[..20]).len(), 1);
    assert_eq!(run(&loss), run(&loss[..20]));
}

#[test]
fn open_at_the_end_and_dropped_when_long() {
    let mut loss = flat(50);
    loss.extend([4.0; 5]);
    let events = run(&loss);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].end_step, events[0].rows), (None, 5));
    assert_eq!(events[0].detected_step, 54);
    loss.extend([4.0; 26]);
    assert_eq!(run(&loss), vec![], "31 rows up: a new level, not a spike");
    loss.extend((0..20).map(|i| 4.0 + 0.02 * jitter(i)));
    loss.push(9.0);
    loss.push(4.0);
    let events = run(&loss);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].baseline, 4.0);
}

#[test]
fn planned_length_lets_an_episode_last() {
    let mut loss = flat(50);
    loss.extend([4.0; 40]);
    loss.extend(flat(10));
    assert_eq!(run(&loss), vec![]);
    let mut detector = SpikeDetector::with_planned_rows(1000);
    let events: Vec<SpikeEvent> =
        loss.iter().enumerate().flat_map(|(step, &value)| detector.push(step as i64, value)).collect();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].rows, 40);
}

#[test]
fn not_finite_rows_are_passed_over() {
    let mut loss = flat(60);
    loss[40..43].copy_from_slice(&[3.0, 2.7, 2.5]);
    let clean = run(&loss);
    let mut detector = SpikeDetector::new();
    let mut events = Vec::new();
    for (step, &value) in loss.iter().enumerate() {
        events.extend(detector.push(step as i64, f64::NAN));
        events.extend(detector.push(step as i64, value));
        events.extend(detector.push(step as i64, f64::INFINITY));
    }
    assert_eq!(events, clean);
    assert_eq!(detector.rows(), 60);
}

#[test]
fn zero_and_negative_losses() {
    assert_eq!(run(&[0.0; 100]), vec![]);
    let mut zeros = vec![0.0; 100];
    zeros[50] = 1e-6;
    assert_eq!(run(&zeros), vec![], "no scale, no judgement");
    let mut negative: Vec<f64> = flat(60).iter().map(|value| value - 4.0).collect();
    negative[40] = -0.9;
    assert_eq!(run(&negative)[0].level, Level::Info);
}

#[test]
fn a_clone_goes_on_where_it_was_left() {
    let mut loss = flat(400);
    for start in [30, 100, 250] {
        loss[start..start + 4].copy_from_slice(&[3.0, 6.0, 4.0, 3.0]);
    }
    let whole = run(&loss);
    assert_eq!(whole.len(), 3);
    for cut in [31, 101, 103, 250, 399] {
        let mut first = SpikeDetector::new();
        let mut events = Vec::new();
        for (step, &value) in loss[..cut].iter().enumerate() {
            events.extend(first.push(step as i64, value));
        }
        let mut second = first.clone();
        for (step, &value) in loss.iter().enumerate().skip(cut) {
            events.extend(second.push(step as i64, value));
        }
        assert_eq!(events, whole);
    }
}

#[test]
fn the_window_is_bounded() {
    let mut detector = SpikeDetector::new();
    for step in 0..5_000 {
        detector.push(step, 2.0 + 0.01 * jitter(step as usize));
    }
    assert_eq!(detector.window.len(), 128);
}
