"""The planner's account of a placement in people's words."""

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.domain.reasons import Reason
from scheduler.planner.feasibility import plural


def account_of(why_here: Mapping[str, Any]) -> list[str]:
    """Sentences about where a job was placed and why there. What the account lacks is left out."""
    sentences = (_where(why_here), _network(why_here), _room(why_here), *_model(why_here))
    return [sentence for sentence in sentences if sentence]


def _where(why_here: Mapping[str, Any]) -> str:
    nodes = _objects(why_here.get("nodes"))
    if not nodes:
        return str(why_here.get("sentence") or "")
    shown = ", ".join(f"{node.get('node')} ({_devices(node.get('devices'))})" for node in nodes[:8])
    more = f" and {len(nodes) - 8} more" if len(nodes) > 8 else ""
    pool = why_here.get("pool")
    return f"It was placed in pool {pool} on {shown}{more}." if pool else f"It was placed on {shown}{more}."


def _devices(numbers: object) -> str:
    """`devices 0-3,6`: runs of numbers."""
    if not isinstance(numbers, list) or not numbers:
        return "no devices"
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    listed = ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"device {listed}" if len(numbers) == 1 else f"devices {listed}"


def _network(why_here: Mapping[str, Any]) -> str:
    """Over how many domains a gang is that asked for one, and why."""
    network = why_here.get("network")
    domains = network.get("domains") if isinstance(network, Mapping) else None
    if not isinstance(network, Mapping) or not isinstance(domains, list) or not domains:
        return ""
    level, tasks = network.get("level"), len(_objects(why_here.get("nodes")))
    if len(domains) == 1:
        return f"It is inside one {level}: {domains[0]}."
    more = f" and {len(domains) - 8} more" if len(domains) > 8 else ""
    names = ", ".join(domains[:8]) + more
    most = network.get("most_tasks_in_one")
    if isinstance(most, int) and most < tasks:
        return (
            f"It would rather be inside one {level} and is over {len(domains)}: {names};"
            f" none had room for more than {most} of its {tasks} tasks."
        )
    return f"It would rather be inside one {level} and is over {len(domains)}: {names}."


def _room(why_here: Mapping[str, Any]) -> str:
    free, nodes = why_here.get("free_devices"), why_here.get("nodes_with_room")
    if not isinstance(free, int) or not isinstance(nodes, int):
        return ""
    model = why_here.get("device_model") or "devices"
    return f"Then {free} {model} were free there, and {plural(nodes, 'node')} had room for a task."


def _model(why_here: Mapping[str, Any]) -> list[str]:
    choice = why_here.get("model_choice")
    if not isinstance(choice, Mapping):
        return []
    sentences = []
    model, variants = why_here.get("device_model"), choice.get("variants") or []
    if len(variants) > 1:
        speed = choice.get("fp16_gflops")
        figure = f" (nominal {speed // 1000} TFLOPS FP16 a device)" if isinstance(speed, int) else ""
        sentences.append(f"Of its variants {', '.join(variants)} it got {model}{figure}.")
    for refusal in _objects(choice.get("preferred_but_not_possible")):
        what, pool, why = refusal.get("device_model"), refusal.get("domain"), refusal.get("sentence")
        if what != model:
            sentences.append(f"{what or 'another variant'} was preferred and could not be had: {why}.")
        elif pool is None or pool == why_here.get("pool"):
            sentences.append(f"It did not start with more devices: {why}.")
        elif refusal.get("reason") != Reason.NO_SUCH_DEVICES:
            sentences.append(f"Pool {pool} comes before and could not have it: {why}.")
    return sentences


def _objects(value: object) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
