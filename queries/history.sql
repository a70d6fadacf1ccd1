-- summary: Show metrics of a run side by side, one row a step
-- description: Where there are more steps than rows, rows are chosen so that the extremes, the first NaN or infinity and the points that stand out of each metric stay. In a pipe every step is written unless -n, --around, --tail or --every is given.
-- param: run run positional = '@latest'  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: keys metrics -k optional  Metrics, separated by commas, or -k once for each; default: those with a goal, else the first four
-- param: limit count -n = 100  Rows at most
-- param: from integer optional  First step
-- param: to integer optional  Last step
-- param: around integer optional  The rows nearest to this step; 21 unless -n is given
-- param: tail count optional  The last rows, so many
-- param: every count optional  Every so-manieth row, from the first on
-- example: runq history @latest -k loss,val_loss -n 500
-- example: runq history @latest --around 100 -n 5
-- example: runq history @latest --from 10 --to 50 --every 10
-- example: runq -C training.jsonl history --tail 3

select * exclude (" nth", " last", " near")
from (
  select
    *,
    -- names that no metric has
    row_number() over (order by step) as " nth",
    row_number() over (order by step desc) as " last",
    row_number() over (order by abs(cast(step as double) - $around), step) as " near"
  from history(
    $run,
    $keys,
    -- a sample is made of what is not chosen in another way
    case when $around is null and $tail is null and $every is null then $limit end,
    $from,
    $to
  )
)
where ($every is null or (" nth" - 1) % $every = 0)
  and ($tail is null or " last" <= $tail)
  and ($around is null or " near" <= $limit)
order by step
