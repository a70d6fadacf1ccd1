"""The work of a conversion in Polars: read JSON lines, long form, sort, zstd Parquet."""
import sys

import polars as pl

source, target = sys.argv[1:3]
wide = pl.read_ndjson(source, infer_schema_length=1000)
keys = [name for name in wide.columns if name not in ("step", "time")]
long = wide.unpivot(index=["step", "time"], on=keys, variable_name="key", value_name="value")
long = long.drop_nulls("value").sort("key", "step")
long.write_parquet(target, compression="zstd", compression_level=3)
