#!/usr/bin/env bash
# Guess: the state of a submitit job tells a success from a failure.
# Behaviour: with the local executor the state is FINISHED for a job that returned, one that raised and one that left by
#   sys.exit(3). Only asking for the result tells them apart: a raise is FailedJobError.
# Versions: submitit 1.5.4, Python 3.11, Linux.
# Seen: "returned: FINISHED, result 1", "raised: FINISHED, FailedJobError", "left: FINISHED, UncompletedJobError"
# Why it costs: an orchestrator that polls `.state` or `.done()` counts failed steps as done.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q submitit==1.5.4
cat > "$work/jobs.py" <<'PY'
import sys, time
import submitit

def returned(): return 1
def raised(): raise ValueError("no")
def left(): sys.exit(3)

if __name__ == "__main__":
    executor = submitit.LocalExecutor(folder=sys.argv[1])
    executor.update_parameters(timeout_min=1)
    states = {}
    for function in (returned, raised, left):
        job = executor.submit(function)
        for _ in range(300):
            if job.done(): break
            time.sleep(0.1)
        state = job.state
        try:
            answer = f"result {job.result()}"
        except BaseException as error:
            answer = type(error).__name__
        states[function.__name__] = (state, answer)
        print(f"{function.__name__}: {state}, {answer}")
    same = {state for state, _ in states.values()} == {"FINISHED"}
    sys.exit(not (same and states["returned"][1] == "result 1" and states["raised"][1] == "FailedJobError"))
PY
(cd "$work" && timeout 120 "$work/venv/bin/python" jobs.py "$work/logs")
