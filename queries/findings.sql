-- summary: Show what was found in a run, the worst first
-- part-of: show
-- param: run run positional  Run: id, prefix of it, name, @latest, @best:METRIC
-- column: level  error or warn
-- column: finding  what it is
-- column: step  onset
-- column: text  what happened, and what to do
-- example: runq show @latest

select
  level,
  kind as finding,
  step,
  text
from alerts
where run_id = $run and origin = 'detected' and level <> 'info'
order by level, step
limit 5
