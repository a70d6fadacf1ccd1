-- summary: List what runs logged as alerts and what was found in them, newest first
-- description: Of one that was found, time and step are those of its onset. Where a log has no times, the run's last change stands for them.
-- param: run run -r optional  Only of this run
-- param: since since optional  Only since then: 2d, 12h, 30m ago, or a date
-- param: level level -l optional  Only of this level or a worse one: info, warn, error
-- param: kind kind -k optional  Only of this kind: loss_spike, divergence, ...; logged for those of the run itself
-- param: project project -p optional  Only of this project
-- param: limit count -n optional  Rows at most; default: all
-- column: time  when
-- column: run_id  run
-- column: level  error, warn or info
-- column: kind  what was found, or logged
-- column: key  metric
-- column: step  its step
-- column: title  what it is called
-- column: text  what happened, and what to do
-- example: runq alerts --since 2000-01-01 --level warn
-- example: runq alerts --kind divergence -n 5

select
  coalesce(alerts.time, runs.updated_at) as time,
  alerts.run_id,
  alerts.level,
  alerts.kind,
  alerts.key,
  alerts.step,
  alerts.title,
  alerts.text
from alerts
join runs on runs.run_id = alerts.run_id
where ($run is null or alerts.run_id = $run)
  and ($run is not null or runs.duplicate_of is null)
  and ($since is null or cast(coalesce(alerts.time, runs.updated_at) as bigint) >= $since)
  and (
    $level is null
    or alerts.level = 'error'
    or $level = 'info'
    or alerts.level = $level
  )
  and ($kind is null or alerts.kind = $kind)
  and ($project is null or runs.project = $project)
order by 1 desc nulls last, alerts.seq desc
limit $limit
