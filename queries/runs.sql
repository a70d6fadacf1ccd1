-- summary: List runs, newest first
-- description: A training logged in several formats is listed once. --where and --sort take names of columns of runs, configuration keys (also by their last part) and metrics (their best value, or the last where they have no goal; last(loss), max(acc) say otherwise); other names stand in double quotes.
-- alias: list
-- param: where condition -w optional  Only runs that meet this, as in "lr < 0.01 and state = 'finished'"
-- param: since since optional  Only runs that logged since then: 2d, 12h, 30m ago, or a date
-- param: project project -p optional  Only runs of this project
-- param: state state -s optional  Only runs in this state: running, finished, failed, crashed, unknown
-- param: tag tag -t optional  Only runs with this tag
-- param: sort order optional  What to sort by, as in val_loss; -val_loss is from the highest down
-- param: limit count -n optional  Rows at most; default: all
-- param: metric metric_form -m optional  Metric to show; default: of each run the first with a goal, validation before training
-- param: prefer text optional  Metric to show of the runs that have it; default: primary_metric of runq.toml
-- param: duplicates flag  Include further formats of a run that is listed already
-- param: all flag  Include runs that crashed or have metrics of fewer than 3 points, which are left out for an agent
-- param: brief flag  Leave those out, as for an agent
-- param: only texts optional  Only runs of these ids
-- param: bare flag  Leave out metric and course, for which points are read
-- column: run_id  id, as the producer gave it
-- column: name  human name
-- column: project  project the tracker files it under
-- column: state  running, finished, failed, crashed or unknown
-- column: metric  metric that is shown
-- column: best  its best finite value, where its goal is known
-- column: last  its last value, as logged
-- column: course  its curve in a few characters
-- column: finding  the worst that was found in it, if that is more than a fact
-- column: phase  what the training is doing
-- column: last_step  last step logged
-- column: metric_count  metrics logged
-- column: duration_s  wall time in seconds
-- column: created_at  when it began
-- example: runq runs
-- example: runq runs --where "lr < 0.01 and state = 'finished'" --sort val_loss
-- example: runq runs --since 2000-01-01 --state failed -n 5

with lengths as (
  select run_id, max(count) as longest
  from summary
  where $brief and not $all
  group by run_id
),
listed as (
  select
    runs.*,
    -- a log without a beginning is placed by its end
    row_number() over (
      order by sorted.place, coalesce(runs.created_at, runs.updated_at) desc nulls last, runs.run_id
    ) as place
  from runs
  join $sort as sorted on sorted.run_id = runs.run_id
  left join lengths on lengths.run_id = runs.run_id
  where runs.run_id in $where
    and ($only is null or array_has($only, runs.run_id))
    and ($since is null or coalesce(runs.updated_at, runs.created_at) >= to_timestamp_millis($since))
    and ($project is null or runs.project = $project)
    and ($state is null or runs.state = $state)
    and ($tag is null or array_has(runs.tags, $tag))
    and ($duplicates or runs.duplicate_of is null)
    and ($all or not $brief or runs.state <> 'crashed' and coalesce(lengths.longest, 0) >= 3)
  order by place
  limit $limit
),
-- the worst comes first by the alphabet
worst as (
  select
    run_id,
    first_value(concat(level, ' ', kind) order by level, step, kind) as finding
  from alerts
  where origin = 'detected' and level <> 'info'
  group by run_id
),
shown_metrics as (
  select
    summary.run_id,
    summary.key,
    summary.best,
    summary.last,
    row_number() over (
      partition by summary.run_id
      order by
        summary.key = $metric desc,
        coalesce(summary.key = $prefer, false) desc,
        summary.goal is null,
        not starts_with(role_key(summary.key), 'val/'),
        role_key(summary.key) not in ('val/loss', 'train/loss', 'loss'),
        length(summary.key),
        summary.key
    ) as nth
  from summary
  join listed on listed.run_id = summary.run_id
  where not $bare
    and ($only is null or array_has($only, summary.run_id))
    and summary.count > 0
    and ($metric is not null or not starts_with(summary.key, 'system/'))
    and (
      $metric is null
      or summary.key = $metric
      or normal_key($metric) <> '' and normal_key(summary.key) = normal_key($metric)
    )
),
courses as (
  select
    metrics.run_id,
    sparkline(metrics.step, metrics.value) as course
  from metrics
  join shown_metrics on shown_metrics.run_id = metrics.run_id
    and shown_metrics.key = metrics.key
    and shown_metrics.nth = 1
  where not $bare and ($only is null or array_has($only, metrics.run_id))
  group by metrics.run_id
)
select
  listed.run_id,
  listed.name,
  listed.project,
  listed.state,
  shown_metrics.key as metric,
  shown_metrics.best,
  shown_metrics.last,
  courses.course,
  worst.finding,
  listed.phase,
  listed.last_step,
  listed.metric_count,
  listed.duration_s,
  listed.created_at
from listed
left join worst on worst.run_id = listed.run_id
left join shown_metrics on shown_metrics.run_id = listed.run_id and shown_metrics.nth = 1
left join courses on courses.run_id = listed.run_id
order by listed.place
