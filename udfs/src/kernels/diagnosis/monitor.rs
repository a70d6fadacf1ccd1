//! A run under watch, and what there is to say of it.

use super::divergence::divergence;
use super::finding::{Episode, Finding, Kind, Level};
use super::limits::{Limits, Plateau};
use super::memory::leak;
use super::outline::Outline;
use super::overfitting::overfitting;
use super::plateau::{Gain, plateau};
use super::run::{Facts, Role, Run};
use super::watch::Watch;
use super::{gradient, policy};
use serde::{Deserialize, Serialize};

/// Rows within which a burst of the gradient that ends in NaN or divergence is an error.
const SOON: usize = 50;
/// Points that are enough to find out since when a rule holds.
const COARSE: usize = 256;
/// Evaluations that are looked back.
const LOOKS: usize = 20;

/// A run under watch: takes rows of its curves one by one, in bounded memory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Monitor {
    /// What is known beside the curves.
    pub facts: Facts,
    /// The curves; the first of a role is the one the run is judged by.
    pub curves: Vec<Watch>,
}

impl Monitor {
    /// That of a run as it is.
    pub fn of(run: &Run, limits: &Limits) -> Self {
        let curves = run.curves.iter().map(|curve| {
            let mut watch = Watch::new(curve.role, &curve.key, run.facts.planned_steps, limits);
            curve.rows().for_each(|(step, time_s, value)| watch.push(step, time_s, value));
            watch
        });
        Self { facts: run.facts.clone(), curves: curves.collect() }
    }

    /// What there is to say of the run as it is, the earliest onset first.
    pub fn findings(&self, limits: &Limits) -> Vec<Finding> {
        Judgement::new(self, limits).findings()
    }
}

/// A run while it is judged.
pub struct Judgement<'a> {
    run: &'a Monitor,
    limits: &'a Limits,
    /// Courses of the curves, in their order.
    pub outlines: Vec<Outline>,
    /// Step of the newest row of all.
    pub last_step: i64,
}

impl<'a> Judgement<'a> {
    /// Of a run as it is.
    pub fn new(run: &'a Monitor, limits: &'a Limits) -> Self {
        let outlines = run.curves.iter().map(|curve| curve.trace.outline()).collect();
        let last_step = run.curves.iter().filter_map(Watch::last_step).max().unwrap_or(0);
        Self { run, limits, outlines, last_step }
    }

    /// What there is to say, the earliest onset first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.non_finite();
        let divergences = self.divergences();
        findings.extend(self.spikes(&divergences));
        findings.extend(self.overfittings(&divergences));
        findings.extend(self.plateaus(&divergences));
        findings.extend(divergences);
        findings.extend(self.gradients(&findings));
        findings.extend(self.of_role(Role::Throughput, Kind::ThroughputDrop, Watch::drops));
        findings.extend(self.leaks());
        findings.extend(self.policy());
        findings.extend(self.resumes());
        findings.sort_by(|left, right| {
            (left.step, left.kind, left.curve).cmp(&(right.step, right.kind, right.curve))
        });
        findings
    }

    /// Places and courses of the curves of a role.
    pub fn curves(&self, role: Role) -> impl Iterator<Item = (usize, &Outline)> {
        let curves = self.run.curves.iter().zip(&self.outlines).enumerate();
        curves.filter(move |(_, (curve, _))| curve.role == role).map(|(place, (_, outline))| (place, outline))
    }

    fn has(&self, role: Role) -> bool {
        self.run.curves.iter().any(|curve| curve.role == role && curve.rows() > 0)
    }

    /// The step at which the run ends as far as is known.
    pub fn end_step(&self) -> i64 {
        self.run.facts.planned_steps.map_or(self.last_step, |planned| planned.max(self.last_step))
    }

    /// What is known beside the curves.
    pub fn facts(&self) -> &Facts {
        &self.run.facts
    }

    /// The name of a finding's metric.
    pub fn key(&self, finding: &Finding) -> &str {
        self.key_of(finding.curve)
    }

    /// The name of the metric at a place.
    pub fn key_of(&self, place: usize) -> &str {
        self.run.curves.get(place).map_or("", |curve| &curve.key)
    }

    /// Newest rows of a loss or gradient norm that are not finite.
    pub fn trailing_nan_rows(&self) -> u64 {
        let curves = self.run.curves.iter().filter_map(Watch::non_finite);
        curves.map(|non_finite| non_finite.trailing_rows()).max().unwrap_or(0)
    }

    /// Whether the learning rate was on its first ascent at a step.
    pub fn is_warming_up(&self, step: i64) -> bool {
        let mut schedules = self.run.curves.iter().filter_map(Watch::schedule);
        schedules.any(|schedule| schedule.is_warming_up(step))
    }

    /// The course of the learning rate.
    pub fn lr(&self) -> Option<&Outline> {
        self.curves(Role::Lr).map(|(_, lr)| lr).find(|lr| !lr.is_empty())
    }

    /// Whether a rise at `step` is what a restart of the learning rate brings.
    fn is_after_restart(&self, step: i64) -> bool {
        let first = self.run.curves.iter().find_map(|curve| curve.trace.first_step()).unwrap_or(0);
        let reach = (self.end_step() - first) as f64 * self.limits.loss_spike.after_restart;
        let schedules = self.run.curves.iter().filter_map(Watch::schedule);
        let mut restarts = schedules.flat_map(|schedule| schedule.restarts(self.last_step));
        restarts.any(|restart| step >= restart && (step - restart) as f64 <= reach)
    }

    fn of_role(&self, role: Role, kind: Kind, episodes: fn(&Watch) -> Vec<Episode>) -> Vec<Finding> {
        let curves = self.curves(role);
        let findings = curves.flat_map(|(place, _)| {
            let episodes = episodes(&self.run.curves[place]);
            episodes.into_iter().map(move |episode| Finding::new(kind, place, &episode))
        });
        once(findings.collect())
    }

    /// One finding of the run: the first value of a loss or gradient norm that is not finite.
    fn non_finite(&self) -> Vec<Finding> {
        let of = |(place, curve): (usize, &Watch)| {
            curve.non_finite()?.episode().map(|episode| Finding::new(Kind::Nan, place, &episode))
        };
        let mut all: Vec<Finding> = self.run.curves.iter().enumerate().filter_map(of).collect();
        all.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.step));
        all.truncate(1);
        all
    }

    /// Place and course of the loss that the run is judged by; none where no loss means anything.
    pub fn loss(&self) -> Option<(usize, &Outline)> {
        self.losses().into_iter().next().filter(|(_, loss)| !loss.is_empty())
    }

    /// Losses that mean something: in reinforcement learning they do not.
    fn losses(&self) -> Vec<(usize, &Outline)> {
        if self.has(Role::Reward) { Vec::new() } else { self.curves(Role::Loss).collect() }
    }

    fn divergences(&self) -> Vec<Finding> {
        let rule = |loss: &Outline| divergence(loss, &self.limits.divergence);
        let found = self.losses().into_iter().filter_map(|(place, loss)| {
            let finding = self.lasting(Kind::Divergence, place, loss, rule)?;
            let expected = self.is_after_restart(finding.step) && self.is_after_restart(self.last_step);
            (!expected).then_some(finding)
        });
        once(found.collect())
    }

    fn spikes(&self, divergences: &[Finding]) -> Vec<Finding> {
        if self.has(Role::Reward) {
            return Vec::new();
        }
        let mut spikes = self.of_role(Role::Loss, Kind::LossSpike, Watch::spikes);
        let is_part = |spike: &Finding| {
            divergences
                .iter()
                .any(|rise| spike.step >= rise.step || spike.end_step.is_none_or(|end| end >= rise.step))
        };
        spikes.retain(|spike| !is_part(spike) && !self.is_after_restart(spike.step));
        hard_batches_as_one(spikes)
    }

    /// Where the run was resumed: a fact of the run, told with its first curve.
    fn resumes(&self) -> Vec<Finding> {
        let Some(curve) = self.run.curves.iter().position(|curve| curve.rows() > 0) else {
            return Vec::new();
        };
        let resume = |&step: &i64| {
            let [value, baseline, score] = [f64::NAN; 3];
            let at = Episode {
                level: Level::Info,
                step,
                end_step: Some(step),
                detected_step: step,
                value,
                baseline,
                score,
                rows: 0,
            };
            Finding::new(Kind::Resume, curve, &at)
        };
        self.run.facts.resumed_at.iter().map(resume).collect()
    }

    fn overfittings(&self, divergences: &[Finding]) -> Vec<Finding> {
        if !divergences.is_empty() {
            return Vec::new();
        }
        let training: Vec<&Outline> = self.losses().into_iter().map(|(_, loss)| loss).collect();
        let of_loss = |validation: &Outline| overfitting(validation, &training, &self.limits.overfitting);
        let of_score = |validation: &Outline| of_loss(&validation.negated()).map(Episode::negated);
        let losses = self.curves(Role::ValLoss);
        let mut found: Vec<Finding> = losses
            .filter_map(|(place, curve)| self.lasting(Kind::Overfitting, place, curve, of_loss))
            .collect();
        self.keep_distinct(&mut found);
        if !found.is_empty() {
            return found;
        }
        let scores = self.curves(Role::ValScore);
        scores.filter_map(|(place, curve)| self.lasting(Kind::Overfitting, place, curve, of_score)).collect()
    }

    /// One finding of a curve that is logged twice, as by epoch and by batch.
    fn keep_distinct(&self, found: &mut Vec<Finding>) {
        let mut seen: Vec<&[f64]> = Vec::with_capacity(found.len());
        found.retain(|finding| {
            let values = self.outlines[finding.curve].values.as_slice();
            let is_new = !seen.contains(&values);
            seen.push(values);
            is_new
        });
    }

    fn plateaus(&self, divergences: &[Finding]) -> Vec<Finding> {
        if !divergences.is_empty() {
            return Vec::new();
        }
        let find = |(place, curve): (usize, &Outline), limits: &Plateau| {
            self.lasting(Kind::Plateau, place, curve, |curve| plateau(curve, self.lr(), limits))
        };
        let limits = &self.limits.plateau;
        // What validation is known to gain is worth the compute, even where the noise of training hides it.
        let gained = |(_, curve): (usize, &Outline)| Gain::of(curve, limits.validation_window);
        if self.curves(Role::ValLoss).filter_map(gained).any(|gain| gain.is_sure(limits)) {
            return Vec::new();
        }
        // A part of the loss that never moved, such as a penalty, rests by nature.
        let moves = |(at, (_, curve)): &(usize, (usize, &Outline))| *at == 0 || curve.has_moved();
        let losses = self.losses();
        let moving = losses.iter().copied().enumerate().filter(moves);
        let found: Vec<Finding> = moving.filter_map(|(_, curve)| find(curve, limits)).collect();
        // Where training seems to gain, validation that rests says too little.
        let mut trained = losses.into_iter().filter_map(|(_, curve)| Gain::of(curve, limits.window));
        if !found.is_empty() || self.has(Role::Reward) || trained.any(|gain| gain.is_some(limits)) {
            return once(found);
        }
        let of_validation = limits.of_validation();
        self.curves(Role::ValLoss).filter_map(|curve| find(curve, &of_validation)).collect()
    }

    fn gradients(&self, findings: &[Finding]) -> Vec<Finding> {
        let mut bursts = self.of_role(Role::GradNorm, Kind::GradExplosion, Watch::bursts);
        for burst in &mut bursts {
            let outline = &self.outlines[burst.curve];
            let rows_to = |step: i64| {
                let points = outline.place(step)?.checked_sub(outline.place(burst.step)?)?;
                Some(points as f64 * outline.rows_per_point())
            };
            let is_bad = |finding: &&Finding| {
                matches!(finding.kind, Kind::Nan | Kind::Divergence) && finding.level == Level::Error
            };
            let follows = |finding: &Finding| {
                finding.step >= burst.step && rows_to(finding.step).is_some_and(|rows| rows <= SOON as f64)
            };
            if findings.iter().filter(is_bad).any(follows) {
                burst.level = Level::Error;
            }
        }
        if bursts.is_empty() {
            let rule = |norm: &Outline| gradient::growth(norm, &self.limits.grad_explosion);
            let norms = self.curves(Role::GradNorm);
            bursts = once(
                norms
                    .filter_map(|(place, norm)| self.lasting(Kind::GradExplosion, place, norm, rule))
                    .collect(),
            );
        }
        bursts.extend(self.of_role(Role::GradNorm, Kind::GradVanishing, Watch::vanishings));
        bursts
    }

    fn leaks(&self) -> Vec<Finding> {
        let facts = &self.run.facts;
        let rule = |memory: &Outline| {
            leak(memory, facts.memory_capacity, facts.planned_steps, &self.limits.memory_leak)
        };
        let mut found = Vec::new();
        for (place, memory) in self.curves(Role::Memory) {
            let Some(leak) = rule(memory) else { continue };
            found.extend(
                self.lasting(Kind::MemoryLeak, place, memory, |memory| rule(memory).map(|leak| leak.episode)),
            );
            let is_urgent = |memory: &Outline| rule(memory).filter(|leak| leak.is_urgent);
            if leak.is_urgent {
                let hit = |memory: &Outline| {
                    is_urgent(memory).map(|leak| Episode { level: Level::Error, ..leak.episode })
                };
                found.extend(self.lasting(Kind::OomRisk, place, memory, hit));
            }
        }
        found
    }

    fn policy(&self) -> Vec<Finding> {
        let limits = &self.limits.policy;
        type Rule = fn(&Outline, &super::limits::Policy) -> Option<Episode>;
        let rules: [(Role, Kind, Rule); 4] = [
            (Role::Reward, Kind::RewardCollapse, policy::reward_collapse),
            (Role::Kl, Kind::KlBlowup, policy::kl_blowup),
            (Role::Entropy, Kind::EntropyCollapse, policy::entropy_collapse),
            (Role::Length, Kind::LengthCollapse, policy::length_collapse),
        ];
        let find = |(role, kind, rule): (Role, Kind, Rule)| {
            let curves = self.curves(role);
            let found = curves.filter_map(move |(place, curve)| {
                self.lasting(kind, place, curve, |curve| rule(curve, limits))
            });
            once(found.collect())
        };
        rules.into_iter().flat_map(find).collect()
    }

    /// The finding of a rule that looks at the end of a curve, with the step since when it holds.
    fn lasting(
        &self,
        kind: Kind,
        place: usize,
        curve: &Outline,
        rule: impl Fn(&Outline) -> Option<Episode>,
    ) -> Option<Finding> {
        let found = rule(curve)?;
        let coarse = curve.coarse(COARSE);
        let mut since = found.detected_step;
        for look in (1..LOOKS).rev() {
            let prefix = coarse.prefix(coarse.len() * look / LOOKS);
            match prefix.steps.last() {
                Some(&step) if step > found.step && rule(&prefix).is_some() => since = step,
                _ => break,
            }
        }
        Some(Finding::new(kind, place, &Episode { detected_step: since, ..found }))
    }
}

/// Spikes, those of a curve that are a fact as one: the highest, from the first to the last.
fn hard_batches_as_one(spikes: Vec<Finding>) -> Vec<Finding> {
    let (mut facts, mut all): (Vec<Finding>, Vec<Finding>) =
        spikes.into_iter().partition(|spike| spike.level == Level::Info);
    facts.sort_by_key(|fact| (fact.curve, fact.step));
    for facts in facts.chunk_by(|left, right| left.curve == right.curve) {
        let highest = facts.iter().max_by(|left, right| left.value.total_cmp(&right.value));
        if let (Some(highest), [first, .., last]) = (highest, facts) {
            let rows = facts.iter().map(|fact| fact.rows).sum();
            let (step, end_step, detected_step) = (first.step, last.end_step, first.detected_step);
            all.push(Finding { step, end_step, detected_step, rows, ..highest.clone() });
        } else {
            all.extend_from_slice(facts);
        }
    }
    all
}

/// Findings of one kind in curves that mean the same: where they overlap, that of the first curve.
fn once(findings: Vec<Finding>) -> Vec<Finding> {
    if findings.windows(2).all(|pair| pair[0].curve == pair[1].curve) {
        return findings;
    }
    let mut kept: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        let mut others = kept.iter().filter(|other| other.curve != finding.curve);
        if !others.any(|other| other.overlaps(&finding)) {
            kept.push(finding);
        }
    }
    kept
}
