//! What breaks a run: one builder for each kind, from barely visible to gross, with its label.
//!
//! A builder changes what happens physically from a row on and says so. Sizes are in shares of the
//! metric's scale and never below a multiple of its noise, as nobody could see them there.

use super::curves::{Course, Family, Track, mean};
use super::policies;
use crate::random::Random;
use runq_udfs::kernels::diagnosis::{Kind, Level, Role};

/// What a run has, and where.
#[derive(Debug, Clone)]
pub struct Label {
    /// What happened.
    pub kind: Kind,
    /// How bad it is, at least.
    pub level: Level,
    /// Metrics that show it; empty where any may.
    pub keys: Vec<&'static str>,
    /// Where it began.
    pub onset_step: i64,
    /// A finding may be off by so many rows of its curve,
    pub tolerance_rows: usize,
    /// or by this share of them, whichever is more.
    pub tolerance_share: f64,
    /// Whether it began in one row.
    pub is_sharp: bool,
    /// Whether everything after it is for nothing.
    pub is_fatal: bool,
    /// Kinds that may be reported as well: it causes them, or looks like them.
    pub may_also: Vec<Kind>,
}

impl Label {
    fn sharp(kind: Kind, level: Level, onset_step: i64, keys: Vec<&'static str>) -> Self {
        let may_also = Vec::new();
        Self {
            kind,
            level,
            keys,
            onset_step,
            tolerance_rows: 10,
            tolerance_share: 0.03,
            is_sharp: true,
            is_fatal: false,
            may_also,
        }
    }

    /// One that comes slowly, so that its onset is a matter of taste.
    pub fn soft(
        kind: Kind,
        level: Level,
        onset_step: i64,
        keys: Vec<&'static str>,
        tolerance_share: f64,
    ) -> Self {
        let sharp = Self::sharp(kind, level, onset_step, keys);
        Self { tolerance_rows: 15, tolerance_share, is_sharp: false, ..sharp }
    }

    fn fatal(self) -> Self {
        Self { is_fatal: true, ..self }
    }

    fn may_also(self, kinds: &[Kind]) -> Self {
        Self { may_also: kinds.to_vec(), ..self }
    }
}

/// Breaks a run whose log has `rows` rows; no labels where the fault would not be seen.
pub fn inject(kind: Kind, course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    match kind {
        Kind::Nan => nan(course, rows, random),
        Kind::LossSpike => loss_spikes(course, rows, random),
        Kind::Divergence => divergence(course, rows, random),
        Kind::Plateau => plateau(course, rows, random),
        Kind::Overfitting => overfitting(course, rows, random),
        Kind::GradExplosion if random.chance(0.2) => grad_growth(course, rows, random),
        Kind::GradExplosion => grad_bursts(course, rows, random),
        Kind::GradVanishing => grad_vanishing(course, rows, random),
        Kind::ThroughputDrop => throughput_drop(course, rows, random),
        Kind::MemoryLeak => memory_leak(course, rows, random),
        Kind::OomRisk => oom(course, rows, random),
        Kind::RewardCollapse => policies::reward_collapse(course, rows, random),
        Kind::KlBlowup => policies::kl_blowup(course, rows, random),
        Kind::EntropyCollapse | Kind::LengthCollapse => policies::lost(kind, course, rows, random),
        // Facts of a run, not faults of it.
        Kind::Resume | Kind::BehindSiblings => Vec::new(),
    }
}

/// Places in the tracks of the losses, the validation loss last if asked for.
fn loss_tracks(course: &Course, with_val: bool) -> Vec<usize> {
    let roles: &[Role] = if with_val { &[Role::Loss, Role::ValLoss] } else { &[Role::Loss] };
    let wanted = |track: &Track| roles.contains(&track.role) && track.key != "loss_penalty";
    (0..course.tracks.len()).filter(|place| wanted(&course.tracks[*place])).collect()
}

fn keys(course: &Course, places: &[usize]) -> Vec<&'static str> {
    places.iter().map(|place| course.tracks[*place].key).collect()
}

/// A row between two shares of the log.
pub fn place(rows: usize, low: f64, high: f64, random: &mut Random) -> usize {
    (random.between(low, high) * rows as f64) as usize
}

/// A score that gets no better from a row on, as the loss gets none.
fn hold_score(course: &mut Course, from: usize) {
    if let Some(score) = course.find(Role::ValScore) {
        let level = score.clean[from];
        (from..score.clean.len()).for_each(|row| score.move_to(row, level));
    }
}

fn nan(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let from = place(rows, 0.05, 0.97, random).min(rows - 4);
    let all = course.rows();
    let broken = random.pick(&[f64::NAN, f64::NAN, f64::INFINITY]);
    let places = loss_tracks(course, true);
    let grad = (0..course.tracks.len()).find(|place| course.tracks[*place].role == Role::GradNorm);
    let (hit, lasts) = match (random.count(0, 5), grad) {
        (0, Some(grad)) => (vec![grad], random.count(3, 12)),
        (1, _) => (vec![places[0]], random.count(1, 5)),
        (2, grad) => (places.into_iter().take(1).chain(grad).collect(), all),
        (_, grad) => (places.into_iter().chain(grad).collect::<Vec<usize>>(), all),
    };
    let label = Label::sharp(Kind::Nan, Level::Error, course.steps[from], keys(course, &hit));
    if random.chance(0.25) && lasts == all && from > 12 {
        blow_up(course, from, random);
    }
    for place in hit {
        let track = &mut course.tracks[place];
        let to = (from + lasts).min(all);
        track.values[from..to].fill(broken);
        if matches!(track.role, Role::Loss | Role::GradNorm) {
            track.logged[from..to.min(from + 12)].fill(true);
        }
    }
    // What leads to it may be reported on its own.
    let label = label.may_also(&[Kind::Divergence, Kind::GradExplosion, Kind::LossSpike]);
    vec![if lasts == all { label.fatal() } else { label }]
}

/// Loss and gradient run away in the few rows before one.
fn blow_up(course: &mut Course, before: usize, random: &mut Random) {
    let (rows, times) = (random.count(2, 8), random.log_between(1.5, 4.0));
    for track in course.tracks.iter_mut().filter(|track| matches!(track.role, Role::Loss | Role::GradNorm)) {
        for row in before - rows..before {
            track.values[row] += track.scale(row) * (times.powi((row + rows - before) as i32 + 1) - 1.0);
        }
    }
}

/// Adds a bump that rises within a row or two, stays for `rows` rows and decays.
fn bump(track: &mut Track, from: usize, rows: usize, height: f64, random: &mut Random) {
    let decay = random.between(0.2, 0.9) * rows as f64;
    let scale = track.scale(from) * height;
    let stays = rows.div_ceil(2);
    for row in from..track.values.len().min(from + 6 * rows) {
        let age = row - from;
        let left = if age < stays { 1.0 } else { (-((age + 1 - stays) as f64) / decay).exp() };
        track.values[row] +=
            scale * left * if age == 0 { random.between(0.6, 1.0) } else { random.between(0.85, 1.15) };
    }
    let end = (from + rows).min(track.logged.len());
    track.logged[from..end].fill(true);
}

fn loss_spikes(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let sd = course.noise.total_sd();
    // Among hard batches nobody sees a spike that is no higher than they are.
    let visible = if course.has_hard_batches { 0.45 } else { 0.15 };
    let least = (if course.noise.heavy { 9.0 } else { 7.0 } * sd).max(visible);
    let longest = (rows / 25).clamp(2, 20);
    let main = loss_tracks(course, false);
    let mut labels = Vec::new();
    let mut from = 26.max(rows / 15) + random.log_count(1, rows / 2);
    for _ in 0..random.pick(&[1, 1, 1, 2, 3, 5]) {
        let is_single = random.chance(0.15);
        let lasts = if is_single { 1 } else { random.log_count(2, longest) };
        let mut height = random.log_between(least, least.max(2.5) * 2.0);
        if is_single {
            height = height.max(random.between(0.9, 4.0));
        }
        let track = &course.tracks[main[0]];
        if from + 3 * lasts + 4 >= rows {
            break;
        }
        // A rise that the fall of the loss eats up is none.
        let fall = (track.clean[from - 6] - track.clean[from + 2 * lasts]).abs() / track.scale(from);
        if fall < 0.3 * height {
            main.iter().for_each(|place| bump(&mut course.tracks[*place], from, lasts, height, random));
            labels.push(Label::sharp(Kind::LossSpike, Level::Warn, course.steps[from], keys(course, &main)));
            labels.extend(shaken_gradient(course, from, random));
        }
        from += 6 * lasts + random.log_count(14, (rows / 3).max(15));
    }
    labels
}

/// What a spike does to the gradient norm: often it jumps first.
fn shaken_gradient(course: &mut Course, spike: usize, random: &mut Random) -> Option<Label> {
    let explodes = random.chance(0.3);
    let from = spike - random.count(0, 2);
    let step = course.steps[from];
    let track = course.find(Role::GradNorm)?;
    let times = if explodes { random.log_between(40.0, 400.0) } else { random.log_between(1.1, 2.5) };
    for row in from..from + random.count(1, 4) {
        track.values[row] = track.clean[row] * times * random.between(0.8, 1.2);
        track.logged[row] = true;
    }
    explodes.then(|| Label::sharp(Kind::GradExplosion, Level::Warn, step, vec![track.key]))
}

fn divergence(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let after = 40.max(rows / 10);
    let from = place(rows, 0.2, 0.85, random).clamp(30, rows - after);
    let least = (6.0 * course.noise.total_sd()).max(0.17);
    let rise = random.log_between(least, least.max(2.0) * 2.5);
    let (power, soon) = (random.between(0.5, 1.8), random.log_between(1.0, 12.0));
    let shape = random.count(0, 2);
    let at = |age: f64| match shape {
        0 => age.powf(power).min(1.5),
        1 => 1.0 - (-age * after as f64 / soon).exp(),
        _ => (((2.5 * age).exp() - 1.0) / (2.5_f64.exp() - 1.0)).min(1.5),
    };
    let places = loss_tracks(course, true);
    for place in &places {
        let track = &mut course.tracks[*place];
        let (level, scale) = (track.clean[from], track.scale(from));
        for row in from..track.clean.len() {
            let age = (row - from) as f64 / (rows - from) as f64;
            track.move_to(row, level + rise * scale * at(age));
        }
    }
    hold_score(course, from);
    let grows = random.chance(0.4);
    if let Some(track) = course.find(Role::GradNorm) {
        let most: f64 = if grows { random.log_between(2.0, 300.0) } else { 1.0 };
        for row in from..track.values.len() {
            let age = (row - from) as f64 / (rows - from) as f64;
            track.values[row] *= most.powf(age.min(1.0));
        }
    }
    // It begins where a tenth of it is there: a slow start is below any noise.
    let begin = (from..rows).find(|row| at((row - from) as f64 / (rows - from) as f64) > 0.1).unwrap_or(from);
    let label = Label::soft(Kind::Divergence, Level::Error, course.steps[begin], keys(course, &places), 0.1);
    vec![label.fatal().may_also(&[Kind::GradExplosion])]
}

/// A learning rate that is still up when the log ends.
fn keep_lr_up(course: &mut Course, random: &mut Random) {
    let floor = random.between(0.1, 1.0);
    course.lr.iter_mut().for_each(|lr| *lr = floor + (1.0 - floor) * *lr);
    let lr = course.lr.clone();
    if let Some(track) = course.find(Role::Lr) {
        let peak = track.values.iter().copied().fold(0.0, f64::max);
        track.values.iter_mut().zip(lr).for_each(|(value, lr)| *value = lr * peak);
    }
}

fn plateau(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let is_dead = random.chance(0.15);
    let from = if is_dead { 0 } else { place(rows, 0.08, 0.5, random).max(20) };
    let settles = random.between(0.005, 0.05) * rows as f64;
    keep_lr_up(course, random);
    let error = 2.0 * course.noise.standard_error(rows);
    let quieter = (0.004 / error).min(1.0);
    hold_score(course, from);
    let places = loss_tracks(course, true);
    let mut begin = from;
    for place in &places {
        let track = &mut course.tracks[*place];
        let back = from.saturating_sub((settles as usize).max(1));
        let (level, slope) = (track.clean[from], (track.clean[back] - track.clean[from]) / settles);
        for row in from..track.clean.len() {
            let age = (row - from) as f64;
            track.move_to(row, level - slope * settles * (1.0 - (-age / settles).exp()));
            track.values[row] = track.clean[row] + quieter * (track.values[row] - track.clean[row]);
        }
        let left = slope * settles / (0.005 * track.scale(rows - 1));
        begin = begin.max(from + (settles * left.max(1.0).ln()) as usize);
    }
    if begin > rows * 6 / 10 {
        return Vec::new();
    }
    vec![Label::soft(Kind::Plateau, Level::Warn, course.steps[begin], keys(course, &places), 0.3).fatal()]
}

/// Typical distance of a metric from its truth, in shares of the scale.
fn typical_noise(track: &Track, rows: usize) -> f64 {
    let floor = track.floor();
    let relative =
        |row: usize| (track.values[row] - track.clean[row]).abs() / track.clean[row].abs().max(floor);
    let mut noise: Vec<f64> = (0..rows).map(relative).filter(|noise| noise.is_finite()).collect();
    noise.sort_by(f64::total_cmp);
    1.5 * noise.get(noise.len() / 2).copied().unwrap_or(0.0)
}

fn overfitting(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let turn = place(rows, 0.2, 0.7, random);
    let power = random.pick(&[1.0, 1.5, 2.0]);
    let age = |row: usize| (row.saturating_sub(turn) as f64 / (rows - turn) as f64).powf(power).min(1.6);
    let falls_too = random.chance(0.4);
    let lost = random.between(0.03, 0.2);
    let memorised = random.pick(&[0.0, 0.1, 0.3, 0.6]);
    let Some(val) = course.find(Role::ValLoss) else { return Vec::new() };
    let points: Vec<usize> = (0..rows).filter(|row| val.logged[*row]).collect();
    let before = points.iter().filter(|row| **row < turn).count();
    if before < 4 || points.len() - before < 6 || points.len() < 12 {
        return Vec::new();
    }
    let least = (6.0 * typical_noise(val, rows)).max(0.06);
    let (scale, level, rise) = (val.scale(turn), val.clean[turn], random.log_between(least, least.max(0.8)));
    (turn..val.clean.len()).for_each(|row| val.move_to(row, level + rise * scale * age(row)));
    let mut shown = vec![val.key];
    if let Some(score) = course.find(Role::ValScore).filter(|_| falls_too) {
        let level = score.clean[turn];
        (turn..score.clean.len()).for_each(|row| score.move_to(row, level * (1.0 - lost * age(row))));
        shown.push(score.key);
    }
    if let Some(train) = course.find(Role::Loss) {
        for row in turn..train.clean.len() {
            // What is memorised is taken from the level, and no more than it.
            let kept = 1.0 - memorised * age(row).min(1.0);
            if train.clean[row] > 0.0 {
                let noise = train.values[row] / train.clean[row];
                train.clean[row] *= kept;
                train.values[row] = noise * train.clean[row];
            }
        }
    }
    vec![Label::soft(Kind::Overfitting, Level::Warn, course.steps[turn], shown, 0.25).fatal()]
}

/// Typical width of a gradient norm's logarithm.
fn log_noise(track: &Track, rows: usize) -> f64 {
    let distance = |row: usize| (track.values[row] / track.clean[row]).ln().abs();
    let mut noise: Vec<f64> = (0..rows).map(distance).filter(|noise| noise.is_finite()).collect();
    noise.sort_by(f64::total_cmp);
    1.5 * noise.get(noise.len() / 2).copied().unwrap_or(0.0)
}

fn grad_bursts(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let shakes_loss = random.chance(0.3) && !matches!(course.family, Family::Rl | Family::Gan);
    let steps = course.steps.clone();
    let all = course.rows();
    let mut labels = Vec::new();
    let mut from = 26.max(all / 15) + random.log_count(1, (rows / 2).max(1));
    let Some(track) = course.find(Role::GradNorm) else { return labels };
    let least = 10.0_f64.max((6.0 * log_noise(track, rows)).exp());
    for _ in 0..random.pick(&[1, 1, 2, 3]) {
        let lasts = random.log_count(1, (rows / 30).clamp(1, 10));
        if from + 2 * lasts + 4 >= rows {
            break;
        }
        let times = random.log_between(least, least * 60.0);
        for row in from..from + lasts {
            let age = (row - from) as f64 / lasts as f64;
            track.values[row] = track.clean[row] * times.powf(1.0 - 0.4 * age) * random.between(0.9, 1.2);
            track.logged[row] = true;
        }
        labels.push(Label::sharp(Kind::GradExplosion, Level::Warn, steps[from], vec![track.key]));
        from += lasts + random.log_count(15, (rows / 3).max(16));
    }
    if shakes_loss {
        labels.iter_mut().for_each(|label| label.may_also = vec![Kind::LossSpike]);
        nudge_loss(course, &labels, random);
    }
    labels
}

/// A loss that feels a burst of the gradient a little.
fn nudge_loss(course: &mut Course, bursts: &[Label], random: &mut Random) {
    let starts: Vec<usize> =
        bursts.iter().map(|label| course.steps.partition_point(|step| *step < label.onset_step)).collect();
    if let Some(track) = course.find(Role::Loss) {
        let last = track.values.len() - 1;
        for row in starts.into_iter().map(|row| (row + 1).min(last)) {
            track.values[row] += random.between(0.02, 0.5) * track.scale(row);
        }
    }
}

/// Growth without end.
fn grad_growth(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let from = place(rows, 0.25, 0.75, random);
    let times = random.log_between(40.0, 3000.0);
    let speed = random.between(1.0, 3.0);
    let Some(track) = course.find(Role::GradNorm) else { return Vec::new() };
    let grown = |row: usize| times.powf(((row - from) as f64 / (rows - from) as f64 * speed).min(1.0));
    (from..track.values.len()).for_each(|row| track.values[row] *= grown(row));
    let key = track.key;
    let begin = (from..rows).find(|row| grown(*row) > 2.0).unwrap_or(from);
    vec![Label::soft(Kind::GradExplosion, Level::Error, course.steps[begin], vec![key], 0.15)]
}

fn grad_vanishing(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let from = place(rows, 0.25, 0.8, random).min(rows - 20);
    let least = 10_f64.powf(-random.between(4.0, 9.0));
    let takes = random.log_between(0.5, 0.3 * (rows - from) as f64);
    let left = |row: usize| least.powf(((row - from) as f64 / takes).min(1.0));
    let Some(track) = course.find(Role::GradNorm) else { return Vec::new() };
    (from..track.values.len()).for_each(|row| track.values[row] *= left(row));
    let key = track.key;
    let begin = (from..rows).find(|row| left(*row) < 0.3).unwrap_or(from);
    // Nothing is learned from there on.
    hold_score(course, begin);
    for place in loss_tracks(course, true) {
        let track = &mut course.tracks[place];
        let level = track.clean[begin];
        (begin..track.clean.len()).for_each(|row| track.move_to(row, level));
    }
    let label = Label::soft(Kind::GradVanishing, Level::Error, course.steps[begin], vec![key], 0.06);
    vec![label.fatal().may_also(&[Kind::Plateau])]
}

fn throughput_drop(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let least = 20.max(rows / 12);
    let from = place(rows, 0.15, 0.8, random).clamp(20, rows - least);
    let to = if random.chance(0.6) { course.rows() } else { random.count(from + least, rows) };
    let left = 1.0 - random.between(0.28, 0.85);
    let takes = random.log_between(0.5, 0.25 * least as f64);
    let slowed = |row: usize| 1.0 - (1.0 - left) * ((row - from + 1) as f64 / takes).min(1.0);
    (from..to).for_each(|row| course.rate[row] *= slowed(row));
    let mut shown = Vec::new();
    if let Some(track) = course.find(Role::Throughput) {
        (from..to).for_each(|row| track.values[row] *= slowed(row));
        shown.push(track.key);
    }
    vec![Label::soft(Kind::ThroughputDrop, Level::Warn, course.steps[from], shown, 0.05)]
}

/// Grows memory from a row on by so much a row, evenly or in many small steps; what it leaks at the
/// end of the log.
fn leak(course: &mut Course, from: usize, by: f64, random: &mut Random) {
    let apart = random.pick(&[1, 1, 3, 6]);
    let full = 0.995 * course.memory_size;
    let Some(track) = course.find(Role::Memory) else { return };
    let mut leaked = 0.0;
    for row in from..track.values.len() {
        if (row - from) % apart == apart - 1 {
            leaked += by * apart as f64 * random.between(0.5, 1.5);
        }
        track.shift(row, leaked);
        track.values[row] = track.values[row].min(full);
    }
}

/// How far memory wobbles, in its unit.
fn wobble(track: &Track, rows: usize) -> f64 {
    let distance: Vec<f64> = (0..rows).map(|row| (track.values[row] - track.clean[row]).abs()).collect();
    1.5 * mean(&distance)
}

fn memory_leak(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let from = place(rows, 0.0, 0.6, random);
    let (size, all) = (course.memory_size, course.rows());
    let Some(track) = course.find(Role::Memory) else { return Vec::new() };
    let (used, wobble, key) = (track.clean[rows - 1], wobble(track, rows), track.key);
    // Until the planned end there is room.
    let most = (0.86 * size - used) * (rows - from) as f64 / (all - from) as f64;
    let least = (5.0 * wobble).max(0.07 * size);
    if most < least {
        return Vec::new();
    }
    let grown = random.log_between(least, most);
    leak(course, from, grown / (rows - from) as f64, random);
    vec![Label::soft(Kind::MemoryLeak, Level::Warn, course.steps[from], vec![key], 0.2)]
}

fn oom(course: &mut Course, rows: usize, random: &mut Random) -> Vec<Label> {
    let from = place(rows, 0.0, 0.55, random);
    let (size, all) = (course.memory_size, course.rows());
    let Some(track) = course.find(Role::Memory) else { return Vec::new() };
    let (used, wobble, key) = (track.clean[rows - 1], wobble(track, rows), track.key);
    // Either nearly full when the log ends, or so fast that it is full well before the planned end.
    let is_near = all < rows * 5 / 4 || random.chance(0.5);
    let grown = if is_near {
        random.between(0.93, 0.99) * size - used
    } else {
        (random.between(1.1, 2.0) * size - used) * (rows - from) as f64 / (all - from) as f64
    };
    if grown < (5.0 * wobble).max(0.1 * size) {
        return Vec::new();
    }
    leak(course, from, grown / (rows - from) as f64, random);
    course.knows_plan = true;
    let step = course.steps[from];
    vec![
        Label::soft(Kind::MemoryLeak, Level::Warn, step, vec![key], 0.2),
        Label { tolerance_share: 1.0, ..Label::soft(Kind::OomRisk, Level::Error, step, vec![key], 1.0) },
    ]
}
