-- summary: Show what a run printed
-- param: run run positional = '@latest'  Run: id, prefix of it, name, @latest, @best:METRIC
-- param: tail count optional  The last lines, so many
-- param: grep text optional  Only lines that match this regular expression, in any case
-- column: line  number of the line in its file
-- column: time  when it was printed
-- column: stream  stdout or stderr
-- column: text  line
-- column: file  log it was printed to, where there are several
-- example: runq console @latest --tail 20
-- example: runq console @latest --grep 'error|warning'

with lines as (
  select
    line,
    time,
    stream,
    text,
    file as from_file,
    row_number() over (order by file desc, line desc) as from_end,
    min(file) over () <> max(file) over () as has_files
  from console
  where run_id = $run
    and ($grep is null or regexp_like(text, $grep, 'i'))
)
select
  line,
  time,
  stream,
  text,
  case when has_files then from_file end as file
from lines
where $tail is null or from_end <= $tail
order by from_file, line
