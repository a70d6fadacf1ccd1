-- summary: List metrics and the runs that logged them
-- param: pattern text positional optional  Only metrics whose name contains this
-- param: key text -k optional  Only the metric of this very name
-- param: project project -p optional  Only runs of this project
-- column: key  metric
-- column: axis  what its step means
-- column: goal  min or max; empty where unknown or where runs disagree
-- column: run_count  runs that logged it
-- column: finite_run_count  runs with a finite value of it
-- column: point_count  points of all runs
-- column: nan_count  how many of them are NaN
-- column: min  smallest finite value
-- column: max  largest finite value
-- column: last_step  last step of all runs
-- example: runq keys
-- example: runq keys loss

select
  summary.key,
  summary.axis,
  case when min(summary.goal) = max(summary.goal) then min(summary.goal) end as goal,
  count(*) as run_count,
  count(summary.min) as finite_run_count,
  sum(summary.count) as point_count,
  sum(summary.nan_count) as nan_count,
  min(summary.min) as min,
  max(summary.max) as max,
  max(summary.last_step) as last_step
from summary
join runs on runs.run_id = summary.run_id
where runs.duplicate_of is null
  and ($project is null or runs.project = $project)
  and ($key is null or summary.key = $key)
  and ($pattern is null or strpos(lower(summary.key), lower($pattern)) > 0)
group by summary.key, summary.axis
-- what the machine did comes after what the training did
order by starts_with(summary.key, 'system/'), summary.key, summary.axis
