-- summary: Show how steady each metric of a run is, by the noise of its last points
-- description: The noise is the robust standard deviation of the newest points (1.4826 times the median distance from their median), which no single spike moves. NaN and infinities do not count.
-- param: run run positional = '@latest'  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: keys metrics -k optional  Metrics, separated by commas, or -k once for each; default: all of the training
-- param: window count -w = 20  Points of the window, at most 10000
-- column: key  metric
-- column: count  points with a finite value
-- column: noise_early  median noise of the first quarter of the windows
-- column: noise_late  median noise of the last quarter
-- column: noise_max  largest noise
-- column: noise_max_step  step at which that window ends
-- column: relative  late noise as a part of the level there
-- column: verdict  calmer, steady or noisier than in the beginning, by half
-- column: course  the noise in a few characters
-- example: runq stability @latest
-- example: runq stability @latest -k train/loss -w 50

with noise as (
  select
    key,
    step,
    roll_median(value, $window) over (partition by key order by step) as level,
    roll_mad(value, $window) over (partition by key order by step) as noise,
    row_number() over (partition by key order by step) as nth,
    count(*) over (partition by key) as count
  from metrics
  where run_id = $run
    and finite(value) is not null
    and ($keys is null and not starts_with(key, 'system/') or array_has($keys, key))
),
-- a window that is not full tells little; of a short curve half of it serves
full_windows as (
  select
    *,
    (nth - 1 - first_nth) / greatest(1.0, count - first_nth) as part
  from (select *, least($window, greatest(2, count / 2)) - 1 as first_nth from noise)
  where nth > first_nth
),
judged as (
  select
    key,
    max(count) as count,
    median(noise) filter (where part < 0.25) as noise_early,
    median(noise) filter (where part >= 0.75) as noise_late,
    max(noise) as noise_max,
    arg_max(step, noise) as noise_max_step,
    median(abs(level)) filter (where part >= 0.75) as level_late,
    sparkline(step, noise) as course
  from full_windows
  group by key
)
select
  key,
  count,
  noise_early,
  noise_late,
  noise_max,
  noise_max_step,
  noise_late / nullif(level_late, 0) as relative,
  case
    when noise_late is null or noise_early is null then null
    when noise_late > 1.5 * noise_early then 'noisier'
    when noise_early > 1.5 * noise_late then 'calmer'
    else 'steady'
  end as verdict,
  course
from judged
order by starts_with(key, 'system/'), key
