-- summary: Show all metrics of a run around a step
-- description: Metrics whose step means something else than that of most are left out; --axis shows them.
-- param: run run positional  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: step integer positional  Step
-- param: keys metrics -k optional  Metrics, separated by commas, or -k once for each; default: all
-- param: axis text optional  Metrics whose step means this: step, epoch, samples, index; default: step, where the run has such metrics
-- column: key  metric
-- column: step  last step at or before the one asked for
-- column: value  its value, as logged
-- column: previous_step  the step before
-- column: previous  its value
-- column: next_step  first step behind the one asked for
-- column: next  its value
-- column: min  smallest value of the metric
-- column: max  largest value
-- example: runq at @latest 100
-- example: runq at @latest 100 -k train/loss,grad_norm

with shown as (
  select key, min, max
  from summary
  where run_id = $run
    and ($keys is null or array_has($keys, key))
    and axis = coalesce($axis, (
      select arg_max(axis, metrics) from (
        -- steps come before all else
        select axis, count(*) + case axis when 'step' then 1000000000 else 0 end as metrics
        from summary
        where run_id = $run and count > 0 and not starts_with(key, 'system/')
        group by axis
      )
    ))
),
before as (
  select
    key,
    step,
    value,
    row_number() over (partition by key order by step desc) as back
  from metrics
  where run_id = $run and step <= $step
),
behind as (
  select
    key,
    min(step) as next_step,
    arg_min(value, step) as next
  from metrics
  where run_id = $run and step > $step
  group by key
)
select
  shown.key,
  one.step,
  one.value,
  two.step as previous_step,
  two.value as previous,
  behind.next_step,
  behind.next,
  shown.min,
  shown.max
from shown
left join before as one on one.key = shown.key and one.back = 1
left join before as two on two.key = shown.key and two.back = 2
left join behind on behind.key = shown.key
where one.step is not null or behind.next_step is not null
order by starts_with(shown.key, 'system/'), shown.key
