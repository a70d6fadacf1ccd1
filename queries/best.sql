-- summary: Rank runs by their best value of a metric
-- description: A run that does not have the metric by this name is ranked by the only one of another spelling that it has (val_loss, eval/loss).
-- description: NaN and infinities never win, and ties go to the earlier step. Whether smaller or larger is better comes from the tracker, runq.toml or the metric's name (--explain shows the words).
-- description: at_best holds up to four other metrics of the run at that step: those with a goal first, each by its last value until then.
-- param: metric ranking positional  Metric to rank by
-- param: min flag  Smaller is better
-- param: max flag  Larger is better
-- param: limit count -n = 10  Rows at most
-- param: project project -p optional  Only runs of this project
-- param: where condition -w optional  Only runs that meet this, as in "lr < 0.01 and state = 'finished'"
-- param: newest count optional  Only the newest runs of those, so many
-- param: group text -g optional  The best run of each value: a hyperparameter, also by its last part, or project, run_group, sweep_id, job_type, state, source, host, user_name, git_branch or git_commit
-- param: bare flag  Leave out at_best, for which points are read
-- column: run_id  run
-- column: name  human name
-- column: grouped  its value of --group (without that, the column is left out)
-- column: metric  metric ranked by
-- column: goal  min or max
-- column: best  best finite value
-- column: best_step  its step
-- column: axis  what the step means
-- column: last  last value, as logged
-- column: last_step  its step
-- column: state  state of the run
-- column: at_best  other metrics at that step
-- example: runq best val_loss
-- example: runq best grad_norm --min -n 3
-- example: runq best val_loss --where "lr < 0.01" --newest 5
-- example: runq best val_loss --group lr
-- example: runq best val_loss --id-only -n 1

with shown as (
  select
    *,
    row_number() over (order by coalesce(created_at, updated_at) desc nulls last, run_id) as age
  from runs
  where duplicate_of is null
    and ($project is null or project = $project)
    and run_id in $where
),
-- what a run is grouped by
grouping_values as (
  select
    run_id,
    case $group
      when 'project' then project
      when 'run_group' then run_group
      when 'sweep_id' then sweep_id
      when 'job_type' then job_type
      when 'state' then state
      when 'source' then source
      when 'host' then host
      when 'user_name' then user_name
      when 'git_branch' then git_branch
      when 'git_commit' then git_commit
    end as value
  from shown
  where $group in ('project', 'run_group', 'sweep_id', 'job_type', 'state', 'source', 'host', 'user_name', 'git_branch', 'git_commit')
  union all
  select run_id, min(value)
  from configs
  where (key = $group or ends_with(key, concat('.', $group)))
    and $group not in ('project', 'run_group', 'sweep_id', 'job_type', 'state', 'source', 'host', 'user_name', 'git_branch', 'git_commit')
  group by run_id
),
candidates as (
  select
    ranked.*,
    shown.name,
    shown.state,
    grouping_values.value as grouped,
    case
      when $min then 'min'
      when $max then 'max'
      -- runs that disagree have no goal in common
      when min(ranked.goal) over () = max(ranked.goal) over () then min(ranked.goal) over ()
    end as aim
  from $metric as ranked
  join shown on shown.run_id = ranked.run_id
  left join grouping_values on grouping_values.run_id = ranked.run_id
  where $newest is null or shown.age <= $newest
),
valued as (
  select
    *,
    case aim when 'min' then min when 'max' then max end as aimed,
    case aim when 'min' then min_step when 'max' then max_step end as aimed_step
  from candidates
),
placed as (
  select
    *,
    row_number() over (
      partition by case when $group is null then run_id else grouped end
      order by case aim when 'min' then aimed else -aimed end, aimed_step, run_id
    ) as nth_of_group
  from valued
  -- a run without a finite value has none
  where aimed is not null
),
ranked as (
  select
    *,
    row_number() over (order by case aim when 'min' then aimed else -aimed end, aimed_step, run_id) as place
  from placed
  where nth_of_group = 1
  order by place
  limit $limit
),
others as (
  select
    summary.run_id,
    summary.key,
    ranked.aimed_step,
    row_number() over (
      partition by summary.run_id
      order by
        summary.goal is null,
        not starts_with(normal_key(summary.key), 'val/'),
        length(summary.key),
        summary.key
    ) as nth
  from summary
  join ranked on ranked.run_id = summary.run_id
  where not $bare
    and summary.count > 0
    and summary.key <> ranked.key
    and summary.axis = ranked.axis
    and summary.first_step <= ranked.aimed_step
    and not starts_with(summary.key, 'system/')
),
values_then as (
  select
    metrics.run_id,
    metrics.key,
    others.nth,
    arg_max(metrics.value, metrics.step) as value
  from metrics
  join others on others.run_id = metrics.run_id
    and others.key = metrics.key
    and others.nth <= 4
  where not $bare and metrics.step <= others.aimed_step
  group by metrics.run_id, metrics.key, others.nth
),
told as (
  select run_id, string_agg(concat(key, '=', short(value)), ' ' order by nth) as at_best
  from values_then
  group by run_id
)
select
  ranked.run_id,
  ranked.name,
  ranked.grouped,
  ranked.key as metric,
  ranked.aim as goal,
  ranked.aimed as best,
  ranked.aimed_step as best_step,
  ranked.axis,
  ranked.last,
  ranked.last_step,
  ranked.state,
  told.at_best
from ranked
left join told on told.run_id = ranked.run_id
order by ranked.place
