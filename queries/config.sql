-- summary: Show the configuration of a run
-- param: run run positional = '@latest'  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: pattern text positional optional  Only keys that contain this
-- column: key  hyperparameter; nested ones are joined with a dot
-- column: value  its value, as text or JSON
-- example: runq config @latest
-- example: runq config @latest lr

select
  key,
  value
from configs
where run_id = $run
  and ($pattern is null or strpos(lower(key), lower($pattern)) > 0)
order by key
