-- summary: Rank runs by their best value of a metric
-- description: A run that does not have the metric by this name is ranked by the only one of another spelling that it has (val_loss, eval/loss).
-- description: NaN and infinities never win, and ties go to the earlier step. Whether smaller or larger is better comes from the tracker, runq.toml or the metric's name (--explain shows the words).
-- param: metric metric_form positional  Metric to rank by
-- param: min flag  Smaller is better
-- param: max flag  Larger is better
-- param: limit count -n = 10  Rows at most
-- param: project project -p optional  Only runs of this project
-- column: run_id  run
-- column: name  human name
-- column: metric  metric ranked by
-- column: goal  min or max
-- column: best  best finite value
-- column: best_step  its step
-- column: axis  what the step means
-- column: last  last value, as logged
-- column: last_step  its step
-- column: state  state of the run
-- example: runq best val_loss
-- example: runq best grad_norm --min -n 3

with spelled as (
  select
    summary.*,
    runs.name,
    runs.state,
    bool_or(summary.key = $metric) over (partition by summary.run_id) as has_exact,
    count(*) over (partition by summary.run_id) as spellings
  from summary
  join runs on runs.run_id = summary.run_id
  where (
      summary.key = $metric
      or normal_key($metric) <> '' and normal_key(summary.key) = normal_key($metric)
    )
    and runs.duplicate_of is null
    and ($project is null or runs.project = $project)
),
candidates as (
  select
    *,
    case
      when $min then 'min'
      when $max then 'max'
      -- runs that disagree have no goal in common
      when min(goal) over () = max(goal) over () then min(goal) over ()
    end as aim
  from spelled
  where key = $metric
    -- a run that has it by this name has it; others have it where one spelling is there
    or not has_exact and spellings = 1
),
valued as (
  select
    run_id,
    name,
    state,
    key,
    axis,
    last,
    last_step,
    aim as goal,
    case aim when 'min' then min when 'max' then max end as best,
    case aim when 'min' then min_step when 'max' then max_step end as best_step
  from candidates
)
select
  run_id,
  name,
  key as metric,
  goal,
  best,
  best_step,
  axis,
  last,
  last_step,
  state
from valued
-- a run without a finite value has none
where best is not null
order by case goal when 'min' then best else -best end, best_step, run_id
limit $limit
