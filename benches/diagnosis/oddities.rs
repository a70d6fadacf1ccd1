//! Odd things that are benign: nobody would stop a run for them.

use super::curves::{Course, Family, Track};
use crate::random::Random;
use runq_udfs::kernels::diagnosis::{Kind, Role};
use std::ops::Range;

type Oddity = fn(&mut Course, &mut Random);

/// On any run.
const ALWAYS: [Oddity; 14] = [
    curriculum,
    dip,
    evaluation,
    first_rows,
    gap,
    hard_batches,
    long_pause,
    missing_rows,
    recurring_batch,
    resume,
    rounding,
    second_loss,
    skipped_scale,
    val_outlier,
];

/// Adds up to five oddities that leave a kind visible. What happens late is seen by a log that goes
/// on to there.
pub fn add(course: &mut Course, wanted: Option<Kind>, random: &mut Random) {
    let mut all = ALWAYS.to_vec();
    // A norm that is cut off shows no burst, and what only just makes a difference hides another.
    if !matches!(wanted, Some(Kind::GradExplosion | Kind::GradVanishing | Kind::LossSpike | Kind::Divergence))
    {
        all.extend([clipped, stronger_gradient]);
    }
    if !matches!(wanted, Some(Kind::LossSpike | Kind::Nan)) {
        all.push(held);
    }
    if wanted != Some(Kind::ThroughputDrop) {
        all.push(slower);
    }
    for _ in 0..random.count(0, 5) {
        let oddity = all.remove(random.count(0, all.len() - 1));
        oddity(course, random);
    }
}

/// The learned loss, if the family has one.
fn loss(course: &mut Course) -> Option<&mut Track> {
    let has_level = !matches!(course.family, Family::Gan | Family::Rl);
    if has_level { course.find(Role::Loss) } else { None }
}

/// Single rows with a rise of less than half the level, apart from each other.
fn hard_batches(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let mut rises = Vec::new();
    let mut row = random.log_count(10, rows.max(10));
    while row < rows {
        rises.push((row, random.between(0.1, 0.4)));
        row += random.log_count(8, rows.max(8));
    }
    course.has_hard_batches = true;
    if let Some(track) = loss(course) {
        track.raise(&rises);
    }
}

/// One batch that is hard in each pass over the data.
fn recurring_batch(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let (apart, rise) = (random.log_count(25, 800), random.between(0.1, 0.4));
    let rises: Vec<(usize, f64)> = (apart / 2..rows).step_by(apart).map(|row| (row, rise)).collect();
    course.has_hard_batches = true;
    if let Some(track) = loss(course) {
        track.raise(&rises);
    }
}

/// New data: the loss steps a little up or clearly down, and goes on from there.
fn curriculum(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let from = random.count(rows / 5, rows.saturating_sub(rows / 4));
    let by = if random.chance(0.5) { random.between(0.01, 0.05) } else { -random.between(0.05, 0.3) };
    let is_negative = course.family == Family::Negative;
    for role in [Role::Loss, Role::ValLoss] {
        let track = if is_negative { None } else { course.find(role) };
        if let Some(track) = track.filter(|track| from < track.clean.len()) {
            let by = by * track.scale(from).min(track.clean[from].abs());
            (from..rows).for_each(|row| track.shift(row, by));
        }
    }
}

/// The first rows are far off, as an unlucky initialisation makes them.
fn first_rows(course: &mut Course, random: &mut Random) {
    let (rows, times) = (course.rows(), random.log_between(1.5, 20.0));
    if let Some(track) = loss(course) {
        for row in 0..random.count(1, 3).min(rows) {
            track.values[row] += times * track.scale(row) / (row + 1) as f64;
        }
    }
}

/// A loss scaler that was too high: a row without a finite gradient, the loss untouched.
fn skipped_scale(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    if let Some(track) = course.find(Role::GradNorm) {
        let mut row = random.count(0, 5);
        for _ in 0..random.count(1, 6) {
            if row < rows {
                track.values[row] = random.pick(&[f64::INFINITY, f64::NAN]);
            }
            row += random.log_count(5, rows.max(5));
        }
    }
}

/// Norms logged after clipping: constant as long as they are above it.
fn clipped(course: &mut Course, random: &mut Random) {
    let share = random.between(0.05, 0.9);
    if let Some(track) = course.find(Role::GradNorm) {
        let mut sorted = track.values.clone();
        sorted.sort_by(f64::total_cmp);
        let most = sorted[(share * (sorted.len() - 1) as f64) as usize];
        if most.is_finite() && most > 0.0 {
            track.values.iter_mut().for_each(|value| *value = value.min(most));
            track.clean.iter_mut().for_each(|value| *value = value.min(most));
        }
    }
}

/// Rows without a metric here and there.
fn missing_rows(course: &mut Course, random: &mut Random) {
    let often = random.log_between(0.01, 0.2);
    for track in &mut course.tracks {
        track.logged.iter_mut().for_each(|logged| *logged &= !random.chance(often));
    }
}

/// A stretch that was not logged at all.
fn gap(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let from = random.count(rows / 10, rows);
    let to = (from + random.count(1, rows / 20 + 1)).min(rows.saturating_sub(1)).max(from.min(rows));
    for track in &mut course.tracks {
        track.logged[from.min(to)..to].fill(false);
    }
}

/// Few decimals, as a progress bar prints them; never fewer than show the run.
fn rounding(course: &mut Course, random: &mut Random) {
    let asked = random.count(2, 4) as i32;
    for track in course.tracks.iter_mut().filter(|track| matches!(track.role, Role::Loss | Role::ValLoss)) {
        let least =
            track.clean.iter().map(|loss| loss.abs()).fold(f64::INFINITY, f64::min).max(track.floor());
        track.decimals = Some(asked.max((100.0 / least).log10().ceil() as i32));
    }
}

/// Stopped and started again; without the optimizer's state the loss is a little up for a while.
fn resume(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    for _ in 0..random.count(1, 3) {
        let row = random.count(1, rows.max(2) - 1);
        course.downtime.push((row, random.log_between(60.0, 2e5)));
    }
    course.downtime.sort_by_key(|(row, _)| *row);
    course.downtime.dedup_by_key(|(row, _)| *row);
    let (up, lasts) = (random.between(0.0, 0.06), random.between(0.001, 0.005) * rows as f64 + 1.0);
    let starts: Vec<usize> = course.downtime.iter().map(|(row, _)| *row).collect();
    let forgets = random.chance(0.3);
    if let Some(track) = loss(course).filter(|_| forgets) {
        for (start, row) in starts.into_iter().flat_map(|start| (start..rows).map(move |row| (start, row))) {
            track.values[row] += up * track.clean[row].abs() * (-((row - start) as f64) / lasts).exp();
        }
    }
}

/// Gradients are gathered over some rows: each of them logs the same loss.
fn held(course: &mut Course, random: &mut Random) {
    let over = random.count(2, 8);
    // A hard batch would be so for all of these rows, which is a spike as far as anybody can tell.
    let is_even = !course.has_hard_batches && !course.noise.heavy && course.noise.second.is_none();
    if let Some(track) = loss(course).filter(|_| is_even) {
        (0..track.values.len()).for_each(|row| track.values[row] = track.values[row - row % over]);
    }
}

/// One interval in which the machine did something else.
fn long_pause(course: &mut Course, random: &mut Random) {
    let row = random.count(0, course.rows() - 1);
    slow_down(course, row..row + 1, 1.0 / random.log_between(3.0, 40.0));
}

/// A part of the loss under a name of its own, sometimes one that nothing moves.
fn second_loss(course: &mut Course, random: &mut Random) {
    let part = random.log_between(0.05, 0.8);
    let is_constant = random.chance(0.2);
    let noise = course.noise.series(course.rows(), random);
    let Some(track) = loss(course) else { return };
    let clean = track.clean.iter().map(|loss| if is_constant { part } else { loss * part }).collect();
    let mut second = Track::new(Role::Loss, if is_constant { "loss_penalty" } else { "loss_ce" }, clean);
    if !is_constant {
        second.disturb(&noise);
    }
    course.tracks.push(second);
}

/// One validation on a bad shard.
fn val_outlier(course: &mut Course, random: &mut Random) {
    let (rows, rise) = (course.logged_rows, random.between(0.05, 0.4));
    if let Some(track) = course.find(Role::ValLoss) {
        let points: Vec<usize> = (0..rows).filter(|row| track.logged[*row]).collect();
        // The newest one would be a turn as far as anybody can tell.
        if points.len() > 6 {
            let row = points[random.count(1, points.len() - 4)];
            track.values[row] += rise * track.scale(row);
        }
    }
}

/// A policy that loses its way for a few rows and finds it again.
fn dip(course: &mut Course, random: &mut Random) {
    // It has found it again when the log ends.
    let rows = course.logged_rows;
    let lasts = random.count(1, (rows / 30).clamp(1, 30));
    let from = random.count(rows / 10, rows.saturating_sub(rows / 6 + 8 + lasts));
    let role = random.pick(&[Role::Entropy, Role::Length, Role::Kl, Role::Reward]);
    let times = random.log_between(1.5, 6.0);
    if let Some(track) = course.find(role).filter(|_| rows > 30) {
        let (start, to) = (track.clean[0], (from + lasts).min(rows));
        for (value, clean) in track.values[from..to].iter_mut().zip(&track.clean[from..to]) {
            match role {
                Role::Kl => *value *= times,
                Role::Reward => *value += (start - clean) * (1.0 - 1.0 / times),
                _ => *value /= times,
            }
        }
    }
}

/// Longer samples, a busier machine: a little slower from a row on.
fn slower(course: &mut Course, random: &mut Random) {
    let (from, left) = (random.count(0, course.rows() - 1), random.between(0.87, 0.97));
    slow_down(course, from..usize::MAX, left);
}

/// Long evaluations, a few rows each.
fn evaluation(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let (apart, left) = (random.log_count(60, 1000), random.between(0.2, 0.8));
    let lasts = random.count(1, (rows / 60).clamp(1, 5));
    for from in (apart..rows).step_by(apart) {
        slow_down(course, from..from + lasts, left);
    }
}

fn slow_down(course: &mut Course, rows: Range<usize>, left: f64) {
    let rows = rows.start..rows.end.min(course.rows());
    course.rate[rows.clone()].iter_mut().for_each(|rate| *rate *= left);
    if let Some(track) = course.find(Role::Throughput) {
        track.values[rows].iter_mut().for_each(|value| *value *= left);
    }
}

/// New data or a new batch size: gradients of another size, no more than a few times.
fn stronger_gradient(course: &mut Course, random: &mut Random) {
    let (from, times) = (random.count(0, course.rows() - 1), random.log_between(0.2, 4.0));
    if let Some(track) = course.find(Role::GradNorm) {
        track.values[from..].iter_mut().for_each(|value| *value *= times);
        track.clean[from..].iter_mut().for_each(|value| *value *= times);
    }
}
