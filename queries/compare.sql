-- summary: Compare runs metric by metric, each with the first of them
-- description: Before the metrics stands what differs in state, code and configuration (not in formats for programs: runq diff gives it). Metrics that do not differ and those of the machine are left out unless --all is given.
-- description: Values are the last ones, or of RUN@STEP those at or before that step; --at best takes the best of each metric, --at best:METRIC all at the step where a run was best by that one, --at-step and --at-time those at or before a step or a wall time since the beginning of the run.
-- description: A metric is the same in runs that spell it differently (val_loss, eval/loss), and bears the name of the first run. correlation (Pearson) and part_step look at the steps both runs logged, with an equal meaning of step. The noise of a curve is DER_SNR (Stoehr et al. 2008): 1.4826 / sqrt(6) times the median of |2 x(i) - x(i-2) - x(i+2)|, from 20 common steps on: of fewer it is not known what is noise, and a note says so. Curves part at the first step from which their running medians (5 points; of longer curves, 5 of 200 equal parts, each by its median) stay more than twice the pooled noise apart; a difference of values below that is within noise.
-- param: runs runs positional  Runs: ids, prefixes of them, names, @latest, @best:METRIC; at least two; RUN@STEP takes its values at or before this step
-- param: keys texts -k optional  Only these metrics; -k once for each
-- param: at text = 'end'  Where values are taken: end, best or best:METRIC
-- param: at_step integer optional  Values at or before this step
-- param: at_time span optional  Values at or before this wall time of each run: 30m, 2h
-- param: steps texts optional  Of each run the step of its values, empty for the last ones: as RUN@STEP
-- param: all flag  Also metrics that do not differ, and those of the machine
-- column: key  metric
-- column: run_id  the other run
-- column: base  value in the first run
-- column: value  value in the other run
-- column: delta  value - base
-- column: percent  delta in per cent of base
-- column: verdict  better, worse, equal or within noise, where the goal is known
-- column: base_step  step of base
-- column: step  step of value
-- column: correlation  of both curves over their common steps
-- column: part_step  first step from which they stay apart beyond noise
-- column: common_steps  steps at which both logged it, in formats for programs
-- example: runq compare @latest @latest~1
-- example: runq compare @best:val_loss @latest @latest~1 -k loss --at best
-- example: runq compare @latest @latest~1 --at best:val_loss
-- example: runq compare @latest@50 @latest~1@80
-- example: runq compare @latest @latest~1 --at-time 30m

with listed as (
  select
    run_id,
    created_at,
    array_position($runs, run_id) as nth,
    try_cast(
      array_element(coalesce($steps, make_array('')), cast(array_position($runs, run_id) as bigint)) as bigint
    ) as until_step
  from runs
  where array_has($runs, run_id)
),
wanted as (
  select normal_key(word) as form
  from (select unnest(coalesce($keys, make_array(''))) as word)
),
metrics_of as (
  select
    summary.*,
    listed.nth,
    listed.created_at,
    coalesce($at_step, listed.until_step) as until_step,
    $at_step is not null
      or $at_time is not null
      or starts_with($at, 'best:')
      or listed.until_step is not null as is_early,
    -- runs may spell a metric differently; one with several spellings has each by its name
    coalesce(
      case
        when count(*) over (partition by summary.run_id, normal_key(summary.key)) = 1
          then nullif(normal_key(summary.key), '')
      end,
      summary.key
    ) as form,
    max(summary.axis) filter (where normal_key(summary.key) = normal_key(split_part($at, ':', 2)))
      over (partition by summary.run_id) as by_axis,
    -- where several spellings are there, the one that was asked for
    coalesce(
      max(summary.best_step) filter (where summary.key = split_part($at, ':', 2)) over (partition by summary.run_id),
      max(summary.best_step) filter (where normal_key(summary.key) = normal_key(split_part($at, ':', 2)))
        over (partition by summary.run_id)
    ) as by_step,
    bool_or(summary.axis = 'step') over () as has_steps
  from summary
  join listed on listed.run_id = summary.run_id
  where summary.count > 0
    and ($all or $keys is not null or not starts_with(summary.key, 'system/'))
),
asked as (
  select *
  from metrics_of
  where $keys is null or array_has($keys, key) or normal_key(key) in (select form from wanted)
),
points as (
  select
    metrics.run_id,
    metrics.key,
    metrics.step,
    metrics.value,
    metrics.time,
    asked.form,
    asked.nth,
    asked.axis
  from metrics
  join asked on asked.run_id = metrics.run_id and asked.key = metrics.key
  where array_has($runs, metrics.run_id)
),
begun as (
  select asked.run_id, coalesce(min(asked.created_at), min(metrics.time)) as began_at
  from asked
  join metrics on metrics.run_id = asked.run_id and metrics.key = asked.key
  where $at_time is not null and array_has($runs, metrics.run_id)
  group by asked.run_id
),
-- the last value up to a step or a time
reached as (
  select
    points.run_id,
    points.key,
    arg_max(points.value, points.step) as value,
    max(points.step) as step
  from points
  join asked on asked.run_id = points.run_id and asked.key = points.key
  left join begun on begun.run_id = points.run_id
  where asked.is_early
    and (
      asked.until_step is null
      or points.step <= asked.until_step and (asked.axis = 'step' or not asked.has_steps)
    )
    and (
      $at_time is null
      or cast(arrow_cast(points.time, 'Timestamp(Millisecond, Some("UTC"))') as bigint)
        <= cast(arrow_cast(begun.began_at, 'Timestamp(Millisecond, Some("UTC"))') as bigint) + $at_time
    )
    and (not starts_with($at, 'best:') or points.step <= asked.by_step and asked.axis = asked.by_axis)
  group by points.run_id, points.key
),
valued as (
  select
    asked.run_id,
    asked.nth,
    asked.key,
    asked.form,
    asked.goal,
    case
      when asked.is_early then reached.value
      when $at = 'best' then asked.best
      else asked.last
    end as value,
    case
      when asked.is_early then reached.step
      when $at = 'best' then asked.best_step
      else asked.last_step
    end as step
  from asked
  left join reached on reached.run_id = asked.run_id and reached.key = asked.key
),
-- each run with the first, metric by metric, also those that only one of both has
paired as (
  select
    coalesce(one.key, other.key) as key,
    names.form,
    coalesce(one.goal, other.goal) as goal,
    one.value as base,
    one.step as base_step,
    listed.run_id,
    listed.nth,
    other.value,
    other.step
  from listed
  cross join (select distinct form from valued) as names
  left join valued as one on one.form = names.form and one.nth = 1
  left join valued as other on other.form = names.form and other.nth = listed.nth
  where listed.nth > 1 and (one.key is not null or other.key is not null)
),
common as (
  select
    one.form,
    other.run_id,
    one.step,
    one.value as base,
    other.value,
    row_number() over (partition by other.run_id, one.form order by one.step) as nth,
    count(*) over (partition by other.run_id, one.form) as n,
    abs(2 * lag(one.value, 2) over (partition by other.run_id, one.form order by one.step)
      - one.value - lag(one.value, 4) over (partition by other.run_id, one.form order by one.step)) as base_jump,
    abs(2 * lag(other.value, 2) over (partition by other.run_id, one.form order by one.step)
      - other.value - lag(other.value, 4) over (partition by other.run_id, one.form order by one.step)) as jump
  from points as one
  join points as other on other.form = one.form and other.step = one.step and other.axis = one.axis
  where one.nth = 1 and other.nth > 1 and finite(one.value) is not null and finite(other.value) is not null
),
measured as (
  select
    *,
    case when n >= 3 then least(1.0, finite(corr(base, value) over (partition by run_id, form))) end as correlation,
    -- exact copies differ by rounding at most
    case when n >= 20 then greatest(
      1.4826 / sqrt(6.0) * sqrt(
        power(median(base_jump) over (partition by run_id, form), 2)
        + power(median(jump) over (partition by run_id, form), 2)
      ),
      1e-9 * median(abs(base)) over (partition by run_id, form)
    ) end as noise
  from common
),
buckets as (
  select
    form,
    run_id,
    min(step) as step,
    max(n) as n,
    median(base) as base,
    median(value) as value,
    max(correlation) as correlation,
    max(noise) as noise
  from measured
  group by form, run_id, cast(floor((nth - 1) * least(1.0, 200.0 / n)) as bigint)
),
smoothed as (
  select
    *,
    roll_median(base, 5) over (partition by run_id, form order by step)
      - roll_median(value, 5) over (partition by run_id, form order by step) as apart
  from buckets
),
parted as (
  select
    *,
    max(step) filter (where abs(apart) <= 2 * noise) over (partition by run_id, form) as last_together
  from smoothed
),
alike as (
  select
    form,
    run_id,
    max(n) as common_steps,
    max(correlation) as correlation,
    max(noise) as noise,
    min(step) filter (where noise is not null and (last_together is null or step > last_together)) as part_step
  from parted
  group by form, run_id
)
select
  paired.key,
  paired.run_id,
  paired.base,
  paired.value,
  paired.value - paired.base as delta,
  finite(100 * (paired.value - paired.base) / nullif(abs(paired.base), 0)) as percent,
  case
    when paired.goal is null or finite(paired.base) is null or finite(paired.value) is null then null
    when paired.value = paired.base then 'equal'
    when abs(paired.value - paired.base) <= 2 * alike.noise then 'within noise'
    when (paired.value < paired.base) = (paired.goal = 'min') then 'better'
    else 'worse'
  end as verdict,
  paired.base_step,
  paired.step,
  alike.correlation,
  alike.part_step,
  coalesce(alike.common_steps, 0) as common_steps
from paired
left join alike on alike.form = paired.form and alike.run_id = paired.run_id
where $all
  or (paired.base is not null or paired.value is not null)
  and (
    (paired.value is distinct from paired.base)
    or alike.part_step is not null
  )
order by
  starts_with(paired.key, 'system/'),
  paired.goal is null,
  not starts_with(role_key(paired.key), 'val/'),
  role_key(paired.key) not in ('val/loss', 'train/loss', 'loss'),
  length(paired.key),
  paired.key,
  paired.nth
