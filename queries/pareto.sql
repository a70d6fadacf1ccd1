-- summary: List the runs that no other run beats in two or three metrics
-- description: By the best value of each. A run is beaten by one that is at least as good in all of them and better in one. Runs without a finite value of each are left out.
-- param: first ranking positional  Metric
-- param: second ranking positional  Another metric
-- param: third ranking positional optional  A third one
-- param: min texts optional  Metrics of which smaller is better, once for each; default: what the tracker, runq.toml or the name tells
-- param: max texts optional  Metrics of which larger is better
-- param: project project -p optional  Only runs of this project
-- param: where condition -w optional  Only runs that meet this, as in "lr < 0.01 and state = 'finished'"
-- column: run_id  run
-- column: name  human name
-- column: first  best value of the first metric; the column bears its name on the command line
-- column: second  of the second
-- column: third  of the third; left out where there is none
-- column: beaten  runs it beats
-- column: run_count  runs that have all of the metrics; on the command line a note
-- column: state  state of the run
-- example: runq pareto val_loss val_acc
-- example: runq pareto val_loss grad_norm --min grad_norm

with aimed as (
  select 1 as nth, run_id, run_name, state, aim, min, max from $first as metric
  union all
  select 2, run_id, run_name, state, aim, min, max from $second as metric
  union all
  select 3, run_id, run_name, state, aim, min, max from $third as metric
),
valued as (
  select
    nth,
    run_id,
    run_name,
    state,
    case aim when 'min' then min when 'max' then max end as value,
    case aim when 'min' then min when 'max' then -max end as cost
  from aimed
),
points as (
  select
    one.run_id,
    one.run_name,
    one.state,
    one.value as first,
    two.value as second,
    three.value as third,
    one.cost as a,
    two.cost as b,
    coalesce(three.cost, 0) as c
  from valued as one
  join valued as two on two.run_id = one.run_id and two.nth = 2 and two.cost is not null
  left join valued as three on three.run_id = one.run_id and three.nth = 3
  where one.nth = 1
    and one.cost is not null
    and (three.cost is not null or (select count(*) from $third as metric) = 0)
),
-- what one of the best in the mean of all beats need not be compared with the rest
pivots as (
  select a, b, c
  from (
    select
      a,
      b,
      c,
      rank() over (order by a) + rank() over (order by b) + rank() over (order by c) as placed
    from points
  )
  order by placed, a, b
  limit 32
),
left_over as (
  select points.*
  from points
  left anti join pivots on pivots.a <= points.a
    and pivots.b <= points.b
    and pivots.c <= points.c
    and (pivots.a < points.a or pivots.b < points.b or pivots.c < points.c)
),
front as (
  select left_over.*
  from left_over
  left anti join left_over as better on better.a <= left_over.a
    and better.b <= left_over.b
    and better.c <= left_over.c
    and (better.a < left_over.a or better.b < left_over.b or better.c < left_over.c)
)
select
  front.run_id,
  front.run_name as name,
  front.first,
  front.second,
  front.third,
  count(*) filter (where front.a < points.a or front.b < points.b or front.c < points.c) as beaten,
  (select count(*) from points) as run_count,
  front.state
from front
-- itself and its equals among them
join points on front.a <= points.a and front.b <= points.b and front.c <= points.c
group by front.run_id, front.run_name, front.first, front.second, front.third, front.a, front.b, front.c, front.state
order by front.a, front.b, front.c, front.run_id
