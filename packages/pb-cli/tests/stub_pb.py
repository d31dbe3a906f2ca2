"""`pb` whose tasks train nothing: what a task does is its setting `act`, so that faults can be staged in a second."""

import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType

from pb_cli import pausing
from pb_cli.merging import file_record
from pb_cli.pausing import PAUSE, TaskPausedError


def run_tasks(tasks, folder, *, device, save_model, bootstrap, data, progress):
    """Write what a finished task writes, slowly if it says so."""
    for task in tasks:
        with folder.writing(task) as draft:
            act = task.settings.get("act", "")
            (draft / "log.txt").write_text(f"{act}\n")
            if act == "fail":
                raise RuntimeError("staged")
            if act == "fill":
                (draft / "big").write_bytes(bytes(10 * 2**20))
            if act == "hold":
                hold = bytearray(600 * 2**20)
                time.sleep(30)
                del hold
            while act == "wait" and not (folder.path / "go").exists():
                time.sleep(0.2)
            if act in ("train", "stuck"):
                train(folder.training_state(task), stuck=act == "stuck")
            if act == "slow":
                time.sleep(0.3)
            header = "dataset,split,context,perturbation,dose,model,seed,metric,metric_version,value,low,high,floor"
            header += ",ceiling,scaled,n_predicted,n_true,split_hash,profile,gene_set,space"
            row = (
                f"d,s,{task.held_out!r},p,,control,{task.seed},mse_mean,1,{task.seed / 7!r},,,,,,1,1,{task.split_hash}"
            )
            (draft / "metrics.csv").write_text(f"{header}\n{row},default,all,log1p\n")
            costs = {"seconds": 0.1, "peak_memory_bytes": 2**20, "threads": os.environ["OMP_NUM_THREADS"]}
            record = {"task": task.id, "files": file_record(draft), "costs": costs}
            (draft / "task.json").write_text(json.dumps(record))


def train(state, *, stuck):
    """Train three epochs, each until it is paused; where it is stuck, the first again and again."""
    done = int(state.read_text()) if state.exists() else 0
    while done < 3:
        while not PAUSE.asked:
            time.sleep(0.05)
        done = 1 if stuck else done + 1
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(f"{done}")
        if done < 3:
            raise TaskPausedError(done)


stub = ModuleType("pb_cli.runner")
stub.run_tasks = run_tasks
pausing.PATIENCE = 2
sys.modules["pb_cli.runner"] = stub

if __name__ == "__main__":
    sys.argv[0] = "pb"
    Path.cwd()
    from pb_cli.app import main

    main()
