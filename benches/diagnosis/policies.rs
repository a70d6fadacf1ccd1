//! What breaks a policy: it loses its reward, its way, its variety or its words.

use super::curves::{Course, mean};
use super::faults::{Label, place};
use crate::random::Random;
use runq_udfs::kernels::diagnosis::{Kind, Level, Role};

/// A row after which enough of the log is left for a policy's fall.
fn policy_place(rows: usize, random: &mut Random) -> (usize, f64) {
    let from = place(rows, 0.35, 0.8, random).min(rows - 24);
    (from, random.log_between(1.0, 0.6 * (rows - from) as f64))
}

/// A reward that loses most of what it had gained, or more.
pub fn reward_collapse(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let (from, takes) = policy_place(rows, random);
    let share = random.between(0.6, 1.3);
    let Some(track) = course.find(Role::Reward) else { return Vec::new() };
    let best = track.clean[from];
    let rise = best - track.clean[0];
    let distances: Vec<f64> = (0..from).map(|row| (track.values[row] - track.clean[row]).abs()).collect();
    if rise * share < 5.0 * 1.25 * mean(&distances) {
        return Vec::new();
    }
    for row in from..track.clean.len() {
        track.move_to(row, best - share * rise * (1.0 - (-3.0 * (row - from) as f64 / takes).exp()));
    }
    let key = track.key;
    vec![Label::soft(Kind::RewardCollapse, Level::Error, course.steps[from], vec![key], 0.12)]
}

/// A policy that runs away from its reference.
pub fn kl_blowup(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let (from, takes) = policy_place(rows, random);
    let drawn = random.log_between(6.0, 200.0);
    let Some(track) = course.find(Role::Kl) else { return Vec::new() };
    let most = drawn.max(random.between(1.2, 3.0) / track.clean[from]);
    for row in from..track.values.len() {
        track.values[row] *= most.powf(((row - from + 1) as f64 / takes).min(1.0));
    }
    let key = track.key;
    let late = (takes * 1.5_f64.ln() / most.ln()) as usize;
    vec![Label::soft(Kind::KlBlowup, Level::Error, course.steps[from + late], vec![key], 0.12)]
}

/// Entropy or length that is lost; sometimes the other one with it.
pub fn lost(kind: Kind, course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let (from, takes) = policy_place(rows, random);
    let both = random.chance(0.2);
    let mut labels = Vec::new();
    let kinds = [
        (Kind::EntropyCollapse, Role::Entropy, 5, (0.01, 0.15)),
        (Kind::LengthCollapse, Role::Length, 4, (0.05, 0.32)),
    ];
    for (lost, role, part, (low, high)) in kinds {
        let left = random.log_between(low, high);
        let step = course.steps[from];
        let Some(track) = course.find(role).filter(|_| both || lost == kind) else { continue };
        let end = left * mean(&track.clean[..rows / part]) / track.clean[from];
        for row in from..track.values.len() {
            track.values[row] *= end.powf(((row - from) as f64 / takes).min(1.0));
        }
        labels.push(Label::soft(lost, Level::Error, step, vec![track.key], 0.12));
    }
    labels
}
