-- summary: Show a run: its facts, then each metric with its course
-- description: The facts stand before the table on a terminal and in Markdown; other formats hold the metrics alone (runq facts gives the facts).
-- description: min, max and best ignore NaN and infinities; nan_count tells they were there.
-- alias: run
-- param: run run positional  Run: id, prefix of it, name, @latest, @best:METRIC
-- column: key  metric
-- column: last  last value, as logged
-- column: best  best finite value, where the goal is known
-- column: best_step  its step
-- column: min  smallest finite value
-- column: min_step  its step
-- column: max  largest finite value
-- column: max_step  its step
-- column: count  points that count today
-- column: nan_count  how many of them are NaN
-- column: course  the curve in a few characters
-- example: runq show @latest

with courses as (
  select
    key,
    sparkline(step, value) as course
  from metrics
  where run_id = $run
  group by key
)
select
  summary.key,
  summary.last,
  summary.best,
  summary.best_step,
  summary.min,
  summary.min_step,
  summary.max,
  summary.max_step,
  summary.count,
  summary.nan_count,
  courses.course
from summary
left join courses on courses.key = summary.key
where summary.run_id = $run
-- what the machine did comes after what the training did
order by starts_with(summary.key, 'system/'), summary.key
