//! What is true of a run because of its noise-free curves, whatever was done to it.

use super::curves::{Course, Family, Track, mean};
use super::faults::Label;
use runq_udfs::kernels::diagnosis::{Kind, Role};

/// Whether the labels say all there is: no loss rests that should not, and the other way round.
pub fn is_all(course: &Course, truth: &[Label]) -> bool {
    let has_plateau = truth.iter().any(|label| label.kind == Kind::Plateau);
    let may_rest = truth.iter().any(|label| label.may_also.contains(&Kind::Plateau));
    may_rest || has_plateau == (flatness(course, truth) == Flat::Yes)
}

/// Kinds on which two careful readers of the log may differ.
pub fn undecided(course: &Course, truth: &[Label]) -> Vec<Kind> {
    let mut undecided = Vec::new();
    if flatness(course, truth) == Flat::Undecided {
        undecided.push(Kind::Plateau);
    }
    if truth.iter().any(|label| matches!(label.kind, Kind::Overfitting | Kind::Divergence)) {
        return undecided;
    }
    if risen(course, Role::ValLoss) > 0.01 {
        undecided.push(Kind::Overfitting);
    }
    // A restart of the learning rate takes the loss up; a tenth of the run later it is no excuse.
    let rows = course.logged_rows;
    let is_fresh = restart(course, rows).is_some_and(|row| rows - row <= course.rows() / 10);
    if risen(course, Role::Loss) > 0.05 && !is_fresh && !matches!(course.family, Family::Gan | Family::Rl) {
        undecided.push(Kind::Divergence);
    }
    undecided
}

/// Whether a run still gains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flat {
    Yes,
    No,
    Undecided,
}

/// Whether the noise-free losses still gain over the last 30 % of the rows: 2 % of the scale and more
/// is a gain, less than 0.5 % is none, and between them nobody decides. A loss that comes to rest
/// because its learning rate did is no plateau.
fn flatness(course: &Course, truth: &[Label]) -> Flat {
    let rows = course.logged_rows;
    // A policy's loss is no measure of it, and two losses that fight rest at a level.
    match course.family {
        Family::Rl => return Flat::No,
        Family::Gan => return Flat::Undecided,
        _ => {}
    }
    if truth.iter().any(|label| label.kind == Kind::Divergence) {
        return Flat::No;
    }
    // A loss that is NaN from a row on is judged by what is there.
    let is_nan = truth.iter().find(|label| label.kind == Kind::Nan && label.is_fatal);
    let rows = is_nan.map_or(rows, |label| course.steps.partition_point(|step| *step < label.onset_step));
    let peak = course.lr[..rows].iter().copied().fold(0.0, f64::max);
    let is_rested = rows > 0 && course.lr[rows - 1] < 0.05 * peak;
    if rows < 45 || (is_rested && course.tracks.iter().any(|track| track.role == Role::Lr)) {
        return Flat::No;
    }
    let gains = |role: Role| {
        let of_role = course.tracks.iter().filter(move |track| track.role == role);
        of_role.map(|track| gain(track, rows)).collect::<Vec<f64>>()
    };
    let (losses, vals) = (gains(Role::Loss), gains(Role::ValLoss));
    match (losses[0], is_rested) {
        // A loss that goes up, as after a restart, is something else.
        (gain, _) if gain < -0.05 => Flat::No,
        (gain, false) if gain.abs() < 0.005 && course.noise.standard_error(rows) < 0.003 => Flat::Yes,
        // An auxiliary loss or a validation loss may rest while the loss gains; both views are right.
        (gain, _) if gain < 0.02 || losses.iter().chain(&vals).any(|gain| *gain < 0.02) => Flat::Undecided,
        _ => Flat::No,
    }
}

/// What a noise-free metric gains over the last 30 % of the rows, in shares of its scale.
fn gain(track: &Track, rows: usize) -> f64 {
    let window = &track.clean[rows - rows * 3 / 10..rows];
    let quarter = window.len().div_ceil(4);
    let fall = mean(&window[..quarter]) - mean(&window[window.len() - quarter..]);
    fall * 4.0 / 3.0 / track.scale(rows - 1)
}

/// How far a noise-free metric ends above its best, in shares of its scale.
fn risen(course: &Course, role: Role) -> f64 {
    let rows = course.logged_rows;
    let risen = |track: &Track| {
        let best = track.clean[..rows].iter().copied().fold(f64::INFINITY, f64::min);
        (track.clean[rows - 1] - best) / best.abs().max(track.floor())
    };
    course.tracks.iter().filter(|track| track.role == role).map(risen).fold(0.0, f64::max)
}

/// The newest row at which the learning rate came back, if the log shows it.
pub fn restart(course: &Course, rows: usize) -> Option<usize> {
    let is_logged = course.tracks.iter().any(|track| track.role == Role::Lr);
    let comes_back = |row: &usize| course.lr[*row] > 3.0 * course.lr[row - 1];
    (course.rows() / 25 + 1..rows).rev().find(comes_back).filter(|_| is_logged)
}
