-- summary: Tell what runs reached in other metrics at the step where one was best
-- description: Up to four metrics of the same axis: those with a goal first, each by its last value until then.
-- part-of: best
-- param: runs runs positional  Runs
-- param: keys texts positional  Of each run the metric that was best
-- param: steps texts positional  Of each run the step where it was
-- column: run_id  run
-- column: at_best  names and values
-- example: runq best val_loss

with logged as (
  select
    summary.*,
    array_element($keys, cast(array_position($runs, run_id) as bigint)) as ranked_key,
    try_cast(array_element($steps, cast(array_position($runs, run_id) as bigint)) as bigint) as best_then
  from summary
  where array_has($runs, run_id) and count > 0
),
aligned as (
  select
    *,
    max(axis) filter (where key = ranked_key) over (partition by run_id) as ranked_axis
  from logged
),
others as (
  select
    run_id,
    key,
    best_then,
    row_number() over (
      partition by run_id
      order by goal is null, not starts_with(role_key(key), 'val/'), length(key), key
    ) as nth
  from aligned
  where key <> ranked_key
    and axis = ranked_axis
    and first_step <= best_then
    and not starts_with(key, 'system/')
),
reached as (
  select
    metrics.run_id,
    metrics.key,
    others.nth,
    arg_max(metrics.value, metrics.step) as value
  from metrics
  join others on others.run_id = metrics.run_id and others.key = metrics.key and others.nth <= 4
  where array_has($runs, metrics.run_id) and metrics.step <= others.best_then
  group by metrics.run_id, metrics.key, others.nth
)
select
  run_id,
  string_agg(concat(key, '=', short(value)), ' ' order by nth) as at_best
from reached
group by run_id
order by array_position($runs, run_id)
