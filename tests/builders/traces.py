"""A small folder of traces of every kind, made up, in the layout of the published ones under other names."""

import gzip
import random
from pathlib import Path

HOUR_S = 3600


def write_table(folder: Path, name: str, header: str, rows: list[str]) -> Path:
    """A table, gzipped where its name says so."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "\n".join([header, *rows, ""]).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def small_traces(folder: Path) -> Path:
    """Writes everything and returns the folder."""
    rng = random.Random(7)
    _packing(folder, rng)
    _steps(folder, rng)
    _queues(folder, rng)
    _network(folder)
    _tuned(folder)
    return folder


def _packing(folder: Path, rng: random.Random) -> None:
    pods = [f"p{n},1000,1024,{rng.choice([1, 1, 2])},1000," for n in range(12)]
    write_table(
        folder, "packed/made_pod_list_up.csv.gz", "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec", pods
    )
    nodes = [f"n{n},64000,262144,{(2, 4, 8)[n % 3]},M{n % 2}" for n in range(6)]
    write_table(folder, "packed/made_node_list.csv", "sn,cpu_milli,memory_mib,gpu,model", nodes)
    write_table(
        folder,
        "packed/published_allocation_summary.csv",
        "workload,sc_policy,100_mean,130_mean",
        ["made_pod_list_up,06-FGD,90.0,91.0"],
    )
    fleet = [f"A,{(1, 8)[n % 2]},192,{n}" for n in range(8)]
    write_table(folder, "fleet/nodes.csv", "gpu_model,gpu_capacity_num,cpu_num,node_name", fleet)


def _steps(folder: Path, rng: random.Random) -> None:
    speeds = {"v100": 10.0, "p100": 5.0, "k80": 1.0}
    rates = [
        f"{source},{model},{kind},{devices},{speed * devices * (2 if kind == 'quick' else 1)}"
        for source in ("simulation_throughputs", "physical_cluster_throughputs")
        for model, speed in speeds.items()
        for kind in ("quick", "slow")
        for devices in (1, 2)
    ]
    write_table(folder, "stepped/rates.csv.gz", "source,accelerator,job_type,scale_factor,steps_per_s", rates)
    header = "job_id,job_type,scale_factor,total_steps,arrival_s,priority_weight,slo"

    def jobs(first: int, number: int, gap_s: float) -> list[str]:
        return [
            f"{first + n},{rng.choice(['quick', 'slow'])},{rng.choice([1, 1, 2])},{rng.randint(2_000, 60_000)},"
            f"{n * gap_s},1.0,-1.0"
            for n in range(number)
        ]

    write_table(folder, "stepped/physical_some_makespan.csv", header, jobs(0, 30, 0.0))
    write_table(folder, "stepped/physical_max_min.csv", header, jobs(0, 30, 300.0))
    write_table(folder, "stepped/generated/static_multi_n700_s9.csv.gz", header, jobs(0, 30, 0.0))
    write_table(folder, "stepped/generated/cont_multi_r2.6_s9.csv.gz", header, jobs(3990, 30, 900.0))


def _queues(folder: Path, rng: random.Random) -> None:
    rows = [f"{n},{n * 60},{rng.randint(60, 4 * HOUR_S)},{rng.choice([1, 2, 8, 12])}" for n in range(60)]
    write_table(folder, "queue/pai.csv.gz", "job_id,arrival_s,duration_s,num_gpus", rows)
    firms = [
        f"{n},{n * 120},{rng.randint(60, HOUR_S)},{rng.choice([1, 4, 8])},{'ab'[n % 2]}" for n in range(60)
    ]
    write_table(folder, "firms/jobs.csv", "job_id,submit_s,duration_s,num_gpus,vc", firms)
    write_table(folder, "firms/sizes.csv", "vc,nodes,gpus_per_node", ["a,4,8", "b,8,8"])


def _network(folder: Path) -> None:
    hosts = [f"h{n},C0,P{n // 16},S{n // 4}" for n in range(32)]
    write_table(folder, "net/hosts.csv", "ip,DSW,PSW,ASW", hosts)


def _tuned(folder: Path) -> None:
    jobs = [f"j{n},{n * 100},bert,{(1, 2, 12)[n % 3]},48" for n in range(12)]
    write_table(
        folder, "tuned/workloads/made/workload-1.csv", "name,time,application,num_replicas,batch_size", jobs
    )
    write_table(
        folder,
        "tuned/profiles/bert/validation-48.csv",
        "progress,iteration,metric,grad_sqr,grad_var",
        ["1,1000,1,1,1", "2,2000,1,1,1"],
    )
    for model, slow, names in (("aws", 2.0, "1 2 444"), ("rtx", 1.0, "1 2 48"), ("dgx-ext", 0.5, "1 2 48")):
        rows = [f"{size},{slow * size / 10},0.01,{name}" for name in names.split() for size in (2, 12)]
        write_table(
            folder,
            f"tuned/profiles/bert/placements-{model}.csv",
            "local_bsz,step_time,sync_time,placement",
            rows,
        )
