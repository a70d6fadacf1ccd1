-- summary: List what went wrong in all runs, the worst first
-- description: Of more than five findings of one kind in a run the first three and the worst are listed; events tells how many there are.
-- param: since since optional  Only with an onset since then: 2d, 12h, 30m ago, or a date
-- param: level level -l = 'warn'  Of this level or a worse one: info, warn, error
-- param: kind kind -k optional  Only of this kind: nan, loss_spike, divergence, plateau, overfitting, ...
-- param: project project -p optional  Only in runs of this project
-- param: limit count -n optional  Rows at most; default: all
-- column: level  error, warn or info
-- column: kind  what it is
-- column: run_id  run
-- column: name  human name of the run
-- column: key  metric
-- column: step  onset
-- column: end_step  where it was over; empty while it goes on
-- column: events  findings of this kind and level in the run
-- column: text  what happened, and what to do
-- example: runq anomalies
-- example: runq anomalies --level error --kind divergence --since 2000-01-01

with found as (
  select
    alerts.*,
    runs.name,
    runs.updated_at,
    count(*) over like_it as events,
    row_number() over (like_it order by alerts.step, alerts.alert_id) as place,
    row_number() over (like_it order by alerts.score desc nulls last, alerts.step) as badness
  from alerts
  join runs on runs.run_id = alerts.run_id
  where alerts.origin = 'detected'
    and runs.duplicate_of is null
    and ($since is null or cast(coalesce(alerts.time, runs.updated_at) as bigint) >= $since)
    and (alerts.level = 'error' or $level = 'info' or alerts.level = $level)
    and ($kind is null or alerts.kind = $kind)
    and ($project is null or runs.project = $project)
  window like_it as (partition by alerts.run_id, alerts.kind, alerts.level)
)
select
  level,
  kind,
  run_id,
  name,
  key,
  step,
  end_step,
  events,
  text
from found
where events <= 5 or place <= 3 or badness = 1
order by
  case level when 'error' then 0 when 'warn' then 1 else 2 end,
  coalesce(time, updated_at) desc nulls last,
  run_id,
  step
limit $limit
