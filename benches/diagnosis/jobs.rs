//! Healthy jobs: all metrics of a run as its tracker logs them.

use super::curves::{Course, Family, Noise, Track, learn};
use crate::random::Random;
use runq_udfs::kernels::diagnosis::{Kind, Role};

/// Rows a kind needs, so that somebody who reads the log can tell.
pub fn rows_needed(kind: Kind) -> usize {
    match kind {
        Kind::Nan => 12,
        Kind::Resume | Kind::BehindSiblings => 20,
        Kind::Overfitting => 60,
        Kind::LossSpike | Kind::GradExplosion | Kind::GradVanishing | Kind::ThroughputDrop => 70,
        Kind::RewardCollapse | Kind::KlBlowup | Kind::EntropyCollapse | Kind::LengthCollapse => 80,
        Kind::MemoryLeak | Kind::OomRisk => 90,
        Kind::Divergence | Kind::Plateau => 110,
    }
}

/// What a run is of, in which a kind can happen at all.
fn family(wanted: Option<Kind>, random: &mut Random) -> Family {
    use Family::*;
    let losses = [Pretrain, Pretrain, Pretrain, Finetune, Finetune, Vision, Vision, Negative, NearZero];
    match wanted {
        Some(Kind::RewardCollapse | Kind::KlBlowup | Kind::EntropyCollapse | Kind::LengthCollapse) => Rl,
        Some(Kind::LossSpike | Kind::Divergence) => random.pick(&losses),
        Some(Kind::Plateau) => random.pick(&[Pretrain, Finetune, Vision, Negative]),
        Some(Kind::Overfitting) => random.pick(&[Pretrain, Finetune, Finetune, Vision, Vision]),
        _ => random.pick(&[
            Pretrain, Pretrain, Pretrain, Finetune, Finetune, Vision, Vision, Negative, NearZero, Gan, Rl, Rl,
        ]),
    }
}

fn row_count(wanted: Option<Kind>, random: &mut Random) -> usize {
    let drawn = random.next();
    let rows = match wanted {
        None if drawn < 0.03 => return random.count(3, 20),
        _ if drawn < 0.88 => random.log_count(30, 5_000),
        _ if drawn < 0.997 => random.log_count(5_000, 20_000),
        _ => random.log_count(20_000, 200_000),
    };
    match wanted.map(rows_needed) {
        Some(needed) if rows < needed => random.log_count(needed, 4 * needed),
        _ => rows,
    }
}

/// Steps of the rows: every so many, not always from 0.
fn steps(rows: usize, random: &mut Random) -> Vec<i64> {
    let every = random.pick(&[1, 1, 1, 10, 10, 50, 100]);
    let first = match random.count(0, 9) {
        0 => every * random.count(1, 2 * rows) as i64,
        1..6 => 0,
        6..8 => every,
        _ => 1,
    };
    (0..rows as i64).map(|row| first + row * every).collect()
}

/// Rows after which the log ends: all, or those of a run that was stopped; often just when a
/// restart of the learning rate has taken the loss up.
fn cut(lr: &[f64], wanted: Option<Kind>, random: &mut Random) -> usize {
    let rows = lr.len();
    let restarts: Vec<usize> = (rows / 5 + 1..rows).filter(|row| lr[*row] > 3.0 * lr[row - 1]).collect();
    let share = match random.next() {
        _ if !restarts.is_empty() && random.chance(0.4) => {
            random.pick(&restarts) as f64 / rows as f64 + random.between(0.01, 0.09)
        }
        drawn if drawn < 0.55 => 1.0,
        _ => random.between(0.25, 1.0),
    };
    let needed = wanted.map_or(3, rows_needed);
    ((share * rows as f64) as usize).max(needed).min(rows)
}

/// A healthy job in which a kind can happen.
pub fn job(wanted: Option<Kind>, random: &mut Random) -> Course {
    let family = family(wanted, random);
    let rows = row_count(wanted, random);
    let steps = steps(rows, random);
    let learned = learn(family, rows, random);
    let logged_rows = cut(&learned.lr, wanted, random);
    let mut course = Course {
        family,
        planned: steps[rows - 1],
        logged_rows,
        steps,
        lr: learned.lr,
        noise: Noise::of_loss(family, random),
        rate: rate(rows, random),
        downtime: Vec::new(),
        has_hard_batches: false,
        is_timed: random.chance(0.85),
        knows_plan: random.chance(0.75),
        capacity: None,
        memory_size: 0.0,
        tracks: Vec::new(),
    };
    match family {
        Family::Rl => policy(&mut course, random),
        Family::Gan => rivals(&mut course, random),
        _ => losses(&mut course, learned.loss, &learned.fresh, wanted, random),
    }
    grad_norm(&mut course, wanted, random);
    memory(&mut course, wanted, random);
    throughput(&mut course, wanted, random);
    if random.chance(0.8) {
        let peak = random.log_between(1e-5, 0.5);
        let key = random.pick(&["lr", "learning_rate", "train/lr"]);
        course.tracks.push(Track::new(Role::Lr, key, course.lr.iter().map(|lr| lr * peak).collect()));
    }
    course
}

/// Speed in the unit of some tracker; a run may have nothing but its times.
fn throughput(course: &mut Course, wanted: Option<Kind>, random: &mut Random) {
    let must = wanted == Some(Kind::ThroughputDrop) && (!course.is_timed || random.chance(0.8));
    if must || random.chance(0.7) {
        let key = random.pick(&["throughput", "tokens_per_sec", "samples_per_second", "steps_per_sec"]);
        let unit = if key == "steps_per_sec" { 1.0 } else { random.log_between(8.0, 4e6) };
        let speeds = course.rate.iter().map(|rate| rate * unit).collect();
        course.tracks.push(Track::new(Role::Throughput, key, speeds));
    }
}

/// Training and validation losses, sometimes an accuracy.
fn losses(course: &mut Course, loss: Vec<f64>, fresh: &[f64], wanted: Option<Kind>, random: &mut Random) {
    let rows = loss.len();
    let mut train = Track::new(Role::Loss, random.pick(&["loss", "train/loss", "train_loss"]), loss);
    train.disturb(&course.noise.series(rows, random));
    course.tracks.push(train);
    let likes = if course.family == Family::Vision { 0.95 } else { 0.5 };
    if wanted != Some(Kind::Overfitting) && (rows < 5 || !random.chance(likes)) {
        return;
    }
    let known = random.between(0.5, 1.0);
    let offset = random.between(0.0, 0.4) * fresh[0].abs();
    let clean: Vec<f64> = fresh.iter().map(|loss| loss * known + offset).collect();
    let mut val =
        Track::new(Role::ValLoss, random.pick(&["val_loss", "eval_loss", "validation/loss"]), clean);
    let points =
        if wanted == Some(Kind::Overfitting) { random.log_count(14, 200) } else { random.log_count(5, 200) };
    let apart = (rows / points).max(1);
    let noise = Noise::of(random.log_between(0.001, 0.02), 0.0, random.chance(0.2));
    val.disturb(&noise.series(rows, random));
    val.logged = (0..rows).map(|row| row % apart == apart - 1).collect();
    if course.family == Family::Vision && random.chance(0.8) {
        course.tracks.push(accuracy(&val, &noise, random));
    }
    course.tracks.push(val);
}

/// The higher the better, where the validation loss is lower.
fn accuracy(val: &Track, noise: &Noise, random: &mut Random) -> Track {
    let top = random.between(0.5, 0.97);
    let start = val.clean[0];
    let range = (start - val.clean.iter().copied().fold(start, f64::min)).max(1e-12);
    let gain = top * random.between(0.5, 0.95);
    let clean =
        val.clean.iter().map(|loss| top - gain + gain * ((start - loss) / range).clamp(-1.0, 1.0)).collect();
    let mut accuracy =
        Track::new(Role::ValScore, random.pick(&["val_acc", "val_accuracy", "eval/f1"]), clean);
    accuracy.disturb(&noise.series(val.clean.len(), random));
    accuracy.values.iter_mut().for_each(|value| *value = value.min(1.0));
    accuracy.logged.clone_from(&val.logged);
    accuracy
}

/// The losses of a generator and its discriminator: they go around a level and mean little.
fn rivals(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let period = random.between(0.015, 0.06) * rows as f64;
    let drift = random.between(0.0, 0.3);
    let mut phase = 0.0;
    let turns: Vec<f64> = (0..rows)
        .map(|_| {
            phase += std::f64::consts::TAU / period * random.between(0.5, 1.5);
            phase
        })
        .collect();
    for (key, lag) in [("g_loss", 0.0), ("d_loss", 1.6)] {
        let (level, swing) = (random.log_between(0.4, 4.0), random.between(0.05, 0.2));
        let at = |(row, turn): (usize, &f64)| {
            level * (1.0 - drift * row as f64 / rows as f64) * (1.0 + swing * (turn + lag).sin())
        };
        let mut track = Track::new(Role::Loss, key, turns.iter().enumerate().map(at).collect());
        track.disturb(&course.noise.series(rows, random));
        course.tracks.push(track);
    }
}

/// A policy that gets better: reward up, KL a little up, entropy a little down.
fn policy(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let share = |row: usize| row as f64 / rows as f64;
    let (from, to) =
        random.pick(&[(0.0, 1.0), (-50.0, 120.0), (0.1, 0.6), (-1000.0, -150.0), (20.0, 480.0), (-3.0, 4.0)]);
    let learned = random.between(0.6, 1.0) * (to - from);
    let (constant, middle) = (random.between(0.1, 0.6), random.between(0.15, 0.5));
    let is_sigmoid = random.chance(0.4);
    let curve = |x: f64| {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-(x - middle) / 0.08).exp());
        if is_sigmoid { sigmoid(x) - sigmoid(0.0) } else { 1.0 - (-x / constant).exp() }
    };
    let clean: Vec<f64> = (0..rows).map(|row| from + learned * curve(share(row))).collect();
    let noise = Noise::of(random.log_between(0.02, 0.2), random.pick(&[0.0, 0.0, 0.3, 0.7]), false);
    let mut reward = Track::new(Role::Reward, random.pick(&["reward", "reward/mean", "ep_rew_mean"]), clean);
    for (value, noise) in reward.values.iter_mut().zip(noise.series(rows, random)) {
        *value += noise * learned;
    }
    course.tracks.push(reward);
    course.tracks.push(kl(rows, random));
    answers(course, random);
}

/// What the policy says, how sure it is, and the loss it is trained on.
fn answers(course: &mut Course, random: &mut Random) {
    let rows = course.rows();
    let share = |row: usize| row as f64 / rows as f64;
    let most = random.log_between(0.06, 8.0);
    let least = random.between(0.4, 1.1);
    let speed = random.between(0.1, 1.0);
    let falling = |row: usize| most * (least + (1.0 - least) * (-share(row) / speed).exp());
    course.tracks.push(positive(Role::Entropy, "entropy", (0..rows).map(falling).collect(), 0.08, random));
    let (tokens, grown) = (random.log_between(40.0, 3000.0), random.log_between(0.44, 4.0));
    let lengths = (0..rows).map(|row| tokens * (1.0 + (grown - 1.0) * share(row))).collect();
    course.tracks.push(positive(Role::Length, "response_length", lengths, 0.2, random));
    let swing = random.log_between(0.003, 0.3);
    let offset = random.pick(&[0.0, 0.0, -0.02, 0.05]);
    let mut loss = Track::new(Role::Loss, random.pick(&["policy_loss", "loss"]), vec![offset; rows]);
    let noise = Noise::of(swing, 0.2, true);
    for (value, noise) in loss.values.iter_mut().zip(noise.series(rows, random)) {
        *value += noise;
    }
    course.tracks.push(loss);
}

/// KL from the reference policy: grows slowly, or soon reaches the target that a controller holds.
fn kl(rows: usize, random: &mut Random) -> Track {
    let share = |row: usize| row as f64 / rows as f64;
    let clean: Vec<f64> = if random.chance(0.3) {
        let (target, soon) = (random.log_between(0.05, 8.0), random.between(0.01, 0.04));
        (0..rows).map(|row| target * (1.02 - (-share(row) / soon).exp())).collect()
    } else {
        let (low, grown) = (random.log_between(0.002, 0.08), random.between(1.0, 4.5));
        (0..rows).map(|row| low * (1.0 + (grown - 1.0) * share(row))).collect()
    };
    positive(Role::Kl, random.pick(&["kl", "objective/kl", "approx_kl"]), clean, 0.3, random)
}

/// A metric above 0, with noise up to so much.
fn positive(role: Role, key: &'static str, clean: Vec<f64>, most: f64, random: &mut Random) -> Track {
    let mut track = Track::new(role, key, clean);
    let noise = Noise::of(random.log_between(0.01, most), random.pick(&[0.0, 0.3, 0.7]), random.chance(0.2));
    let series: Vec<f64> = noise.series(track.clean.len(), random);
    track.disturb_log(&series);
    track
}

/// Steps a second, with what makes them uneven: neighbours on the machine, compilation, checkpoints.
fn rate(rows: usize, random: &mut Random) -> Vec<f64> {
    let usual = random.log_between(0.05, 20.0);
    let phi = random.pick(&[0.0, 0.0, 0.5, 0.9, 0.98]);
    let most = if phi > 0.8 { 0.03 } else { 0.08 };
    let noise = Noise::of(random.log_between(0.003, most), phi, random.chance(0.3));
    let drift = random.between(-0.08, 0.08);
    let mut rate: Vec<f64> = noise
        .series(rows, random)
        .iter()
        .enumerate()
        .map(|(row, noise)| usual * (1.0 + drift * row as f64 / rows as f64) * (1.0 + noise))
        .collect();
    if random.chance(0.5) {
        let slow = random.log_between(1.5, 10.0);
        rate.iter_mut().take(random.count(1, 3)).for_each(|rate| *rate /= slow);
    }
    if random.chance(0.5) {
        let (apart, slow) = (random.log_count(8, 200), random.log_between(1.2, 8.0));
        let lasts = if apart > 30 { random.count(1, 2) } else { 1 };
        rate.iter_mut()
            .enumerate()
            .filter(|(row, _)| row % apart >= apart - lasts)
            .for_each(|(_, rate)| *rate /= slow);
    }
    rate
}

fn grad_norm(course: &mut Course, wanted: Option<Kind>, random: &mut Random) {
    if !random.chance(0.7) && !matches!(wanted, Some(Kind::GradExplosion | Kind::GradVanishing)) {
        return;
    }
    let rows = course.rows();
    let usual = random.log_between(0.03, 30.0);
    let (early, soon) = (random.log_between(1.0, 15.0), random.log_between(0.003, 0.03));
    let drift = random.log_between(0.03, 2.5).ln();
    let at = |row: usize| {
        let share = row as f64 / rows as f64;
        usual * (1.0 + early * (-share / soon).exp()) * (drift * share).exp()
    };
    let mut track = Track::new(
        Role::GradNorm,
        random.pick(&["grad_norm", "train/grad_norm"]),
        (0..rows).map(at).collect(),
    );
    let noise =
        Noise::of(random.log_between(0.03, 0.4), random.pick(&[0.0, 0.0, 0.3, 0.6]), random.chance(0.3));
    // In the logarithm: no healthy row is over six times the usual.
    let series = Noise { most: 1.75, ..noise }.series(rows, random);
    track.disturb_log(&series);
    course.tracks.push(track);
}

/// Memory that is healthy however it looks: full, in steps, in saw teeth, growing at the start.
fn memory(course: &mut Course, wanted: Option<Kind>, random: &mut Random) {
    let must = matches!(wanted, Some(Kind::MemoryLeak | Kind::OomRisk));
    if !must && !random.chance(0.5) {
        return;
    }
    let rows = course.rows();
    let unit = random.pick(&[1.0, 1024.0, 1_073_741_824.0]);
    let capacity = random.pick(&[16.0, 24.0, 40.0, 80.0]) * unit;
    let used = if must { random.between(0.25, 0.7) } else { random.pick(&[0.3, 0.55, 0.8, 0.95]) } * capacity;
    let warm = random.chance(0.3).then(|| random.between(0.005, 0.02));
    let steps: Vec<(usize, f64)> = (0..if must { 0 } else { random.pick(&[0, 0, 1, 1, 2]) })
        .map(|_| (random.count(0, rows - 1), random.between(0.01, 0.2) * (0.98 * capacity - used) / 0.6))
        .collect();
    let at = |row: usize| {
        let early = warm.map_or(1.0, |soon| 1.0 - 0.2 * (-(row as f64) / rows as f64 / soon).exp());
        used * early + steps.iter().filter(|(from, _)| row >= *from).map(|(_, by)| by).sum::<f64>()
    };
    let mut track = Track::new(
        Role::Memory,
        random.pick(&["gpu_mem", "memory", "system/gpu_mem"]),
        (0..rows).map(at).collect(),
    );
    let noise = random.pick(&[0.0, 0.001, 0.005, 0.01]) * capacity;
    let teeth = random.chance(0.3).then(|| (random.log_count(3, 60), random.between(0.01, 0.08) * capacity));
    for (row, value) in track.values.iter_mut().enumerate() {
        *value += noise * random.normal().clamp(-3.0, 3.0);
        *value -= teeth.map_or(0.0, |(apart, deep)| deep * (1.0 - (row % apart) as f64 / apart as f64));
        *value = value.min(0.995 * capacity);
    }
    course.tracks.push(track);
    let is_known = wanted == Some(Kind::OomRisk) || random.chance(0.7);
    course.memory_size = capacity;
    course.capacity = is_known.then_some(capacity);
}
