-- summary: Rank runs by their best value of a metric
-- description: A run that does not have the metric by this name is ranked by the only one of another spelling that it has (val_loss, eval/loss).
-- description: NaN and infinities never win, and ties go to the earlier step. Whether smaller or larger is better comes from the tracker, runq.toml or the metric's name (--explain shows the words).
-- description: On a terminal, in Markdown and for an agent the column at_best holds up to four other metrics of the run at that step: those with a goal first, each by its last value until then.
-- param: metric ranking positional  Metric to rank by
-- param: min flag  Smaller is better
-- param: max flag  Larger is better
-- param: limit count -n = 10  Rows at most
-- param: project project -p optional  Only runs of this project
-- param: where condition -w optional  Only runs that meet this, as in "lr < 0.01 and state = 'finished'"
-- param: newest count optional  Only the newest runs of those, so many
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
-- example: runq best val_loss --where "lr < 0.01" --newest 5
-- example: runq best val_loss --group lr
-- example: runq best val_loss --id-only -n 1

with valued as (
  select
    run_id,
    run_name,
    state,
    key,
    axis,
    last,
    last_step,
    aim as goal,
    case aim when 'min' then min when 'max' then max end as best,
    case aim when 'min' then min_step when 'max' then max_step end as best_step
  from $metric as ranked
)
select
  run_id,
  run_name as name,
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
