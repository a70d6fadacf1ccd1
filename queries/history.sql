-- summary: Show metrics of a run side by side, one row a step
-- description: Where there are more steps than rows, rows are chosen so that the extremes and the first NaN or infinity of each metric stay. In a pipe every step is written unless -n is given.
-- param: run run positional = '@latest'  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: keys text -k  Metrics, separated by commas, or -k once for each; default: those with a goal, else the first four
-- param: limit integer -n = 100  Rows at most
-- example: runq history @latest -k loss,val_loss -n 500
-- example: runq -C training.jsonl history

select *
from history($run, $keys, $limit)
order by step
