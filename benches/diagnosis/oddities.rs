//! Odd things that are benign: nobody would stop a run for them.

use super::curves::{Course, Family, Track};
use crate::random::Random;
use runq_udfs::kernels::diagnosis::{Kind, Role};

type Oddity = fn(&mut Course, &mut Random);

/// Adds up to four oddities that leave room for a kind. What happens later is seen by a log that
/// goes on to there.
pub fn add(course: &mut Course, wanted: Option<Kind>, random: &mut Random) {
    let mut all: Vec<Oddity> = vec![
        first_rows,
        skipped_scale,
        missing_rows,
        rounding,
        resume,
        long_pause,
        second_loss,
        val_outlier,
        gap,
    ];
    if !matches!(wanted, Some(Kind::LossSpike | Kind::Plateau)) {
        all.extend([hard_batches as Oddity, hard_batches, curriculum, recurring_batch]);
    }
    if !matches!(wanted, Some(Kind::GradExplosion | Kind::GradVanishing | Kind::LossSpike | Kind::Divergence))
    {
        all.push(clipped);
    }
    for _ in 0..random.count(0, 4) {
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
    let Some(track) = loss(course) else { return };
    let (mut row, floor) = (random.log_count(10, rows.max(10)), track.floor());
    while row < rows {
        let rise = random.between(0.1, 0.4) * track.clean[row].abs().max(floor);
        track.values[row] = track.values[row].max(track.clean[row] + rise);
        row += random.log_count(8, rows.max(8));
    }
}

/// One batch that is hard in each pass over the data.
fn recurring_batch(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let Some(track) = loss(course) else { return };
    let (apart, rise, floor) = (random.log_count(10, 400), random.between(0.1, 0.4), track.floor());
    for row in (apart / 2..rows).step_by(apart) {
        track.values[row] = track.clean[row] + rise * track.clean[row].abs().max(floor);
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

/// Stopped and started again.
fn resume(course: &mut Course, random: &mut Random) {
    for _ in 0..random.count(1, 3) {
        let row = random.count(1, course.rows().max(2) - 1);
        course.downtime.push((row, random.log_between(60.0, 2e5)));
    }
    course.downtime.sort_by_key(|(row, _)| *row);
    course.downtime.dedup_by_key(|(row, _)| *row);
}

/// One interval in which the machine did something else.
fn long_pause(course: &mut Course, random: &mut Random) {
    let (row, slow) = (random.count(0, course.rows() - 1), random.log_between(3.0, 40.0));
    course.rate[row] /= slow;
    if let Some(track) = course.find(Role::Throughput) {
        track.values[row] /= slow;
    }
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
    let rise = random.between(0.05, 0.4);
    if let Some(track) = course.find(Role::ValLoss) {
        let points: Vec<usize> = (0..track.logged.len()).filter(|row| track.logged[*row]).collect();
        // The newest one would be a turn as far as anybody can tell.
        if points.len() > 6 {
            let row = points[random.count(1, points.len() - 4)];
            track.values[row] += rise * track.scale(row);
        }
    }
}
