-- summary: Tell in which hyperparameters two runs differ, the likeliest cause first
-- description: State and program too. Numbers are placed by their ratio, texts and what only one run has as a factor of ten; seeds and labels come last.
-- part-of: why
-- param: a run positional  Run held against
-- param: b run positional  Run to explain
-- column: key  state, program or hyperparameter
-- column: a  its value in the first run
-- column: b  its value in the other
-- example: runq why @latest @latest~1

with told as (
  select run_id, 'state' as key, state as value from runs where run_id in ($a, $b)
  union all
  select run_id, 'program', program from runs where run_id in ($a, $b)
  union all
  select run_id, key, value from configs where run_id in ($a, $b)
),
sides as (
  select
    key,
    max(value) filter (where run_id = $a) as a,
    max(value) filter (where run_id = $b) as b
  from told
  group by key
),
weighed as (
  select
    *,
    abs(log10(abs(try_cast(a as double) / try_cast(b as double)))) as factors_of_ten
  from sides
  where a is distinct from b
)
select
  key,
  coalesce(a, '(none)') as a,
  coalesce(b, '(none)') as b
from weighed
order by
  key <> 'state',
  config_role(key) is not null,
  coalesce(finite(factors_of_ten), 1) desc,
  key
