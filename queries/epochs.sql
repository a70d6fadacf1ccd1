-- summary: Tell the epochs in which findings of a run lie
-- description: By a metric epoch that was logged beside them, at or before the step; where a metric counts epochs itself, its step is one.
-- part-of: diagnose
-- param: run run positional  Run
-- param: keys texts positional  Metric of each finding
-- param: steps texts positional  Step of each finding
-- column: key  metric
-- column: step  step
-- column: epoch  its epoch
-- example: runq diagnose @latest

with asked as (
  select distinct key, try_cast(step as bigint) as step
  from (select unnest($keys) as key, unnest($steps) as step)
),
placed as (
  select asked.key, asked.step, summary.axis
  from asked
  join summary on summary.run_id = $run and summary.key = asked.key
),
counters as (
  select key, axis, row_number() over (order by length(key), key) as nth
  from summary
  where run_id = $run and count > 0 and regexp_like(lower(key), '(^|[/.])epoch$')
),
counted as (
  select metrics.step, metrics.value, counters.axis
  from metrics
  join counters on counters.key = metrics.key and counters.nth = 1
  where metrics.run_id = $run
)
select
  placed.key,
  placed.step,
  case
    when max(placed.axis) = 'epoch' then cast(placed.step as double)
    else arg_max(counted.value, counted.step)
  end as epoch
from placed
left join counted on counted.axis = placed.axis and counted.step <= placed.step
group by placed.key, placed.step
order by placed.step, placed.key
