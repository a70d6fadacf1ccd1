"""Loads a log folder with TensorBoard's data server; prints the CPU seconds of the server.

The server loads everything before it writes its port, and then serves until its input ends.
"""
import os
import resource
import subprocess
import sys
import tempfile
import time

import tensorboard_data_server

with tempfile.TemporaryDirectory() as folder:
    port = os.path.join(folder, "port")
    server = subprocess.Popen(
        [tensorboard_data_server.server_binary(), "--logdir", sys.argv[1], "--reload", "once", "--port", "0",
         "--port-file", port, "--die-after-stdin", "--samples-per-plugin", "scalars=all", "-v"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    for line in server.stderr:
        if "load cycle" in line.lower() and "finished" in line.lower():
            break
    server.stdin.close()
    server.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
