-- summary: Show statistics of the metrics of a run
-- description: All but the counts and the first steps leave NaN and infinities out. slope is the change of the value for each step, by a line that no outlier moves (Theil and Sen).
-- param: run run positional = '@latest'  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: keys metrics -k optional  Metrics, separated by commas, or -k once for each; default: all
-- column: key  metric
-- column: axis  what its step means
-- column: count  points that count today
-- column: nan_count  how many of them are NaN
-- column: first_nan_step  step of the first
-- column: inf_count  how many are infinite
-- column: first_inf_step  step of the first
-- column: min  smallest value
-- column: p05  5 % are below it
-- column: p25  25 % are below it
-- column: median  half are below it
-- column: p75  75 % are below it
-- column: p95  95 % are below it
-- column: max  largest value
-- column: mean  mean
-- column: std  standard deviation
-- column: slope  change of the value a step
-- example: runq stats @latest
-- example: runq stats @latest -k val_loss

with points as (
  select
    key,
    min(step) filter (where isnan(value)) as first_nan_step,
    min(step) filter (where not isnan(value) and finite(value) is null) as first_inf_step,
    percentile_cont(finite(value), 0.05) as p05,
    percentile_cont(finite(value), 0.25) as p25,
    percentile_cont(finite(value), 0.5) as median,
    percentile_cont(finite(value), 0.75) as p75,
    percentile_cont(finite(value), 0.95) as p95,
    trend(step, value)['slope'] as slope
  from metrics
  where run_id = $run
    and ($keys is null or array_has($keys, key))
  group by key
)
select
  summary.key,
  summary.axis,
  summary.count,
  summary.nan_count,
  points.first_nan_step,
  summary.inf_count,
  points.first_inf_step,
  summary.min,
  points.p05,
  points.p25,
  points.median,
  points.p75,
  points.p95,
  summary.max,
  summary.mean,
  summary.std,
  points.slope
from summary
join points on points.key = summary.key
where summary.run_id = $run
-- what the machine did comes after what the training did
order by starts_with(summary.key, 'system/'), summary.key
