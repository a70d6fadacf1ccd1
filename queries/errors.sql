-- summary: Show the last lines a run printed, and the last that tell of an error
-- part-of: show
-- param: run run positional  Run: id, prefix of it, name, @latest, @best:METRIC
-- column: line  number of the line in its file
-- column: text  line
-- example: runq show @latest

with told as (
  select
    file,
    line,
    text,
    regexp_like(
      text,
      'error|exception|traceback|fatal|killed|terminated|out of memory|\boom\b|signal|assert|abort|segmentation|interrupt',
      'i'
    ) as is_error
  from console
  where run_id = $run and trim(text) <> ''
),
numbered as (
  select
    *,
    row_number() over (order by file desc, line desc) as from_end,
    row_number() over (partition by is_error order by file desc, line desc) as of_its_kind
  from told
)
select
  line,
  text
from numbered
where from_end <= 3 or is_error and of_its_kind <= 6
order by numbered.file, line
